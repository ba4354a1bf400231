"""What the commands share that serve."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def test_what_an_open_node_keeps_is_not_looked_through_again() -> None:
    program = (
        "import gc\n"
        "from manaflow.cli.serving import NEW_OBJECTS, spare_what_stays\n"
        "cycle = []; cycle.append(cycle)\n"
        "there = len(gc.get_objects())\n"
        "spare_what_stays()\n"
        "assert gc.get_freeze_count() > 0.9 * there, 'they are not spared'\n"
        "assert gc.isenabled() and gc.get_threshold()[0] == NEW_OBJECTS\n"
        "new = []; new.append(new); del new\n"
        "assert gc.collect() >= 1, 'what is new is'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
