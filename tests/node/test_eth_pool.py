"""txpool_* of a live node."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address

from manaflow.node import eth_pool
from tests.node.live import Live, RefusedCall
from tests.node.probe import CONTRACTS, NOBODY, SENDERS


def test_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Live(tmp_path, instantly=False) as node:
        assert node.call("txpool_status") == {"pending": "0x0", "queued": "0x0"}
        request = {"from": SENDERS[0], "to": NOBODY, "value": "0x2", "gas": "0x5208", "gasPrice": hex(3 * 10**9)}
        sent = {nonce: node.call("eth_sendTransaction", {**request, "nonce": hex(nonce)}) for nonce in (0, 1, 3)}
        data = CONTRACTS["Multicall"]["bytecode"]
        created = node.call("eth_sendTransaction", {"from": SENDERS[1], "data": data, "gas": "0xf4240"})
        assert node.call("txpool_status") == {"pending": "0x3", "queued": "0x1"}
        content = node.call("txpool_content")
        one, two = to_checksum_address(SENDERS[0]), to_checksum_address(SENDERS[1])
        assert {sender: set(rows) for sender, rows in content["pending"].items()} == {one: {"0", "1"}, two: {"0"}}
        assert content["queued"] == {one: {"3": node.call("eth_getTransactionByHash", sent[3])}}
        assert content["pending"][one]["1"]["hash"] == sent[1]
        assert content["pending"][two]["0"]["hash"] == created
        assert node.call("txpool_contentFrom", SENDERS[0])["queued"] == content["queued"][one]
        assert node.call("txpool_contentFrom", NOBODY) == {"pending": {}, "queued": {}}
        lines = node.call("txpool_inspect")
        assert lines["queued"] == {one: {"3": f"{NOBODY}: 2 wei + 21000 gas × 3000000000 wei"}}
        assert lines["pending"][two]["0"].startswith("contract creation: 0 wei + 1000000 gas × ")
        monkeypatch.setattr(eth_pool, "MAX_SHOWN", 3)
        for method in ("txpool_content", "txpool_inspect"):
            with pytest.raises(RefusedCall, match="-32005: limit exceeded: 4 transactions wait, at most 3"):
                node.call(method)
        node.call("evm_mine")
        assert node.call("txpool_status") == {"pending": "0x0", "queued": "0x1"}
