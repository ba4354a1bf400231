"""Real blocks as jobs: a world that answers any location, and one job per transaction and system call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from manaflow.coordinator.ethereum import EthereumBlock
from manaflow.evm.environment import SYSTEM_ADDRESS, SYSTEM_CONTRACTS
from manaflow.evm.executor import Environment, Execution, Job, SystemCall
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.hashing import keccak256
from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import ZERO20, ZERO32, Location, Mark
from manaflow.moves.transactions import EthereumTransaction
from manaflow.rules.config import CANCUN_BLOBS, NETWORK_FORKS, PRAGUE_BLOBS, Fork, Profile
from manaflow.rules.fees import blob_base_fee


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


@dataclass
class World(Mapping[Location, bytes]):
    """Every location of state has a value here, zero where nothing is known; `e` only where a hash is known."""

    values: dict[Location, bytes] = field(default_factory=dict)
    codes: dict[bytes, bytes] = field(default_factory=dict)

    def __getitem__(self, location: Location) -> bytes:
        if location[0] == Mark.BLOCKHASH:
            return self.values[location]
        return self.values.get(location, ZERO32)

    def __iter__(self) -> Iterator[Location]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def apply(self, execution: Execution) -> None:
        self.values.update({use.location: use.next for use in execution.uses})
        self.codes.update(execution.codes)


def world_of(block: EthereumBlock) -> World:
    world = World()
    for number, block_hash in block.block_hashes.items():
        world.values[Mark.BLOCKHASH, ZERO20, word(number)] = block_hash
    for address, account in block.prestate.items():
        world.values[Mark.BALANCE, address, ZERO32] = word(account.balance)
        world.values[Mark.NONCE, address, ZERO32] = word(account.nonce)
        if account.code != b"":
            world.values[Mark.CODE, address, ZERO32] = account.code_hash
        if account.code:
            world.codes[keccak256(account.code)] = account.code
        for slot, value in account.storage.items():
            world.values[Mark.STORAGE, address, slot] = value
    return world


def environment_of_block(block: EthereumBlock) -> Environment:
    fork = max(entry.fork for entry in NETWORK_FORKS[block.chain_id] if entry.timestamp <= block.timestamp)
    blobs = {Fork.CANCUN: CANCUN_BLOBS, Fork.PRAGUE: PRAGUE_BLOBS}.get(fork)
    return Environment(
        chain_id=block.chain_id,
        fork=fork,
        number=block.number,
        timestamp=block.timestamp,
        coinbase=block.coinbase,
        gas_limit=block.gas_limit,
        base_fee=block.base_fee,
        prevrandao=block.prevrandao,
        excess_blob_gas=block.excess_blob_gas,
        blob_base_fee=blob_base_fee(block.excess_blob_gas, blobs.update_fraction) if blobs else 0,
        blobs=blobs,
        profile=Profile.ETHEREUM,
    )


def jobs_of(block: EthereumBlock, world: World) -> Iterator[Job]:
    """The jobs of a block in order, opening calls first; each must be executed and applied before the next is asked."""
    environment = environment_of_block(block)
    yield from (job for job in _opening_calls(block, environment, world))
    gas = blob_gas = 0
    for raw, sender in zip(block.envelopes, block.senders, strict=True):
        transaction: EthereumTransaction = decode_envelope(raw)
        gas_used = yield Job(environment, transaction, sender, gas, blob_gas, world, world.codes)
        gas += gas_used
        blob_gas += transaction.blob_gas


def _opening_calls(block: EthereumBlock, environment: Environment, world: World) -> Iterator[Job]:
    inputs = {
        SystemKind.BEACON_ROOTS: (Fork.CANCUN, block.parent_beacon_root),
        SystemKind.HISTORY: (Fork.PRAGUE, block.parent_hash),
    }
    for kind, (first, data) in inputs.items():
        if environment.fork >= first:
            call = SystemCall(kind, SYSTEM_CONTRACTS[kind], data)
            yield Job(environment, call, SYSTEM_ADDRESS, 0, 0, world, world.codes)


def alone(job: Job, execution: Execution) -> Job:
    """The same job with nothing but the cells that `execution` used."""
    return replace(job, cells={use.location: use.prev for use in execution.uses})
