"""State tests of ethereum/execution-spec-tests (fixture format `state_test`), read strictly from folders and archives.

A file holds fixtures by id; a fixture holds one environment, one pre-state, and per fork a list of signed transactions
with what each must leave. Anything wrong with a file is a Failure that names it and the fixture.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self, cast

from manaflow.coordinator.ethereum import Account, parse_json
from manaflow.coordinator.hexadecimal import read_bytes, read_integer, read_word, shortened
from manaflow.coordinator.inputs import BlockInputs
from manaflow.errors import Failure
from manaflow.moves.bounded import read_at_most
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32
from manaflow.rules.config import BlobParameters, Fork

MAX_FILE_BYTES: Final = 256 * 2**20
"""One file of fixtures, after decompression."""
MAX_ARCHIVE_BYTES: Final = 16 * 2**30
"""All files of an archive, after decompression."""
MAX_LONG_HEADER: Final = 8192
"""A member's long name or other extended header (CVE-2024-6232)."""
_OPENERS: Final[Mapping[bytes, Callable[[Path], object]]] = {
    b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open,
}  # fmt: skip
"""By the first bytes of what they compress."""
_LONG_HEADERS: Final = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
NOT_FIXTURES: Final = frozenset({"MANIFEST.json", "index.json"})
"""Files beside fixtures that list them."""
FORKS: Final[Mapping[str, Fork]] = {"Merge": Fork.PARIS, **{fork.name.capitalize(): fork for fork in Fork}}
"""Forks that the rules hold, as fixtures name them."""
SEEN_BLOCKS: Final = 256
"""How far back BLOCKHASH sees."""
_ENVIRONMENT: Final = frozenset({
    "currentCoinbase", "currentGasLimit", "currentNumber", "currentTimestamp", "currentRandom", "currentDifficulty",
    "currentBaseFee", "currentExcessBlobGas",
})  # fmt: skip
_ACCOUNT: Final = frozenset({"nonce", "balance", "code", "storage"})

State = Mapping[bytes, Account]
"""Accounts by address; an absent one does not exist."""


@dataclass(frozen=True, slots=True)
class StateTest:
    """One signed transaction on one pre-state in one fork, and what it must leave."""

    id: str
    """The fixture's name; [place] is added where a fork has several posts."""
    fork: str
    """As the fixture names it, a key of FORKS."""
    chain_id: int
    blobs: BlobParameters | None
    """None before Cancun."""
    block: BlockInputs
    """The block that holds nothing but the transaction."""
    sender: bytes
    """Who signed, as the fixture says; looked at only where the envelope does not say it."""
    pre: State
    exception: str | None
    """Why the transaction is invalid, in the fixture's words; None if it is valid."""
    post: State
    """The full state afterwards."""
    logs_hash: bytes
    """keccak-256 of the RLP of the transaction's logs."""


@dataclass(frozen=True, slots=True)
class UnknownFork:
    """A test for a fork that the rules do not hold; nothing more of it is read."""

    id: str
    fork: str


Case = StateTest | UnknownFork


def fixture_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every file of fixtures: in a folder and below it, in a tar archive, or the one JSON file.

    Raises Failure if something cannot be read or is too large.
    """
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*.json") if file.name not in NOT_FIXTURES)
            yield from ((str(file), _read(file)) for file in files)
        elif path.name.endswith(".json"):
            yield str(path), _read(path)
        else:
            yield from _members(path)
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error, lzma.LZMAError) as error:
        raise Failure(f"{path}: {error}") from error


def read_fixtures(name: str, content: bytes) -> list[Case]:
    """The tests of one file, in its order. Raises Failure, which names the file and the fixture."""
    try:
        fixtures = parse_json(content)
        if not isinstance(fixtures, dict):
            raise ValueError("no object of fixtures by name")
    except ValueError as error:
        raise Failure(f"{name}: {error}") from error
    return [case for fixture_id, fixture in fixtures.items() for case in _cases_of(name, fixture_id, fixture)]


def _cases_of(name: str, fixture_id: str, fixture: Any) -> list[Case]:
    try:
        return [
            _case(fixture_id if len(posts) == 1 else f"{fixture_id}[{i}]", fork, fixture, post)
            for fork, posts in _posts(fixture).items()
            for i, post in enumerate(posts)
        ]
    except KeyError as error:
        raise Failure(f"{name}: {fixture_id}: field {error} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise Failure(f"{name}: {fixture_id}: {error}") from error


def _posts(fixture: Any) -> Mapping[str, Any]:
    kind = fixture.get("_info", {}).get("fixture-format", "state_test")
    if kind != "state_test":
        raise ValueError(f"fixture format {shortened(kind)}, this program reads 'state_test'")
    posts: Mapping[str, Any] = fixture["post"]
    if not posts or not all(isinstance(entries, list) and entries for entries in posts.values()):
        raise ValueError("post holds no list of expectations by fork")
    return posts


def _case(test_id: str, fork: str, fixture: Mapping[str, Any], post: Mapping[str, Any]) -> Case:
    if fork not in FORKS:
        return UnknownFork(test_id, fork)
    config = fixture["config"]
    exception = post.get("expectException")
    if exception is not None and not isinstance(exception, str):
        raise ValueError(f"expectException {shortened(exception)} is no text")
    return StateTest(
        id=test_id,
        fork=fork,
        chain_id=read_integer(config["chainid"], 63),
        blobs=None if FORKS[fork] < Fork.CANCUN else _blobs(config["blobSchedule"][fork]),
        block=_block(fixture["env"], fork, read_bytes(post["txbytes"])),
        sender=read_bytes(fixture["transaction"]["sender"], 20),
        pre=_state(fixture["pre"]),
        exception=exception,
        post=_state(post["state"]),
        logs_hash=read_bytes(post["logs"], 32),
    )


def _blobs(schedule: Mapping[str, Any]) -> BlobParameters:
    target, maximum, fraction = (read_integer(schedule[k], 32) for k in ("target", "max", "baseFeeUpdateFraction"))
    if not (target and fraction and target <= maximum):
        raise ValueError("a blob schedule without target or update fraction, or with a target beyond its maximum")
    return BlobParameters(target, maximum, fraction)


def _block(env: Mapping[str, Any], fork: str, envelope: bytes) -> BlockInputs:
    if unknown := set(env) - _ENVIRONMENT:
        raise ValueError(f"env has unknown fields: {', '.join(sorted(unknown))}")
    number, timestamp = read_integer(env["currentNumber"], 63), read_integer(env["currentTimestamp"], 63)
    if not number or not timestamp:
        raise ValueError("a test at block 0 or time 0 has no parent")
    hashes = {n: seen_block_hash(n) for n in range(max(0, number - SEEN_BLOCKS), number)}
    return BlockInputs(
        number=number,
        seen_parent_hash=hashes[number - 1],
        coinbase=read_bytes(env["currentCoinbase"], 20),
        timestamp=timestamp,
        gas_limit=read_integer(env["currentGasLimit"], 64),
        base_fee=read_integer(env["currentBaseFee"], 64),
        prevrandao=read_word(env["currentRandom"]),
        excess_blob_gas=0 if FORKS[fork] < Fork.CANCUN else read_integer(env["currentExcessBlobGas"], 64),
        parent_beacon_root=ZERO32,
        extra_data=b"",
        envelopes=(envelope,),
        withdrawals=(),
        block_hashes=hashes,
    )


def seen_block_hash(number: int) -> bytes:
    """What BLOCKHASH shows in state tests, which have no blocks: keccak-256 of the number in decimal digits."""
    return keccak256(str(number).encode())


def _state(accounts: Mapping[str, Any]) -> State:
    return {read_bytes(address, 20): _account(address, fields) for address, fields in accounts.items()}


def _account(address: str, fields: Mapping[str, Any]) -> Account:
    if set(fields) != _ACCOUNT:
        raise ValueError(f"account {address} has the fields {', '.join(sorted(fields))}")
    code = read_bytes(fields["code"])
    storage = {read_word(slot): read_word(word) for slot, word in fields["storage"].items()}
    code_hash = keccak256(code) if code else ZERO32
    return Account(read_integer(fields["nonce"], 64), read_integer(fields["balance"]), code, code_hash, storage)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = read_at_most(file, MAX_FILE_BYTES)
    if content is None:
        raise Failure(f"{path}: more than {MAX_FILE_BYTES} bytes")
    return content


class _Member(tarfile.TarInfo):
    """A member whose long names are bounded: tarfile reads such headers whole, and searches them in quadratic time."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _LONG_HEADERS and found.size > MAX_LONG_HEADER:
            raise tarfile.ReadError(f"a header of {found.size} bytes, at most {MAX_LONG_HEADER} are read")
        return found


def _unpacked(path: Path) -> IO[bytes]:
    """The archive's bytes. Not by tarfile's own readers, which answer damaged headers of gzip with odd errors."""
    with path.open("rb") as file:
        start = file.read(max(map(len, _OPENERS)))
    found = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
    return path.open("rb") if found is None else cast("IO[bytes]", found(path))


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """The archive as a stream, so that what it claims of itself allocates nothing."""
    total = 0
    with _unpacked(path) as stream, tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as archive:
        for member in archive:
            total += max(member.size, 0)
            if member.size > MAX_FILE_BYTES or total > MAX_ARCHIVE_BYTES:
                raise Failure(f"{path}: {shortened(member.name)} is too large, or the archive as a whole")
            file = archive.extractfile(member) if member.isreg() else None
            if file is not None and member.name.endswith(".json") and Path(member.name).name not in NOT_FIXTURES:
                yield f"{path}:{member.name}", file.read()
