"""`manaflow genesis`: a chain begins with its file, and its blocks pass every command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manaflow.coordinator.filler import Filler
from manaflow.coordinator.genesis import HISTORY_CODE
from manaflow.coordinator.inputs import next_inputs
from manaflow.coordinator.replay import DEVELOPMENT_KEY, address_of
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.marks import ZERO32, Mark
from manaflow.moves.wire import decode_genesis, encode_block
from tests.chain import word
from tests.cli.conftest import Ran, refused
from tests.conftest import ROOT
from tests.manaflow_chain import COINBASE, Producer

Run = Callable[..., Ran]
PRODUCER = "0x" + address_of(DEVELOPMENT_KEY).hex()


def begin(manaflow: Run, alloc: Path, out: Path, *more: str) -> Ran:
    return manaflow("genesis", alloc, "--chain-id", "7778", "--producer", PRODUCER, "--out", out, *more, "--json")


def test_the_example_becomes_a_genesis(manaflow: Run, tmp_path: Path) -> None:
    out = tmp_path / "genesis.mana"
    ran = begin(manaflow, ROOT / "examples" / "alloc.json", out, "--timestamp", "1000", "--base-fee", "9")
    assert ran.code == 0, ran
    genesis = decode_genesis(out.read_bytes(), NATIVE)
    assert ran.json["hash"] == "0x" + genesis.block.hash.hex()
    header = genesis.block.header
    assert (header.number, header.timestamp, header.base_fee, header.gas_limit) == (0, 1000, 9, 30_000_000)
    filler = Filler.at_genesis(genesis, DEVELOPMENT_KEY, NATIVE)
    rich, contract = bytes.fromhex("c0ffee").rjust(20, b"\0"), bytes.fromhex("0decaf").rjust(20, b"\0")
    assert filler.value((Mark.BALANCE, rich, ZERO32)) == word(1000 * 10**18)
    assert filler.value((Mark.STORAGE, contract, ZERO32)) == word(1)
    assert HISTORY_CODE in genesis.block.codes
    assert "exists already" in refused(begin(manaflow, ROOT / "examples" / "alloc.json", out), 2)


def test_the_chain_passes_import_verify_and_check(manaflow: Run, tmp_path: Path) -> None:
    producer = Producer()
    alloc = {"0x" + address.hex(): {"balance": hex(10**21)} for address in producer.addresses}
    (tmp_path / "alloc.json").write_text(json.dumps(alloc))
    chain = tmp_path / "chain"
    assert begin(manaflow, tmp_path / "alloc.json", chain / "genesis.mana").code == 0
    filler = Filler.at_genesis(decode_genesis((chain / "genesis.mana").read_bytes(), NATIVE), DEVELOPMENT_KEY, NATIVE)
    for number in (1, 2):
        envelopes = (producer.sign(0, producer.addresses[number], value=7), producer.sign(4, data=b"\xfe", tip=number))
        timestamp = filler.head.timestamp + 1
        inputs = next_inputs(
            filler.config, filler.head, filler.block_hashes, coinbase=COINBASE, timestamp=timestamp, envelopes=envelopes
        )
        (chain / f"{number}.mana").write_bytes(encode_block(filler.fill(inputs).block, NATIVE))
    state = tmp_path / "state"
    for command in (
        ("import", chain, "--state", state, "--mode", "execute"),
        ("check", "--state", state),
        ("verify", chain, "--order", "random", "--seed", "7"),
        ("verify", chain, "--engine", "pyevm"),
    ):
        ran = manaflow(*command, "--json")
        assert ran.code == 0, (command, ran)


@pytest.mark.parametrize(
    ("alloc", "more", "code", "why"),
    [
        ({}, ("--chain-id", "1"), 3, "not an Ethereum network's"),
        ({}, ("--producer", "0x12"), 2, "is no address"),
        ([], (), 3, "no JSON object"),
        ({"0x12": {}}, (), 3, "has 1 bytes, expected 20"),
        ({"0x" + "12" * 20: {"balance": "5"}}, (), 3, "not a 0x-prefixed integer"),
        ({"0x" + "12" * 20: {"balances": "0x5"}}, (), 3, "no field 'balances'"),
        ({"0x" + "12" * 20: {"nonce": hex(2**64)}}, (), 3, "more than 64 bits"),
        ({"0x" + "aB" * 20: {}, "0x" + "Ab" * 20: {}}, (), 3, "twice"),
        ({"0x" + "12" * 20: {"storage": {"0x0": "0x1"}}}, (), 1, "storage of an account with nonce 0 and no code"),
        ({"0x" + "04".rjust(40, "0"): {"nonce": "0x1"}}, (), 1, "c or n of a precompile"),
    ],
)
def test_what_begins_no_chain(
    manaflow: Run, tmp_path: Path, alloc: Any, more: tuple[str, ...], code: int, why: str
) -> None:
    path, out = tmp_path / "alloc.json", tmp_path / "genesis.mana"
    path.write_text(json.dumps(alloc))
    assert why in refused(begin(manaflow, path, out, *more), code)
    assert not out.exists()
