"""The state that a validator holds, location by location, beside the one that a test expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from manaflow.conformance.fixtures import State
from manaflow.coordinator.ethereum import cells_of
from manaflow.errors import Failure
from manaflow.moves.marks import ZERO32, Location
from manaflow.rules.moves import named
from manaflow.validator.validator import Validator


def held_cells(validator: Validator) -> dict[Location, bytes]:
    """The value of every location that the chain ever consumed, zeros included.

    Which cells those are is read off the stored blocks; that they live, with this value, and no others, is what the
    index says. Raises Failure where it does not.
    """
    cells = _made_cells(validator)
    index = validator.index
    if index.tip.live != len(cells):
        raise Failure(f"the index has {index.tip.live} live cells, the blocks made {len(cells)}")
    with index.store.read() as txn:
        for location, (number, value) in cells.items():
            if not index.is_live(number) or not index.matches(txn, number, *location, value):
                raise Failure(f"cell {number}, {named(location)}, does not live in the index with 0x{value.hex()}")
    return {location: value for location, (_, value) in cells.items()}


def _made_cells(validator: Validator) -> dict[Location, tuple[int, bytes]]:
    """The last cell made at each location: its number and value."""
    cells: dict[Location, tuple[int, bytes]] = {}
    for height in range(validator.config.genesis_number, validator.head[0].number + 1):
        block = validator.block(height)
        if block is None:
            raise Failure(f"block {height} is not stored")
        consumes = (move for move in block.moves.objects() if not move.is_reference)
        for number, move in enumerate(consumes, block.header.first_cell):
            cells[move.location] = number, move.next
    return cells


def known_values(state: State) -> dict[Location, bytes]:
    """Every location of a full state that is not zero, with its value."""
    return {location: value for location, value in cells_of(state) if value != ZERO32}


def codes_of(state: State) -> dict[bytes, bytes]:
    """Code bytes by hash of every account of a state."""
    return {account.code_hash: account.code for account in state.values() if account.code}


def differences(expected: State, held: Mapping[Location, bytes]) -> Iterator[str]:
    """Where the held cells are not the expected full state: every location of either; an absent one is zero.

    A deleted account is one whose fields and slots are all zero.
    """
    wanted = known_values(expected)
    for location in sorted(wanted.keys() | held.keys()):
        should, found = wanted.get(location, ZERO32), held.get(location, ZERO32)
        if should != found:
            yield f"{named(location)}: expected 0x{should.hex()}, found 0x{found.hex()}"


def missing_codes(expected: State, validator: Validator) -> Iterator[str]:
    """Codes of the expected state whose bytes the validator does not hold."""
    for address, account in expected.items():
        if account.code and validator.code(account.code_hash) != account.code:
            yield f"c 0x{address.hex()}: the validator does not hold the code 0x{account.code_hash.hex()}"
