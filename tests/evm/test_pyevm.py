"""What is special to the py-evm executor: its own repairs, its limits and its refusals."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from dataclasses import replace
from typing import Any

import pytest

from manaflow.errors import Failure, Unsupported
from manaflow.evm.executor import Execution, Job
from manaflow.evm.pyevm import PyEvmExecutor
from manaflow.evm.pyevm.state import jump_destinations
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Mark
from manaflow.rules.config import Fork
from tests.evm.crafting import (
    ETHER,
    NAMES,
    NUMBER,
    OTHER,
    SENDER,
    THIRD,
    TO,
    Account,
    asm,
    call,
    case,
    create,
    designation,
    sign_authorization,
    store,
    word,
)
from tests.evm.engines import ENGINES

EXECUTOR = PyEvmExecutor()
by_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)


def run(code: bytes, **changes: Any) -> Execution:
    return EXECUTOR.execute(job(code, **changes))


def job(code: bytes, **changes: Any) -> Job:
    return case("", [], code=code, **changes).job


def slot(execution: Execution, number: int = 0) -> int:
    return next(
        int.from_bytes(use.next, "big")
        for use in execution.uses
        if (use.mark, use.addr, use.slot) == (Mark.STORAGE, TO, word(number))
    )


def test_import_needs_nothing_native() -> None:
    code = (
        "import sys; sys.modules['manaflow._native'] = None\n"
        "import manaflow.evm.pyevm, manaflow.evm.validity, manaflow.evm.environment\n"
        "import manaflow.evm.isolated, manaflow.rules.execution\n"
        "print(sys.getrecursionlimit())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(ran.stdout) >= 12_288


def test_a_missing_code_is_a_failure() -> None:
    with pytest.raises(Failure, match="missing"):
        EXECUTOR.execute(replace(job(b"\0"), codes={}))


def test_osaka_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="osaka"):
        run(b"\0", fork=Fork.OSAKA)


@pytest.mark.parametrize("fork", [Fork.PARIS, Fork.SHANGHAI])
def test_an_old_selfdestruct_is_unsupported(fork: Fork) -> None:
    with pytest.raises(Unsupported, match=TO.hex()):
        run(asm(OTHER, "SELFDESTRUCT"), fork=fork)


@by_engine
def test_a_balance_beyond_256_bits_is_unsupported(engine: PyEvmExecutor) -> None:
    too_rich = {OTHER: Account(2**256 - 1)}
    with pytest.raises(Unsupported, match="256"):
        engine.execute(job(call(OTHER, 1), accounts=too_rich))


def test_gas_refund_is_a_fifth_at_most() -> None:
    clearing = b"".join(asm(0, i, "SSTORE") for i in range(10))
    filled = {TO: Account(0, 1, clearing, dict.fromkeys(range(10), 1))}
    spent = 21_000 + 10 * (6 + 5_000)
    assert run(clearing, accounts=filled).gas_used == spent - spent // 5


@by_engine
def test_gas_of_authorizations(engine: PyEvmExecutor) -> None:
    """25,000 each, of which 12,500 come back for an authority that is not empty."""
    tuples = (sign_authorization(), sign_authorization(nonce=1))
    spending = b"\x5b" * 100_000  # so that a fifth of the gas is more than the refund
    for authority, refund in ((Account(), 12_500), (Account(1), 25_000)):
        with_refund = job(spending, authorizations=tuples, accounts={NAMES["authority"]: authority})
        assert engine.execute(with_refund).gas_used == 21_000 + 50_000 + 100_000 - refund


@by_engine
@pytest.mark.parametrize(("fork", "gas"), [(Fork.PARIS, 53_132), (Fork.SHANGHAI, 53_136), (Fork.PRAGUE, 53_136)])
def test_gas_of_initcode(fork: Fork, gas: int, engine: PyEvmExecutor) -> None:
    assert engine.execute(job(b"", fork=fork, to=b"", data=bytes(33))).gas_used == gas


@by_engine
def test_initcode_of_the_senders_delegate_is_paid_once(engine: PyEvmExecutor) -> None:
    accounts = {SENDER: Account(ETHER, 5, designation(OTHER)), OTHER: Account(0, 1, create())}
    plain = engine.execute(job(b"", to=SENDER, accounts=accounts)).gas_used
    accounts[OTHER] = Account(0, 1, asm(64, 0, 0, "CREATE", "POP"))
    # 64 bytes of initcode: 2 words of 2 gas, 2 words of memory of 3 gas.
    assert engine.execute(job(b"", to=SENDER, accounts=accounts)).gas_used == plain + 4 + 6


def test_floor_gas_from_prague() -> None:
    data = b"\1" * 1_000
    assert run(b"\0", data=data).gas_used == 21_000 + 40 * 1_000
    assert run(b"\0", data=data, fork=Fork.CANCUN).gas_used == 21_000 + 16 * 1_000


def test_the_sender_pays_price_and_the_coinbase_gets_the_tip() -> None:
    execution = run(b"\0", value=0)
    after = {(chr(use.mark), use.addr): int.from_bytes(use.next, "big") for use in execution.uses}
    assert after["b", SENDER] == 100 * ETHER - 21_000 * 8
    assert after["b", b"\xcc" * 20] == 21_000


def test_transient_storage_reverts_with_its_frame() -> None:
    inner = asm(7, 1, "TSTORE") + b"\xfe"
    code = asm(5, 1, "TSTORE") + call(OTHER, gas=50_000, kind="DELEGATECALL") + asm(1, "TLOAD", 0, "SSTORE")
    for _ in range(2):  # the second execution would meet checkpoints of the first, were they not unique
        assert slot(run(code, accounts={OTHER: Account(0, 1, inner)})) == 5


def test_blob_hashes_and_fees_are_seen() -> None:
    blobs = (b"\x01" + bytes(30) + b"\x09",)
    fields: dict[str, Any] = {"type": 3, "blob_hashes": blobs, "max_fee_per_blob_gas": 5}
    code = asm(0, "BLOBHASH", 0, "SSTORE", "BLOBBASEFEE", 1, "SSTORE", 1, "BLOBHASH", 2, "SSTORE")
    execution = run(code, settings={"blob_base_fee": 4}, **fields)
    assert (slot(execution, 0), slot(execution, 1), slot(execution, 2)) == (2**248 + 9, 4, 0)
    left = next(use.next for use in execution.uses if (use.mark, use.addr) == (Mark.BALANCE, SENDER))
    assert 100 * ETHER - int.from_bytes(left, "big") == execution.gas_used * 8 + 2**17 * 4


def test_codes_made_live() -> None:
    made = asm(1, 0, "RETURN")
    execution = run(create(made))
    assert execution.codes == {keccak256(b"\0"): b"\0"}
    assert run(create(made) + b"\xfe").codes == {}


def test_jump_destinations_skip_pushed_data() -> None:
    assert jump_destinations(b"") == frozenset()
    assert jump_destinations(b"\x5b\x60\x5b\x5b\x61\x5b\x5b\x5b\x5b") == {0, 3, 7, 8}
    assert jump_destinations(b"\x7f" + b"\x5b" * 33) == {33}
    assert jump_destinations(b"\x5b\x7f\x5b\x5b") == {0}
    assert jump_destinations(b"\x5f\x5b\x80\x5b") == {1, 3}
    assert jump_destinations(b"\x60\n\x5b") == {2}


def test_code_of_nothing_but_pushes_needs_no_recursion() -> None:
    code = asm(24_575, "JUMP").ljust(24_575, b"\x7f") + b"\x5b"
    assert run(code).status == (24_575 in jump_destinations(code))


def recursion(kind: str) -> bytes:
    """Itself again, as deep as it goes; slot 0 counts the frames."""
    count = asm(0, "SLOAD", 1, "ADD", 0, "SSTORE")
    if kind == "CALL":
        return count + asm(0, 0, 0, 0, 0, "ADDRESS", "GAS", "CALL", "STOP")
    return asm("CODESIZE", 0, 0, "CODECOPY", "CODESIZE", 0, 0, "CREATE", "STOP")


@pytest.mark.parametrize("kind", ["CALL", "CREATE"])
def test_the_depth_limit_is_within_python_s(kind: str) -> None:
    """1,024 frames, also in a thread, whose stack is smaller."""
    results: list[Execution] = []
    deep = job(recursion(kind), gas_limit=2**58, settings={"gas_limit": 2**59, "base_fee": 0},
               max_fee=0, max_priority_fee=0)  # fmt: skip
    if kind == "CREATE":
        deep = replace(deep, cells=_AnyCell(deep.cells))
    thread = threading.Thread(target=lambda: results.append(EXECUTOR.execute(deep)))
    thread.start()
    thread.join()
    assert results[0].status == 1
    if kind == "CALL":
        assert slot(results[0]) == 1_025
    else:
        born = [use for use in results[0].uses if use.mark == Mark.NONCE and use.prev == ZERO32 != use.next]
        assert len(born) == 1_024


class _AnyCell(dict[Any, bytes]):
    def __missing__(self, location: Any) -> bytes:
        return ZERO32


def modexp_input(base: bytes, exponent: bytes, modulus: bytes) -> bytes:
    return b"".join(word(len(part)) for part in (base, exponent, modulus)) + base + exponent + modulus


def precompiled(address: int, data: bytes, size: int, engine: PyEvmExecutor = EXECUTOR) -> tuple[int, int, bytes]:
    """(success, size of the output, the last 32 bytes of `size`)."""
    fill = b"".join(asm(data[i : i + 32].ljust(32, b"\0"), i, "MSTORE") for i in range(0, len(data), 32))
    out = 4_096
    code = fill + asm(size, out, len(data), 0, 0, address, "GAS", "CALL", 0, "SSTORE", "RETURNDATASIZE", 1, "SSTORE")
    code += asm(out + max(size - 32, 0), "MLOAD", 2, "SSTORE")
    execution = engine.execute(job(code))
    return slot(execution, 0), slot(execution, 1), word(slot(execution, 2))


@by_engine
@pytest.mark.parametrize(
    ("base", "exponent", "modulus", "answer"),
    [
        (b"", b"", b"\x05", 1),
        (b"", b"\0", b"\x05", 1),
        (b"", b"", b"\x01", 0),
        (b"", b"\x02", b"\x05", 0),
        (b"\x03", b"", b"\x05", 1),
        (b"\x03", b"\x04", b"\x05", 1),
        (b"\x02", b"\x05", b"\0\0\x1b", 5),
        (b"\x02", b"\x05", b"\0", 0),
    ],
)
def test_modexp(base: bytes, exponent: bytes, modulus: bytes, answer: int, engine: PyEvmExecutor) -> None:
    success, size, output = precompiled(5, modexp_input(base, exponent, modulus), 32, engine)
    assert (success, size) == (1, len(modulus))
    assert output[: len(modulus)] == answer.to_bytes(len(modulus), "big")


@by_engine
def test_modexp_without_modulus_takes_no_exponent(engine: PyEvmExecutor) -> None:
    data = word(0) + word(2**255) + word(0)
    assert precompiled(5, data, 32, engine)[:2] == (1, 0)


@by_engine
def test_modexp_reads_beyond_its_data_as_zeros(engine: PyEvmExecutor) -> None:
    data = word(1) + word(1) + word(2) + b"\x03\x02\x01"  # 3^2 modulo 0x0100
    success, size, output = precompiled(5, data, 32, engine)
    assert (success, size, output[:2]) == (1, 2, b"\0\x09")


POINT_AT_INFINITY = b"\xc0" + bytes(47)
"""The commitment to the zero polynomial, and its proof anywhere: it is 0 at 0."""


def point(y: int = 0, proof: bytes = POINT_AT_INFINITY, version: int = 1) -> bytes:
    versioned = bytes((version,)) + hashlib.sha256(POINT_AT_INFINITY).digest()[1:]
    return versioned + word(0) + word(y) + POINT_AT_INFINITY + proof


@by_engine
def test_point_evaluation(engine: PyEvmExecutor) -> None:
    modulus = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
    assert precompiled(10, point(), 64, engine) == (1, 64, word(modulus))
    for broken in (point(y=1), point(y=modulus), point(proof=bytes(48)), point(version=2), point()[:-1]):
        assert precompiled(10, broken, 64, engine)[:2] == (0, 0)


def test_before_cancun_10_is_no_precompile() -> None:
    execution = run(call((10).to_bytes(20, "big")), fork=Fork.CANCUN)
    assert all(use.addr != (10).to_bytes(20, "big") for use in execution.uses)
    old = job(call((10).to_bytes(20, "big")), fork=Fork.SHANGHAI)
    execution = EXECUTOR.execute(replace(old, cells=_AnyCell(old.cells)))
    assert (Mark.CODE, (10).to_bytes(20, "big"), ZERO32) in [use.location for use in execution.uses]


def test_block_hash_is_the_cells() -> None:
    execution = run(asm(NUMBER - 1, "BLOCKHASH", 0, "SSTORE"))
    assert word(slot(execution)) == keccak256(word(NUMBER - 1))


def test_a_reverted_frame_is_cold_again() -> None:
    """EIP-2929: what a reverted frame warmed costs the cold price again."""
    inner = asm(THIRD, "BALANCE", "POP")
    code = call(OTHER) + asm(THIRD, "BALANCE", "POP")
    reverting = run(code, accounts={OTHER: Account(0, 1, inner + asm(0, 0, "REVERT"))})
    kept = run(code, accounts={OTHER: Account(0, 1, inner + asm(0, 0, "RETURN"))})
    assert reverting.gas_used - kept.gas_used == 2_500


def test_an_executor_keeps_nothing() -> None:
    first = job(store(1))
    assert EXECUTOR.execute(first) == EXECUTOR.execute(first)
