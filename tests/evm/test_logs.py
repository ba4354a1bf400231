from __future__ import annotations

from manaflow.evm.executor import Execution, Log
from manaflow.evm.logs import logs_hash, outcome_of
from manaflow.moves.hashing import keccak256

LOG = Log(b"\x11" * 20, (b"\x22" * 32,), b"\x33")
ENCODED = b"\x94" + b"\x11" * 20 + b"\xe1\xa0" + b"\x22" * 32 + b"\x33"


def test_no_logs_hash_to_the_empty_list() -> None:
    assert logs_hash(()).hex() == "1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"


def test_one_log_is_hashed_as_receipts_hold_it() -> None:
    inner = b"\xf8" + bytes((len(ENCODED),)) + ENCODED
    assert len(ENCODED) == 56
    assert logs_hash([LOG]) == keccak256(b"\xf8" + bytes((len(inner),)) + inner)


def test_logs_are_hashed_in_order() -> None:
    other = Log(b"\x44" * 20, (), b"")
    assert logs_hash([LOG, other]) != logs_hash([other, LOG])


def test_outcome_of_an_execution() -> None:
    outcome = outcome_of(Execution(1, 30_000, (LOG,), (), {}, 0))
    assert (outcome.status, outcome.gas_used, outcome.logs_hash) == (1, 30_000, logs_hash([LOG]))
