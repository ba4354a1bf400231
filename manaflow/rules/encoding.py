"""B1: bytes that a header commits to and that are nothing (docs/SPEC.md, sections 5 and 9).

A block's file is refused by the decoders of `manaflow.moves` (one encoding, bounded lengths). What stands here is the
rest of B1: what the trees hold, and what a parent hash names, decodes.
"""

from __future__ import annotations

from typing import Final

from manaflow.errors import Rule, Verdict
from manaflow.moves.header import Header

NODE_BYTES: Final = 1 + 32 + 32
"""0x01 | left | right (RFC 6962)."""


def check_b1_node(preimage: bytes, width: int, is_root: bool) -> None:
    """B1: what a node of a tree is the SHA-256 of is 0x00 | a leaf of `width` bytes, or 0x01 | two hashes (RFC 6962).

    Nothing at all is only the root of an empty tree. Raises Verdict(B1).
    """
    if not preimage:
        if not is_root:
            raise Verdict(Rule.B1, "an empty tree below a node")
    elif preimage[0] == 0:
        if len(preimage) != 1 + width:
            raise Verdict(Rule.B1, "length of a tree's leaf", expected=width, actual=len(preimage) - 1)
    elif preimage[0] != 1:
        raise Verdict(Rule.B1, "first byte of a tree's node", expected="0 or 1", actual=preimage[0])
    elif len(preimage) != NODE_BYTES:
        raise Verdict(Rule.B1, "length of a tree's node", expected=NODE_BYTES, actual=len(preimage))


def check_b1_parent(data: bytes) -> None:
    """B1: what a header's parent hash is the SHA-256 of decodes as a header. Raises Verdict(B1)."""
    try:
        Header.decode(data)
    except Verdict as verdict:
        raise Verdict(
            Rule.B1, f"the parent: {verdict.what}", expected=verdict.expected, actual=verdict.actual
        ) from None
