"""The baseline of benchmarks: plain revm spends the gas of the original block, round after round."""

from __future__ import annotations

import pytest

from manaflow._native import Plain
from manaflow.coordinator.ethereum import cells_of
from manaflow.errors import Failure
from manaflow.evm.envelopes import decode_envelopes
from manaflow.evm.environment import environment_of
from manaflow.evm.native import native_environment
from tests.parts import native_codes
from tests.replays import chain


def plain(**changed: bytes) -> Plain:
    """A real block without its system calls, which spend no gas that counts."""
    real = chain("1-21230867")
    ethereum, block = real.ethereum[0], real.blocks[0]
    cells = {location: value for location, value in cells_of(ethereum.prestate) if any(value)}
    columns = {
        "marks": bytes(mark for mark, _, _ in cells),
        "addrs": b"".join(addr for _, addr, _ in cells),
        "slots": b"".join(slot for _, _, slot in cells),
        "values": b"".join(cells.values()),
    } | changed
    return Plain(
        native_environment(environment_of(block.header, real.config)),
        list(block.envelopes),
        decode_envelopes(block.envelopes).sender.tobytes(),
        block_hashes=dict(ethereum.block_hashes),
        codes=native_codes(real.codes),
        **columns,
    )


def test_spends_the_gas_of_the_original_in_every_round() -> None:
    block = plain()
    for _ in range(2):
        block.reset()
        block.decode()
        assert block.run() == chain("1-21230867").ethereum[0].gas_used


def test_does_not_start_over_without_a_reset() -> None:
    block = plain()
    block.reset()
    block.decode()
    block.run()
    block.decode()
    with pytest.raises(Failure, match="nonce"):
        block.run()


def test_columns_must_fit() -> None:
    with pytest.raises(ValueError, match="columns of different lengths"):
        plain(marks=b"")
