"""Random transactions of every type, Paris to Prague, on small worlds of contracts that call each other."""

from __future__ import annotations

import os
import random
from typing import Any

import coincurve

from manaflow.evm.executor import Environment, Job
from manaflow.evm.validity import floor_gas, intrinsic_gas
from manaflow.moves.transactions import AccessEntry, Authorization
from manaflow.rules.config import Fork
from tests.evm.crafting import (
    AUTHORITY_KEY,
    CHAIN_ID,
    COINBASE,
    ETHER,
    NAMES,
    NUMBER,
    OTHER,
    SENDER,
    THIRD,
    TO,
    ZERO20,
    Account,
    address_of,
    designation,
    sign_authorization,
    transaction,
    word,
)
from tests.evm.job_files import environment_of, world_of
from tests.evm.random_inputs import precompile_input
from tests.evm.random_programs import CONTRACTS, NOBODY, PRECOMPILES, program, target

FORKS = (Fork.PARIS, Fork.SHANGHAI, Fork.CANCUN, Fork.PRAGUE)
SECOND_KEY = coincurve.PrivateKey(b"\x08" * 32)
SECOND_AUTHORITY = address_of(SECOND_KEY)
KEYS = (AUTHORITY_KEY, AUTHORITY_KEY, SECOND_KEY)
MADE = (NAMES["new"], NAMES["made"], NAMES["made2"])
SENDER_NONCE = 5


def seeds(count: int) -> range:
    """So many seeds, from 0 on or from what the environment variable MANAFLOW_FIRST_SEED says."""
    first = int(os.environ.get("MANAFLOW_FIRST_SEED", "0"))
    return range(first, first + count)


def job(seed: int) -> Job:
    """The same seed gives the same job, on every machine."""
    rng = random.Random(seed)
    fork = rng.choices(FORKS, (1, 1, 3, 5))[0]
    sender = NAMES["authority"] if fork == Fork.PRAGUE and rng.random() < 0.2 else SENDER
    world = world_of(accounts(rng, fork, sender))
    fields = call_of(rng, fork, sender)
    call = transaction(**fields)
    least = max(intrinsic_gas(call, fork), floor_gas(call, fork))
    limits = (least, least + rng.randrange(3_000), least + rng.randrange(100_000), 60_000, 150_000, 400_000, 2_000_000)
    call = transaction(**fields, gas_limit=max(least, rng.choices(limits, (1, 1, 3, 1, 3, 6, 6))[0]))
    return Job(environment(rng, fork), call, sender, 0, 0, world, world.codes)


def environment(rng: random.Random, fork: Fork) -> Environment:
    return environment_of(
        fork,
        rng.choice((COINBASE, COINBASE, COINBASE, SENDER, TO, OTHER, PRECOMPILES[3], *MADE, NAMES["authority"])),
        excess_blob_gas=rng.choice((0, 0, 2**23, 2**26)) if fork >= Fork.CANCUN else 0,
        credits_coinbase=rng.random() < 0.8,
        chain_id=CHAIN_ID,
        number=NUMBER,
        timestamp=1_700_000_000,
        gas_limit=30_000_000,
        base_fee=rng.choice((0, 7, 7, 7)),
        prevrandao=b"\x22" * 32,
    )


def accounts(rng: random.Random, fork: Fork, sender: bytes) -> dict[bytes, Account]:
    """Three contracts, the coinbase, and sometimes authorities and what stands where a create wants to go."""
    world = {address: contract(rng, fork) for address in CONTRACTS}
    world[COINBASE] = Account(rng.choice((0, 5)))
    for address in (NAMES["authority"], SECOND_AUTHORITY):
        if rng.random() < 0.3:
            world[address] = contract(rng, fork)
    for address in MADE:
        if rng.random() < 0.15:
            world[address] = rng.choice((Account(3), Account(0, 1), contract(rng, fork)))
    if rng.random() < 0.2:
        world[NOBODY] = rng.choice((Account(1), Account(0, 1)))
    delegates = fork >= Fork.PRAGUE and rng.random() < 0.3
    code = designation(rng.choice((*CONTRACTS, sender, PRECOMPILES[1], NOBODY))) if delegates else b""
    world[sender] = Account(100 * ETHER, SENDER_NONCE, code)
    return world


def contract(rng: random.Random, fork: Fork) -> Account:
    """Code, a delegation (before Prague: code that begins with 0xef), or none."""
    kind = rng.choices(range(3), (7, 2 if fork >= Fork.PRAGUE else 0.2, 1))[0]
    if kind == 2:
        return Account(rng.choice((0, 1)), rng.choice((0, 1, 2**64 - 1)))
    code = program(rng) if kind == 0 else designation(rng.choice((target(rng), ZERO20)))
    # Whoever has a delegation has a nonce (EIP-7702).
    nonce = rng.choice((1, 1, 1, 1, 2**64 - 1, 0 if kind == 0 else 2))
    return Account(rng.choice((0, 1, ETHER, 10 * ETHER)), nonce, code, {slot: rng.randrange(3) for slot in range(4)})


def call_of(rng: random.Random, fork: Fork, sender: bytes) -> dict[str, Any]:
    """The fields of a transaction of any type that the fork has."""
    kinds = [0, 1, 2, 2, *([3] if fork >= Fork.CANCUN else []), *([4, 4, 4] if fork >= Fork.PRAGUE else [])]
    kind = rng.choice(kinds)
    creates = kind < 3 and rng.random() < 0.25
    data = program(rng) if creates else rng.randbytes(rng.choice((0, 0, 4, 64, 200)))
    to = b"" if creates else _recipient(rng, sender)
    if to in PRECOMPILES:
        data = precompile_input(rng, int.from_bytes(to, "big"))
    price = rng.choice((7, 8, 100))
    fields: dict[str, Any] = {
        "type": kind, "nonce": SENDER_NONCE, "to": to, "data": data,
        "value": rng.choice((0, 0, 1, ETHER)), "max_fee": price, "max_priority_fee": rng.choice((0, 1, price)),
        "chain_id": rng.choice((CHAIN_ID, None)) if kind == 0 else CHAIN_ID,
    }  # fmt: skip
    if kind < 2:
        fields["max_priority_fee"] = price
    if kind > 0:
        fields["access_list"] = access_list(rng)
    if kind == 3:
        hashes = tuple(b"\1" + rng.randbytes(31) for _ in range(rng.randrange(1, 4)))
        fields |= {"blob_hashes": hashes, "max_fee_per_blob_gas": rng.choice((1, 10**6, 10**12))}
    if kind == 4:
        fields["authorizations"] = tuple(authorization(rng, sender) for _ in range(rng.randrange(1, 5)))
    return fields


def _recipient(rng: random.Random, sender: bytes) -> bytes:
    people = (sender, NAMES["authority"], target(rng), rng.choice(PRECOMPILES))
    return rng.choice((TO, TO, TO, TO, OTHER, OTHER, THIRD, THIRD, *people))


def access_list(rng: random.Random) -> tuple[AccessEntry, ...]:
    return tuple(
        AccessEntry(target(rng), tuple(word(rng.randrange(4)) for _ in range(rng.randrange(3))))
        for _ in range(rng.randrange(3))
    )


def authorization(rng: random.Random, sender: bytes) -> Authorization:
    """Mostly valid, to contracts, precompiles, the authority itself, another authority, or nothing."""
    key = rng.choice(KEYS)
    authority = address_of(key)
    goal = rng.choice((*CONTRACTS, *CONTRACTS, ZERO20, authority, SECOND_AUTHORITY, target(rng)))
    nonce = rng.choice((0, 0, 1, 1, 2, 2**64 - 1))
    if authority == sender:
        nonce = SENDER_NONCE + rng.choice((1, 1, 2, 3))
    changes = rng.choice(({}, {}, {}, {}, {"y_parity": 2}, {"s": 0}, {"r": rng.randrange(2**256)}))
    return sign_authorization(goal, nonce, rng.choice((CHAIN_ID, CHAIN_ID, 0, 1)), key, **changes)
