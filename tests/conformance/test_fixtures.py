"""Reading fixtures: folders, archives and files alike; garbage is one clear Failure that names file and test."""

from __future__ import annotations

import gzip
import importlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manaflow.conformance import fixtures
from manaflow.conformance.fixtures import StateTest, UnknownFork, fixture_files, read_fixtures, seen_block_hash
from manaflow.errors import Failure
from manaflow.moves.hashing import keccak256
from manaflow.rules.config import CANCUN_BLOBS
from tests.conformance.cases import EXAMPLE, broken_fixture, example_fixtures


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def all_cases(path: Path) -> list[Any]:
    return [case for name, content in fixture_files(path) for case in read_fixtures(name, content)]


def test_a_folder_an_archive_and_files_read_alike(tmp_path: Path) -> None:
    content = EXAMPLE.read_bytes()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (below / "extcode.json").write_bytes(content)
    (below / "notes.txt").write_bytes(b"no fixture")
    (tmp_path / "MANIFEST.json").write_bytes(b"[]")
    (tmp_path / ".meta").mkdir()
    (tmp_path / ".meta" / "index.json").write_bytes(b"{}")
    archive = packed(tmp_path / "x.tar.gz", {"MANIFEST.json": b"[]", "a/b/extcode.json": content, "a/notes": b"no"})
    (alone,) = (all_cases(EXAMPLE),)
    assert all_cases(tmp_path) == all_cases(archive) == alone
    assert len(alone) == 10
    assert [name for name, _ in fixture_files(archive)] == [f"{archive}:a/b/extcode.json"]


def test_the_fields_of_a_test() -> None:
    case = next(case for case in read_fixtures("x", EXAMPLE.read_bytes()) if case.fork == "Cancun")
    assert isinstance(case, StateTest)
    assert (case.chain_id, case.blobs, case.exception) == (1, CANCUN_BLOBS, None)
    raw = example_fixtures()[case.id]
    assert case.block.gas_limit == int(raw["env"]["currentGasLimit"], 16)
    assert case.block.seen_parent_hash == case.block.block_hashes[0] == keccak256(b"0")
    assert [raw["post"]["Cancun"][0]["txbytes"]] == ["0x" + e.hex() for e in case.block.envelopes]
    assert {"0x" + address.hex() for address in case.pre} == set(raw["pre"])
    assert {"0x" + address.hex() for address in case.post} == set(raw["post"]["Cancun"][0]["state"])
    slots = [(s, w) for account in case.post.values() for s, w in account.storage.items()]
    assert slots
    assert all(len(slot) == len(word) == 32 for slot, word in slots)


def test_block_hashes_reach_256_blocks_back() -> None:
    content = broken_fixture(lambda f: f["env"].update(currentNumber="0x3e8"))
    (case,) = read_fixtures("x", content)
    assert isinstance(case, StateTest)
    assert sorted(case.block.block_hashes) == list(range(744, 1000))
    assert case.block.seen_parent_hash == seen_block_hash(999) == keccak256(b"999")


def test_several_posts_are_told_apart() -> None:
    def twice(fixture: dict[str, Any]) -> None:
        ((fork, posts),) = fixture["post"].items()
        fixture["post"][fork] = posts * 2

    names = [case.id for case in read_fixtures("x", broken_fixture(twice))]
    assert [name[-3:] for name in names] == ["[0]", "[1]"]


def test_a_fork_before_paris_is_named_and_not_read() -> None:
    content = broken_fixture(lambda f: f.update(post={"Berlin": [{}]}))
    (case,) = read_fixtures("x", content)
    assert case == UnknownFork(next(iter(example_fixtures())), "Berlin")


def account(fixture: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(fixture["pre"].values()))
    return found


def post(fixture: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(fixture["post"].values()))[0]
    return found


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no post": (lambda f: f.pop("post"), "field 'post' is missing"),
    "an empty post": (lambda f: f.update(post={}), "no list of expectations"),
    "a post that is no list": (lambda f: f.update(post={"Prague": {}}), "no list of expectations"),
    "an expectation that is no object": (lambda f: f.update(post={"Prague": [7]}), "int"),
    "a fork without a blob schedule": (lambda f: f["config"]["blobSchedule"].clear(), "field 'Prague' is missing"),
    "no state": (lambda f: post(f).pop("state"), "field 'state' is missing"),
    "no envelope": (lambda f: post(f).pop("txbytes"), "field 'txbytes' is missing"),
    "an envelope of half a byte": (lambda f: post(f).update(txbytes="0x0"), "odd number of digits"),
    "logs of 31 bytes": (lambda f: post(f).update(logs="0x" + "11" * 31), "31 bytes, expected 32"),
    "an exception that is no text": (lambda f: post(f).update(expectException=7), "expectException 7"),
    "no environment": (lambda f: f.pop("env"), "field 'env' is missing"),
    "an unknown field of the environment": (lambda f: f["env"].update(colour="0x1"), "unknown fields: colour"),
    "a gas limit of 65 bits": (lambda f: f["env"].update(currentGasLimit="0x1" + "0" * 16), "more than 64 bits"),
    "a gas limit as a number": (lambda f: f["env"].update(currentGasLimit=7), "not a 0x-prefixed integer"),
    "a number with an underscore": (lambda f: f["env"].update(currentGasLimit="0x1_0"), "not a 0x-prefixed integer"),
    "an empty number": (lambda f: f["env"].update(currentGasLimit="0x"), "not a 0x-prefixed integer"),
    "block 0": (lambda f: f["env"].update(currentNumber="0x0"), "has no parent"),
    "time 0": (lambda f: f["env"].update(currentTimestamp="0x0"), "has no parent"),
    "no config": (lambda f: f.pop("config"), "field 'config' is missing"),
    "a chain id of 64 bits": (lambda f: f["config"].update(chainid="0x" + "f" * 16), "more than 63 bits"),
    "no sender": (lambda f: f["transaction"].pop("sender"), "field 'sender' is missing"),
    "a pre-state that is a list": (lambda f: f.update(pre=[]), "items"),
    "an address of 19 bytes": (lambda f: f["pre"].update({"0x" + "11" * 19: {}}), "19 bytes, expected 20"),
    "an account without a nonce": (lambda f: account(f).pop("nonce"), "has the fields balance, code, storage"),
    "an account with more": (lambda f: account(f).update(root="0x"), "has the fields"),
    "a balance of 257 bits": (lambda f: account(f).update(balance="0x1" + "0" * 64), "not a 0x-prefixed integer"),
    "a code that is no hex": (lambda f: account(f).update(code="0xzz"), "non-hexadecimal"),
    "storage that is a list": (lambda f: account(f).update(storage=[1]), "items"),
    "another format": (lambda f: f["_info"].update({"fixture-format": "blockchain_test"}), "'blockchain_test'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_invalid_fixture_is_a_failure_that_names_it(name: str) -> None:
    change, message = BROKEN[name]
    with pytest.raises(Failure) as caught:
        read_fixtures("some/file.json", broken_fixture(change))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"some/file.json: {next(iter(example_fixtures()))}: ")


@pytest.mark.parametrize("fraction", ["target", "baseFeeUpdateFraction"])
def test_invalid_blob_schedule(fraction: str) -> None:
    def zero(fixture: dict[str, Any]) -> None:
        for schedule in fixture["config"]["blobSchedule"].values():
            schedule[fraction] = "0x0"

    with pytest.raises(Failure, match="blob schedule"):
        read_fixtures("x", broken_fixture(zero))


DEEP = [b"[" * 200_000, b'{"a":' * 1_000, b"[" * 2**20 + b"]" * 2**20]
GARBAGE = [b"", b"{", b"[]", b"7", b"null", b"\xff\xfe", b'{"a": 7}', b'{"a": {"post": 7}}', *DEEP]


@pytest.mark.parametrize("content", GARBAGE, ids=lambda content: repr(content[:9]))
def test_invalid_text_is_a_failure(content: bytes) -> None:
    importlib.import_module("eth")  # it raises the recursion limit: nothing but our own bound is left
    with pytest.raises(Failure, match=r"^file\.json: "):
        read_fixtures("file.json", content)


@pytest.mark.parametrize(
    "content", [b"", b"no archive", gzip.compress(b"no archive" * 100), gzip.compress(b"x" * 5000)[:-20]]
)
def test_invalid_archive_is_a_failure(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.tar.gz"
    path.write_bytes(content)
    with pytest.raises(Failure, match=r"broken\.tar\.gz"):
        all_cases(path)


def test_an_archive_cut_short_is_a_failure(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.tar.gz", {"a.json": EXAMPLE.read_bytes(), "b.json": EXAMPLE.read_bytes()})
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(Failure, match=r"x\.tar\.gz"):
        all_cases(path)


def test_sizes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.dumps({}).encode() + b" " * 100
    file, archive = tmp_path / "big.json", packed(tmp_path / "x.tar.gz", {f"{n}.json": content for n in range(3)})
    file.write_bytes(content)
    monkeypatch.setattr(fixtures, "MAX_ARCHIVE_BYTES", 2 * len(content))
    with pytest.raises(Failure, match=r"'2\.json' is too large, or the archive"):
        all_cases(archive)
    monkeypatch.setattr(fixtures, "MAX_FILE_BYTES", len(content) - 1)
    for path in (file, archive):
        with pytest.raises(Failure, match=r"more than \d+ bytes|too large"):
            all_cases(path)
    assert all_cases(packed(tmp_path / "small.tar.gz", {"a.json": b"{}"})) == []


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("link.json")
        link.type, link.linkname = tarfile.SYMTYPE, str(EXAMPLE)
        archive.addfile(link)
    assert list(fixture_files(path)) == []


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_extended_headers_of_an_archive_are_bounded(tmp_path: Path, kind: bytes) -> None:
    """Python before 3.11.10 searches a long one for hours."""
    member = tarfile.TarInfo("x")
    member.size, member.type = 2**33, kind
    (tmp_path / "long.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + b"0" * 10**6)
    with pytest.raises(Failure, match="at most 8192 are read"):
        list(fixture_files(tmp_path / "long.tar"))
