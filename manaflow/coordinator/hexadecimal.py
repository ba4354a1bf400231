"""Fields of Ethereum's JSON files: 0x-prefixed hex, read strictly. Whoever reads a file adds its name to an error."""

from __future__ import annotations

import re
from typing import Any, Final

_DIGITS: Final = re.compile(r"0x[0-9a-fA-F]*")
_MAX_INTEGER_CHARACTERS: Final = 2 + 64
"""0x and 256 bits."""


def read_bytes(text: Any, width: int = -1) -> bytes:
    """The bytes of 0x-prefixed hex; `width` -1 takes any length. Raises ValueError."""
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError(f"{shortened(text)} is not 0x-prefixed hex")
    if not _DIGITS.fullmatch(text) or len(text) % 2:
        raise ValueError(f"{shortened(text)} has an odd number of digits, or non-hexadecimal ones")
    data = bytes.fromhex(text[2:])
    if width >= 0 and len(data) != width:
        raise ValueError(f"{shortened(text)} has {len(data)} bytes, expected {width}")
    return data


def read_integer(text: Any, bits: int = 256) -> int:
    """A non-negative integer of at most `bits` bits, given as 0x-prefixed hex; leading zeros are fine.

    Raises ValueError.
    """
    is_number = isinstance(text, str) and 2 < len(text) <= _MAX_INTEGER_CHARACTERS and _DIGITS.fullmatch(text)
    if not is_number:
        raise ValueError(f"{shortened(text)} is not a 0x-prefixed integer")
    value = int(text, 16)
    if value >> bits:
        raise ValueError(f"{shortened(text)} has more than {bits} bits")
    return value


def read_word(text: Any) -> bytes:
    """An integer of at most 256 bits as a 32-byte word. Raises ValueError."""
    return read_integer(text).to_bytes(32, "big")


def shortened(value: Any) -> str:
    """A value for an error message, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
