"""Reading Ethereum block files, and the oracle beside them."""

from __future__ import annotations

import copy
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from manaflow.coordinator import ethereum
from manaflow.coordinator.ethereum import Account, load_block, read_json
from manaflow.errors import Failure
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Mark
from tests.conftest import block_files
from tests.oracle import expected_path, load_expected

SMALL = "17000-2971846.block.json.zst"


@pytest.fixture(scope="module")
def fields() -> dict[str, Any]:
    return read_json(next(path for path in block_files() if path.name == SMALL))


@pytest.mark.parametrize("path", block_files(), ids=lambda path: path.name)
def test_every_real_block_loads(path: Path) -> None:
    block = load_block(path)
    assert path.name == f"{block.chain_id}-{block.number}.block.json.zst"
    assert block.block_hashes.get(block.number - 1, block.parent_hash) == block.parent_hash
    assert block.base_fee > 0 or block.number == 12047794
    assert all(
        account.code is None or account.code_hash == (keccak256(account.code) if account.code else ZERO32)
        for account in block.prestate.values()
    )


def test_there_are_eighteen_real_blocks() -> None:
    assert len(block_files()) == 18


def test_fields_of_a_prague_block() -> None:
    block = load_block(next(path for path in block_files() if path.name.startswith("1-22615247")))
    assert block.hash == keccak_of_header(block.number)
    assert (block.gas_used, block.blob_gas_used, block.excess_blob_gas) == (0x1450D5, 0x60000, 0x20000)
    assert block.parent_beacon_root.hex().startswith("63d6b300")
    assert (len(block.envelopes), len(block.withdrawals)) == (26, 16)
    assert block.withdrawals[0].amount == 0x122DD81
    assert [recover_sender(decode_envelope(raw)) for raw in block.envelopes] == list(block.senders)
    history = block.prestate[bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935")]
    assert history.nonce == 1
    assert all(len(slot) == len(word) == 32 for slot, word in history.storage.items())


def keccak_of_header(number: int) -> bytes:
    """The hash that Ethereum knows for the block, from the file of its name."""
    path = next(path for path in block_files() if path.name.startswith(f"1-{number}"))
    return bytes.fromhex(read_json(path)["hash"][2:])


@pytest.mark.parametrize("path", block_files(), ids=lambda path: path.name)
def test_the_oracle_continues_from_the_prestate(path: Path) -> None:
    """Walking the steps' writes from the pre-state finds every `before` where the steps before left it."""
    block, steps = load_block(path), load_expected(expected_path(path))
    state: dict[tuple[int, bytes, bytes], bytes] = {}
    compared = 0
    for step in steps:
        for location, (before, after) in step.writes.items():
            mark, addr, slot = location
            known = state.get(location) or prestate_value(block.prestate.get(addr), mark, slot)
            if addr not in block.unknown_accounts:
                assert known == before, (step.kind, step.index, location)
                compared += 1
            assert before != after
            state[location] = after
    assert compared
    assert [step.index for step in steps if step.kind == "tx"] == list(range(len(block.envelopes)))
    assert max(step.cumulative_gas_used or 0 for step in steps) == block.gas_used


def prestate_value(account: Account | None, mark: int, slot: bytes) -> bytes:
    if account is None:
        return ZERO32
    plain = {Mark.BALANCE: account.balance, Mark.NONCE: account.nonce}
    if mark in plain:
        return plain[Mark(mark)].to_bytes(32, "big")
    return account.code_hash if mark == Mark.CODE else account.storage.get(slot, ZERO32)


def test_plain_json_loads_as_well(fields: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "block.json"
    path.write_text(json.dumps(fields))
    assert load_block(path).number == 2971846


def set_header(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda fields: fields["header"].__setitem__(name, value)


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another format": (lambda f: f.update(format="neutral-block/2"), "neutral-block/2"),
    "a header field changed": (set_header("gasUsed", "0x1"), "hash to"),
    "a header field gone": (lambda f: f["header"].pop("gasLimit"), "fields are those of no fork"),
    "a header field of a later fork without the earlier": (
        lambda f: f["header"].pop("withdrawalsRoot"),
        "fields are those of no fork",
    ),
    "an unknown header field": (set_header("colour", "0x1"), "colour"),
    "a header field of another type": (set_header("gasUsed", 7), "not a 0x-prefixed integer"),
    "a header number too long": (set_header("gasUsed", "0x" + "f" * 65), "not a 0x-prefixed integer"),
    "a transaction changed": (lambda f: f["transactions"][2].update(raw="0x02c0"), "transaction 2 hashes to"),
    "a transaction without raw bytes": (lambda f: f["transactions"][0].pop("raw"), "field 'raw' is missing"),
    "no prestate": (lambda f: f.pop("prestate"), "field 'prestate' is missing"),
    "a prestate that is a list": (lambda f: f.update(prestate=[]), "items"),
    "an address of 19 bytes": (lambda f: f["prestate"].update({"0x" + "11" * 19: {}}), "19 bytes, expected 20"),
    "a nonce of 65 bits": (
        lambda f: next(iter(f["prestate"].values())).update(nonce="0x1" + "0" * 16),
        "more than 64 bits",
    ),
    "a withdrawal amount of 65 bits": (
        lambda f: f["withdrawals"][0].update(amount="0x1" + "0" * 16),
        "more than 64 bits",
    ),
    "hex without prefix": (lambda f: f.update(hash="11" * 32), "not 0x-prefixed hex"),
    "no hex at all": (lambda f: f.update(hash="0x" + "zz" * 32), "non-hexadecimal"),
    "a block hash of the future": (lambda f: f["blockHashes"].update({"2971846": "0x" + "11" * 32}), "last 256"),
    "another parent": (lambda f: f["blockHashes"].update({"2971845": "0x" + "11" * 32}), "contradicts parentHash"),
    "a chain id as text": (lambda f: f.update(chainId="0x1"), "number below 2^63"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_invalid_file_is_a_failure_with_its_name(name: str, fields: dict[str, Any], tmp_path: Path) -> None:
    broken = copy.deepcopy(fields)
    change, message = BROKEN[name]
    change(broken)
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(broken))
    with pytest.raises(Failure) as caught:
        load_block(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'{"format": 1}',
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"\\"":"[","b":' * 200_000,
        b"\x28\xb5\x2f\xfd",
        b"1" * 5000,
    ],
    ids=lambda data: repr(data[:8]),
)
def test_invalid_text_is_a_failure(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(data)
    with pytest.raises(Failure, match=r"broken\.json"):
        load_block(path)


def test_invalid_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.json.zst"
    path.write_bytes(zstandard.compress(bytes(2**20)))
    monkeypatch.setattr(ethereum, "MAX_JSON_BYTES", 2**20 - 1)
    with pytest.raises(Failure, match="after decompression"):
        load_block(path)
    monkeypatch.setattr(ethereum, "MAX_FILE_BYTES", 10)
    with pytest.raises(Failure, match="more than 10 bytes"):
        load_block(path)


def test_missing_file_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="nowhere"):
        load_block(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    "text",
    [
        b"[" + b"[]," * 100_000 + b"1]", b'"' + b"\\n" * 150_000 + b'"', b'"' + b'\\\\\\"' * 75_000 + b'"',
        b'[""' + b',""' * 100_000 + b"]",
    ],
    ids=["brackets", "escapes", "escaped quotes", "strings"],
)  # fmt: skip
def test_memory_of_json_follows_its_length(text: bytes) -> None:
    tracemalloc.start()
    try:
        ethereum.parse_json(text)
        assert tracemalloc.get_traced_memory()[1] < 40 * len(text)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("string", [rb'"\\"', rb'"\""', rb'"\\\""', rb'"\\\\"', rb'"\\\"\\"', rb'"["', rb'"\"["'])
def test_depth_is_counted_outside_strings(string: bytes) -> None:
    """Whatever a string ends with, the brackets behind it count, and those within it do not."""
    for depth, taken in ((ethereum.MAX_JSON_DEPTH, True), (ethereum.MAX_JSON_DEPTH + 1, False)):
        text = b"[" + string + b"," + b"[" * (depth - 1) + b"]" * depth
        if taken:
            assert ethereum.parse_json(text)
        else:
            with pytest.raises(ValueError, match="nested more than"):
                ethereum.parse_json(text)


def test_a_small_file_costs_little(tmp_path: Path) -> None:
    """Neither a plain nor a packed file takes the memory of its bound."""
    for data in (b"{}", zstandard.compress(b"{}"), b"\x28\xb5\x2f\xfd\0"):
        (tmp_path / "file").write_bytes(data)
        tracemalloc.start()
        try:
            with pytest.raises(Failure):
                ethereum.load_block(tmp_path / "file")
            assert tracemalloc.get_traced_memory()[1] < 2**22
        finally:
            tracemalloc.stop()
