"""Following block sources: what a chain fetches, imports and takes back, and whom it blames for what goes wrong.

    for event in BlockFollower(chain, judge).follow(source):     # until level with the source
        ...

Sources are not trusted. A block is imported only if it fulfils the rules; a block of the chain is taken back only for
a fraud proof that verifies here, or for a longer branch that producers have signed and whose blocks fulfil the rules;
and never one that is final. What a source gives is bounded before it is unpacked, headers before bodies.

No clock, socket or thread: those are the shell's (cli/follow.py).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from manaflow.errors import Convicted, Failure, Verdict
from manaflow.fraudproof.consequences import Convicting, Judged, carry_out
from manaflow.fraudproof.equivocation import SignedHeader, VerifiedEquivocation, prove_equivocation
from manaflow.fraudproof.errors import ProofRejected
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.moves.wire import decode_header
from manaflow.node.judging import NotJudged
from manaflow.rules.headers import check_b7

MAX_WAIT_SECONDS: Final = 300.0
"""Between two tries with a source that fails."""


class SourceFault(Failure):
    """A source does not answer, or not as a source of this chain's blocks does."""


class Head(NamedTuple):
    """What a source says its last block is."""

    number: int
    hash: bytes


class Source(Protocol):
    """Where blocks come from. Every method raises SourceFault."""

    @property
    def name(self) -> str:
        """How events and errors call it."""
        ...

    def head(self) -> Head:
        """Its last block."""
        ...

    def block(self, number: int) -> bytes | None:
        """The file of its block of a number; None if it has none."""
        ...

    def conviction(self, block_hash: bytes) -> bytes | None:
        """The proof by which it has voided a block; None if it has not."""
        ...


class Followed(Convicting, Protocol):
    """The chain that follows; a validator.Validator is one."""

    @property
    def head(self) -> tuple[Header, bytes]:
        """Header and hash of the last block."""
        ...

    def header(self, number: int) -> Header | None:
        """Of a block of the chain."""
        ...

    def block(self, key: int | bytes) -> Block | None:
        """By number, or by hash: an undone one, too."""
        ...

    def import_block(self, data: bytes | Block) -> object:
        """Judge the head's next block and take it. Raises Verdict, Convicted, Failure; then nothing has changed."""
        ...

    def undo_block(self) -> int:
        """Take the head back. Raises Failure if it is too old."""
        ...

    def conviction(self, block_hash: bytes) -> bytes | None:
        """The proof that convicts a block here."""
        ...


@dataclass(frozen=True, slots=True)
class Imported:
    """A block is the head now."""

    source: str
    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Undid:
    """A block was taken back, for a longer branch of the source."""

    source: str
    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Voided:
    """A proof that the source gave verifies: its block, and what stood on it, are void here too."""

    source: str
    number: int
    hash: bytes
    undone: tuple[int, ...]
    """Numbers of the blocks taken back, last first."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The source's block breaks a rule, or is void. While this event is handled the chain's head is its parent."""

    source: str
    number: int
    hash: bytes
    why: Verdict | Convicted
    data: bytes
    """Its file."""


@dataclass(frozen=True, slots=True)
class Equivocated:
    """A producer signed a block of ours and one of the source's, of one number on one parent; the proof is kept."""

    source: str
    number: int
    producer: bytes
    proof: bytes


Event = Imported | Undid | Voided | Refused | Equivocated


@dataclass(frozen=True, slots=True)
class _Signed:
    """A header of the source's with its signature, which is a producer's."""

    header: Header
    signature: bytes
    producer: bytes

    @property
    def hash(self) -> bytes:
        return self.header.hash


class BlockFollower:
    """One chain that follows. One thread."""

    def __init__(self, chain: Followed, judge: Callable[[bytes], Judged]) -> None:
        """judge: verifies a proof file about this chain, as proofs.judge_file; raises ProofRejected, NotJudged."""
        self._chain, self._judge = chain, judge

    def follow(self, source: Source) -> Generator[Event, None, None]:
        """Bring the chain to the source's head, as far as the source's blocks fulfil the rules; ends after a refusal.

        Raises SourceFault if the source is to blame, another Failure if the chain itself cannot go on (its disk). Stop
        it between two events, or by closing it: the chain is whole.
        """
        while True:
            head = source.head()
            own, own_hash = self._chain.head
            if head.hash == own_hash:
                return
            if head.number > own.number:
                if not (yield from self._extend(source, head.number)):
                    return
                if self._chain.head[1] != own_hash:
                    continue
            fork = self._fork(source, head)
            if fork == own.number or not (yield from self._leave(source, head, fork)):
                return

    def _fork(self, source: Source, head: Head) -> int:
        """The last block that both chains have. Raises SourceFault if that is below the last final one."""
        chain, (own, _) = self._chain, self._chain.head
        genesis = chain.config.genesis_number
        lowest = max(genesis, own.number - chain.config.challenge_blocks)
        number = min(own.number, head.number)
        if head.number < genesis:
            raise SourceFault(f"{source.name} has no chain of this genesis: its head is block {head.number}")
        if number < lowest:
            return own.number  # it lags behind what is final here: nothing to learn from it
        named: bytes | None = head.hash if number == head.number else None
        while number >= lowest:
            ours = chain.header(number)
            if named is None:
                named = self._header_at(source, number).hash
            if ours is not None and ours.hash == named:
                return number
            named = None
            number -= 1
        raise SourceFault(
            f"{source.name} is on another chain: it differs at block {lowest}, which is "
            f"{'genesis' if lowest == genesis else 'final here'}"
        )

    def _extend(self, source: Source, last: int) -> Generator[Event, None, bool]:
        """Import what follows the head, while it does. Value: False if a block was refused."""
        while (own := self._chain.head[0]).number < last:
            number, parent = own.number + 1, self._chain.head[1]
            data = self._file(source, number)
            if self._header_in(source, number, data).header.parent_hash != parent:
                return True  # the source has changed its mind: look for the fork again
            event = self._import(source, number, data)
            yield event
            if isinstance(event, Refused):
                return False
        return True

    def _leave(self, source: Source, head: Head, fork: int) -> Generator[Event, None, bool]:
        """The chains differ above `fork`: follow for a proof, or for a longer branch. Value: whether to go on."""
        ours = self._chain.header(fork + 1)
        assert ours is not None, "the fork is below the head"
        proof = source.conviction(ours.hash)
        if proof is not None:
            yield self._void(source, ours.hash, proof)
            return True
        if head.number <= self._chain.head[0].number:
            return False
        return (yield from self._reorganise(source, fork))

    def _void(self, source: Source, block_hash: bytes, proof: bytes) -> Voided:
        try:
            judged = self._judge(proof)
        except ProofRejected as rejected:
            raise SourceFault(f"{source.name} gave a proof that does not verify: {rejected}") from rejected
        except NotJudged as failure:
            raise SourceFault(f"{source.name} gave a proof that is not judged: {failure}") from failure
        verified = judged.verified
        if isinstance(verified, VerifiedEquivocation) or verified.block_hash != block_hash:
            raise SourceFault(f"{source.name} gave a proof of something else than block 0x{block_hash.hex()}")
        applied = carry_out(self._chain, judged)
        assert not isinstance(applied, VerifiedEquivocation)
        return Voided(source.name, verified.number, block_hash, applied.undone)

    def _reorganise(self, source: Source, fork: int) -> Generator[Event, None, bool]:
        """Take the blocks above `fork` back and import the source's longer branch; or leave everything as it was."""
        chain = self._chain
        branch = self._branch(source, fork)
        left = [header.hash for n in range(fork + 1, chain.head[0].number + 1) if (header := chain.header(n))]
        found = self._equivocation(source, left[0], branch[0])
        if found is not None:
            yield found
        is_taken = False
        try:
            for block_hash in reversed(left):
                yield Undid(source.name, chain.undo_block(), block_hash)
            for signed in branch:
                data = self._file(source, signed.header.number)
                if self._header_in(source, signed.header.number, data).hash != signed.hash:
                    raise SourceFault(f"{source.name} changed block {signed.header.number} while it was followed")
                event = self._import(source, signed.header.number, data)
                yield event
                if isinstance(event, Refused):
                    return False
            is_taken = True
        finally:
            if not is_taken:
                self._go_back(fork, left)
        return True

    def _branch(self, source: Source, fork: int) -> list[_Signed]:
        """The source's headers above the fork, one more than ours: signed by producers, linked, and not void."""
        chain = self._chain
        parent = chain.header(fork)
        assert parent is not None, "the chain holds the fork"
        branch: list[_Signed] = []
        above = parent.hash
        for number in range(fork + 1, chain.head[0].number + 2):
            signed = self._header_at(source, number)
            if signed.header.parent_hash != above:
                raise SourceFault(f"{source.name}: block {number} does not build on its block {number - 1}")
            above = signed.hash
            if chain.conviction(above) is not None:
                raise SourceFault(f"{source.name} builds on block {number} (0x{above.hex()}), which is void (F1)")
            branch.append(signed)
        return branch

    def _go_back(self, fork: int, left: list[bytes]) -> None:
        """To the blocks that a branch, which was not taken, had driven away."""
        chain = self._chain
        while chain.head[0].number > fork and chain.head[1] not in left:
            chain.undo_block()
        for block_hash in left[chain.head[0].number - fork :]:
            block = chain.block(block_hash)
            assert block is not None, "an undone block stays stored"
            chain.import_block(block)

    def _equivocation(self, source: Source, ours: bytes, theirs: _Signed) -> Equivocated | None:
        """Both blocks are the next after the fork: one producer may have signed only one of them."""
        chain, block = self._chain, self._chain.block(ours)
        if block is None or check_b7(ours, block.signature, chain.config) != theirs.producer:
            return None
        one = SignedHeader(block.header.encode(), block.signature)
        other = SignedHeader(theirs.header.encode(), theirs.signature)
        proof = prove_equivocation(chain.config, one, other).encode()
        carry_out(chain, self._judge(proof))
        return Equivocated(source.name, theirs.header.number, theirs.producer, proof)

    def _import(self, source: Source, number: int, data: bytes) -> Imported | Refused:
        try:
            self._chain.import_block(data)
        except (Verdict, Convicted) as error:
            block_hash = self._header_in(source, number, data).hash
            return Refused(source.name, number, block_hash, error, data)
        return Imported(source.name, number, self._chain.head[1])

    def _file(self, source: Source, number: int) -> bytes:
        data = source.block(number)
        if data is None:
            raise SourceFault(f"{source.name} has no block {number}, though its head is not below it")
        return data

    def _header_at(self, source: Source, number: int) -> _Signed:
        return self._header_in(source, number, self._file(source, number))

    def _header_in(self, source: Source, number: int, data: bytes) -> _Signed:
        """The header of a file, nothing unpacked: of that number and config, signed by a producer."""
        config = self._chain.config
        try:
            header, signature = decode_header(data)
        except Verdict as verdict:
            raise SourceFault(f"{source.name}: what it gives as block {number} is none: {verdict}") from verdict
        if header.number != number or header.config != config.hash:
            raise SourceFault(f"{source.name}: what it gives as block {number} is another number's or chain's")
        if number == config.genesis_number:
            return _Signed(header, b"", b"")
        try:
            producer = check_b7(header.hash, signature, config)
        except Verdict as verdict:
            raise SourceFault(f"{source.name}: nobody may have signed its block {number}: {verdict}") from verdict
        return _Signed(header, signature, producer)


def wait_after(faults: int) -> float:
    """Seconds to leave a source alone after so many failures in a row: one, then twice as long each time."""
    return 0.0 if faults <= 0 else min(2.0 ** min(faults - 1, 30), MAX_WAIT_SECONDS)
