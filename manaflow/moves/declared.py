"""The declared envelope: an EIP-1559 call whose signer also says its moves (rule S2; docs/SPEC.md, section 4).

    envelope = 0x4d | rlp([chain id, nonce, max priority fee, max fee, gas limit, to, value, data, access list,
                           valid until, flags, moves, y parity, r, s])
    move     = [mask, mark, intx, addr, slot, prev, next]       full width; a masked field is the empty string

What is signed is EIP-712 typed data, so that today's wallets show it. `native/src/declared.rs` is the twin for hot
paths: it accepts and refuses the same bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import rlp

from manaflow.errors import Rule, Verdict
from manaflow.moves.envelope_fields import decode_call, decode_signature
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import UNSIGNED, ZERO20, ZERO32, Mask, Move
from manaflow.moves.rlp_reader import RlpError, RlpReader
from manaflow.moves.transactions import DECLARED_TYPE, AccessEntry, DeclaredTransaction, Flag, NamedMove

MOVE_TYPE: Final = b"Move(uint8 mask,bytes1 mark,bytes32 intx,address account,bytes32 slot,bytes32 prev,bytes32 next)"
ACCESS_TYPE: Final = b"AccessEntry(address account,bytes32[] slots)"
TRANSACTION_TYPE: Final = (
    b"Transaction(uint64 nonce,uint256 maxPriorityFeePerGas,uint256 maxFeePerGas,uint64 gasLimit,bytes to,"
    b"uint256 value,bytes data,AccessEntry[] accessList,uint64 validUntil,uint8 flags,Move[] moves)"
)
DOMAIN_TYPE: Final = b"EIP712Domain(string name,string version,uint256 chainId)"
DOMAIN_NAME: Final = "Manaflow"
DOMAIN_VERSION: Final = "1"
ALL_FLAGS: Final = int(Flag.OPEN | Flag.MUST_SUCCEED)
MAX_SIGNED_MOVES: Final = 2**13
"""Of one envelope: more than as many at full width would not fit anyway, and short ones cost a reader as much each."""
MAX_JSON_INTEGER: Final = 2**53 - 1
"""Largest integer that JSON's readers hold exactly."""

# Plain ints: an operation on an IntFlag costs ten times one on an int, and these run for each field of each move.
_INTX, _PREV, _NEXT = int(Mask.INTX), int(Mask.PREV), int(Mask.NEXT)
_SLOT, _ADDR, _MARK = int(Mask.SLOT), int(Mask.ADDR), int(Mask.MARK)
_GUARD, _REFERENCE = int(Mask.GUARD), int(Mask.REFERENCE)

_TRANSACTION_TYPE_HASH: Final = keccak256(TRANSACTION_TYPE + ACCESS_TYPE + MOVE_TYPE)
_ACCESS_TYPE_HASH: Final = keccak256(ACCESS_TYPE)
_MOVE_TYPE_HASH: Final = keccak256(MOVE_TYPE)
_DOMAIN_TYPE_HASH: Final = keccak256(DOMAIN_TYPE)


def decode_declared(raw: bytes) -> DeclaredTransaction:
    """Read a declared envelope strictly. `raw` begins with DECLARED_TYPE and is bounded. Raises Verdict(S2)."""
    try:
        return _decode(raw)
    except RlpError as error:
        raise Verdict(Rule.S2, f"the envelope does not decode: {error}") from error


def _decode(raw: bytes) -> DeclaredTransaction:
    fields = RlpReader.whole(raw, 1)
    call = decode_call(fields, DECLARED_TYPE)
    valid_until, flags = fields.integer("valid until", 8), fields.integer("flags", 1)
    if flags & ~ALL_FLAGS:
        raise RlpError(f"flags: {flags:#04x} has bits that nobody knows")
    moves = _decode_moves(fields.items("moves"))
    y_parity, r, s = decode_signature(fields)
    transaction = DeclaredTransaction(
        DECLARED_TYPE, *call, 0, (), (), y_parity, r, s, b"", keccak256(raw), valid_until, flags, moves
    )
    return replace(transaction, signing_hash=signing_hash(transaction))


def _decode_moves(items: RlpReader) -> tuple[NamedMove, ...]:
    """Signed moves, ascending; equal ones stand side by side."""
    moves: list[NamedMove] = []
    least = None
    while items.more:
        if len(moves) == MAX_SIGNED_MOVES:
            raise RlpError(f"moves: more than {MAX_SIGNED_MOVES}")
        move = _decode_move(items.items("move"))
        key = move.sort_key
        if least is not None and key < least:
            raise RlpError("moves: not in ascending order")
        moves.append(move)
        least = key
    return tuple(moves)


def _decode_move(fields: RlpReader) -> NamedMove:
    mask = fields.fixed("mask of a move", 1)[0]
    if not is_signed(mask):
        raise RlpError("mask of a move: nothing of it is signed")
    if mask & _GUARD and (not mask & _REFERENCE or mask & (_MARK | _ADDR | _SLOT)):
        raise RlpError("mask of a move: a guard is a reference whose mark, address and slot are signed")

    def field(name: str, bit: int, masked: bytes) -> bytes:
        """The next item; where it must be empty `masked`, shared by all moves: they are many and short."""
        if not mask & bit:
            return fields.fixed(name, len(masked))
        if fields.string(name):
            raise RlpError(f"{name}: masked and not empty")
        return masked

    move = NamedMove(
        mask,
        field("mark of a move", _MARK, b"\0")[0],
        field("intx of a move", _INTX, ZERO32),
        field("addr of a move", _ADDR, ZERO20),
        field("slot of a move", _SLOT, ZERO32),
        field("prev of a move", _PREV, ZERO32),
        field("next of a move", _NEXT, ZERO32),
    )
    fields.finish("a move")
    return move


def encode_declared(transaction: DeclaredTransaction) -> bytes:
    """The envelope of a declared transaction; its txid and signing hash are not looked at."""
    access_list = [[entry.address, list(entry.slots)] for entry in transaction.access_list]
    fields: list[Any] = [
        transaction.chain_id, transaction.nonce, transaction.max_priority_fee, transaction.max_fee,
        transaction.gas_limit, transaction.to, transaction.value, transaction.data, access_list,
        transaction.valid_until, transaction.flags, [_encode_move(move) for move in transaction.moves],
        transaction.y_parity, transaction.r, transaction.s,
    ]  # fmt: skip
    return bytes((DECLARED_TYPE,)) + bytes(rlp.encode(fields))


def _encode_move(move: NamedMove) -> list[bytes]:
    fields = (
        (Mask.MARK, bytes((move.mark,))),
        (Mask.INTX, move.intx),
        (Mask.ADDR, move.addr),
        (Mask.SLOT, move.slot),
        (Mask.PREV, move.prev),
        (Mask.NEXT, move.next),
    )
    return [bytes((move.mask,)), *(b"" if move.mask & bit else value for bit, value in fields)]


def is_signed(mask: int) -> bool:
    """True if a move with this mask has a field that its signer signed."""
    return mask & UNSIGNED != UNSIGNED


def signed_form(move: Move, intx: bytes = ZERO32) -> NamedMove:
    """A filled move as its signer saw it: masked fields zero. intx: of the cell, 32 bytes, where INTX is signed."""
    mask = move.mask
    return NamedMove(
        mask,
        0 if mask & _MARK else move.mark,
        ZERO32 if mask & _INTX else intx,
        ZERO20 if mask & _ADDR else move.addr,
        ZERO32 if mask & _SLOT else move.slot,
        ZERO32 if mask & _PREV else move.prev,
        ZERO32 if mask & _NEXT else move.next,
    )


def signing_hash(transaction: DeclaredTransaction) -> bytes:
    """EIP-712: keccak-256 of 0x1901 | the domain's hash | the transaction's hash, 32 bytes."""
    struct = b"".join((
        _TRANSACTION_TYPE_HASH,
        _word(transaction.nonce),
        _word(transaction.max_priority_fee),
        _word(transaction.max_fee),
        _word(transaction.gas_limit),
        keccak256(transaction.to),
        _word(transaction.value),
        keccak256(transaction.data),
        keccak256(b"".join(map(_hash_access_entry, transaction.access_list))),
        _word(transaction.valid_until),
        _word(transaction.flags),
        keccak256(b"".join(map(_hash_move, transaction.moves))),
    ))  # fmt: skip
    return keccak256(b"\x19\x01" + domain_separator(transaction.chain_id or 0) + keccak256(struct))


def typed_data(transaction: DeclaredTransaction) -> dict[str, Any]:
    """What a wallet is asked to sign: the JSON object of eth_signTypedData_v4, whose hash is `signing_hash`.

    Integers that may not fit a double are decimal strings; bytes are 0x and hex digits.
    """
    chain_id = transaction.chain_id or 0
    return {
        "types": {
            "EIP712Domain": _members(DOMAIN_TYPE),
            "Transaction": _members(TRANSACTION_TYPE),
            "AccessEntry": _members(ACCESS_TYPE),
            "Move": _members(MOVE_TYPE),
        },
        "primaryType": "Transaction",
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": chain_id if chain_id <= MAX_JSON_INTEGER else str(chain_id),
        },
        "message": _message(transaction),
    }


def _members(struct: bytes) -> list[dict[str, str]]:
    """The members of a struct type: Name(type name,type name,...)."""
    inside = struct.decode().partition("(")[2].rstrip(")")
    pairs = (member.split(" ") for member in inside.split(","))
    return [{"name": name, "type": kind} for kind, name in pairs]


def _message(transaction: DeclaredTransaction) -> dict[str, Any]:
    return {
        "nonce": str(transaction.nonce),
        "maxPriorityFeePerGas": str(transaction.max_priority_fee),
        "maxFeePerGas": str(transaction.max_fee),
        "gasLimit": str(transaction.gas_limit),
        "to": _hex(transaction.to),
        "value": str(transaction.value),
        "data": _hex(transaction.data),
        "accessList": [
            {"account": _hex(entry.address), "slots": [_hex(slot) for slot in entry.slots]}
            for entry in transaction.access_list
        ],
        "validUntil": str(transaction.valid_until),
        "flags": transaction.flags,
        "moves": [_shown_move(move) for move in transaction.moves],
    }


def _shown_move(move: NamedMove) -> dict[str, Any]:
    fields = {"intx": move.intx, "account": move.addr, "slot": move.slot, "prev": move.prev, "next": move.next}
    shown = {name: _hex(value) for name, value in fields.items()}
    return {"mask": move.mask, "mark": _hex(bytes((move.mark,))), **shown}


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def domain_separator(chain_id: int) -> bytes:
    """EIP-712: the hash of the domain, 32 bytes."""
    name, version = keccak256(DOMAIN_NAME.encode()), keccak256(DOMAIN_VERSION.encode())
    return keccak256(_DOMAIN_TYPE_HASH + name + version + _word(chain_id))


def _hash_access_entry(entry: AccessEntry) -> bytes:
    return keccak256(_ACCESS_TYPE_HASH + entry.address.rjust(32, b"\0") + keccak256(b"".join(entry.slots)))


def _hash_move(move: NamedMove) -> bytes:
    mark, account = bytes((move.mark,)).ljust(32, b"\0"), move.addr.rjust(32, b"\0")
    return keccak256(
        _MOVE_TYPE_HASH + _word(move.mask) + mark + move.intx + account + move.slot + move.prev + move.next
    )


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")
