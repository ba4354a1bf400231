"""A strict RLP reader: one encoding per value, no recursion, nothing read beyond its list.

`native/src/envelope/rlp_reader.rs` is its twin: the same inputs are accepted and refused. pyrlp decodes a whole tree
before it looks at types, so hostile nesting costs stack and memory; this reader only follows the structure that is
asked for.
"""

from __future__ import annotations


class RlpError(ValueError):
    """The bytes are not the one canonical encoding of what was asked for. The message names the field."""


def list_prefix(length: int) -> bytes:
    """The bytes that stand before a list's payload of `length` bytes."""
    if length < 56:
        return bytes((0xC0 + length,))
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((0xF7 + len(size),)) + size


def encode_string(data: bytes) -> bytes:
    """A string's RLP. pyrlp's takes its time to find out what it is given."""
    if len(data) == 1 and data[0] < 0x80:
        return data
    if len(data) < 56:
        return bytes((0x80 + len(data),)) + data
    size = len(data).to_bytes((len(data).bit_length() + 7) // 8, "big")
    return bytes((0xB7 + len(size),)) + size + data


def encode_integer(value: int) -> bytes:
    """The RLP of an integer that is not negative."""
    return encode_string(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class RlpReader:
    """Reads the items of one list from front to back."""

    __slots__ = ("at", "data", "start", "stop")

    def __init__(self, data: bytes, start: int, stop: int) -> None:
        """A reader over the items whose encodings fill data[start:stop]."""
        self.data, self.start, self.at, self.stop = data, start, start, stop

    @staticmethod
    def whole(data: bytes, start: int = 0) -> RlpReader:
        """A reader over the list that is all of data[start:]. Raises RlpError for anything else."""
        outer = RlpReader(data, start, len(data))
        inner = outer.items("the outermost list")
        outer.finish("the outermost list")
        return inner

    @property
    def more(self) -> bool:
        """True if items are left."""
        return self.at < self.stop

    @property
    def at_list(self) -> bool:
        """True if the next item is a list."""
        return self.more and self.data[self.at] >= 0xC0

    @property
    def consumed(self) -> bytes:
        """The encodings of all items read so far."""
        return self.data[self.start : self.at]

    def string(self, field: str) -> bytes:
        """The next item, which must be a byte string."""
        is_list, start, stop = self._next(field)
        if is_list:
            raise RlpError(f"{field}: a list where bytes belong")
        return self.data[start:stop]

    def fixed(self, field: str, width: int) -> bytes:
        """The next item, a byte string of exactly `width` bytes."""
        value = self.string(field)
        if len(value) != width:
            raise RlpError(f"{field}: {len(value)} bytes instead of {width}")
        return value

    def integer(self, field: str, width: int) -> int:
        """The next item, a big-endian integer of at most `width` bytes without leading zeros."""
        value = self.string(field)
        if len(value) > width:
            raise RlpError(f"{field}: an integer of more than {width} bytes")
        if value[:1] == b"\0":
            raise RlpError(f"{field}: an integer with a leading zero")
        return int.from_bytes(value, "big")

    def items(self, field: str) -> RlpReader:
        """The next item, which must be a list, as a reader over its items."""
        is_list, start, stop = self._next(field)
        if not is_list:
            raise RlpError(f"{field}: bytes where a list belongs")
        return RlpReader(self.data, start, stop)

    def finish(self, field: str) -> None:
        """Raises RlpError if items are left."""
        if self.more:
            raise RlpError(f"{field}: something follows its last item")

    def _next(self, field: str) -> tuple[bool, int, int]:
        """(is it a list, start and stop of its payload); moves behind it."""
        if self.at >= self.stop:
            raise RlpError(f"{field}: missing")
        first, start = self.data[self.at], self.at + 1
        is_list = first >= 0xC0
        short = first - (0xC0 if is_list else 0x80)
        if short < 0:
            start, length = self.at, 1
        elif short < 56:
            length = short
        else:
            start, length = self._long_length(field, start, short - 55)
        if length > self.stop - start:
            raise RlpError(f"{field}: longer than what holds it")
        if first == 0x81 and self.data[start] < 0x80:
            raise RlpError(f"{field}: a single byte with a prefix")
        self.at = start + length
        return is_list, start, self.at

    def _long_length(self, field: str, start: int, width: int) -> tuple[int, int]:
        """(start of the payload, its length) where the length itself takes `width` bytes."""
        end = start + width
        if end > self.stop:
            raise RlpError(f"{field}: longer than what holds it")
        length = int.from_bytes(self.data[start:end], "big")
        if self.data[start] == 0 or length < 56:
            raise RlpError(f"{field}: a length that fits a shorter form")
        return end, length
