"""Backups of stopped and of running nodes, what is restored from them, and pruning by the command."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from manaflow.coordinator.latest_index import LatestIndex
from manaflow.validator import store
from manaflow.validator.validator import Validator
from tests.cli.conftest import Ran, refused
from tests.node.processes import NodeError, NodeProcess, hexed, transfer

Command = Callable[..., Ran]


def test_a_stopped_validator_is_copied_and_restored(state: Path, tmp_path: Path, manaflow: Command) -> None:
    assert manaflow("backup", state, "--to", tmp_path / "backup", "--json").json["bytes"] > 0
    ran = manaflow("restore", tmp_path / "backup", "--to", tmp_path / "restored", "--json")
    head = manaflow("head", "--state", state, "--json").json
    assert (ran.json["number"], ran.json["hash"]) == (head["number"], head["hash"])
    assert manaflow("check", "--state", tmp_path / "restored").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "restored", "state"]


def test_nothing_is_overwritten(state: Path, tmp_path: Path, manaflow: Command) -> None:
    assert "never overwrites" in refused(manaflow("backup", state, "--to", state), 3)
    assert manaflow("backup", state, "--to", tmp_path / "backup").code == 0
    assert "never overwrites" in refused(manaflow("backup", state, "--to", tmp_path / "backup"), 3)
    assert "never overwrites" in refused(manaflow("restore", tmp_path / "backup", "--to", state), 3)
    assert "no state directory" in refused(manaflow("backup", tmp_path / "none", "--to", tmp_path / "x"), 3)


def test_a_damaged_or_newer_backup_leaves_nothing_behind(
    state: Path, tmp_path: Path, manaflow: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = tmp_path / "backup"
    assert manaflow("backup", state, "--to", backup).code == 0
    with Validator.open(shutil.copytree(backup, tmp_path / "damaged")) as validator, validator.store.write() as txn:
        block_hash = validator.head[1]
        data = txn.get(store.Table.BLOCKS, block_hash)
        assert data is not None
        txn.put(store.Table.BLOCKS, block_hash, data[:-1] + b"\x00")
    refused(manaflow("restore", tmp_path / "damaged", "--to", tmp_path / "restored"), 3)
    monkeypatch.setattr(store, "FORMAT_VERSION", 0)
    assert "a newer format" in refused(manaflow("restore", backup, "--to", tmp_path / "restored"), 3)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("restored")]


def test_a_directory_that_a_command_has_open(state: Path, tmp_path: Path, manaflow: Command) -> None:
    with Validator.open(state):
        assert "a process that is no node" in refused(manaflow("backup", state, "--to", tmp_path / "backup"), 3)
    assert not (tmp_path / "backup").exists()


def test_a_running_node_copies_itself_and_goes_on(tmp_path: Path, manaflow: Command) -> None:
    state = tmp_path / "node"
    with NodeProcess("node", "--dev", "--state", state, "--no-mining", log=tmp_path / "log") as node:
        admin = json.loads((state / "admin.json").read_text())
        assert (state / "admin.json").stat().st_mode & 0o777 == 0o600
        assert admin["url"] == node.url
        with pytest.raises(NodeError, match="needs the token"):
            node.call("mana_backup", "0" * 64, str(tmp_path / "stolen"))
        with pytest.raises(NodeError, match="absolute"):
            node.call("mana_backup", admin["token"], "stolen")
        done, sealed = threading.Event(), [0]

        def seal() -> None:
            while not done.is_set():
                node.call("eth_sendRawTransaction", hexed(transfer(0, sealed[0])))
                node.call("mana_seal")
                sealed[0] += 1

        sealing = threading.Thread(target=seal)
        sealing.start()
        try:
            for i in range(3):
                ran = manaflow("backup", state, "--to", tmp_path / f"backup{i}", "--json")
                assert ran.code == 0, ran
                assert ran.json["by"] == "the running node"
        finally:
            done.set()
            sealing.join()
        with pytest.raises(NodeError, match="never overwrites"):
            node.call("mana_backup", admin["token"], str(tmp_path / "backup0"))
        assert int(node.call("mana_head")["number"], 16) == sealed[0]
    assert not (state / "admin.json").exists()
    shutil.rmtree(tmp_path / "backup1" / "latest")
    heights = []
    for i in range(3):
        ran = manaflow("restore", tmp_path / f"backup{i}", "--to", tmp_path / f"restored{i}", "--json")
        assert ran.code == 0, ran
        heights.append(ran.json["number"])
        with LatestIndex.open(tmp_path / f"restored{i}" / "latest") as latest:
            assert latest.tip is not None
            assert hexed(latest.tip.hash) == ran.json["hash"]
    assert heights == sorted(heights)
    assert heights[-1] <= sealed[0]
    with NodeProcess("node", "--dev", "--state", tmp_path / "restored1", "--no-mining", log=tmp_path / "log") as node:
        assert int(node.call("mana_head")["number"], 16) == heights[1]
        assert int(node.call("eth_getTransactionCount", node.call("eth_accounts")[0], "latest"), 16) == heights[1]


def test_prune(state: Path, tmp_path: Path, manaflow: Command) -> None:
    ran = manaflow("prune", state, "--keep", 0, "--json")
    assert (ran.code, ran.json["bodies"]) == (0, 0)
    assert manaflow("check", "--state", state).code == 0
    assert manaflow("prune", state, "--keep", -1).code == 2


def test_a_backup_that_does_not_fit_leaves_nothing(
    state: Path, tmp_path: Path, manaflow: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in refused(manaflow("backup", state, "--to", tmp_path / "backup"), 3)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
