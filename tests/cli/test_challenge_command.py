"""`manaflow challenge`: a folder in which one of the blocks lies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from coincurve import PrivateKey

from manaflow.cli import challenge as module
from manaflow.cli.equivocation import Siblings
from manaflow.evm.pyevm.executor import PyEvmExecutor
from manaflow.moves.block import Block
from manaflow.moves.header import Header
from manaflow.rules.config import ChainConfig
from tests.chain import Chain, address_of, chain_config, key_of, word
from tests.cli.conftest import Ran, refused

Command = Callable[..., Ran]


@pytest.fixture
def folder(chain: Path, tmp_path: Path, manaflow: Command) -> Path:
    """The second block, and a lie about it that comes first."""
    made = tmp_path / "blocks"
    made.mkdir()
    shutil.copy(chain / "2971845.mana", made)
    lie = ("--transaction", 5, "--field", "next", "--out", made / "1.mana")
    assert manaflow("tamper", chain / "2971845.mana", *lie).code == 0
    return made


def test_lies_are_proved_and_honest_blocks_imported(folder: Path, first: Path, manaflow: Command) -> None:
    ran = manaflow("challenge", folder, "--state", first, "--out", folder / "proofs", "--json")
    assert ran.code == 1
    lie, honest = ran.json["blocks"]
    assert (lie["what"], lie["rule"], lie["proof"]) == ("convicted", "X2", str(folder / "proofs" / "1.proof"))
    assert honest["what"] == "imported"
    assert ran.json["head"]["number"] == 2971845
    assert manaflow("verify-proof", lie["proof"], "--head", lie["head"]).code == 0


def test_in_words(folder: Path, first: Path, manaflow: Command) -> None:
    ran = manaflow("challenge", folder, "--state", first)
    assert ran.code == 1
    assert "proves to anyone that its producer 0x" in ran.out
    assert "block 2971845 is valid: imported" in ran.out
    (folder / "1.mana").unlink()
    ran = manaflow("challenge", folder, "--state", first)
    assert (ran.code, "block 2971845 is in the chain already" in ran.out) == (0, True)


def test_what_no_file_can_prove_is_said(folder: Path, chain: Path, first: Path, manaflow: Command) -> None:
    (folder / "1.mana").write_bytes(b"MANA no block")
    ran = manaflow("challenge", folder, "--state", first, "--json")
    assert ran.code == 1
    assert [row["what"] for row in ran.json["blocks"]] == ["refused", "imported"]
    assert "no block" in ran.json["blocks"][0]["why"]
    assert ran.json["proofs"] == []


def test_blocks_that_do_not_follow_are_passed_over(chain: Path, state: Path, manaflow: Command) -> None:
    assert manaflow("undo", "--state", state, "--count", 2).code == 0
    ran = manaflow("challenge", chain / "2971845.mana", "--state", state, "--json")
    assert (ran.code, ran.json["blocks"][0]["what"]) == (0, "passed")


def test_a_lie_taken_in_mode_moves_is_proved_under_the_head(folder: Path, first: Path, manaflow: Command) -> None:
    assert manaflow("import", folder / "1.mana", "--state", first).code == 0
    (folder / "2971845.mana").unlink()
    row = manaflow("challenge", folder, "--state", first, "--json").json["blocks"][0]
    assert (row["what"], row["head"]) == ("convicted", row["hash"])


def test_watching_sees_what_comes_later(
    folder: Path, first: Path, tmp_path: Path, manaflow: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = folder / "2971845.mana"
    honest.rename(tmp_path / "later.mana")
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 1:
            (tmp_path / "later.mana").rename(honest)
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr(module.time, "sleep", nap)
    ran = manaflow("challenge", folder, "--state", first, "--watch")
    assert ran.code == 1
    assert ran.out.index("1.proof") < ran.out.index("valid: imported")


def test_a_proof_is_applied_and_the_lie_stays_away(
    folder: Path, first: Path, tmp_path: Path, manaflow: Command
) -> None:
    assert manaflow("import", folder / "1.mana", "--state", first).code == 0
    proof = tmp_path / "lie.proof"
    head = manaflow("prove", folder / "1.mana", "--state", first, "--out", proof, "--json").json["head"]
    both = manaflow("verify-proof", proof, "--head", head, "--native", "--json").json
    assert (both["rule"], both["engine"]) == ("X2", "pyevm+revm")
    applied = manaflow("apply-proof", proof, "--state", first, "--json").json
    assert (applied["undone"], applied["head"]["number"]) == ([2971845], 2971844)
    again = manaflow("import", folder / "1.mana", "--state", first, "--json")
    assert (again.code, again.json["convicted"]["block"]) == (1, head)
    assert manaflow("import", folder / "2971845.mana", "--state", first).code == 0
    ran = manaflow("apply-proof", proof, "--state", first)
    assert (ran.code, "was not in the chain" in ran.out) == (0, True)


def test_a_file_that_is_no_proof_is_not_applied(first: Path, tmp_path: Path, manaflow: Command) -> None:
    (tmp_path / "no.proof").write_bytes(b"MANAPROOF\1no")
    assert manaflow("apply-proof", tmp_path / "no.proof", "--state", first).code == 1


# ---- two blocks of one number ----


def test_a_block_beside_the_chains_convicts_its_producer(folder: Path, state: Path, manaflow: Command) -> None:
    """The lie cannot be judged any more, its state is gone: but the chain holds what its producer signed as well."""
    (folder / "2971845.mana").unlink()
    ran = manaflow("challenge", folder, "--state", state, "--out", folder / "proofs", "--json")
    row = ran.json["blocks"][0]
    assert (ran.code, row["what"]) == (1, "passed")
    assert ran.json["proofs"] == [row["equivocation"]] == [str(folder / "proofs" / "1.equivocation")]
    shown = manaflow("verify-proof", row["equivocation"], "--head", row["equivocation_head"], "--json").json
    assert (shown["equivocation"], shown["number"]) == (True, 2971845)
    assert manaflow("verify-proof", row["equivocation"], "--head", "0x" + "11" * 32).code == 1


def test_two_files_convict_their_producer(folder: Path, first: Path, manaflow: Command) -> None:
    ran = manaflow("challenge", folder, "--state", first)
    assert ran.code == 1
    assert "2971845.equivocation proves to anyone that its producer signed another block" in ran.out
    assert (folder / "2971845.equivocation").exists()
    assert not (folder / "1.equivocation").exists()


def test_an_equivocation_is_proved_verified_and_applied(
    folder: Path, chain: Path, state: Path, tmp_path: Path, manaflow: Command
) -> None:
    one, other, proof = chain / "2971845.mana", folder / "1.mana", tmp_path / "twice.proof"
    made = manaflow("prove-equivocation", one, other, "--out", proof, "--json").json
    assert made["bytes"] == proof.stat().st_size
    for block in made["blocks"]:
        ran = manaflow("verify-proof", proof, "--head", block)
        assert ran.code == 0
        assert "equivocated; no block is void" in ran.out
    for _ in range(2):
        ran = manaflow("apply-proof", proof, "--state", state)
        assert (ran.code, "nothing is undone" in ran.out) == (0, True)
    applied = manaflow("apply-proof", proof, "--state", state, "--json").json
    assert (applied["undone"], applied["head"]["number"]) == ([], 2971845)
    assert manaflow("head", "--state", state, "--json").code == 0


def test_under_a_head_that_is_neither(folder: Path, chain: Path, tmp_path: Path, manaflow: Command) -> None:
    proof, genesis = tmp_path / "twice.proof", chain / "genesis.mana"
    found = ("--head", chain / "2971844.mana", "--genesis", genesis, "--out", proof)
    made = manaflow("prove-equivocation", folder / "1.mana", chain / "2971845.mana", *found, "--json").json
    assert manaflow("verify-proof", proof, "--head", made["head"]).code == 0
    assert manaflow("verify-proof", proof, "--head", made["blocks"][0]).code == 1


def test_what_is_no_equivocation(folder: Path, chain: Path, tmp_path: Path, manaflow: Command) -> None:
    proof = tmp_path / "twice.proof"
    for other in (chain / "2971844.mana", chain / "2971845.mana"):
        line = refused(manaflow("prove-equivocation", chain / "2971845.mana", other, "--out", proof), 3)
        assert "show no equivocation" in line
    alone = shutil.copy(folder / "1.mana", tmp_path)
    assert "--genesis" in refused(manaflow("prove-equivocation", alone, alone, "--out", proof), 2)
    assert not proof.exists()


# ---- the limit on time ----


@pytest.mark.parametrize("command", ["verify-proof", "apply-proof"])
def test_judging_a_strangers_file_is_limited_in_time(
    command: str, folder: Path, first: Path, tmp_path: Path, manaflow: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = tmp_path / "lie.proof"
    head = manaflow("prove", folder / "1.mana", "--state", first, "--out", proof, "--json").json["head"]

    def spin(self: object, job: object) -> None:
        while True:
            sum(range(1000))

    monkeypatch.setattr(PyEvmExecutor, "execute", spin)
    where = ("--head", head) if command == "verify-proof" else ("--state", first)
    assert "not judged: 1 seconds" in refused(manaflow(command, proof, *where, "--seconds", 1), 3)
    monkeypatch.undo()
    assert manaflow(command, proof, *where, "--seconds", 60).code == 0


class OtherChain:
    """A chain that holds a block of another producer of the same config."""

    def __init__(self, config: ChainConfig, block: Block) -> None:
        self.config, self._block = config, block

    def header(self, number: int) -> Header | None:
        return self._block.header if number == self._block.header.number else None

    def block(self, number: int) -> Block:
        return self._block


def test_blocks_of_two_producers_convict_neither() -> None:
    """The chain's block is another producer's, or on another parent, or the very same one: nothing is shown."""
    keys = [key_of(1), key_of(2)]
    config = replace(chain_config(), producers=tuple(sorted(map(address_of, keys))))
    header = replace(Chain(1).seal().header, config=config.hash)

    def signed(key: PrivateKey, **fields: object) -> Block:
        made = replace(header, **fields)
        return replace(Chain(1).blocks[0], header=made, signature=key.sign_recoverable(made.hash, hasher=None))

    ours = signed(keys[0])
    for held, convicts in (
        (signed(keys[1], prevrandao=word(1)), False),
        (signed(keys[0], parent_hash=word(1)), False),
        (signed(keys[0], number=9), False),
        (ours, False),
        (signed(keys[0], prevrandao=word(1)), True),
    ):
        siblings = Siblings(OtherChain(config, held))  # type: ignore[arg-type]
        proof = siblings.proof_of(ours.header, ours.signature, address_of(keys[0]))
        assert (proof is not None) == convicts
