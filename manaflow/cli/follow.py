"""`manaflow follow`: a validator that keeps up with block sources it does not trust, and challenges what is wrong."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from manaflow.cli.files import read_genesis, write_whole
from manaflow.cli.options import Json, JudgeMode, Judging, State, Threads
from manaflow.cli.output import ExitCode, naming, show
from manaflow.errors import Failure, Verdict
from manaflow.moves.view import hexed

if TYPE_CHECKING:
    from manaflow.fraudproof.consequences import Judged
    from manaflow.node.following import Event, Refused
    from manaflow.node.sources import FolderSource, NodeSource
    from manaflow.validator.validator import Validator

    BlockSource = FolderSource | NodeSource

POLL_SECONDS: Final = 1.0
"""Between two looks at a source that does not tell of new heads."""


def follow(
    sources: Annotated[list[str], typer.Argument(help="URLs of nodes, and folders of .mana files.")],
    state: State,
    mode: Judging = JudgeMode.MOVES,
    challenge: Annotated[
        bool, typer.Option("--challenge", help="Execute, prove what is wrong, and submit the proofs to the sources.")
    ] = False,
    genesis: Annotated[
        Path | None, typer.Option(help="Genesis file of a new directory; else the first source names it.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when level with every source.")] = False,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Follow block sources: catch up, keep up, take back what is proved void or what a longer branch replaces.

    No source is trusted: every block is judged here, a source that lies or stalls is named and left alone for a while,
    and what is final is never taken back. Ctrl-C or SIGTERM ends it; whatever ends it, the directory is whole. Exit
    code 1 with --once: a block was refused.
    """
    judged_to = JudgeMode.EXECUTE if challenge else mode
    with ExitStack() as stack:
        given = [_opened(text, stack) for text in sources]
        validator = stack.enter_context(closing(_validator(state, given[0], genesis, judged_to, threads)))
        following = _Following(validator, given, state / "proofs" if challenge else None, as_json)
        with suppress(KeyboardInterrupt), _ended_by_sigterm():
            following.run(once)
        head, head_hash = validator.head
    found = {"state": str(state), "head": {"number": head.number, "hash": head_hash}, "refused": following.refused}
    show(as_json, found, [f"head: block {head.number}, {hexed(head_hash)}"])
    if once and following.refused:
        raise typer.Exit(ExitCode.VERDICT)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM is as Ctrl-C, even where a shell that runs it in the background has SIGINT ignored."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _opened(text: str, stack: ExitStack) -> BlockSource:
    from manaflow.node.sources import NodeSource, source_of

    source = source_of(text)
    if isinstance(source, NodeSource):
        stack.enter_context(source)
    return source


def _validator(state: Path, source: BlockSource, genesis: Path | None, mode: JudgeMode, threads: int) -> Validator:
    """The directory (a node's: its validator), or a new one from the genesis that is named, by the source at last."""
    from manaflow.evm.native_hashing import NATIVE
    from manaflow.moves.wire import decode_genesis
    from manaflow.node.opening import VALIDATOR
    from manaflow.validator.beginning import has_chain
    from manaflow.validator.validator import Validator

    for path in (state, state / VALIDATOR):
        if has_chain(path):
            return Validator.open(path, mode=mode.value, threads=threads)
    with naming(genesis or source.name):
        begun = decode_genesis(source.genesis(), NATIVE) if genesis is None else read_genesis(genesis)
        return Validator.create(state, begun, mode=mode.value, threads=threads)


@dataclass(slots=True)
class _Aside:
    """How a source has done lately."""

    faults: int = 0
    until: float = 0.0
    """By time.monotonic: left alone until then."""

    def fail(self) -> float:
        from manaflow.node.following import wait_after

        self.faults += 1
        seconds = wait_after(self.faults)
        self.until = time.monotonic() + seconds
        return seconds


class _Following:
    """One run of the command."""

    def __init__(
        self, validator: Validator, sources: Sequence[BlockSource], proofs: Path | None, as_json: bool
    ) -> None:
        """proofs: where proofs of refused blocks go; None: nothing is proved."""
        from manaflow.node.following import BlockFollower

        self._validator, self._sources, self._proofs, self._as_json = validator, sources, proofs, as_json
        self._follower = BlockFollower(validator, self._judge)
        self._asides = [_Aside() for _ in sources]
        self._disk = _Aside()
        self.refused: list[str] = []
        """Hashes of the blocks that were refused, each once."""
        self._taken: set[tuple[str, str]] = set()
        """(source, name of a proof) of each proof that a source has."""
        self._unprovable: set[str] = set()
        """Names of the proofs that could not be built."""

    def run(self, once: bool) -> None:
        """Rounds over the sources; with `once` until a round brings nothing new. Raises Failure, with `once` only."""
        while True:
            before, faults = self._validator.head[1], sum(aside.faults for aside in self._asides)
            for source, aside in zip(self._sources, self._asides, strict=True):
                if time.monotonic() >= aside.until:
                    self._follow(source, aside, once)
            if before == self._validator.head[1]:
                if once and faults == sum(aside.faults for aside in self._asides):
                    return
                self._rest()

    def _follow(self, source: BlockSource, aside: _Aside, once: bool) -> None:
        """One source's turn. With `once`, its fault ends the command."""
        from manaflow.node.following import Refused, SourceFault

        try:
            with closing(self._follower.follow(source)) as events:
                for event in events:
                    self._tell(event)
                    if isinstance(event, Refused):
                        self._refuse(event)
                        aside.fail()
                        return
            aside.faults, self._disk.faults = 0, 0
        except (Failure, OSError) as failure:
            if once:
                raise
            mine = not isinstance(failure, SourceFault)
            seconds = (self._disk if mine else aside).fail()
            aside.until = time.monotonic() + seconds
            what = "cannot go on" if mine else "left alone"
            row = {"what": "fault", "source": source.name, "why": str(failure), "seconds": seconds}
            show(self._as_json, row, [f"{failure}; {what} for {seconds:g} s"])

    def _rest(self) -> None:
        """Until there may be something new."""
        from manaflow.node.sources import NodeSource

        source, aside = self._sources[0], self._asides[0]
        if len(self._sources) == 1 and isinstance(source, NodeSource) and time.monotonic() >= aside.until:
            source.wait(POLL_SECONDS)
        else:
            time.sleep(POLL_SECONDS)

    def _judge(self, proof: bytes) -> Judged:
        """A proof, by both engines, in a process with bounds on time and memory. Raises ProofRejected, NotJudged."""
        from manaflow.node.proofs import judge_file

        return asyncio.run(judge_file(self._validator.config, proof))

    def _tell(self, event: Event) -> None:
        row = {"what": type(event).__name__.lower(), "source": event.source, "number": event.number}
        for name in ("hash", "undone", "producer"):
            if hasattr(event, name):
                row[name] = getattr(event, name)
        if hasattr(event, "why"):
            row["why"] = str(event.why)
        if hasattr(event, "proof"):
            self._keep(f"{event.number}.equivocation", event.proof, row)
        show(self._as_json, row, [_line(row)])

    def _refuse(self, event: Refused) -> None:
        """A block that breaks a rule, or is void. With --challenge its proof is built, carried out here, kept, and
        submitted: again, if it was not taken or this process ended before."""
        is_new = hexed(event.hash) not in self.refused
        if is_new:
            self.refused.append(hexed(event.hash))
        name = f"{event.number}-{event.hash.hex()[:16]}.proof"
        if self._proofs is None or not (is_new or self._is_owed(name)):
            return
        row: dict[str, Any] = {"what": "challenged", "source": event.source, "number": event.number, "hash": event.hash}
        try:
            proof = self._validator.conviction(event.hash) or self._prove(event)
        except Failure as failure:
            self._unprovable.add(name)
            row |= {"what": "unprovable", "why": str(failure)}
        else:
            self._keep(name, proof, row)
        show(self._as_json, row, [_line(row)])

    def _prove(self, event: Refused) -> bytes:
        """The proof of a refused block, verified and carried out here. Raises Failure if no file can show it."""
        from manaflow.evm.native_hashing import NATIVE
        from manaflow.fraudproof.challenge import Accusation
        from manaflow.fraudproof.consequences import carry_out
        from manaflow.fraudproof.errors import ProofRejected, Unprovable
        from manaflow.moves.wire import decode_block
        from manaflow.validator.witness import Witness

        if not isinstance(event.why, Verdict):
            raise Failure(str(event.why))
        try:
            accusation = Accusation(Witness(self._validator), decode_block(event.data, NATIVE))
            proof = accusation.proof(event.why).encode()
            judged = self._judge(proof)
        except (Unprovable, ProofRejected, Verdict) as error:
            raise Failure(f"no file convicts block {event.number}: {error}") from error
        carry_out(self._validator, judged)
        return proof

    def _is_owed(self, name: str) -> bool:
        """Whether a proof that was built is not on disk, or some source has not taken it."""
        if self._proofs is None or name in self._unprovable:
            return False
        return not (self._proofs / name).exists() or any(True for _ in self._lacking(name))

    def _keep(self, name: str, proof: bytes, row: dict[str, Any]) -> None:
        """On disk, then to every source that takes proofs; the row says where."""
        if self._proofs is None:
            return
        write_whole(self._proofs / name, proof)
        row["proof"] = str(self._proofs / name)
        row["submitted"] = dict(self._submitted(name, proof))

    def _lacking(self, name: str) -> Iterator[NodeSource]:
        """The sources that have not taken a proof."""
        from manaflow.node.sources import NodeSource

        for source in self._sources:
            if isinstance(source, NodeSource) and (source.name, name) not in self._taken:
                yield source

    def _submitted(self, name: str, proof: bytes) -> Iterator[tuple[str, str]]:
        from manaflow.node.following import SourceFault

        for source in self._lacking(name):
            try:
                source.submit(proof)
                self._taken.add((source.name, name))
                yield source.name, "taken"
            except SourceFault as fault:
                yield source.name, str(fault)


def _line(row: dict[str, Any]) -> str:
    """What happened, in words."""
    what, number = row["what"], row["number"]
    lines = {
        "imported": f"block {number} is valid: imported",
        "undid": f"block {number} is taken back: {row['source']} has a longer branch",
        "refused": f"block {number} of {row['source']} is refused: {row.get('why')}",
        "equivocated": f"producer {hexed(row.get('producer', b''))} signed two blocks of number {number} on one parent",
        "challenged": f"block {number} is proved wrong",
        "unprovable": f"block {number}: {row.get('why')}",
    }
    if what == "voided":
        back = ", ".join(map(str, row["undone"]))
        return f"block {number} is void, as a proof from {row['source']} shows: taken back {back}"
    line = lines[what]
    if "proof" in row:
        line += f"; {row['proof']}"
        line += "".join(f"\n  {name}: {said}" for name, said in row["submitted"].items())
    return line
