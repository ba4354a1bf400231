"""Amounts, cells and values in words, and amounts from words."""

from __future__ import annotations

import re
from typing import Final

from manaflow.errors import Failure
from manaflow.moves.marks import ZERO32, Location, Mark

UNITS: Final = {"wei": 1, "gwei": 10**9, "ether": 10**18}
_NOUNS: Final[dict[int, str]] = {
    Mark.BALANCE: "the balance of",
    Mark.CODE: "the code of",
    Mark.NONCE: "the nonce of",
    Mark.STORAGE: "the storage of",
}


def amount(wei: int) -> str:
    """Wei in the unit that people read best; always exact."""
    unit, digits = ("ether", 18) if wei >= 10**14 else ("gwei", 9) if wei >= 10**6 else ("wei", 0)
    whole, rest = divmod(wei, 10**digits)
    fraction = f".{rest:0{digits}d}".rstrip("0") if rest else ""
    return f"{whole}{fraction} {unit}"


def parse_amount(text: str) -> int:
    """Wei from "1.5ether", "20 gwei", "7wei" or "7". Raises Failure."""
    found = re.fullmatch(r"([0-9]{1,80}(?:\.[0-9]{1,18})?) ?(wei|gwei|ether)?", text.strip())
    if found is None:
        raise Failure(f"{text!r} is no amount: a number, and wei, gwei or ether")
    whole, _, fraction = found[1].partition(".")
    unit = UNITS[found[2] or "wei"]
    wei = int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
    if fraction and int(fraction) * unit % 10 ** len(fraction):
        raise Failure(f"{text!r} is not a whole number of wei")
    if wei >= 2**256:
        raise Failure(f"{text!r} is more than 256 bits hold")
    return wei


def cell_name(location: Location) -> str:
    """A location in words, in full: an address that is cut short is one that can be forged."""
    mark, address, slot = location
    if mark == Mark.BLOCKHASH:
        return f"the hash of block {int.from_bytes(slot, 'big')}"
    where = f"{_NOUNS.get(mark, f'what mark {mark} means of')} 0x{address.hex()}"
    return f"{where} at slot {short_word(slot)}" if mark == Mark.STORAGE else where


def short_word(word: bytes) -> str:
    """A word as hex without its leading zeros."""
    return hex(int.from_bytes(word, "big"))


def shown_value(location: Location, value: bytes) -> str:
    """A cell's value as people read it."""
    mark, number = location[0], int.from_bytes(value, "big")
    if mark == Mark.BALANCE:
        return amount(number)
    if mark == Mark.NONCE:
        return str(number)
    if mark == Mark.CODE:
        return "none" if value == ZERO32 else f"0x{value.hex()} (hash)"
    return short_word(value) if mark == Mark.STORAGE else f"0x{value.hex()}"
