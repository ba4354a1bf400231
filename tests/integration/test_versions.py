"""Whatever outlives a program carries a version, and a newer one is refused with a message that says which is which."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import rlp

from manaflow.cli.keys import decrypt
from manaflow.coordinator.latest_index import LatestIndex, LatestTable
from manaflow.errors import Failure, ManaflowError, Pruned, StorageFailure
from manaflow.fraudproof.build import prove_parent
from manaflow.fraudproof.equivocation import is_equivocation
from manaflow.fraudproof.errors import ProofRejected
from manaflow.fraudproof.format import Proof, Rule
from manaflow.light.build import prove_inclusion
from manaflow.light.inclusion import InclusionRejected, verify_inclusion
from manaflow.moves.batch import EMPTY_BATCH
from manaflow.moves.header import Header
from manaflow.moves.wire import decode_block, decode_genesis, decode_header, encode_block, encode_genesis
from manaflow.moves.wire_batch import decode_batch, encode_batch
from manaflow.node.errors import RESOURCE_UNAVAILABLE
from manaflow.node.limits import Limits, MethodRates, Rate, TokenBucket
from manaflow.node.metrics import Metrics
from manaflow.node.rpc import Caller, Dispatcher
from manaflow.rules.config import ChainConfig
from manaflow.validator.store import Store, Table
from manaflow.validator.validator import Validator
from tests.manaflow_chain import Producer


@pytest.fixture(scope="module")
def producer() -> Producer:
    producer = Producer(accounts=1)
    producer.seal([producer.sign(0, b"\x07" * 20, value=1)])
    return producer


def newer(path: Path, tables: type) -> None:
    with Store.open(path, tables=tables) as store, store.write() as txn:
        txn.put(tables("meta"), b"format", (2).to_bytes(4, "big"))


def test_a_state_directory(producer: Producer, tmp_path: Path) -> None:
    Validator.create(tmp_path, producer.genesis).close()
    newer(tmp_path, Table)
    with pytest.raises(StorageFailure, match=r"a newer format \(2\); this program reads format 1"):
        Validator.open(tmp_path)


def test_a_latest_index(tmp_path: Path) -> None:
    LatestIndex.open(tmp_path).close()
    newer(tmp_path, LatestTable)
    with pytest.raises(StorageFailure, match=r"a newer format \(2\); this program reads format 1"):
        LatestIndex.open(tmp_path)


def raised(file: bytes, at: int) -> bytes:
    """A MANA file whose version is one higher, with a right checksum."""
    content = file[:at] + bytes([file[at] + 1]) + file[at + 1 : -32]
    return content + hashlib.sha256(content).digest()


@pytest.mark.parametrize("decode", [decode_block, decode_header])
def test_a_block(decode: Callable[[bytes], object], producer: Producer) -> None:
    file = encode_block(producer.blocks[0])
    decode(file)
    with pytest.raises(ManaflowError, match=r"version of the file \(expected 1, actual 2\)"):
        decode(raised(file, 4))


def test_a_header(producer: Producer) -> None:
    encoded = replace(producer.blocks[0].header, version=2).encode()
    with pytest.raises(ManaflowError, match=r"version of the header \(expected 1, actual 2\)"):
        Header.decode(encoded)


def test_a_genesis_file(producer: Producer) -> None:
    file = encode_genesis(producer.genesis)
    decode_genesis(file)
    with pytest.raises(ManaflowError, match=r"version of the file \(expected 1, actual 2\)"):
        decode_genesis(raised(file, 4))


def test_a_chain_config(producer: Producer) -> None:
    fields = rlp.decode(producer.config.encode())
    with pytest.raises(Failure, match="chain config of version 2, this program reads 1"):
        ChainConfig.decode(rlp.encode([b"\x02", *fields[1:]]))


def test_a_batch() -> None:
    file = encode_batch(EMPTY_BATCH)
    decode_batch(file)
    with pytest.raises(ManaflowError, match=r"version of the file \(expected 1, actual 2\)"):
        decode_batch(raised(file, 4))


@pytest.mark.parametrize("read", [Proof.decode, is_equivocation])
def test_a_proof(read: Callable[[bytes], object], producer: Producer) -> None:
    file = prove_parent(Rule.B2, producer.blocks[0], producer.config, producer.genesis.block.header).encode()
    read(file)
    with pytest.raises(ProofRejected, match="version 2 of the format, this program reads 1"):
        read(file[:9] + b"\x02" + file[10:])


def test_an_inclusion_proof(producer: Producer) -> None:
    block = producer.blocks[0]
    file = prove_inclusion(block, 0, None, producer.config.encode(), block.header, [producer.genesis.block.hash])
    verify_inclusion(file, block.hash)
    with pytest.raises(InclusionRejected, match="version 2 of the format, this program reads 1"):
        verify_inclusion(file[:8] + b"\x02" + file[9:], block.hash)


def test_a_keystore(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="a keystore of version 4; this program reads version 3"):
        decrypt(tmp_path / "key", b'{"version": 4}', "password")


def test_a_pruned_body_is_an_error_of_its_own_over_the_network() -> None:
    async def gone() -> str:
        raise Pruned(5, bytes(32))

    async def answer() -> bytes | None:
        dispatcher = Dispatcher({"mana_gone": gone}, Limits(), MethodRates((), lambda: 0.0), Metrics())
        caller = Caller("127.0.0.1", TokenBucket(Rate(1, 1), lambda: 0.0))
        return await dispatcher.answer(b'{"jsonrpc":"2.0","id":1,"method":"mana_gone"}', caller)

    said = asyncio.run(answer())
    assert said is not None
    assert f'"code":{RESOURCE_UNAVAILABLE}'.encode() in said
    assert b"the body of block 5 " in said
    assert b"was pruned here" in said
