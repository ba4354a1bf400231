"""A node whose disk fills: it says so, loses nothing that it acknowledged, and goes on once there is space.

The disk is a limit on the size of files, set on the running process.
"""

from __future__ import annotations

import resource
from pathlib import Path

import httpx
import pytest

from tests.node.processes import NodeError, NodeProcess, hexed, transfer, txid, until

FREE = 256 * 1024


def node_at(path: Path) -> NodeProcess:
    return NodeProcess("node", "--dev", "--state", path / "node", "--no-mining", log=path / "log")


def largest(state: Path) -> int:
    return max(file.stat().st_size for file in state.rglob("data.mdb"))


def fill(node: NodeProcess, acknowledged: list[str]) -> str:
    """Send and seal until the node fails: what it said."""
    for nonce in range(10_000):
        envelope = transfer(0, nonce, data=bytes(range(256)) * 8)
        try:
            node.call("mana_submit", hexed(envelope))
            acknowledged.append(txid(envelope))
            if nonce % 8 == 7:
                node.call("mana_seal")
        except (NodeError, httpx.TransportError) as error:
            return str(error)
    raise AssertionError("the disk is not full")


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit")
def test_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    node = node_at(tmp_path)
    try:
        limit = largest(tmp_path / "node") + FREE
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        told = fill(node, acknowledged)
        assert "largest size of a file" in told or "disk" in told or "failed" in told or "shutting down" in told, told
        until(lambda: node.process.poll() is not None)
        assert node.process.returncode == 3
    finally:
        node.kill()
    said = (tmp_path / "log").read_text()
    assert "failed: the node has stopped" in said
    assert "largest size of a file" in said or "disk" in said
    assert "Traceback" not in said.splitlines()[-1]
    with node_at(tmp_path) as node:
        for one in acknowledged:
            assert node.call("eth_getTransactionByHash", one) is not None
        node.call("mana_seal")
        missing = [one for one in acknowledged if node.call("eth_getTransactionReceipt", one) is None]
        for _ in range(10):
            if not missing:
                break
            node.call("mana_seal")
            missing = [one for one in missing if node.call("eth_getTransactionReceipt", one) is None]
        assert not missing
        assert len(acknowledged) > 8
