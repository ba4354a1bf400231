"""The file: one encoding, bounded, and no byte of it that does not matter."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import rlp
from hypothesis import given, settings
from hypothesis import strategies as st

from manaflow.errors import Failure, Rule
from manaflow.fraudproof.build import (
    leaf_evidence,
    prove_b3,
    prove_pair,
    prove_parent,
    prove_transaction,
    prove_v1,
    prove_v1_maker,
    under_head,
)
from manaflow.fraudproof.build_bytes import entry_among, prove_malformed, prove_malformed_parent
from manaflow.fraudproof.build_counts import prove_leaf_count, prove_move_count, prove_no_leaves
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.evidence import TransactionEvidence, Tree
from manaflow.fraudproof.format import MAGIC, MAX_PATH, MAX_PROOF_BYTES, Proof
from manaflow.fraudproof.verify import verify
from manaflow.moves import trees
from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.marks import Mark
from manaflow.rules.config import ChainConfig
from tests.catalogue.case import MANAFLOW, case_of, lie_of
from tests.catalogue.catalogue import CATALOGUE
from tests.chain import word
from tests.conftest import ROOT
from tests.fraudproof.forge import (
    EXECUTOR,
    Parts,
    changed,
    executed_chain,
    forge_header,
    forge_leaf,
    hashes,
    index_of,
    moves_of,
    rejection,
)

COINBASE = bytes.fromhex("c0" * 20)
START = len(MAGIC) + 1


def malformed(block: Block, config: ChainConfig) -> tuple[Proof, bytes]:
    """A header over leaves of which one is too short."""
    rows = [row.tobytes() for row in block.leaves.encoded()]
    rows[2] = rows[2][:-1]
    accused = forge_header(block, transactions_root=trees.root(rows))
    node = entry_among(Tree.TRANSACTIONS, rows, 2)
    return prove_malformed(accused.header, accused.signature, config, node), accused.hash


def malformed_move(block: Block, config: ChainConfig) -> tuple[Proof, bytes]:
    """A header over moves of which one is too long."""
    moves = [move.encode() for move in moves_of(block, 2)]
    moves[1] += b"\0"
    accused = forge_leaf(block, 2, moves_root=trees.root(moves))
    node = entry_among(Tree.MOVES, moves, 1)
    return prove_malformed(accused.header, accused.signature, config, node, leaf_evidence(accused, 2)), accused.hash


def orphan(block: Block, config: ChainConfig) -> tuple[Proof, bytes]:
    """A header whose parent is no header."""
    accused = forge_header(block, parent_hash=hashlib.sha256(b"nothing").digest())
    return prove_malformed_parent(accused.header, accused.signature, config, b"nothing"), accused.hash


@cache
def samples() -> dict[str, tuple[bytes, bytes]]:
    """A verifying file of each kind and the head it verifies against."""
    chain = executed_chain()
    block, history = chain.head, hashes(chain)
    slot = (2, index_of(moves_of(block, 2), Mark.STORAGE))
    fees = (2, index_of(moves_of(block, 2), Mark.BALANCE, COINBASE))
    more = (3, index_of(moves_of(block, 3), Mark.BALANCE, COINBASE))

    def lie(where: tuple[int, int], **fields: object) -> Block:
        return changed(block, *where, **fields)

    paid = Withdrawal(1, 2, COINBASE, 3)
    x2, s1, value = lie(slot, next=word(9)), lie(slot, mask=0x3E), lie(slot, prev=word(9))
    unborn, double = lie(slot, number=10**6), lie(more, number=moves_of(block, 2)[fees[1]].number)
    dear, lost = forge_header(block, base_fee=1), forge_header(block, history_root=word(1))
    more_gas, idle = forge_leaf(block, 2, gas=1), forge_leaf(block, 0, status=0)
    short, bare = forge_header(block, transactions=3), Parts(withdrawals=(paid,)).seal(block.header)
    leaf, start = block.leaves[2], int(block.leaves.move_offsets()[2])
    long, rows = forge_leaf(block, 2, references=leaf.references + 1), (start, leaf.consumes + leaf.references)
    later = replace(x2.header, number=3, parent_hash=x2.hash, history_root=trees.root([*history, x2.hash]))
    x2_proof = prove_transaction(Rule.X2, x2, chain.config, 2, chain.codes)
    proofs = {
        "X2": (x2_proof, x2.hash),
        "X2 in an ancestor": (under_head(x2_proof, later, [*history, x2.hash]), later.hash),
        "S1": (prove_transaction(Rule.S1, s1, chain.config, 2), s1.hash),
        "V1": (prove_v1(value, chain.config, slot, chain.blocks[1], history), value.hash),
        "V1 not born": (prove_v1(unborn, chain.config, slot, None), unborn.hash),
        "V2": (prove_pair(Rule.V2, double, chain.config, more, double, fees), double.hash),
        "B2": (prove_parent(Rule.B2, dear, chain.config, chain.blocks[1].header), dear.hash),
        "B6": (prove_parent(Rule.B6, lost, chain.config, chain.blocks[1].header, history), lost.hash),
        "B3": (prove_b3(more_gas, chain.config, 1), more_gas.hash),
        "B8": (prove_transaction(Rule.B8, idle, chain.config, 0), idle.hash),
        "B3 of a count": (prove_leaf_count(short, chain.config), short.hash),
        "B3 of a count of moves": (prove_move_count(long, chain.config, 2, *rows), long.hash),
        "B8 without leaves": (prove_no_leaves(bare, chain.config), bare.hash),
        "B1 of a leaf": malformed(block, chain.config),
        "B1 of a move": malformed_move(block, chain.config),
        "B1 of a parent": orphan(block, chain.config),
    }
    proofs |= declared_samples()
    return {name: (proof.encode(), head) for name, (proof, head) in proofs.items()}


def declared_samples() -> dict[str, tuple[Proof, bytes]]:
    """Of declared transactions, from the catalogue of dishonest blocks."""
    case, entries = case_of(MANAFLOW), {entry.name: entry for entry in CATALOGUE}
    makers = {
        "V1 of a maker": ("maker_another_of_the_block", None),
        "V1 of a maker before": ("maker_another_of_an_earlier_block", case.before[1]),
        "V1 of a virgin cell": ("maker_of_a_virgin_cell", None),
    }
    wholes = {"S2": "more_masked_than_signed", "S3": "failure_of_what_must_succeed", "S4": "a_block_late"}
    proofs = {}
    for kind, (name, maker) in makers.items():
        lie = lie_of(entries[name])
        assert isinstance(lie.made, Block)
        assert lie.transaction is not None
        assert lie.move is not None
        inside = lie.made if kind == "V1 of a maker" else maker
        history = [block.hash for block in case.before]
        seat = (lie.transaction, lie.move)
        proofs[kind] = prove_v1_maker(lie.made, case.config, seat, inside, history), lie.made.hash
    for kind, name in wholes.items():
        lie = lie_of(entries[name])
        assert isinstance(lie.made, Block)
        assert lie.transaction is not None
        proofs[kind] = prove_transaction(Rule[kind], lie.made, case.config, lie.transaction), lie.made.hash
    return proofs


KINDS = [
    "X2",
    "X2 in an ancestor",
    "S1",
    "V1",
    "V1 not born",
    "V2",
    "B2",
    "B6",
    "B3",
    "B8",
    "B3 of a count",
    "B3 of a count of moves",
    "B8 without leaves",
    "S2",
    "S3",
    "S4",
    "V1 of a maker",
    "V1 of a maker before",
    "V1 of a virgin cell",
    "B1 of a leaf",
    "B1 of a move",
    "B1 of a parent",
]


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind: str) -> None:
    data, head = samples()[kind]
    assert Proof.decode(data).encode() == data
    assert verify(data, head, EXECUTOR).rule.name == kind[:2]
    assert len(data) < 4_000


@pytest.mark.parametrize("kind", KINDS)
def test_no_byte_can_be_changed(kind: str) -> None:
    data, head = samples()[kind]
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        assert rejection(bytes(flipped), head)


@pytest.mark.parametrize("kind", KINDS)
def test_no_byte_can_be_added_or_left_out(kind: str) -> None:
    data, head = samples()[kind]
    assert rejection(data + b"\0", head)
    for at in range(0, len(data), 7):
        assert rejection(data[:at], head)
        assert rejection(data[:at] + data[at + 1 :], head)
        assert rejection(data[:at] + b"\x80" + data[at:], head)


def test_only_this_version_and_these_rules() -> None:
    data, head = samples()["X2"]
    assert "version 2 of the format" in rejection(MAGIC + b"\2" + data[START:], head)
    assert "begins with other bytes" in rejection(b"MANAPROOX" + data[len(MAGIC) :], head)
    fields = rlp.decode(data[START:])
    for number in (0, int(Rule.B7), 99, 255):
        fields[0] = bytes([number]) if number else b""
        assert f"rule number {number} is none" in rejection(data[:START] + rlp.encode(fields), head)


def _with(change: Callable[[list], object]) -> bytes:
    data, _ = samples()["X2"]
    fields = rlp.decode(data[START:])
    change(fields)
    return data[:START] + rlp.encode(fields)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda f: f.__setitem__(1, bytes(8193)), "config: 8193 bytes"),
        (lambda f: f.__setitem__(3, bytes(1025)), "header: 1025 bytes"),
        (lambda f: f.__setitem__(4, bytes(64)), "signature: 64 bytes"),
        (lambda f: f.append(b""), "something follows"),
        (lambda f: f[5].append(b""), "something follows"),
        (lambda f: f[5][0].__setitem__(2, [bytes(32)] * (MAX_PATH + 1)), "path: more than 48"),
        (lambda f: f[5][0].__setitem__(2, [bytes(31)]), "path: 31 bytes"),
        (lambda f: f[5][0].__setitem__(0, b"\0\1"), "leading zero"),
        (lambda f: f[5][0].__setitem__(0, bytes([1] * 7)), "position: an integer of more than 6 bytes"),
        (lambda f: f[5].__setitem__(2, bytes(125)), "no multiple of 126"),
        (lambda f: f[5].__setitem__(3, [b""] * 8193), "codes: more than 8192"),
        (lambda f: f[5].__setitem__(3, b""), "bytes where a list belongs"),
    ],
)
def test_lengths_are_bounded(change: Callable[[list], object], why: str) -> None:
    assert why in rejection(_with(change), samples()["X2"][1])


def test_the_file_is_bounded() -> None:
    assert "at most 4194304" in rejection(bytes(MAX_PROOF_BYTES + 1), bytes(32))
    proof = Proof.decode(samples()["X2"][0])
    assert isinstance(proof.evidence, TransactionEvidence)
    room = MAX_PROOF_BYTES - len(replace(proof, evidence=replace(proof.evidence, codes=(bytes(2**20),))).encode())
    fits = replace(proof, evidence=replace(proof.evidence, codes=(bytes(2**20 + room),)))
    assert len(fits.encode()) == MAX_PROOF_BYTES
    assert "no move names them" in rejection(fits, samples()["X2"][1])
    with pytest.raises(Failure, match="F2"):
        replace(proof, evidence=replace(proof.evidence, codes=(bytes(2**20 + room + 1),))).encode()


@settings(max_examples=200, deadline=2_000)
@given(st.binary(max_size=300))
def test_hostile_bytes_are_rejected(data: bytes) -> None:
    for file in (data, MAGIC + b"\1" + data):
        with contextlib.suppress(ProofRejected):
            verify(file, bytes(32), EXECUTOR)
            pytest.fail("verified")


@settings(max_examples=200, deadline=2_000)
@given(st.sampled_from(KINDS), st.data())
def test_spliced_files_are_rejected(kind: str, data: st.DataObject) -> None:
    good, head = samples()[kind]
    other, _ = samples()[data.draw(st.sampled_from(KINDS))]
    start = data.draw(st.integers(0, len(good)))
    stop = data.draw(st.integers(start, len(good)))
    at = data.draw(st.integers(0, len(other)))
    spliced = good[:start] + other[at : at + data.draw(st.integers(0, 64))] + good[stop:]
    if spliced != good:
        assert rejection(spliced, head)


def _nested(size: int) -> bytes:
    """Lists in lists, at most `size` bytes."""
    data = b"\xc0"
    while len(deeper := rlp.codec.length_prefix(len(data), 0xC0) + data) <= size:
        data = deeper
    return data


def test_nesting_costs_no_stack() -> None:
    assert "bytes belong" in rejection(MAGIC + b"\1" + _nested(100_000), bytes(32))
    data, head = samples()["X2"]
    assert "bytes belong" in rejection(data[:START] + rlp.codec.length_prefix(90_000, 0xC0) + _nested(90_000), head)
    for header in (_nested(1024), _long_list(_nested(1000))):
        trusted = hashlib.sha256(header).digest()
        assert "the header does not decode" in rejection(_with(lambda f, h=header: f.__setitem__(3, h)), trusted)


def _long_list(item: bytes) -> bytes:
    return rlp.codec.length_prefix(len(item), 0xC0) + item


WITHOUT_NATIVE = """
import sys
sys.modules["manaflow._native"] = None
from manaflow.evm.pyevm import PyEvmExecutor
from manaflow.fraudproof.verify import verify
data, head = open(sys.argv[1], "rb").read(), bytes.fromhex(sys.argv[2])
print(verify(data, head, PyEvmExecutor()).verdict)
assert not [name for name in sys.modules if name.startswith(("manaflow.validator", "manaflow.coordinator"))]
"""


@pytest.mark.parametrize("kind", ["X2"])
def test_verification_needs_no_native_library(kind: str, tmp_path: Path) -> None:
    data, head = samples()[kind]
    file = tmp_path / "proof"
    file.write_bytes(data)
    command = [sys.executable, "-c", WITHOUT_NATIVE, str(file), head.hex()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.startswith(f"{kind}, transaction 2, move")
