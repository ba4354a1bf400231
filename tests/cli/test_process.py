"""Every command once as a real process, from Ethereum's files to a verified fraud proof."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import HOLESKY, process, refused

HEAD = 2971845


def fine(*arguments: object) -> dict[str, Any]:
    ran = process(*arguments, "--json")
    assert ran.code == 0, ran
    assert ran.err == ""
    assert ran.json["ok"] is True
    return ran.json


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("process")


def test_from_ethereum_blocks_to_a_verified_proof(out: Path) -> None:
    chain, state = out / "chain", out / "state"
    replayed = fine("replay", *HOLESKY, "--out", chain)["chains"]
    assert [block["number"] for block in replayed[0]["blocks"]] == [HEAD - 1, HEAD]
    honest = replayed[0]["blocks"][1]["hash"]

    imported = fine("import", chain, "--state", state, "--mode", "execute")
    assert imported["head"] == {"number": HEAD, "hash": honest}
    assert imported["totals"]["moves"] == sum(block["moves"] for block in replayed[0]["blocks"])
    assert fine("head", "--state", state)["hash"] == honest
    checked = fine("check", "--state", state)
    assert checked["blocks"] == 3

    alone = fine("verify", chain, "--order", "random", "--seed", 7)
    assert alone["transactions"] == imported["totals"]["transactions"]

    cell = fine("inspect", "cell", checked["cells_ever_made"], "--state", state)
    assert cell["live"] is True
    assert cell["maker"]["block"] == HEAD
    assert fine("undo", "--state", state)["undone"] == [HEAD]

    lie, proof = out / "lie.mana", out / "lie.proof"
    tampered = fine("tamper", chain / f"{HEAD}.mana", "--transaction", 5, "--field", "next", "--out", lie)
    assert tampered["hash"] != honest
    ran = process("import", lie, "--state", state, "--mode", "execute", "--json")
    assert "X2, transaction 5, move 4" in refused(ran, 1)
    assert ran.json["verdict"]["rule"] == "X2"
    proved = fine("prove", lie, "--state", state, "--out", proof)
    assert proved["head"] == tampered["hash"]
    judged = fine("verify-proof", proof, "--head", tampered["hash"])
    assert (judged["rule"], judged["verdict"]["transaction"], judged["verdict"]["move"]) == ("X2", 5, 4)


def test_a_full_disk_is_one_clear_line(out: Path, tmp_path: Path) -> None:
    """A limit on file sizes stands in for a full disk: the write fails half way, and nothing is left of it."""
    script = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); from manaflow.cli import main; main()"
    )
    command = [sys.executable, "-c", script, "replay", *map(str, HOLESKY), "--out", str(tmp_path / "chain")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("failed: ")
    assert not list(tmp_path.rglob("*.partial"))
