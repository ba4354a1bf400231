"""Random programs on both executors: the same outcome, the same uses, the same values, the same gas."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from manaflow.errors import ManaflowError, Undeclared
from manaflow.evm.executor import Execution, Executor, Job
from manaflow.moves.marks import ZERO20
from manaflow.rules.config import Fork
from tests.conftest import is_nightly
from tests.evm.crafting import (
    AUTHORITY_KEY,
    COINBASE,
    NAMES,
    NUMBER,
    OTHER,
    SENDER,
    THIRD,
    TO,
    Account,
    address_of,
    asm,
    call,
    case,
    create,
    designation,
    load,
    look,
    sign_authorization,
    store,
)
from tests.evm.engines import ENGINES
from tests.evm.worlds import alone

PROGRAMS = 20_000 if is_nightly() else 400
TARGETS = (TO, OTHER, THIRD, SENDER, COINBASE, *(NAMES[name] for name in ("authority", "identity", "sha256", "made")))
FORKS = (Fork.PARIS, Fork.SHANGHAI, Fork.CANCUN, Fork.PRAGUE)


def step(rng: random.Random) -> bytes:
    """One thing that a contract may do with state; often cut short by the gas it is given."""
    target, value = rng.choice(TARGETS), rng.choice((0, 0, 1, 10**18, 2 * 10**18))
    gas = rng.choice((None, None, 0, 2_299, 2_300, 2_307, 9_000, 30_000, rng.randrange(60_000)))
    kind = rng.randrange(12)
    if kind < 4:
        return call(target, value, gas, rng.choice(("CALL", "CALL", "CALLCODE", "DELEGATECALL", "STATICCALL")))
    if kind < 6:
        return look(rng.choice(("BALANCE", "EXTCODESIZE", "EXTCODEHASH")), target)
    if kind == 6:
        return asm(rng.choice((0, 1, 32, 4_000)), 0, 0, target, "EXTCODECOPY")
    if kind == 7:
        return rng.choice((store, load))(rng.randrange(3)) + asm(rng.randrange(2), rng.randrange(3), "SSTORE")
    if kind == 8:
        return asm(
            rng.choice((NUMBER, NUMBER - 1, NUMBER - 256, NUMBER - 257)), "BLOCKHASH", "POP", "SELFBALANCE", "POP"
        )
    if kind == 9:
        return create(rng.choice((b"", store(1), b"\xfe", asm(1, 0, "RETURN"), asm(OTHER, "SELFDESTRUCT"))), value,
                      rng.choice(("CREATE", "CREATE2")))  # fmt: skip
    if kind == 10:
        return asm(rng.randrange(3), 0, "LOG0", rng.randrange(2), 1, "TSTORE")
    return rng.choice((asm(target, "SELFDESTRUCT"), b"\xfe", asm(0, 0, "REVERT"), asm(32, 0, "RETURN")))


def program(rng: random.Random) -> bytes:
    return b"".join(step(rng) for _ in range(rng.randrange(1, 7)))


def account(rng: random.Random) -> Account:
    code = rng.choice((b"", program(rng), program(rng), designation(rng.choice(TARGETS))))
    nonce = rng.choice((0, 1, 2**64 - 1)) if not code else rng.choice((1, 1, 1, 2**64 - 1))
    storage = {slot: rng.randrange(3) for slot in range(3)} if code else {}
    return Account(rng.choice((0, 0, 1, 10**18)), nonce, code, storage)


def random_job(seed: int) -> Job:
    rng = random.Random(seed)
    accounts = {address: account(rng) for address in (TO, OTHER, THIRD)}
    accounts[COINBASE] = Account(rng.choice((0, 5)))
    fork = rng.choice(FORKS)
    if fork == Fork.PRAGUE:
        accounts[SENDER] = Account(10**20, 5, rng.choice((b"", b"", designation(rng.choice((OTHER, THIRD))))))
    if rng.random() < 0.2:
        accounts[address_of(AUTHORITY_KEY)] = account(rng)
    tuples = tuple(
        sign_authorization(rng.choice((OTHER, THIRD, ZERO20)), rng.randrange(3)) for _ in range(rng.randrange(3))
    )
    data = program(rng) if rng.random() < 0.2 else b""
    return case(
        "", [], accounts=accounts, fork=fork, data=data, gas_limit=rng.choice((60_000, 150_000, 2_000_000)),
        to=b"" if data and rng.random() < 0.7 else rng.choice(TARGETS), value=rng.choice((0, 0, 1)),
        max_priority_fee=rng.choice((0, 1)), settings={"credits_coinbase": rng.random() < 0.7},
        authorizations=tuples if fork == Fork.PRAGUE and not data else (),
    ).job  # fmt: skip


def outcome(engine: Executor, job: Job) -> Execution | tuple[type, object]:
    try:
        return engine.execute(job)
    except Undeclared as error:
        return Undeclared, (error.mark, error.addr, error.slot)
    except ManaflowError as error:
        return type(error), getattr(error, "rule", None)


@pytest.mark.skipif(len(ENGINES) < 2, reason="one executor has nobody to agree with")
def test_engines_agree_on_random_programs() -> None:
    executed = undeclared = 0
    for seed in range(PROGRAMS):
        job = random_job(seed)
        ours, theirs = (outcome(engine, job) for engine in ENGINES)
        assert ours == theirs, f"seed {seed}"
        if not isinstance(ours, Execution):
            undeclared += ours[0] is Undeclared
            continue
        executed += 1
        strict = alone(job, ours)
        assert [outcome(engine, strict) for engine in ENGINES] == [ours, ours], f"seed {seed}, alone"
        missing = random.Random(seed).choice(sorted(strict.cells))
        poor = replace(strict, cells={at: value for at, value in strict.cells.items() if at != missing})
        expected = (Undeclared, (bytes((missing[0],)), *missing[1:]))
        assert [outcome(engine, poor) for engine in ENGINES] == [expected, expected], f"seed {seed}, without {missing}"
    assert executed > PROGRAMS // 2
    assert undeclared > 0  # CREATEs whose address no name foresees
