"""How many moves 2^24 gas (X5) can use: what MAX_MOVES must leave room for (docs/SPEC.md, section 9)."""

from __future__ import annotations

from manaflow.evm.validity import GAS_ACCESS_ADDRESS, GAS_ACCESS_SLOT, GAS_GUARD, GAS_TRANSACTION
from manaflow.rules.bodies import HASH_WINDOW
from manaflow.rules.execution import MAX_GAS_LIMIT
from manaflow.rules.leaves import MAX_MOVES
from manaflow.rules.signing import MAX_SIGNED_BYTES
from tests.builders import envelope
from tests.chain import ETHER
from tests.manaflow_chain import BASE_FEE, CHAIN_ID, Producer

WARM = 100
"""An access to what an access list has paid for (EIP-2929, EIP-2930)."""
LISTED = GAS_ACCESS_ADDRESS + WARM
"""The least gas for an account: E(a) of an empty one is three moves."""
FREE = 4 * 3 + 18
"""Sender, target, its delegate and the coinbase are warm from the start, and so are 18 precompiles (Osaka), b alone."""
MOST = 3 * ((MAX_GAS_LIMIT - GAS_TRANSACTION) // LISTED) + HASH_WINDOW + FREE
PROBE = b"\x9b" * 20
PROBES = bytes.fromhex("5a3f50") * 8_190
"""GAS EXTCODEHASH POP: each time the emptiness of another untouched account, whose address is the gas left."""


def test_the_most_moves_that_gas_can_use() -> None:
    assert MOST == 20_392
    assert MOST <= MAX_MOVES
    others = (GAS_ACCESS_SLOT + WARM, GAS_GUARD)  # one move each: a slot, a guard
    assert min(others) > LISTED / 3
    assert LISTED / 3 < 25_000 / 3  # an EIP-7702 tuple: c, n, b of an authority
    assert LISTED / 3 < 32_000 / 4  # a create: c, n, b of the new account, n of its creator
    assert LISTED / 3 < (5_000 + 2_600) / 4  # a SELFDESTRUCT: its own b, E of the beneficiary


def test_an_execution_that_uses_nearly_as_many() -> None:
    producer = Producer(accounts=1, alloc={PROBE: (ETHER, 1, PROBES, {})})
    listed = (MAX_SIGNED_BYTES - 200) // 23
    start = MAX_GAS_LIMIT - GAS_TRANSACTION - listed * GAS_ACCESS_ADDRESS - 2
    probes = [start - i * (WARM + 4) for i in range(listed)]
    raw = envelope(
        2, producer.keys[0], chain_id=CHAIN_ID, nonce=0, tip=0, fee=10 * BASE_FEE, gas_limit=MAX_GAS_LIMIT, to=PROBE,
        value=0, data=b"", access_list=[[gas.to_bytes(20, "big"), []] for gas in probes],
    )  # fmt: skip
    assert len(raw) <= MAX_SIGNED_BYTES
    leaf = producer.seal([raw]).block.leaves[1]
    assert 19_900 < leaf.consumes + leaf.references <= MOST
