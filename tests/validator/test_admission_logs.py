"""The logs that admission keeps for receipts are those of the fills that it admitted."""

from __future__ import annotations

from pathlib import Path

from manaflow.moves.hashing import keccak256
from tests.manaflow_chain import created, deploying
from tests.validator.admitting import Stage, refused
from tests.validator.test_admission_waste import joined

LOGGER_CODE = bytes.fromhex("3615600a575f355f5500" + "5b5f545f5260205fa000")
"""With data: stores it. Without: logs what is stored."""


def test_a_second_fill_of_a_transaction_leaves_the_first_ones_logs(tmp_path: Path) -> None:
    """Whoever is told other logs than the sealed block's stops: a batch must not be able to say them."""
    stage = Stage(tmp_path / "state")
    stage.open()
    sender = stage.sender()
    assert refused(sender.send(sender.fill([stage.signers.sign(0, data=deploying(LOGGER_CODE))]))) == {}
    stage.seal()
    stage.open()
    logger = created(stage.addresses[0], 0)
    reads, writes = stage.call(1, logger, b""), stage.call(2, logger, (5).to_bytes(32, "big"))
    batch = joined([stage.sender().fill([reads]), stage.sender().fill([writes, reads])])
    assert list(refused(stage.producer.admit(batch))) == [2], "the same transaction, after the write"
    admitted = stage.block.admitted()[-1]
    assert admitted.logs is not None
    assert [keccak256(logs) for logs in admitted.logs] == [row.tobytes() for row in admitted.batch.logs_hash]
    stage.seal()
    stage.close()
