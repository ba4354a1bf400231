"""What commands find, beyond the one path of test_process.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from manaflow.cli.files import read_block, read_key, write_whole
from manaflow.coordinator.replay import DEVELOPMENT_KEY, address_of
from tests.cli.conftest import HOLESKY, Ran, refused
from tests.conftest import ROOT

Command = Callable[..., Ran]
NUMBER = 2971845


def test_replay_gives_each_chain_a_folder(tmp_path: Path, manaflow: Command) -> None:
    prague = ROOT / "examples" / "1-22615247.block.json.zst"
    chains = manaflow("replay", HOLESKY[1], prague, HOLESKY[0], "--out", tmp_path, "--json").json["chains"]
    assert [[block["number"] for block in chain["blocks"]] for chain in chains] == [[22615247], [NUMBER - 1, NUMBER]]
    for chain in chains:
        assert sorted(path.name for path in Path(chain["folder"]).iterdir()) == sorted(
            ["genesis.mana", *(f"{block['number']}.mana" for block in chain["blocks"])]
        )


def test_replay_is_the_same_each_time(chain: Path, tmp_path: Path, manaflow: Command) -> None:
    assert manaflow("replay", *HOLESKY, "--out", tmp_path / "again").code == 0
    for path in chain.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_replay_with_a_key_of_ones_own(chain: Path, tmp_path: Path, manaflow: Command) -> None:
    key = tmp_path / "key"
    key.write_text("0x" + "42" * 32 + "\n")
    assert manaflow("replay", HOLESKY[0], "--out", tmp_path / "own", "--producer-key", key).code == 0
    own = read_block(tmp_path / "own" / "2971844.mana")
    assert own.hash != read_block(chain / "2971844.mana").hash
    state = tmp_path / "state"
    assert manaflow("import", tmp_path / "own", "--state", state).code == 0
    assert manaflow("undo", "--state", state).code == 0
    lie = (
        "tamper",
        tmp_path / "own" / "2971844.mana",
        "--transaction",
        3,
        "--field",
        "gas",
        "--out",
        tmp_path / "lie.mana",
    )
    assert manaflow(*lie).code == 0
    assert "B7" in refused(manaflow("import", tmp_path / "lie.mana", "--state", state), 1)
    assert manaflow(*lie, "--producer-key", key).code == 0
    assert manaflow("import", tmp_path / "lie.mana", "--state", state).code == 0, "mode moves executes nothing"


def test_import_passes_over_what_it_has(chain: Path, state: Path, manaflow: Command) -> None:
    found = manaflow("import", chain, "--state", state, "--json").json
    assert (found["blocks"], found["skipped"]) == ([], 2)
    assert manaflow("undo", "--state", state).code == 0
    found = manaflow("import", chain, "--state", state, "--mode", "execute", "--json").json
    assert ([block["number"] for block in found["blocks"]], found["skipped"]) == ([NUMBER], 1)


RULES = {
    "next": "X2",
    "prev": "M4",
    "number": "V1",
    "addr": "M5",
    "drop": "X1",
    "status": "X3",
    "gas": "X3",
    "logs": "X3",
}


@pytest.mark.parametrize("field", RULES)
def test_every_lie_is_refused_and_proved(
    field: str, chain: Path, first: Path, tmp_path: Path, manaflow: Command
) -> None:
    lie, proof = tmp_path / "lie.mana", tmp_path / "lie.proof"
    tampered = manaflow(
        "tamper", chain / f"{NUMBER}.mana", "--transaction", 5, "--field", field, "--out", lie, "--json"
    ).json
    ran = manaflow("import", lie, "--state", first, "--mode", "execute", "--json")
    refused(ran, 1)
    verdict = ran.json["verdict"]
    assert (verdict["rule"], verdict["transaction"]) == (RULES[field], 5)
    assert manaflow("head", "--state", first, "--json").json["number"] == NUMBER - 1
    assert manaflow("prove", lie, "--state", first, "--out", proof).code == 0
    judged = manaflow("verify-proof", proof, "--head", tampered["hash"], "--json").json
    assert (judged["rule"], judged["verdict"]["transaction"]) == (RULES[field], 5)
    honest = "0x" + read_block(chain / f"{NUMBER}.mana").hash.hex()
    assert refused(manaflow("verify-proof", proof, "--head", honest), 1).startswith("rejected: ")


def test_a_cell_used_twice_names_the_winner(tmp_path: Path, manaflow: Command) -> None:
    block = ROOT / "examples" / "1-21230867.block.json.zst"
    chain, state, lie = tmp_path / "chain", tmp_path / "state", tmp_path / "lie.mana"
    assert manaflow("replay", block, "--out", chain).code == 0
    assert manaflow("import", chain / "genesis.mana", "--state", state).code == 0
    honest = chain / "21230867.mana"
    assert manaflow("tamper", honest, "--transaction", 30, "--field", "spent", "--out", lie).code == 0
    ran = manaflow("import", lie, "--state", state, "--json")
    refused(ran, 1)
    verdict = ran.json["verdict"]
    txids = read_block(honest).leaves.txid
    assert verdict["rule"] == "V2"
    assert bytes.fromhex(verdict["winner"][2:]) in {txids[t].tobytes() for t in range(30)}
    assert "V2" in refused(manaflow("verify", lie, "--genesis", chain / "genesis.mana", "--backwards"), 1)
    proved = manaflow("prove", lie, "--state", state, "--out", tmp_path / "lie.proof", "--json").json
    assert (proved["rule"], proved["bytes"] < 5000) == ("V2", True)


def test_prove_against_a_block_that_mode_moves_took(
    chain: Path, first: Path, tmp_path: Path, manaflow: Command
) -> None:
    lie, proof = tmp_path / "lie.mana", tmp_path / "lie.proof"
    tampered = ("tamper", chain / f"{NUMBER}.mana", "--transaction", 5, "--field", "next", "--out", lie)
    assert manaflow(*tampered).code == 0
    assert manaflow("import", lie, "--state", first).code == 0
    proved = manaflow("prove", lie, "--state", first, "--out", proof, "--json").json
    assert proved["rule"] == "X2"
    assert manaflow("verify-proof", proof, "--head", proved["head"], "--engine", "revm").code == 0


def test_an_honest_block_gives_no_proof(chain: Path, first: Path, tmp_path: Path, manaflow: Command) -> None:
    block, out = chain / f"{NUMBER}.mana", tmp_path / "proof"
    assert "nothing to prove" in refused(manaflow("prove", block, "--state", first, "--out", out), 3)
    named = ("prove", block, "--state", first, "--out", out, "--rule", "X2", "--transaction", 5)
    assert refused(manaflow(*named), 1).startswith("rejected: ")
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rule", "Q9"),
        ("--rule", "B1"),
        ("--rule", "X2"),
        ("--rule", "V1", "--transaction", 1),
        ("--rule", "X2", "--transaction", 99),
    ],
)
def test_prove_needs_a_rule_and_a_place(
    arguments: tuple[object, ...], chain: Path, first: Path, tmp_path: Path, manaflow: Command
) -> None:
    ran = manaflow("prove", chain / f"{NUMBER}.mana", "--state", first, "--out", tmp_path / "proof", *arguments)
    refused(ran, 2)


@pytest.mark.parametrize("order", ["forward", "reverse", "random"])
def test_verify_in_any_order(order: str, chain: Path, manaflow: Command) -> None:
    found = manaflow("verify", chain, "--order", order, "--json").json
    assert (found["blocks"], found["transactions"], found["order"]) == (2, 70, order)


def test_verify_backwards_reaches_genesis(chain: Path, tmp_path: Path, manaflow: Command) -> None:
    found = manaflow("verify", chain, "--backwards", "--json").json
    assert (found["blocks"], found["backwards"]) == (3, True)
    lie = tmp_path / f"{NUMBER}.mana"
    manaflow("tamper", chain / f"{NUMBER}.mana", "--transaction", 5, "--field", "number", "--out", lie)
    assert "V1" in refused(manaflow("verify", lie, "--genesis", chain / "genesis.mana", "--backwards"), 1)


def test_verify_a_sample_by_py_evm(chain: Path, manaflow: Command) -> None:
    arguments = ("verify", chain / "2971844.mana", "--engine", "pyevm", "--sample", 3, "--order", "random", "--json")
    found = manaflow(*arguments).json
    assert (found["transactions"], found["engine"]) == (3, "pyevm")


@pytest.mark.parametrize("engine", ["revm", "pyevm"])
def test_verify_names_the_file_of_a_lie(engine: str, chain: Path, tmp_path: Path, manaflow: Command) -> None:
    lie = tmp_path / f"{NUMBER}.mana"
    manaflow("tamper", chain / f"{NUMBER}.mana", "--transaction", 5, "--field", "logs", "--out", lie)
    line = refused(manaflow("verify", lie, "--genesis", chain / "genesis.mana", "--engine", engine), 1)
    assert "X3, transaction 5: logs hash" in line
    assert str(lie) in line


def test_verify_needs_the_blocks_in_between(chain: Path, tmp_path: Path, manaflow: Command) -> None:
    for name in ("genesis.mana", f"{NUMBER}.mana"):
        (tmp_path / name).write_bytes((chain / name).read_bytes())
    assert "2971844.mana is missing" in refused(manaflow("verify", tmp_path), 2)


def test_inspect_names_cells_both_ways(chain: Path, state: Path, manaflow: Command) -> None:
    block = read_block(chain / f"{NUMBER}.mana")
    txid = "0x" + block.leaves.txid[5].tobytes().hex()
    by_place = manaflow("inspect", "transaction", NUMBER, 5, "--state", state, "--json").json
    by_id = manaflow("inspect", "transaction", "0x" + block.hash.hex(), txid, "--state", state, "--json").json
    assert by_place == by_id
    assert by_place["txid"] == txid
    assert all(move["intx"] for move in by_place["moves"])
    made = next(move for move in by_place["moves"] if move["kind"] == "consume")
    cell = manaflow("inspect", "cell", made["makes"], "--state", state, "--json").json
    assert (cell["intx"], cell["addr"], cell["value"]) == (txid, made["addr"], made["next"])
    move = manaflow("inspect", "move", NUMBER, 5, 0, "--state", state, "--json").json
    assert move["makes"] == by_place["moves"][0]["makes"]


def test_inspect_a_block_for_people(chain: Path, manaflow: Command) -> None:
    lines = manaflow("inspect", "block", chain / f"{NUMBER}.mana").out.splitlines()
    assert lines[0].startswith(f"block {NUMBER}, 0x")
    assert len(lines) == 4 + 26


@pytest.mark.parametrize(
    "arguments",
    [
        ("block", "12x"),
        ("block", "0x12"),
        ("transaction", NUMBER, 99),
        ("transaction", NUMBER, "0x12"),
        ("move", NUMBER, 5, 999),
    ],
)
def test_inspect_of_what_is_not_there(arguments: tuple[object, ...], state: Path, manaflow: Command) -> None:
    refused(manaflow("inspect", *arguments, "--state", state), 2)


def test_inspect_of_what_the_chain_has_not(state: Path, manaflow: Command) -> None:
    refused(manaflow("inspect", "block", 7, "--state", state), 3)
    refused(manaflow("inspect", "cell", 10**9, "--state", state), 3)


def test_write_whole_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", [b"0x" + b"07" * 32, b"07" * 32 + b"\n", b"\7" * 32])
def test_keys_in_every_form(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(text)
    assert read_key(tmp_path / "key") == b"\7" * 32
    assert address_of(read_key(tmp_path / "key")) != address_of(DEVELOPMENT_KEY)
