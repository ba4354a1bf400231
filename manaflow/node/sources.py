"""Where `manaflow follow` gets blocks: a folder of .mana files, or a node's JSON-RPC. Shells of `following.Source`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from manaflow.errors import Failure, Verdict
from manaflow.moves.bounded import read_at_most
from manaflow.moves.wire import Limits, decode_header
from manaflow.node.client import CallRefused, LinkDown, RpcClient
from manaflow.node.encoding import Data, Hash, Quantity64, data, quantity
from manaflow.node.following import Head, SourceFault
from manaflow.node.mana import HEADS

T = TypeVar("T")

GENESIS_NAME: Final = "genesis.mana"
MAX_FILE_BYTES: Final = Limits().file_bytes
HEADS_SECONDS: Final = 30.0
"""How long to wait for a node that tells of new heads before asking all the same."""


class FolderSource:
    """The files NUMBER.mana of a folder, whoever writes them. Nothing convicts here: proofs come by apply-proof."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)

    def head(self) -> Head:
        """The highest number's block."""
        numbers = [int(path.stem) for path in self._paths() if path.stem.isdecimal()]
        if not numbers:
            raise SourceFault(f"{self.name} has no blocks")
        file = self.block(max(numbers))
        if file is None:
            raise SourceFault(f"{self.name}: its last block is gone")
        try:
            header, _ = decode_header(file)
        except Verdict as verdict:
            raise SourceFault(f"{self.name}: block {max(numbers)} is none: {verdict}") from verdict
        return Head(header.number, header.hash)

    def _paths(self) -> list[Path]:
        try:
            return [path for path in self.path.iterdir() if path.suffix == ".mana"]
        except OSError as error:
            raise SourceFault(f"{self.name}: {error}") from error

    def block(self, number: int) -> bytes | None:
        """NUMBER.mana, bounded."""
        return self._read(f"{number}.mana")

    def genesis(self) -> bytes:
        """The file that the chain begins with. Raises SourceFault."""
        file = self._read(GENESIS_NAME)
        if file is None:
            raise SourceFault(f"{self.name} has no {GENESIS_NAME}")
        return file

    def _read(self, name: str) -> bytes | None:
        try:
            with (self.path / name).open("rb") as file:
                found = read_at_most(file, MAX_FILE_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SourceFault(f"{self.name}: {error}") from error
        if found is None:
            raise SourceFault(f"{self.name}: {name} has more than {MAX_FILE_BYTES} bytes")
        return found

    def conviction(self, block_hash: bytes) -> bytes | None:
        """None."""
        return None


class NodeSource:
    """Another node. One thread; close it, or use it as a context manager."""

    def __init__(self, url: str) -> None:
        """url: http:// or https://."""
        self.name = url
        self._runner = asyncio.Runner()
        self._client = self._runner.run(_client(url))
        self._seen: Head | None = None

    def close(self) -> None:
        """Let go of the connection. Safe to call twice."""
        with contextlib.suppress(RuntimeError):
            self._runner.run(self._client.__aexit__())
        self._runner.close()

    def __enter__(self) -> NodeSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def head(self) -> Head:
        """mana_head."""
        self._seen = self._head_in(self._call("mana_head"))
        return self._seen

    def block(self, number: int) -> bytes | None:
        """mana_getBlock."""
        return self._bytes(self._call("mana_getBlock", quantity(number)))

    def conviction(self, block_hash: bytes) -> bytes | None:
        """mana_getProof."""
        return self._bytes(self._call("mana_getProof", data(block_hash)))

    def genesis(self) -> bytes:
        """The genesis file that the node names. Raises SourceFault."""
        named = self._call("mana_config")
        found = self._bytes(named.get("genesis") if isinstance(named, dict) else None)
        if found is None:
            raise SourceFault(f"{self.name} names no genesis")
        return found

    def submit(self, proof: bytes) -> Any:
        """mana_submitProof: what the node says. Raises SourceFault, with its reason if it refuses."""
        return self._call("mana_submitProof", data(proof))

    def wait(self, seconds: float) -> None:
        """Until the node tells of a new head, or for so long; a node that tells nothing is asked after `seconds`."""
        self._runner.run(self._wait(seconds))

    async def _wait(self, seconds: float) -> None:
        news = asyncio.Event()
        try:
            async with self._client.notified(HEADS, news):
                if self._head_in(await self._client.call("mana_head")) != self._seen:
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), HEADS_SECONDS)
        except (LinkDown, CallRefused, SourceFault):
            await asyncio.sleep(seconds)

    def _call(self, method: str, *params: Any) -> Any:
        try:
            return self._runner.run(self._client.call(method, *params))
        except (LinkDown, CallRefused) as error:
            raise SourceFault(f"{self.name}: {error}") from error

    def _head_in(self, answer: Any) -> Head:
        if not isinstance(answer, dict):
            raise SourceFault(f"{self.name}: a head that is none")
        number = self._read(lambda: int(Quantity64.parse(answer.get("number"))))
        return Head(number, self._read(lambda: bytes(Hash.parse(answer.get("hash")))))

    def _bytes(self, answer: Any) -> bytes | None:
        return None if answer is None else self._read(lambda: bytes(Data.parse(answer)))

    def _read(self, parse: Callable[[], T]) -> T:
        try:
            return parse()
        except ValueError as error:
            raise SourceFault(f"{self.name}: an answer that is none: {error}") from error


async def _client(url: str) -> RpcClient:
    return RpcClient(url)


def source_of(text: str) -> FolderSource | NodeSource:
    """A folder, or a node by its URL. Raises Failure."""
    if text.startswith(("http://", "https://")):
        return NodeSource(text)
    if not Path(text).is_dir():
        raise Failure(f"{text} is neither a folder of blocks nor a node's URL (http:// or https://)")
    return FolderSource(Path(text))
