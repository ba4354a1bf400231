"""`manaflow follow`: processes that follow a folder and a node, killed at any moment, beside a source that lies."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from manaflow.moves.wire import encode_block
from manaflow.node.following import SourceFault
from manaflow.node.sources import FolderSource, NodeSource, source_of
from manaflow.validator.store import Store
from manaflow.validator.validator import Validator
from tests.cli.conftest import Ran, refused
from tests.conftest import ROOT, is_nightly
from tests.node.processes import NodeProcess, hexed, transfer, until
from tests.node.voiding import HONEST_KEY, scene, txid

Command = Callable[..., Ran]


@contextmanager
def following(*arguments: object, to: int | IO[str] = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """The command as a process; killed at the end. to: what it says; who reads no pipe stops it when that is full."""
    command = [sys.executable, "-m", "manaflow.cli", "follow", *map(str, arguments), "--json"]
    errors = to if to == subprocess.PIPE else subprocess.STDOUT
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # it inherits that, as what a shell runs in the background
    try:
        child = subprocess.Popen(command, cwd=ROOT, stdout=to, stderr=errors, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with child:
        try:
            yield child
        finally:
            child.kill()


def rows(child: subprocess.Popen[str], what: str, count: int) -> list[dict[str, Any]]:
    """Reads until the command has said `what` so often."""
    assert child.stdout is not None
    found: list[dict[str, Any]] = []
    while len(found) < count:
        line = child.stdout.readline()
        assert line, child.stderr and child.stderr.read()
        row = json.loads(line)
        if row.get("what") == what:
            found.append(row)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    scene().write_chain(tmp_path / "chain")
    return tmp_path / "chain"


def lines(ran: Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.out.splitlines()]


def test_a_folder_is_followed_to_its_end_and_on(folder: Path, tmp_path: Path, manaflow: Command) -> None:
    state = tmp_path / "state"
    ran = manaflow("follow", folder, "--state", state, "--once", "--json")
    assert ran.code == 0
    assert [row.get("what") for row in lines(ran)] == ["imported"] * 3 + [None]
    assert lines(ran)[-1]["head"]["number"] == 3
    (folder / "4.mana").write_bytes(encode_block(scene().honest))
    assert lines(manaflow("follow", folder, "--state", state, "--once", "--json"))[0]["number"] == 4


def test_a_nodes_directory_is_followed_in_its_place(folder: Path, tmp_path: Path, manaflow: Command) -> None:
    """As after a restore from an older backup: the node is stopped, and brought to the chain's end without its key."""
    node = tmp_path / "node"
    Validator.create(node / "validator", scene().producer.genesis).close()
    assert manaflow("follow", folder, "--state", node, "--once").code == 0
    assert [path.name for path in node.iterdir()] == ["validator"]
    with Validator.open(node / "validator") as validator:
        assert validator.head[1] == scene().blocks[-1].hash


def test_a_directory_whose_making_was_cut_short_is_made(folder: Path, tmp_path: Path, manaflow: Command) -> None:
    Store.open(tmp_path / "state").close()
    assert manaflow("follow", folder, "--state", tmp_path / "state", "--once").code == 0
    Store.open(tmp_path / "other").close()
    assert manaflow("import", folder, "--state", tmp_path / "other").code == 0


def test_a_lie_is_refused_and_proved(folder: Path, tmp_path: Path, manaflow: Command) -> None:
    (folder / "4.mana").write_bytes(encode_block(scene().lie))
    state = tmp_path / "state"
    ran = manaflow("follow", folder, "--state", state, "--challenge", "--once", "--json")
    assert ran.code == 1
    assert [row.get("what") for row in lines(ran)] == ["imported"] * 3 + ["refused", "challenged", None]
    proof = lines(ran)[4]["proof"]
    assert manaflow("verify-proof", proof, "--head", hexed(scene().lie.hash)).code == 0
    (folder / "4.mana").write_bytes(encode_block(scene().honest))
    assert manaflow("follow", folder, "--state", state, "--once").code == 0
    assert manaflow("apply-proof", proof, "--state", state).code == 0
    assert manaflow("head", "--state", state, "--json").json["number"] == 4


def test_errors_are_one_line(folder: Path, tmp_path: Path, manaflow: Command) -> None:
    state = tmp_path / "state"
    assert "neither a folder" in refused(manaflow("follow", tmp_path / "none", "--state", state, "--once"), 3)
    (tmp_path / "empty").mkdir()
    assert "no genesis.mana" in refused(manaflow("follow", tmp_path / "empty", "--state", state, "--once"), 3)
    nowhere = "http://127.0.0.1:1"
    assert nowhere in refused(manaflow("follow", nowhere, "--state", state, "--once"), 3)
    (folder / "3.mana").write_bytes(b"MANA")
    line = manaflow("follow", folder, "--state", state, "--once").err
    assert "block 3 is none" in line


def test_a_source_that_fails_does_not_keep_others_from_being_followed(folder: Path, tmp_path: Path) -> None:
    with following("http://127.0.0.1:1", folder, "--state", tmp_path / "state",
                   "--genesis", folder / "genesis.mana") as child:  # fmt: skip
        assert rows(child, "fault", 1)[0]["source"] == "http://127.0.0.1:1"
        assert [row["number"] for row in rows(child, "imported", 3)] == [1, 2, 3]
        (folder / "4.mana").write_bytes(encode_block(scene().honest))
        assert rows(child, "imported", 1)[0]["number"] == 4


def test_a_full_disk_is_waited_out(folder: Path, tmp_path: Path) -> None:
    with following(folder, "--state", tmp_path / "state") as child:
        rows(child, "imported", 3)
        no_more = (2 * 4096, resource.RLIM_INFINITY)
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, no_more)
        (folder / "4.mana").write_bytes(encode_block(scene().honest))
        fault = rows(child, "fault", 1)[0]
        assert "largest size of a file" in fault["why"] or "disk" in fault["why"]
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert rows(child, "imported", 1)[0]["number"] == 4
    with Validator.open(tmp_path / "state") as validator:
        assert validator.check().blocks == 5


def node_at(path: Path) -> NodeProcess:
    path.mkdir(exist_ok=True)
    (path / "key").write_text(HONEST_KEY.hex())
    return NodeProcess(
        "node", "--state", path / "node", "--producer-key", path / "key", "--no-mining", log=path / "node.log"
    )


def test_a_follower_is_killed_at_any_moment(tmp_path: Path) -> None:
    """It comes back whole each time, and ends where the node is."""
    seed = random.randrange(1 << 30)
    moments = random.Random(seed)
    state = tmp_path / "follower"
    with (
        NodeProcess("node", "--dev", "--no-mining", log=tmp_path / "node.log") as node,
        (tmp_path / "follower.log").open("w") as log,
    ):
        nonce = 0
        for _ in range(6 if is_nightly() else 2):
            with following(node.url, "--state", state, to=log) as child:
                end = time.monotonic() + 3 + 3 * moments.random()
                while time.monotonic() < end:
                    node.call("eth_sendRawTransaction", hexed(transfer(0, nonce)))
                    node.call("mana_seal")
                    nonce += 1
                child.kill()
        head = node.call("mana_head")
        with following(node.url, "--state", state, "--once", to=log) as child:
            assert child.wait(60) == 0, (seed, (tmp_path / "follower.log").read_text()[-1000:])
    with Validator.open(state) as validator:
        assert hexed(validator.head[1]) == head["hash"], seed
        assert validator.check().blocks == nonce + 1, seed


def test_a_challenger_convicts_the_node_and_followers_come_back(tmp_path: Path) -> None:
    """The node took a lie; a follower in mode moves believed it; a challenger proves it to the node; both come back."""
    scene().misled(tmp_path / "producer" / "node" / "validator")
    with node_at(tmp_path / "producer") as node, following(node.url, "--state", tmp_path / "believer") as believer:
        assert rows(believer, "imported", 4)[3]["hash"] == hexed(scene().lie.hash)
        with following(node.url, "--state", tmp_path / "challenger", "--challenge") as challenger:
            challenged = rows(challenger, "challenged", 1)[0]
            assert challenged["submitted"] == {node.url: "taken"}
            assert Path(challenged["proof"]).is_file()
            assert until(lambda: node.call("mana_head")["number"] == "0x3")
            assert rows(believer, "voided", 1)[0]["undone"] == [4]
            node.call("mana_seal")
            sealed = node.call("mana_head")["hash"]
            for child in (believer, challenger):
                assert rows(child, "imported", 1)[-1]["hash"] == sealed
        assert node.call("eth_getTransactionReceipt", txid(scene().payment))["status"] == "0x1"


def test_a_proof_that_no_source_has_taken_is_submitted_again(folder: Path, tmp_path: Path, manaflow: Command) -> None:
    """As after a kill, or while a source was away: the block is void here, and the source knows nothing of it."""
    (folder / "4.mana").write_bytes(encode_block(scene().lie))
    state = tmp_path / "challenger"
    ran = manaflow("follow", folder, "--state", state, "--challenge", "--once", "--json")
    assert [row.get("what") for row in lines(ran)][4] == "challenged"
    scene().misled(tmp_path / "producer" / "node" / "validator")
    with node_at(tmp_path / "producer") as node, following(node.url, "--state", state, "--challenge") as child:
        assert rows(child, "challenged", 1)[0]["submitted"] == {node.url: "taken"}
        assert until(lambda: node.call("mana_head")["number"] == "0x3")


def test_a_proof_that_cannot_be_kept_ends_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "4.mana").write_bytes(encode_block(scene().lie))
    state = tmp_path / "state"
    state.mkdir()
    (state / "proofs").write_text("no folder can be made here")
    with following(folder, "--state", state, "--challenge") as child:
        assert "proofs" in rows(child, "fault", 1)[0]["why"]
        (state / "proofs").unlink()
        assert Path(rows(child, "challenged", 1)[0]["proof"]).is_file()


def test_sigterm_is_as_ctrl_c(folder: Path, tmp_path: Path) -> None:
    with following(folder, "--state", tmp_path / "state") as child:
        rows(child, "imported", 3)
        child.terminate()
        assert child.stdout is not None
        *_, last = child.stdout
        assert json.loads(last)["head"]["number"] == 3
        assert child.wait(30) == 0


def test_sources_read_hostile_answers_as_faults(tmp_path: Path) -> None:
    with pytest.raises(SourceFault, match="no blocks"):
        FolderSource(tmp_path).head()
    (tmp_path / "7.mana").write_bytes(b"x")
    with pytest.raises(SourceFault, match="block 7 is none"):
        FolderSource(tmp_path).head()
    assert isinstance(source_of(str(tmp_path)), FolderSource)
    with NodeSource("http://127.0.0.1:1") as source:
        answers: list[Any] = [None, [], {"number": "0x1"}, {"number": "1", "hash": "0x"}]
        for answer in [*answers, {"number": "0x1", "hash": "0x11"}]:
            with pytest.raises(SourceFault, match="none"):
                source._head_in(answer)
        with pytest.raises(SourceFault, match="none"):
            source._bytes(5)
