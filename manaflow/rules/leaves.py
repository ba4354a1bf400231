"""B3: running totals and counts, provable from two neighbouring leaves (docs/SPEC.md, section 5)."""

from __future__ import annotations

from typing import Any, Final

from manaflow.errors import Rule, Verdict
from manaflow.moves.header import Header
from manaflow.moves.leaf import Leaf
from manaflow.rules.config import Profile

MAX_MOVES: Final = 22_528
"""Of one leaf in profile `manaflow`: more than 2^24 gas (X5) can use, few enough for a proof to hold all (F2)."""
_ZERO = ("gas", "fees", "blob_gas")


def _equal(what: str, expected: Any, actual: Any) -> None:
    if actual != expected:
        raise Verdict(Rule.B3, what, expected=expected, actual=actual)


def check_b3_size(profile: Profile, leaf: Leaf) -> None:
    """B3 (`manaflow`): a leaf after genesis counts at most MAX_MOVES moves; the leaf alone shows it."""
    moves = leaf.consumes + leaf.references
    if profile == Profile.MANAFLOW and moves > MAX_MOVES:
        raise Verdict(Rule.B3, "moves of one transaction", expected=f"at most {MAX_MOVES}", actual=moves)


def check_b3_first(header: Header, leaf: Leaf) -> None:
    """B3: leaf 0 starts at the header's first cell and at zero gas, fees and blob gas."""
    _equal("first cell of the first leaf", header.first_cell, leaf.first_cell)
    for name in _ZERO:
        _equal(f"{name.replace('_', ' ')} before the first leaf", 0, getattr(leaf, name))


def check_b3_pair(leaf: Leaf, after: Leaf, fees: int, blob_gas: int) -> None:
    """B3: the totals in the next leaf are this one's plus what this one adds.

    fees (wei) and blob_gas: what the transaction of `leaf` adds, by its envelope and the header; 0 for a system leaf.
    """
    _equal("first cell", leaf.first_cell + leaf.consumes, after.first_cell)
    _equal("gas before", leaf.gas + leaf.gas_used, after.gas)
    _equal("fees before", leaf.fees + fees, after.fees)
    _equal("blob gas before", leaf.blob_gas + blob_gas, after.blob_gas)


def check_b3_last(header: Header, leaf: Leaf, fees: int, blob_gas: int) -> None:
    """B3: the last leaf's totals plus what it adds are the header's. Genesis: check_b3_cells alone."""
    check_b3_cells(header, leaf)
    _equal("gas used", leaf.gas + leaf.gas_used, header.gas_used)
    _equal("fees", leaf.fees + fees, header.fees)
    _equal("blob gas used", leaf.blob_gas + blob_gas, header.blob_gas_used)


def check_b3_cells(header: Header, leaf: Leaf) -> None:
    """B3: the header's cells end where the last leaf's end."""
    _equal("cells", leaf.first_cell + leaf.consumes - header.first_cell, header.cells)


def check_b3_empty(header: Header) -> None:
    """B3: a block without leaves makes no cells and uses nothing."""
    for name in ("cells", "gas_used", "fees", "blob_gas_used"):
        _equal(f"{name.replace('_', ' ')} of a block without leaves", 0, getattr(header, name))


def check_b3_counts(header: Header, leaves: int, codes: int) -> None:
    """B3: the header's counts are those of the body."""
    _equal("number of leaves", header.transactions, leaves)
    _equal("number of codes", header.codes, codes)


def check_b3_node(size: int, preimage: bytes) -> None:
    """B3: where a tree's declared count demands `size` leaves (0: an empty tree), no node of another kind stands.

    preimage: what the node there is the SHA-256 of: 0x00 | leaf, 0x01 | left | right, or nothing (RFC 6962).
    """
    kinds = {b"": "nothing", b"\0": "a leaf", b"\1": "an inner node"}
    shown = kinds.get(preimage[:1])
    if shown is None:
        raise ValueError("neither a leaf, nor an inner node, nor an empty tree")
    _equal("node of a tree by its count", kinds[(b"", b"\0", b"\1")[min(size, 2)]], shown)


def check_b3_body(counted: int, moves: int) -> None:
    """B3: a body has as many moves as its leaves count together."""
    _equal("number of moves", counted, moves)


def compute_fees_added(effective_price: int, base_fee: int, gas_used: int) -> int:
    """Wei that a signed transaction adds to the fees of profile `manaflow` (0 in `ethereum`)."""
    return gas_used * (effective_price - base_fee)
