"""F1: a convicted block goes with its descendants, stays away, and a kill at any moment leaves no half of it."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from manaflow.errors import Convicted, Failure
from manaflow.moves.wire import GenesisFile, encode_block
from manaflow.validator.index import Index
from manaflow.validator.store import Table
from manaflow.validator.validator import Validator
from tests.chain import Chain, Transfer, random_chain

LENGTH = 8
WRONG = 4
PROOF = b"what convinced"


@pytest.fixture(scope="module")
def chain() -> Chain:
    return random_chain(LENGTH, seed=5, transactions=4, slots=20)


@pytest.fixture
def path(tmp_path: Path, chain: Chain) -> Path:
    genesis = GenesisFile(chain.config.encode(), (), chain.blocks[0])
    with Validator.create(tmp_path / "state", genesis) as validator:
        for block in chain.blocks[1:]:
            validator.import_block(block)
    return tmp_path / "state"


def assert_void(path: Path, chain: Chain) -> None:
    """The chain ends before the convicted block, and neither it nor any descendant comes back."""
    with Validator.open(path) as validator:
        assert validator.head[1] == chain.blocks[WRONG - 1].hash
        assert validator.conviction(chain.blocks[WRONG].hash) == PROOF
        validator.check()
        for block in chain.blocks[WRONG:]:
            for data in (block, encode_block(block)):
                with pytest.raises(Convicted, match=r"^F1: block \d+ .* is void: .* convicts ") as caught:
                    validator.import_block(data)
                assert caught.value.convicted == chain.blocks[WRONG].hash
            with pytest.raises(Convicted):
                validator.judge_block(block)


def test_the_block_and_its_descendants_go_and_stay_away(path: Path, chain: Chain) -> None:
    with Validator.open(path) as validator:
        assert validator.convict(chain.blocks[WRONG].hash, PROOF) == list(range(LENGTH, WRONG - 1, -1))
        assert validator.convict(chain.blocks[WRONG].hash, b"another") == []
        assert validator.conviction(chain.blocks[WRONG - 1].hash) is None
    assert_void(path, chain)


def test_the_chain_goes_on_with_another_block(path: Path) -> None:
    twin = random_chain(WRONG - 1, seed=5, transactions=4, slots=20)
    with Validator.open(path) as validator:
        wrong = validator.header(WRONG)
        assert wrong is not None
        validator.convict(wrong.hash, PROOF)
        assert validator.head[1] == twin.head.hash
        other = twin.seal([Transfer(1, 2)])
        assert validator.import_block(other).number == WRONG


def test_a_block_that_is_not_in_the_chain_is_remembered(path: Path, chain: Chain) -> None:
    with Validator.open(path) as validator:
        for _ in range(LENGTH - WRONG + 1):
            validator.undo_block()
        assert validator.convict(chain.blocks[WRONG].hash, PROOF) == []
    assert_void(path, chain)


def test_genesis_and_what_the_journal_has_lost_stay(path: Path, chain: Chain) -> None:
    with Validator.open(path) as validator:
        with pytest.raises(Failure, match="genesis cannot be undone"):
            validator.convict(chain.blocks[0].hash, PROOF)
        with validator.index.store.write() as txn:
            txn.delete(Table.RECENT, WRONG.to_bytes(8, "big"))
        with pytest.raises(Failure, match="too old to be undone"):
            validator.convict(chain.blocks[WRONG].hash, PROOF)
        assert validator.head[1] == chain.head.hash
        assert validator.conviction(chain.blocks[WRONG].hash) is None
        assert validator.conviction(chain.blocks[0].hash) is None


def die_in_undo(path: Path, block_hash: bytes, undos: int, after_commit: bool) -> None:
    """Convict, and end the process at the n-th undo, inside its transaction or right after it."""
    undo, accept, count = Index.undo, Index.accept, 0

    def dying_undo(*arguments: object) -> object:
        nonlocal count
        count += 1
        if count == undos and not after_commit:
            os._exit(7)
        return undo(*arguments)  # type: ignore[arg-type]

    def dying_accept(*arguments: object) -> None:
        if count == undos and after_commit:
            os._exit(7)
        accept(*arguments)  # type: ignore[arg-type]

    Index.undo, Index.accept = dying_undo, dying_accept  # type: ignore[method-assign,assignment]
    with Validator.open(path) as validator:
        validator.convict(block_hash, PROOF)
    os._exit(0)


@pytest.mark.parametrize("after_commit", [False, True])
@pytest.mark.parametrize("undos", [1, 2, LENGTH - WRONG + 1])
def test_killed_half_way(path: Path, chain: Chain, undos: int, after_commit: bool) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=die_in_undo, args=(path, chain.blocks[WRONG].hash, undos, after_commit))
    process.start()
    process.join()
    assert process.exitcode == 7
    if undos == 1 and not after_commit:  # nothing was committed: nothing has happened
        with Validator.open(path) as validator:
            assert validator.head[1] == chain.head.hash
            assert validator.conviction(chain.blocks[WRONG].hash) is None
            validator.check()
        return
    assert_void(path, chain)


def test_evidence_against_a_producer_is_kept_and_voids_nothing(path: Path, chain: Chain) -> None:
    producer, head = b"\7" * 20, chain.blocks[-1].hash
    with Validator.open(path) as validator:
        for number, proof in ((WRONG, PROOF), (WRONG, b"another"), (0, b"first"), (2**64 - 1, b"last")):
            validator.convict_producer(producer, number, proof)
        assert validator.head[1] == head
    with Validator.open(path) as validator:
        assert validator.equivocation(producer, WRONG) == PROOF
        assert (validator.equivocation(producer, 0), validator.equivocation(producer, 2**64 - 1)) == (b"first", b"last")
        assert validator.equivocation(producer, 1) is validator.equivocation(b"\6" * 20, WRONG) is None
        assert validator.head[1] == head
        assert validator.conviction(chain.blocks[WRONG].hash) is None
        validator.check()
        assert validator.undo_block() == LENGTH
        validator.import_block(chain.blocks[-1])
