"""Random input of precompiles: points, scalars and proofs that are valid often enough to reach the inside of each."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable
from typing import Any

from py_ecc import optimized_bls12_381 as bls
from py_ecc import optimized_bn128 as bn

SCALARS = (0, 1, 2, 3, 2**64, 2**256 - 1, bls.curve_order, bls.curve_order - 1, bn.curve_order, bn.curve_order - 1)


def word(value: int, size: int = 32) -> bytes:
    return value.to_bytes(size, "big")


@functools.cache
def bn_point(times: int) -> bytes:
    """A multiple of bn128's generator; 0 is infinity."""
    if not times:
        return bytes(64)
    return b"".join(word(int(part)) for part in bn.normalize(bn.multiply(bn.G1, times)))


@functools.cache
def bls_point(times: int, group: int) -> bytes:
    """A multiple of the generator of G1 or G2 (EIP-2537); 0 is infinity."""
    if not times:
        return bytes(128 * group)
    parts = bls.normalize(bls.multiply(bls.G1 if group == 1 else bls.G2, times))
    numbers = parts if group == 1 else [number for part in parts for number in part.coeffs]
    return b"".join(word(int(number), 64) for number in numbers)


def some_bn(rng: random.Random) -> bytes:
    return rng.choice((bn_point(rng.randrange(4)), bn_point(rng.randrange(4)), word(1) + word(rng.randrange(2**254))))


def some_bls(rng: random.Random, group: int) -> bytes:
    """Mostly in the subgroup; sometimes a coordinate off by one, or not below the field's modulus."""
    point = bls_point(rng.randrange(4), group)
    spoiled = point[:-1] + bytes(((point[-1] + 1) % 256,))
    return rng.choice((point, point, point, spoiled, word(bls.field_modulus, 64) + point[64:]))


def some_field(rng: random.Random) -> bytes:
    return word(rng.choice((0, 1, rng.randrange(bls.field_modulus), bls.field_modulus - 1, bls.field_modulus)), 64)


def scalar(rng: random.Random) -> bytes:
    return word(rng.choice((*SCALARS, rng.randrange(2**256))))


def recovery(rng: random.Random) -> bytes:
    v = word(rng.choice((27, 28, 27, 28, 0, 29, 27 + 2**255)))
    return rng.randbytes(32) + v + rng.choice((rng.randbytes(32), word(1), scalar(rng))) + rng.randbytes(32)


def modexp(rng: random.Random) -> bytes:
    sizes = [rng.choice((0, 0, 1, 2, 31, 32, 33, 65)) for _ in range(3)]
    if rng.random() < 0.1:
        sizes[rng.randrange(3)] = rng.choice((1_000, 2**32, 2**64, 2**255))
    body = bytes(rng.choice((0, 1, 2, 255, rng.randrange(256))) for _ in range(rng.randrange(130)))
    return b"".join(map(word, sizes)) + body


def blake2(rng: random.Random) -> bytes:
    rounds = rng.choice((0, 1, 12, 20, 2**32 - 1))
    return word(rounds, 4) + rng.randbytes(208) + bytes((rng.choice((0, 1, 1, 2)),))


def opening(rng: random.Random) -> bytes:
    """Point evaluation (EIP-4844): the zero polynomial is 0 everywhere, and infinity commits to it and proves it."""
    infinity = b"\xc0" + bytes(47)
    versioned = b"\1" + hashlib.sha256(infinity).digest()[1:]
    z = word(rng.choice((0, 1, bls.curve_order - 1, bls.curve_order)))
    return versioned + z + word(rng.choice((0, 0, 1))) + infinity + rng.choice((infinity, bytes(48)))


def sums(rng: random.Random, group: int) -> bytes:
    return b"".join(some_bls(rng, group) + scalar(rng) for _ in range(rng.randrange(1, 4)))


MAKERS: dict[int, Callable[[random.Random], bytes]] = {
    1: recovery,
    5: modexp,
    6: lambda rng: some_bn(rng) + some_bn(rng),
    7: lambda rng: some_bn(rng) + scalar(rng),
    8: lambda rng: rng.choice((b"", bytes(192), bytes(384), some_bn(rng) + rng.randbytes(128))),
    9: blake2,
    10: opening,
    11: lambda rng: some_bls(rng, 1) + some_bls(rng, 1),
    12: lambda rng: sums(rng, 1),
    13: lambda rng: some_bls(rng, 2) + some_bls(rng, 2),
    14: lambda rng: sums(rng, 2),
    15: lambda rng: rng.choice((bytes(384), bytes(768), some_bls(rng, 1) + bytes(256), bytes(128) + some_bls(rng, 2))),
    16: some_field,
    17: lambda rng: some_field(rng) + some_field(rng),
}
"""By the precompile's number. No pairing of two points that are not infinity: py-evm takes seconds for one."""


HEAVY = {7: 96, 8: 192, 12: 160, 13: 512, 14: 288, 15: 384, 16: 64, 17: 128}
"""Bytes of input of the precompiles that take py-evm tens of milliseconds, too many for a call tree."""


def light_input(rng: random.Random, number: int) -> bytes:
    """Input for a program that may call many times: what is heavy gets infinity, or points that are none."""
    if number not in HEAVY:
        return precompile_input(rng, number)
    infinity = bytes(HEAVY[number] - (number > 15))
    return rng.choice((infinity, infinity[:-1], b"\1" + infinity[1:]))


def precompile_input(rng: random.Random, number: int) -> bytes:
    """Input of the precompile, sometimes a byte or a word short or long."""
    maker: Any = MAKERS.get(number, lambda rng: rng.randbytes(rng.randrange(100)))
    data: bytes = maker(rng)
    return rng.choice((data, data, data, data, data[:-1], data + b"\0", data[: len(data) // 2], data + bytes(32)))
