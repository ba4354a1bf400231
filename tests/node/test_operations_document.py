"""docs/OPERATIONS.md names every metric and every command that operators need, and nothing that is not there."""

from __future__ import annotations

import re

from manaflow.cli.app import _COMMANDS, _KEYS
from manaflow.node.metrics import Metrics
from tests.conftest import ROOT

DOCUMENT = (ROOT / "docs" / "OPERATIONS.md").read_text()


def test_every_metric_is_named() -> None:
    exposed = set(re.findall(r"^# TYPE (manaflow_\w+)", Metrics().exposition().decode(), flags=re.MULTILINE))
    exposed = {name for name in exposed if not name.endswith("_created")}
    named = set(re.findall(r"`(manaflow_\w+)", DOCUMENT))
    assert named == exposed


def test_every_command_it_names_is_one() -> None:
    named = set(re.findall(r"manaflow (?!node/)([a-z][a-z-]+)", DOCUMENT))
    assert named <= {name for name, _, _ in _COMMANDS} | {"keys"}
    assert {"node", "validator", "coordinator", "follow", "backup", "restore", "prune", "keys"} <= named
    assert set(re.findall(r"manaflow keys (\w+)", DOCUMENT)) == {name for name, _, _ in _KEYS}
