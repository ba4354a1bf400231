"""A coordinator's link to a validator in another process: follows its chain, and brings it batches.

One task does one thing after another, so that what the chain is told stays in order: the blocks first, then the open
block, then replies to batches that were filled for it. Whatever fails, it begins again: the open block as it then is
replaces what was on its way (a transaction that was admitted all the same shows in the block's cells).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import structlog

from manaflow.coordinator.messages import Learnt, Opened, Replied, Send
from manaflow.errors import Failure, Verdict
from manaflow.fraudproof.consequences import Judged
from manaflow.fraudproof.errors import ProofRejected
from manaflow.moves.batch import EMPTY_BATCH, Batch, Reply
from manaflow.moves.header import Header
from manaflow.moves.reply_json import cells_of_json, reply_of_json
from manaflow.moves.wire_batch import LIMITS, encode_batch
from manaflow.node.chain_thread import NodeThread
from manaflow.node.client import CallRefused, LinkDown, RpcClient
from manaflow.node.encoding import Data, Hash, Quantity64, data, quantity
from manaflow.node.errors import INTERNAL_ERROR, LIMIT_EXCEEDED, RESOURCE_UNAVAILABLE
from manaflow.node.following import BlockFollower, Event, Head, Refused, SourceFault, wait_after
from manaflow.node.judging import NotJudged
from manaflow.node.mana import HEADS
from manaflow.node.mending import BegunAnew
from manaflow.node.owned_chain import OwnedChain
from manaflow.node.proofs import judge_file, read_proof

T = TypeVar("T")

LEARN_SECONDS: Final = 0.5
"""How often an idle coordinator asks what others have done to the open block."""
MAX_TRIES: Final = 10
"""To find the other node's head and its open block in step, and to be let in."""
PAUSE_SECONDS: Final = 0.1
"""Before a call that the other node has no room for is made again."""
WINDOW: Final = 16
"""Blocks that are fetched together."""
WINDOW_BYTES: Final = 1 << 26
"""Bytes of their files, after which no more are fetched before these are judged."""
MAX_HASHES: Final = 256
"""Of one open block."""
BATCH: Final = 1_000
"""Transactions of one batch."""


class HttpLink:
    """`links.ValidatorLink` over HTTP. `run` it in the node's event loop, as long as the node runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._sends: deque[tuple[Send, bytes]] = deque()
        self._opened: bytes | None = None
        """Hash of the open block's header, as the chain was told."""
        self._log = structlog.get_logger("manaflow.node")

    def send(self, send: Send, opened: bytes) -> Reply | None:
        """See links.ValidatorLink. From the chain's thread."""
        self._sends.append((send, opened))
        self._loop.call_soon_threadsafe(self._wake.set)
        return None

    async def run(self, thread: NodeThread) -> None:
        """Until cancelled. Raises Failure if the other node's chain is another one."""
        faults = 0
        while True:
            try:
                async with RpcClient(self.url) as client:
                    await self._check_same_chain(client, thread)
                    session = _Session(self, client, thread)
                    async with client.notified(HEADS, self._wake):
                        await session.start()
                        faults = 0
                        while True:
                            await session.step()
            except (LinkDown, CallRefused, SourceFault, BegunAnew) as error:
                faults += 1
                self._log.warning("validator_unreachable", url=self.url, why=str(error))
            await asyncio.sleep(wait_after(faults))

    async def _check_same_chain(self, client: RpcClient, thread: NodeThread) -> None:
        named = await client.call("mana_chainConfig")
        own = await thread.call(lambda chain: chain.config.hash)
        if _field(named, "hash", Hash.parse) != own:
            raise Failure(f"{self.url} is a node of another chain")


class BatchTooLarge(Exception):
    """The validator takes no batch of so many bytes."""


def _settle(chain: OwnedChain, batch: int, reply: Reply) -> None:
    chain.batch = min(2 * chain.batch, BATCH)
    chain.tell(Replied(batch, reply))


def _take_fewer(chain: OwnedChain, count: int) -> None:
    chain.batch = max(count // 2, 1)


class _Session:
    """One connection's work."""

    def __init__(self, link: HttpLink, client: RpcClient, thread: NodeThread) -> None:
        self._link, self._client, self._thread = link, client, thread
        self._opened: bytes | None = None

    async def start(self) -> None:
        """The chain and its open block, whatever was known before."""
        self._link._sends.clear()
        await self._open()

    async def step(self) -> None:
        """Wait for something to do, and do it."""
        link = self._link
        is_idle = False
        try:
            async with asyncio.timeout(LEARN_SECONDS):
                await link._wake.wait()
        except TimeoutError:
            is_idle = True
        link._wake.clear()
        if not link._sends:
            await self._look(is_idle)
        while link._sends:
            send, opened = link._sends.popleft()
            if opened == self._opened:
                await self._bring(send)

    async def _look(self, is_idle: bool) -> None:
        """What has changed there: a new head, or the open block."""
        own, is_open = await self._thread.call(lambda chain: (chain.head[1], chain.is_open))
        head = head_of(await self._client.call("mana_head"))
        if head.hash != own or not is_open:
            await self._open()
        elif is_idle and self._opened is not None:
            since = await self._thread.call(lambda chain: chain.coordinator.core.sequence)
            reply = await self._submit(EMPTY_BATCH, since)
            if reply is None:
                await self._open()
            else:
                await self._thread.call(lambda chain: chain.tell(Learnt(reply)))

    async def _bring(self, send: Send) -> None:
        try:
            reply = await self._submit(send.batch, send.since)
        except BatchTooLarge:
            await self._thread.call(_take_fewer, len(send.batch))
            await self._open()
            return
        if reply is None:
            await self._open()
        else:
            await self._thread.call(_settle, send.id, reply)

    async def _submit(self, batch: Batch, since: int) -> Reply | None:
        """The reply; None if another block is open by now. Raises BatchTooLarge, LinkDown, CallRefused."""
        assert self._opened is not None
        file = await asyncio.to_thread(encode_batch, batch)
        if len(file) > LIMITS.file_bytes:
            raise BatchTooLarge
        try:
            answer = await self._ask("mana_submitBatch", data(file), quantity(since), data(self._opened))
            return reply_of_json(answer)
        except CallRefused as refused:
            if refused.code == RESOURCE_UNAVAILABLE:
                return None
            is_none = isinstance(refused.data, dict) and refused.data.get("rule") == "B1"
            if len(batch) > 1 and (is_none or refused.code == INTERNAL_ERROR):
                raise BatchTooLarge from None
            raise
        except Verdict as verdict:
            raise LinkDown(f"{self._client.url}: {verdict}") from verdict

    async def _ask(self, method: str, *params: Any) -> Any:
        """A call that the validator counts (mana_roles.COORDINATION_CLASS): wait when there were too many."""
        for _ in range(MAX_TRIES):
            try:
                return await self._client.call(method, *params)
            except CallRefused as refused:
                if refused.code != LIMIT_EXCEEDED:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)
        return await self._client.call(method, *params)

    async def _open(self) -> None:
        """Follow to the validator's head, and take over the open block that is on it."""
        for _ in range(MAX_TRIES):
            await self._follow()
            opened = opened_of(await self._ask("mana_openBlock"))
            header = opened.header
            if await self._thread.call(lambda chain: chain.head[1]) == header.parent_hash:
                self._opened = header.hash
                await self._thread.call(OwnedChain.tell, opened)
                return
        raise LinkDown(f"{self._client.url}: its open block is not on its head")

    async def _follow(self) -> None:
        """Bring the chain to the validator's head, judged here."""
        source = FetchedSource(self._client.url, head_of(await self._client.call("mana_head")))
        while True:
            lacking = await self._thread.call(follow_fetched, source)
            if lacking is None:
                return
            await self._fetch(source, lacking)

    async def _fetch(self, source: FetchedSource, lacking: int | bytes) -> None:
        fetched = 0
        if isinstance(lacking, bytes):
            answer = await self._client.call("mana_getProof", data(lacking))
            source.convictions[lacking] = proof = None if answer is None else self._bytes(answer)
            if proof is not None:
                source.judged[proof] = await self._judged(proof)
            return
        for number in source.wanted(lacking):
            answer = await self._client.call("mana_getBlock", quantity(number))
            source.blocks[number] = file = None if answer is None else self._bytes(answer)
            fetched += len(file or b"")
            if fetched > WINDOW_BYTES:
                return

    async def _judged(self, proof: bytes) -> Judged:
        """Not on the chain's thread, which goes on meanwhile."""
        config = await self._thread.call(lambda chain: chain.config)
        try:
            return await judge_file(config, proof)
        except (ProofRejected, NotJudged) as error:
            raise LinkDown(f"{self._client.url}: its proof convicts nobody: {error}") from error

    def _bytes(self, answer: Any) -> bytes:
        try:
            return bytes(Data.parse(answer))
        except ValueError as error:
            raise LinkDown(f"{self._client.url}: {error}") from error


class Lacking(Exception):
    """Something must be fetched first: a block by number, or the conviction of a block by hash."""

    def __init__(self, what: int | bytes) -> None:
        self.what = what
        super().__init__(what)


class FetchedSource:
    """`following.Source` of what has been fetched; Lacking for everything else."""

    def __init__(self, name: str, head: Head) -> None:
        self.name = name
        self._head = head
        self.blocks: dict[int, bytes | None] = {}
        self.convictions: dict[bytes, bytes | None] = {}
        self.judged: dict[bytes, Judged] = {}
        """By proof file."""

    def head(self) -> Head:
        """As it was when fetching began."""
        return self._head

    def wanted(self, lacking: int) -> list[int]:
        """Numbers of the blocks to fetch when this one is lacking, which comes first."""
        ahead = range(lacking + 1, min(lacking + WINDOW, self._head.number + 1))
        return [lacking, *(number for number in ahead if number not in self.blocks)]

    def forget_below(self, number: int) -> None:
        """These blocks are imported."""
        for known in [known for known in self.blocks if known < number]:
            del self.blocks[known]

    def block(self, number: int) -> bytes | None:
        """Raises Lacking."""
        if number not in self.blocks:
            raise Lacking(number)
        return self.blocks[number]

    def conviction(self, block_hash: bytes) -> bytes | None:
        """Raises Lacking."""
        if block_hash not in self.convictions:
            raise Lacking(block_hash)
        return self.convictions[block_hash]


def follow_fetched(chain: OwnedChain, source: FetchedSource) -> int | bytes | None:
    """Follow a source as far as it is fetched: what must be fetched next, None if the chain is level with it.

    Raises LinkDown if the source's blocks break the rules, or are of another chain; Failure if the chain cannot go on.
    """

    def judge(proof: bytes) -> Judged:
        found = source.judged.get(proof)
        if found is None:
            filed = read_proof(chain.config, proof)
            assert filed.equivocation is not None, "whatever needs an engine is judged when it is fetched"
            found = Judged(filed.equivocation, filed.evidence)
        return found

    def run() -> list[Event]:
        return list(BlockFollower(chain.validator, judge).follow(source))

    try:
        events = chain.change(run)
    except Lacking as lacking:
        if lacking.what == chain.head[0].number + 1:  # else a fork is looked for, for which none may go
            source.forget_below(chain.head[0].number)
        return lacking.what
    for event in events:
        if isinstance(event, Refused):
            raise LinkDown(f"{source.name}: block {event.number} is refused: {event.why}")
    return None


def head_of(answer: Any) -> Head:
    """A mana_head answer. Raises LinkDown for what is none."""
    return Head(_field(answer, "number", Quantity64.parse), _field(answer, "hash", Hash.parse))


def opened_of(answer: Any) -> Opened:
    """A mana_openBlock answer. Raises LinkDown for what is none."""
    hashes = _field(answer, "blockHashes", _object)
    if len(hashes) > MAX_HASHES:
        raise LinkDown(f"an open block with {len(hashes)} earlier hashes")
    try:
        return Opened(
            Header.decode(_field(answer, "header", Data.parse)),
            {int(Quantity64.parse(number)): bytes(Hash.parse(found)) for number, found in hashes.items()},
            _field(answer, "sequence", _natural),
            cells_of_json(answer.get("cells")),
        )
    except (ValueError, Verdict) as error:
        raise LinkDown(f"an open block that is none: {error}") from error


def _field(answer: Any, name: str, parse: Callable[[Any], T]) -> T:
    """One field of an answer, in the form that it must have."""
    try:
        return parse(answer[name])
    except (KeyError, TypeError, ValueError) as error:
        raise LinkDown(f"an answer without a proper {name}: {error}") from error


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


def _natural(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError("no number")
    return value
