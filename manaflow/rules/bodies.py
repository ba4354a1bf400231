"""B4, B5 and the body's roots: codes, block hashes, withdrawals (docs/SPEC.md, section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Final

from manaflow.errors import Rule, Verdict
from manaflow.moves.block import Withdrawal
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.marks import ZERO32, Mark, Move
from manaflow.moves.trees import root
from manaflow.rules.config import ChainConfig
from manaflow.rules.moves import value_of

CODE_GAS_PER_BYTE: Final = 200
"""Gas for a byte of deployed code (G_codedeposit): codes of a block are at most its gas limit over this ..."""
MAX_CODE_BYTES: Final = 24_576
"""... and one code more (EIP-170's limit)."""
GAS_PER_CODE: Final = 20_000
"""The least gas that a transaction pays for one more code: 25,000 for an EIP-7702 tuple (a create costs 32,000 and
more), of which refunds give back a fifth at most."""
HASH_WINDOW: Final = 256
"""How far back BLOCKHASH sees."""


def check_b4(moves: Sequence[Move], codes: Set[bytes]) -> None:
    """B4: every consumed c with next != 0 has its code in this body. `codes`: keccak-256 hashes of the body's codes."""
    for i, move in enumerate(moves):
        made = move.mark == Mark.CODE and not move.is_reference and move.next != ZERO32
        if made and move.next not in codes:
            raise Verdict(Rule.B4, "a code is missing in the body", move=i, expected=move.next)


def check_b4_order(hashes: Sequence[bytes]) -> None:
    """B4: the hashes in the codes tree ascend, each once."""
    for i in range(1, len(hashes)):
        if hashes[i - 1] >= hashes[i]:
            raise Verdict(Rule.B4, f"code {i} is out of order", expected="ascending hashes", actual=hashes[i])


def most_code_bytes(header: Header) -> int:
    """B4's bound on the bytes of all codes of a body."""
    return header.gas_limit // CODE_GAS_PER_BYTE + MAX_CODE_BYTES


def check_b4_count(header: Header) -> None:
    """B4: a body has no more codes than its gas could make; the header alone shows it. Genesis is exempt."""
    most = header.gas_limit // GAS_PER_CODE + 1
    if header.codes > most:
        raise Verdict(Rule.B4, "codes in the body", expected=f"at most {most}", actual=header.codes)


def check_b4_size(header: Header, total: int) -> None:
    """B4: the codes of a body are bounded in bytes. Genesis is exempt."""
    most = most_code_bytes(header)
    if total > most:
        raise Verdict(Rule.B4, "bytes of code in the body", expected=f"at most {most}", actual=total)


def check_codes(header: Header, codes: Sequence[bytes], *, is_genesis: bool = False) -> frozenset[bytes]:
    """The body's codes: number, order and size (B4), root and count (B3). Returns their hashes."""
    if not is_genesis:
        check_b4_count(header)
    hashes = [keccak256(code) for code in codes]
    check_b4_order(hashes)
    if not is_genesis:
        check_b4_size(header, sum(map(len, codes)))
    check_b3_root("codes root", header.codes_root, root(hashes))
    if len(codes) != header.codes:
        raise Verdict(Rule.B3, "number of codes", expected=header.codes, actual=len(codes))
    return frozenset(hashes)


def check_withdrawals_root(header: Header, withdrawals: Sequence[Withdrawal]) -> None:
    """B3: the withdrawals of the body are the header's."""
    check_b3_root("withdrawals root", header.withdrawals_root, root([w.encode() for w in withdrawals]))


def check_b3_root(what: str, declared: bytes, computed: bytes) -> None:
    """B3: a root in a header or leaf is that of the body's tree."""
    if declared != computed:
        raise Verdict(Rule.B3, what, expected=declared, actual=computed)


def check_b5(moves: Sequence[Move], number: int, seen: Mapping[int, bytes]) -> None:
    """B5: each e move is in the window of block `number` and shows the hash that the chain holds.

    seen: block number k -> hash for every k that the moves name and the chain knows: from genesis's own header on the
    seen parent hash of header k + 1, before that the config's ancestors.
    """
    for i, move in enumerate(moves):
        if move.mark == Mark.BLOCKHASH:
            check_b5_move(move, number, seen.get(value_of(move.slot)), i)


def check_b5_move(move: Move, number: int, known: bytes | None, i: int | None = None) -> None:
    """B5 for one e move. known: the hash that the chain holds for that block, or None if it holds none."""
    asked = value_of(move.slot)
    if not max(0, number - HASH_WINDOW) <= asked < number:
        window = f"{max(0, number - HASH_WINDOW)} to {number - 1}"
        raise Verdict(Rule.B5, "block number of an e move", move=i, expected=window, actual=asked)
    if known is None:
        raise Verdict(Rule.B5, f"the chain knows no hash of block {asked}", move=i, actual=move.prev)
    if move.prev != known:
        raise Verdict(Rule.B5, f"hash of block {asked}", move=i, expected=known, actual=move.prev)


def is_header_source(asked: int, config: ChainConfig) -> bool:
    """True if header asked + 1 of this chain shows the hash of block `asked`, False if it is the config's ancestors."""
    return asked >= config.genesis_number - 1


def ancestor_leaf(number: int, block_hash: bytes) -> bytes:
    """The leaf of the config's tree of ancestors: number:8 | hash:32."""
    return number.to_bytes(8, "big") + block_hash
