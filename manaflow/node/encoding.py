"""Ethereum's JSON encodings: what parameters of methods are declared with, and how results are written.

A method declares its parameters with these types and gets values of them: `Quantity` is an int, `Data`, `Address`
and `Hash` are bytes, so nothing needs converting afterwards. Strictness and wording follow geth's hexutil.
Objects are msgspec.Struct classes with `rename="camel"`; unknown members are ignored, as geth does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Quantity(int):
    """An unsigned number of at most 256 bits: "0x0", "0x41"; no leading zeros."""

    BITS = 256

    @classmethod
    def parse(cls, value: Any) -> Self:
        """The number; ValueError in geth's words."""
        digits = _digits(value)
        if not digits:
            raise ValueError('hex string "0x"')
        if len(digits) > 1 and digits[0] == "0":
            raise ValueError("hex number with leading zero digits")
        if len(digits) > cls.BITS // 4:
            raise ValueError(f"hex number > {cls.BITS} bits")
        return cls(_number(digits))


class Quantity64(Quantity):
    """A Quantity of at most 64 bits: block numbers, nonces, gas, indices."""

    BITS = 64


class Data(bytes):
    """Bytes: "0x", "0x0041"; an even number of digits."""

    LENGTH: int | None = None

    @classmethod
    def parse(cls, value: Any) -> Self:
        """The bytes; ValueError in geth's words."""
        if type(value) is str and value.startswith("0x"):  # as most are: then nothing else needs asking
            try:
                raw = bytes.fromhex(value[2:])
            except ValueError:
                raw = b""
            if 2 * len(raw) + 2 == len(value) and cls.LENGTH in (None, len(raw)):
                return cls(raw)
        digits = _digits(value)
        if len(digits) % 2:
            raise ValueError("hex string of odd length")
        if cls.LENGTH is not None and len(digits) != 2 * cls.LENGTH:
            raise ValueError(f"hex string has length {len(digits)}, want {2 * cls.LENGTH}")
        return cls(_bytes(digits))


class Address(Data):
    """20 bytes. Checksums (EIP-55) are not looked at, as in geth."""

    LENGTH = 20


class Hash(Data):
    """32 bytes."""

    LENGTH = 32


class StorageKey(bytes):
    """A storage slot, 32 bytes; the hex may be shorter and of odd length ("0x0"), as in geth's eth_getStorageAt."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        """The slot, zeros in front; ValueError."""
        digits = _digits(value)
        if len(digits) > 64:
            raise ValueError(f"hex string too long, want at most 32 bytes, have {(len(digits) + 1) // 2} bytes")
        return cls(_bytes(digits.rjust(64, "0")))


class BlockTag:
    """Which block is meant: exactly one of a name, a number and a hash (EIP-1898 objects included). Immutable.

    Not a dataclass: msgspec would read one as an object, and never ask for `parse`.
    """

    __slots__ = ("block_hash", "name", "number", "require_canonical")

    def __init__(
        self,
        *,
        name: str | None = None,
        number: int | None = None,
        block_hash: bytes | None = None,
        require_canonical: bool = False,
    ) -> None:
        """`name`: one of BLOCK_NAMES. `number`: at most 64 bits. `block_hash`: 32 bytes.

        `require_canonical`: the block of this hash must be on the chain of the head (EIP-1898).
        """
        self.name, self.number, self.block_hash = name, number, block_hash
        self.require_canonical = require_canonical

    def _key(self) -> tuple[str | None, int | None, bytes | None, bool]:
        return self.name, self.number, self.block_hash, self.require_canonical

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BlockTag) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        name, number, block_hash, canonical = self._key()
        return f"BlockTag({name=}, {number=}, {block_hash=}, {canonical=})"

    @classmethod
    def parse(cls, value: Any) -> BlockTag:
        """From a name, a Quantity, a 32-byte hash, or an EIP-1898 object; ValueError."""
        if isinstance(value, dict):
            return cls._from_object(value)
        if isinstance(value, str) and value in BLOCK_NAMES:
            return cls(name=value)
        if isinstance(value, str) and len(value) == 66:
            return cls(block_hash=Hash.parse(value))
        return cls(number=Quantity64.parse(value))

    @classmethod
    def _from_object(cls, value: dict[str, Any]) -> BlockTag:
        number, block_hash = value.get("blockNumber"), value.get("blockHash")
        if number is not None and block_hash is not None:
            raise ValueError("cannot specify both BlockHash and BlockNumber, choose one or the other")
        canonical = value.get("requireCanonical", False)
        if not isinstance(canonical, bool):
            raise ValueError("requireCanonical must be a boolean")
        if block_hash is not None:
            return cls(block_hash=Hash.parse(block_hash), require_canonical=canonical)
        if isinstance(number, str) and number in BLOCK_NAMES:
            return cls(name=number)
        return cls(number=Quantity64.parse(number))


class Addresses(tuple[bytes, ...]):
    """One address or a list of them, as log filters have it; 20 bytes each."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        """The addresses; ValueError."""
        return cls(Address.parse(one) for one in (value if isinstance(value, list) else [value]))


class Topics(tuple[tuple[bytes, ...] | None, ...]):
    """For each place of a log's topics what may stand there, 32 bytes each; None: anything."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        """From a list of topics, lists of alternatives, and nulls; a null among alternatives makes them anything."""
        if not isinstance(value, list):
            raise ValueError("topics must be an array")
        return cls(_alternatives(place) for place in value)


def _alternatives(value: Any) -> tuple[bytes, ...] | None:
    listed = value if isinstance(value, list) else [value]
    if not listed or None in listed:
        return None
    return tuple(Hash.parse(one) for one in listed)


BLOCK_NAMES = frozenset({"latest", "earliest", "pending", "safe", "finalized"})
LATEST = BlockTag(name="latest")

PARSERS: dict[type, Callable[[Any], Any]] = {
    kind: kind.parse for kind in (Quantity, Quantity64, Data, Address, Hash, StorageKey, BlockTag, Addresses, Topics)
}
"""How each declared type is read from JSON; msgspec asks `from_json` for the types that it does not know."""


def from_json(kind: type[T], value: Any) -> T:
    """msgspec's dec_hook: a JSON value as one of the types above; ValueError says what is wrong with it."""
    parse = PARSERS.get(kind)
    if parse is None:
        raise TypeError(f"no JSON encoding of {kind.__name__}")
    read: T = parse(value)
    return read


def quantity(value: int) -> str:
    """A number in a result: 0 is "0x0"."""
    return hex(value)


def data(value: bytes) -> str:
    """Bytes in a result, of any length; also addresses, hashes and topics."""
    return "0x" + value.hex()


def _digits(value: Any) -> str:
    """The hex digits after 0x; ValueError for what is no hex string. The digits themselves are not looked at yet."""
    if not isinstance(value, str):
        raise ValueError("expected a hex string")
    if not value:
        raise ValueError("empty hex string")
    if value[:2] not in ("0x", "0X"):
        raise ValueError("hex string without 0x prefix")
    return value[2:]


def _number(digits: str) -> int:
    return int.from_bytes(_bytes(digits if len(digits) % 2 == 0 else "0" + digits))


def _bytes(digits: str) -> bytes:
    try:
        raw = bytes.fromhex(digits)
    except ValueError:
        raise ValueError("invalid hex string") from None
    if 2 * len(raw) != len(digits):  # fromhex takes blanks between bytes
        raise ValueError("invalid hex string")
    return raw
