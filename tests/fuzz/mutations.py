"""Mutations that keep what a decoder checks first: lengths of RLP lists, the checksum of a file, hashes in JSON.

Each takes bytes and a random.Random and returns bytes; the same seed gives the same bytes.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import json
import lzma
import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Any, Final

import rlp
import zstandard

from manaflow.coordinator.ethereum import header_hash, parse_json
from manaflow.moves import trees
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import LEAF_BYTES
from manaflow.moves.rlp_reader import list_prefix
from manaflow.moves.wire import FRAMES
from tests.chain import PRODUCER

Mutation = Callable[[bytes, Random], bytes]
ODD_BYTES: Final = (
    b"",
    b"\0",
    b"\1",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff" * 8,
    b"\1" + bytes(8),
    b"\xff" * 32,
    bytes(32),
    bytes(20),
)
ODD_NUMBERS: Final = (0, 1, 2, 127, 128, 255, 256, 2**16, 2**31, 2**32 - 1, 2**48, 2**63, 2**64 - 1)
MOVE_BYTES: Final = 126


def any_bytes(data: bytes, rng: Random) -> bytes:
    """Bytes changed, taken out, put in, doubled or cut off, anywhere."""
    at, length = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 8, 32))
    match rng.randrange(6):
        case 0:
            return data[:at] + rng.randbytes(length) + data[at + length :]
        case 1:
            return data[:at] + data[at + length :]
        case 2:
            return data[:at] + rng.choice((*ODD_BYTES, rng.randbytes(length))) + data[at:]
        case 3:
            return data[:at]
        case 4:
            return data[: at + length] + data[at:]
        case _:
            flipped = bytearray(data or b"\0")
            flipped[at % len(flipped)] ^= 1 << rng.randrange(8)
            return bytes(flipped)


# ---- RLP ----


class Raw(bytes):
    """Bytes that stand in an encoding as they are."""


def encode_tree(tree: Any) -> bytes:
    """RLP of nested lists of bytes; Raw is put in unchanged, also where it is no RLP."""
    if isinstance(tree, Raw):
        return bytes(tree)
    if isinstance(tree, bytes):
        return bytes(rlp.encode(tree))
    body = b"".join(encode_tree(item) for item in tree)
    return list_prefix(len(body)) + body


def thawed(item: Any) -> Any:
    """Tuples of tuples as lists of lists."""
    return [thawed(i) for i in item] if isinstance(item, (list, tuple)) else bytes(item)


def decode_tree(data: bytes) -> Any:
    """Nested lists, or None if the bytes are no RLP."""
    with contextlib.suppress(rlp.exceptions.RLPException, IndexError, RecursionError):
        return thawed(rlp.decode(data))
    return None


def _odd_item(item: Any, rng: Random) -> Any:
    """Something else in an item's place."""
    if isinstance(item, list):
        return rng.choice((b"", [], [item], [*item, *item], [b""] * 60, item[::-1], item[:-1], [*item, b"\1"]))
    if item and rng.random() < 0.5:
        at = rng.randrange(len(item))
        return (
            item[:at] + bytes((rng.choice((0, 1, 63, 127, 128, 255, item[at] ^ 1, item[at] ^ 128)),)) + item[at + 1 :]
        )
    number = rng.choice(ODD_NUMBERS)
    return rng.choice((
        any_bytes(item, rng), any_bytes(item, rng), rng.choice(ODD_BYTES), [], [item], item + b"\0", b"\0" + item,
        number.to_bytes((number.bit_length() + 7) // 8, "big"),
        Raw(b"\xb8" + bytes((len(item) % 256,)) + item), Raw(bytes(rlp.encode(item))[:-1]), Raw(b"\xbf" + b"\xff" * 8),
    ))  # fmt: skip


def in_tree(tree: Any, rng: Random) -> Any:
    """One item anywhere in nested lists replaced, taken out, doubled or swapped with its neighbour. In place."""
    at = tree
    while True:
        if not at:
            return tree
        k = rng.randrange(len(at))
        if isinstance(at[k], list) and at[k] and rng.random() < 0.8:
            at = at[k]
            continue
        match rng.randrange(8):
            case 0:
                del at[k]
            case 1:
                at.insert(k, at[k])
            case 2:
                at[k], at[-1] = at[-1], at[k]
            case _:
                at[k] = _odd_item(at[k], rng)
        return tree


def rlp_after(prefix: int) -> Mutation:
    """An RLP-aware mutation of everything behind `prefix` bytes; any_bytes where that is no RLP, and now and then."""

    def mutate(data: bytes, rng: Random) -> bytes:
        tree = None if rng.random() < 0.2 else decode_tree(data[prefix:])
        if not isinstance(tree, list):
            return any_bytes(data, rng)
        return data[:prefix] + encode_tree(in_tree(tree, rng))

    return mutate


def envelope(data: bytes, rng: Random) -> bytes:
    """Typed envelopes begin with their type."""
    if data and data[0] < 0xC0:
        if rng.random() < 0.05:
            return bytes((rng.randrange(6),)) + data[1:]
        return rlp_after(1)(data, rng)
    return rlp_after(0)(data, rng)


# ---- fraud proofs ----


def fraud_proof(data: bytes, rng: Random) -> bytes:
    """A change, and in most cases a dishonest producer who signs it: evidence, header and config fit again."""
    tree = decode_tree(data[10:])
    header = decode_tree(tree[3]) if isinstance(tree, list) and len(tree) == 6 and isinstance(tree[3], bytes) else None
    if not isinstance(header, list) or rng.random() < 0.3:
        return rlp_after(10)(data, rng)
    part = rng.randrange(4)
    with contextlib.suppress(TypeError, IndexError, AttributeError):
        if part == 0:
            header = in_tree(header, rng)
        elif part == 1:
            tree[1] = encode_tree(in_tree(decode_tree(tree[1]), rng))
            header[1] = hashlib.sha256(tree[1]).digest()
        else:
            tree[5] = in_tree(tree[5], rng)
        _fit_leaf(tree[5], header, rng)
    tree[3] = encode_tree(header)
    tree[2] = []
    tree[4] = PRODUCER.sign_recoverable(hashlib.sha256(tree[3]).digest(), hasher=None)
    if rng.random() < 0.05:
        tree[0] = bytes((rng.randrange(64),)).lstrip(b"\0")
    return data[:10] + encode_tree(tree)


def _fit_leaf(evidence: Any, header: list[bytes], rng: Random) -> None:
    """Make the evidence's first leaf the only one of its block, and the moves beside it the leaf's."""
    placed = isinstance(evidence[0][0], list)
    leaf = evidence[0][0] if placed else evidence[0]
    if rng.random() < 0.3 or len(leaf) != 3 or len(leaf[1]) != LEAF_BYTES:
        return
    row = leaf[1]
    if placed:
        moves = [evidence[0][1][1]]
        evidence[0][1][0], evidence[0][1][2] = b"", []
    else:
        moves = [evidence[2][at : at + MOVE_BYTES] for at in range(0, len(evidence[2]), MOVE_BYTES)]
    consumes = sum(1 for move in moves if not move[0] & 128)
    counts = struct.pack(">II", consumes, len(moves) - consumes)
    row = keccak256(evidence[1]) if not placed and evidence[1] and rng.random() < 0.5 else row[:32]
    row += trees.root(moves) + counts + leaf[1][72:]
    leaf[:] = [b"", row, []]
    header[15], header[21] = trees.root([row]), b"\1"


# ---- .mana ----


def resealed(data: bytes) -> bytes:
    """The file with its last 32 bytes replaced by the checksum of the others."""
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


def block_file(data: bytes, rng: Random) -> bytes:
    """A change in the header, a count, a length, a raw or a packed frame, and the checksum made to fit."""
    try:
        return _block_file(data, rng)
    except (struct.error, IndexError, ValueError, MemoryError, zstandard.ZstdError):
        return resealed(any_bytes(data, rng)) if rng.random() < 0.8 else any_bytes(data, rng)


def _block_file(data: bytes, rng: Random) -> bytes:
    at = 8 + int.from_bytes(data[6:8], "big")
    header, end = data[8:at], at + 1 + data[at]
    signature, counts = data[at + 1 : end], list(struct.unpack_from(">7I", data, end))
    lengths, place = list(struct.unpack_from(">14I", data, end + 28)), end + 84
    packed = []
    for length in lengths[1::2]:
        packed.append(data[place : place + length])
        place += length
    match rng.randrange(8):
        case 0:
            tree = decode_tree(header)
            header = encode_tree(in_tree(tree, rng)) if isinstance(tree, list) else any_bytes(header, rng)
        case 1:
            counts[rng.randrange(7)] = rng.choice((*ODD_NUMBERS[:10], counts[0] + 1, counts[1] - 1)) % 2**32
        case 2:
            lengths[rng.randrange(14)] = rng.choice(ODD_NUMBERS[:10])
        case 3:
            k = rng.randrange(7)
            packed[k] = any_bytes(packed[k], rng)
            lengths[2 * k + 1] = len(packed[k])
        case _:
            k = rng.randrange(len(FRAMES))
            raw = any_bytes(zstandard.decompress(packed[k], max_output_size=2**22) if packed[k] else b"", rng)
            packed[k] = zstandard.compress(raw, 1) if raw else b""
            lengths[2 * k : 2 * k + 2] = [len(raw), len(packed[k])]
    head = data[:6] + struct.pack(">H", len(header)) + header + bytes((len(signature),)) + signature
    return resealed(head + struct.pack(">7I14I", *counts, *lengths) + b"".join(packed) + bytes(32))


def batch_file(data: bytes, rng: Random) -> bytes:
    """A change in a count, a length, a raw or a packed frame, and the checksum made to fit."""
    try:
        return _batch_file(data, rng)
    except (struct.error, IndexError, ValueError, MemoryError, zstandard.ZstdError):
        return resealed(any_bytes(data, rng)) if rng.random() < 0.8 else any_bytes(data, rng)


def _batch_file(data: bytes, rng: Random) -> bytes:
    counts, lengths, place = list(struct.unpack_from(">3I", data, 6)), list(struct.unpack_from(">8I", data, 18)), 50
    packed = []
    for length in lengths[1::2]:
        packed.append(data[place : place + length])
        place += length
    k = rng.randrange(4)
    match rng.randrange(6):
        case 0:
            counts[rng.randrange(3)] = rng.choice((*ODD_NUMBERS[:10], counts[0] + 1, counts[1] - 1)) % 2**32
        case 1:
            lengths[rng.randrange(8)] = rng.choice(ODD_NUMBERS[:10])
        case 2:
            packed[k] = any_bytes(packed[k], rng)
            lengths[2 * k + 1] = len(packed[k])
        case _:
            raw = any_bytes(zstandard.decompress(packed[k], max_output_size=2**22) if packed[k] else b"", rng)
            packed[k] = zstandard.compress(raw, 1) if raw else b""
            lengths[2 * k : 2 * k + 2] = [len(raw), len(packed[k])]
    return resealed(data[:6] + struct.pack(">3I8I", *counts, *lengths) + b"".join(packed) + bytes(32))


def genesis_file(data: bytes, rng: Random) -> bytes:
    """A change in the config, the ancestors or the block inside, and both checksums made to fit."""
    length = int.from_bytes(data[6:10], "big")
    at = 12 + length
    if len(data) < at + 32 or rng.random() < 0.2:
        return resealed(any_bytes(data, rng))
    rows = 40 * int.from_bytes(data[at - 2 : at], "big")
    config, ancestors, block = data[10 : 10 + length], data[at : at + rows], data[at + rows : -32]
    match rng.randrange(4):
        case 0:
            config = rlp_after(0)(config, rng)
        case 1:
            ancestors = any_bytes(ancestors, rng)
        case _:
            block = block_file(block, rng)
    count = rng.choice((len(ancestors) // 40, rows // 40, rng.choice(ODD_NUMBERS[:8]) % 2**16))
    content = struct.pack(">I", len(config)) + config + struct.pack(">H", count) + ancestors + block
    return resealed(data[:6] + content + bytes(32))


# ---- JSON ----


ODD_VALUES: Final = (
    None, True, 0, -1, 1.5, 2**70, 1e400, "", "0x", "0x0", "0x1", "0xg", "0x" + "f" * 64, "0x" + "f" * 65,
    "0x" + "0" * 64, "0x" + "ff" * 20, "-0x1", "0x_1", "0X1", " 0x1", "0x1\n", "１", "\ud800", "x" * 5000,
    [], {}, [[]], [None], {"": ""},
)  # fmt: skip


def json_text(data: bytes, rng: Random) -> bytes:
    """One value anywhere replaced, taken out, renamed or doubled; the hashes that a block file repeats made to fit."""
    try:
        tree = parse_json(data)
    except ValueError:
        return any_bytes(data, rng)
    if rng.random() < 0.1:
        return rng.choice((any_bytes, _nested))(data, rng)
    _in_json(tree, rng)
    if rng.random() < 0.7:
        with contextlib.suppress(Exception):  # whatever the change made of it: it stays as it is
            _fit_hashes(tree)
    return json.dumps(tree).encode()


def _nested(data: bytes, rng: Random) -> bytes:
    deep = rng.choice((5, 31, 32, 33, 1000, 100_000))
    opened, closed = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return data[:-1] + b',"deep":' + opened * deep + b"1" + closed * deep + data[-1:]


def _in_json(tree: Any, rng: Random) -> None:
    at = tree
    while isinstance(at, (dict, list)) and at:
        key = rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
        if isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.9:
            at = at[key]
            continue
        match rng.randrange(6):
            case 0:
                del at[key]
            case 1 if isinstance(at, dict):
                at[rng.choice(("", "0x", "0x12", "parentHash", str(key) + "x", "１", "-1"))] = at.pop(key)
            case 2 if isinstance(at[key], str):
                at[key] = any_bytes(at[key].encode("latin-1", "replace"), rng).decode("latin-1")
            case _:
                at[key] = rng.choice(ODD_VALUES)
        return


def _fit_hashes(tree: Any) -> None:
    for entry in tree["transactions"]:
        entry["hash"] = "0x" + keccak256(bytes.fromhex(entry["raw"][2:])).hex()
    tree["hash"] = "0x" + header_hash(tree["header"]).hex()


# ---- archives ----

PACKINGS: Final = {b"\x1f\x8b": gzip, b"\xfd7": lzma, b"BZ": bz2}
"""How packed archives begin, and what packs them."""


def archive(data: bytes, rng: Random) -> bytes:
    """A change inside a tar, packed or not, its headers' checksums made to fit; or a change of the packed bytes."""
    packing: Any = PACKINGS.get(data[:2])
    if rng.random() < 0.2:
        return any_bytes(data, rng)
    try:
        tar = packing.decompress(data) if packing else data
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error):
        return any_bytes(data, rng)
    tar = bytearray(any_bytes(tar[:2048], rng)[:2048].ljust(2048, b"\0") + tar[2048:])
    if rng.random() < 0.5:  # a field of a header: name, mode, ids, size, time, type, link, magic, names, device, prefix
        at = 512 * rng.randrange(2) + rng.choice((0, 100, 108, 116, 124, 136, 156, 157, 257, 265, 297, 329, 345))
        field = rng.choice(
            (b"x", b"g", b"L", b"K", b"S", b"\x80" + b"\xff" * 11, b"77777777777", b"\xff" * 12, b"../../x\0")
        )
        tar[at : at + len(field)] = field
    for start in range(0, min(len(tar), 2048), 512):
        total = sum(tar[start : start + 148]) + 8 * 32 + sum(tar[start + 156 : start + 512])
        tar[start + 148 : start + 156] = b"%06o\0 " % total
    return bytes(packing.compress(bytes(tar)) if packing else tar)
