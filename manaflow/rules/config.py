"""Chain config, forks and blob parameters (docs/SPEC.md, section 5)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

import rlp

from manaflow.errors import Failure, Unsupported
from manaflow.moves.leaf import SystemKind

CONFIG_VERSION: Final = 1
MAX_CONFIG_BYTES: Final = 8192
MAX_ANCESTORS: Final = 256


class Profile(IntEnum):
    """How fees reach the coinbase, and what a chain accepts."""

    ETHEREUM = 0
    """Replays Ethereum: each transaction credits the coinbase as the EVM does."""
    MANAFLOW = 1
    """Fees are summed in the leaves and credited once."""


class Fork(IntEnum):
    """Ethereum's forks in order; compare with < and >=."""

    PARIS = 0
    SHANGHAI = 1
    CANCUN = 2
    PRAGUE = 3
    OSAKA = 4


@dataclass(frozen=True, slots=True)
class BlobParameters:
    """EIP-4844 and EIP-7840: blobs a block, and how the blob base fee moves."""

    target: int
    maximum: int
    update_fraction: int


CANCUN_BLOBS: Final = BlobParameters(3, 6, 3338477)
PRAGUE_BLOBS: Final = BlobParameters(6, 9, 5007716)


@dataclass(frozen=True, slots=True)
class ForkEntry:
    """From `timestamp` on (seconds, inclusive) the chain runs `fork`."""

    fork: Fork
    timestamp: int
    blobs: BlobParameters | None
    """None before Cancun."""


@dataclass(frozen=True, slots=True)
class ChainConfig:
    """What a chain's blocks are judged by. Its hash stands in every header; a fraud proof brings it along."""

    chain_id: int
    profile: Profile
    forks: tuple[ForkEntry, ...]
    """By ascending timestamp."""
    system_calls: tuple[SystemKind, ...]
    """Which of the four system calls this chain makes (each only from its fork on), in the order of B8."""
    producers: tuple[bytes, ...]
    """Addresses whose signature B7 accepts."""
    genesis_number: int
    ancestors_root: bytes
    """RFC 6962 root over number:8 | hash:32 of known blocks before genesis, ascending (B5)."""
    ancestors: int
    """How many leaves that tree has, at most MAX_ANCESTORS."""
    challenge_blocks: int
    """A block is final this many blocks later (F1)."""

    def entry_at(self, timestamp: int) -> ForkEntry:
        """The fork in force at `timestamp`. Raises Unsupported before the chain's first fork."""
        found = None
        for entry in self.forks:
            if entry.timestamp <= timestamp:
                found = entry
        if found is None:
            raise Unsupported(
                f"timestamp {timestamp} is before this chain's first supported fork "
                f"({self.forks[0].fork.name.lower()} at {self.forks[0].timestamp}): the rules start at Paris"
            )
        return found

    def blobs_at(self, timestamp: int) -> BlobParameters | None:
        """Blob parameters in force at `timestamp`, None before Cancun."""
        found = None
        for entry in self.forks:
            if entry.timestamp <= timestamp:
                found = entry.blobs
        return found

    def encode(self) -> bytes:
        """The config's RLP."""
        forks = [
            [f.fork, f.timestamp, [f.blobs.target, f.blobs.maximum, f.blobs.update_fraction] if f.blobs else []]
            for f in self.forks
        ]
        return bytes(rlp.encode([
            CONFIG_VERSION, self.chain_id, int(self.profile), forks, [int(k) for k in self.system_calls],
            list(self.producers), self.genesis_number, self.ancestors_root, self.ancestors, self.challenge_blocks,
        ]))  # fmt: skip

    @property
    def hash(self) -> bytes:
        """SHA-256 of the RLP, 32 bytes."""
        return _hash_of(self)

    @staticmethod
    def decode(data: bytes) -> ChainConfig:
        """Read a config strictly. Raises Failure: a config is not judged by a rule, it is what rules start from."""
        if len(data) > MAX_CONFIG_BYTES:
            raise Failure(f"chain config of {len(data)} bytes, at most {MAX_CONFIG_BYTES} allowed")
        try:
            fields: Any = rlp.decode(data, strict=True)
            version, chain_id, profile, forks, calls, producers, genesis, root, count, challenge = fields
            number = rlp.sedes.big_endian_int.deserialize
            if number(version) != CONFIG_VERSION:
                raise Failure(f"chain config of version {number(version)}, this program reads {CONFIG_VERSION}")
            config = ChainConfig(
                number(chain_id),
                Profile(number(profile)),
                tuple(
                    ForkEntry(Fork(number(f)), number(t), BlobParameters(*map(number, blobs)) if blobs else None)
                    for f, t, blobs in forks
                ),
                tuple(SystemKind(number(k)) for k in calls),
                tuple(bytes(p) for p in producers),
                number(genesis),
                bytes(root),
                number(count),
                number(challenge),
            )
        except (rlp.exceptions.RLPException, ValueError, TypeError, RecursionError) as error:
            raise Failure(f"the chain config does not decode: {error}") from error
        config.validate()
        if config.encode() != data:
            raise Failure("the chain config is not in its one encoding")
        return config

    def validate(self) -> None:
        """Raises Failure if the config contradicts itself."""
        times = [f.timestamp for f in self.forks]
        order = [f.fork for f in self.forks]
        if not self.forks or times != sorted(set(times)) or order != sorted(set(order)):
            raise Failure("chain config: forks must ascend")
        if any((f.blobs is None) != (f.fork < Fork.CANCUN) for f in self.forks):
            raise Failure("chain config: blob parameters belong to Cancun and later")
        for blobs in (f.blobs for f in self.forks if f.blobs is not None):
            if not 0 < blobs.target <= blobs.maximum < 2**16 or not 0 < blobs.update_fraction < 2**63:
                raise Failure("chain config: blob parameters out of bounds")
        if any(len(p) != 20 for p in self.producers) or not self.producers:
            raise Failure("chain config: producers are one or more addresses of 20 bytes")
        if list(self.system_calls) != [k for k in CALL_ORDER if k in self.system_calls]:
            raise Failure("chain config: system calls out of order")
        if len(self.ancestors_root) != 32 or self.ancestors > MAX_ANCESTORS:
            raise Failure("chain config: ancestors")
        if max(self.chain_id, self.genesis_number, self.challenge_blocks, *times) >= 2**63:
            raise Failure("chain config: a number does not fit 63 bits")


CALL_ORDER: Final = (
    SystemKind.BEACON_ROOTS,
    SystemKind.HISTORY,
    SystemKind.WITHDRAWAL_REQUESTS,
    SystemKind.CONSOLIDATION_REQUESTS,
)
"""The order in which a block makes its system calls (opening: the first two)."""

_ALL_FORKS = (Fork.PARIS, Fork.SHANGHAI, Fork.CANCUN, Fork.PRAGUE)
_BLOBS = (None, None, CANCUN_BLOBS, PRAGUE_BLOBS)
NETWORK_FORKS: Final[dict[int, tuple[ForkEntry, ...]]] = {
    chain_id: tuple(ForkEntry(f, t, b) for f, t, b in zip(_ALL_FORKS, times, _BLOBS, strict=True))
    for chain_id, times in {
        1: (1663224162, 1681338455, 1710338135, 1746612311),
        17000: (1695902100, 1696000704, 1707305664, 1740434112),
    }.items()
}
"""Fork times of the Ethereum networks that can be replayed (mainnet, Holesky)."""


@lru_cache(maxsize=16)
def _hash_of(config: ChainConfig) -> bytes:
    """Every block's header is held against it several times."""
    return hashlib.sha256(config.encode()).digest()
