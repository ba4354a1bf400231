"""What signers are told of their transactions, over WebSocket: each its own, or all; until they have heard enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.node.processes import NodeProcess, hexed, transfer, txid
from tests.node.test_mana import declared, signed_balance

AHEAD = 3


def ask(socket: ClientConnection, method: str, *params: Any) -> dict[str, Any]:
    """The answer; nothing may be notified before it."""
    socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    answer: dict[str, Any] = json.loads(socket.recv(timeout=30))
    assert answer["id"] == 1
    return answer


def told(socket: ClientConnection, name: str) -> dict[str, Any]:
    """The next notification."""
    params = json.loads(socket.recv(timeout=30))["params"]
    assert params["subscription"] == name
    item: dict[str, Any] = params["result"]
    return item


def test_verdicts_of_one_transaction_or_of_all(tmp_path: Path) -> None:
    first, second = transfer(0, 0), transfer(1, 0)
    waiting, better = transfer(2, AHEAD), transfer(2, AHEAD, gas_price=2 * 10**11, tip=2 * 10**9)
    with NodeProcess("node", "--dev", log=tmp_path / "log") as node, connect(node.ws_url) as all_, connect(
        node.ws_url
    ) as mine, connect(node.ws_url) as replaced:  # fmt: skip
        of_all = ask(all_, "eth_subscribe", "manaVerdicts")["result"]
        of_mine = ask(mine, "eth_subscribe", "manaVerdicts", txid(first))["result"]
        of_replaced = ask(replaced, "eth_subscribe", "manaVerdicts", txid(waiting))["result"]
        for envelope in (second, first, waiting, better):
            node.call("mana_submit", hexed(envelope))
        poorer = declared(3, (signed_balance(3, bytes.fromhex(genesis_of(node)[2:]), 1),))
        node.call("mana_submit", hexed(poorer))

        heard = [told(all_, of_all) for _ in range(5)]
        kinds = [(item["kind"], item["txid"]) for item in heard]
        assert kinds == [
            ("admitted", txid(second)), ("admitted", txid(first)), ("dropped", txid(waiting)), ("lost", txid(poorer)),
            ("dropped", txid(poorer)),
        ]  # fmt: skip
        lost = heard[3]
        assert (lost["field"], lost["location"]["mark"], int(lost["expected"], 16)) == ("prev", "b", 1)
        assert (heard[4]["reason"], heard[4]["winner"]) == ("lost", lost["winner"])
        assert told(mine, of_mine) == heard[1]
        assert told(replaced, of_replaced) == heard[2]
        assert (heard[2]["reason"], heard[2]["winner"]) == ("replaced", txid(better))
        assert ask(mine, "eth_unsubscribe", of_mine)["result"] is True
        assert ask(replaced, "eth_unsubscribe", of_replaced)["result"] is True
        assert ask(mine, "eth_unsubscribe", of_mine)["error"]["code"] == -32000
        assert ask(mine, "eth_subscribe", "manaVerdicts", "0x12")["error"]["code"] == -32602
        node.call("mana_submit", hexed(transfer(0, 1)))
        assert told(all_, of_all)["txid"] == txid(transfer(0, 1))
        for socket in (mine, replaced):
            with pytest.raises(TimeoutError):
                socket.recv(timeout=0.2)


def genesis_of(node: NodeProcess) -> str:
    """Who made the cells of genesis."""
    found: str = node.call("mana_getCell", "b", node.greeting["accounts"][3]["address"])["intx"]
    return found
