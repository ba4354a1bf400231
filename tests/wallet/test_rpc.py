"""A node may be hostile: whatever it answers is refused with a clear error, or read as what it is."""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from threading import Thread
from typing import Any

import httpx
import pytest
from eth._utils.address import generate_contract_address
from eth_typing import Address

from manaflow.cli.wallet_options import Choices
from manaflow.errors import Failure, Verdict
from manaflow.moves.declared import signing_hash
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Mark
from manaflow.rules.config import Profile
from manaflow.wallet.client import Client, LostRace, again
from manaflow.wallet.declare import Declaration, Wish
from manaflow.wallet.intents import Intent, Policy
from manaflow.wallet.keys import sign
from manaflow.wallet.replace import cancel, speed_up
from manaflow.wallet.rpc import MAX_WORDS, NodeRefused, Rpc, data, quantity
from manaflow.wallet.rpc_source import RpcSource, read_config, waiting
from manaflow.wallet.source import Cell, Snapshot
from tests.builders import envelope
from tests.manaflow_chain import Producer
from tests.wallet.model import COUNTER, COUNTER_CODE, KEY, ME, OTHER, balance, storage, word

URL = "http://node.test/"
Answer = Callable[[str, list[Any]], Any]


def rpc_of(handler: Callable[[httpx.Request], httpx.Response], seconds: float = 30.0) -> Rpc:
    return Rpc(URL, httpx.Client(transport=httpx.MockTransport(handler)), seconds)


def answer_of(content: Any, **headers: str) -> httpx.Response:
    """As from a socket: unread. content: bytes, or an object for JSON."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return httpx.Response(200, content=iter([raw]), headers=headers)


def answering(answer: Answer) -> Rpc:
    """A node whose results are those of a function of method and parameters."""

    def handle(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        result = answer(body["method"], body["params"])
        return answer_of({"jsonrpc": "2.0", "id": body["id"], "result": result})

    return rpc_of(handle)


def saying(content: bytes, **headers: str) -> Rpc:
    return rpc_of(lambda request: answer_of(content, **headers))


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"1", b"\xff\xfe", b"[" * 100_000, b'{"id":1}', b'{"id":2,"result":1}',
     b'{"id":"1","result":1}', b'{"jsonrpc":"2.0","result":1}', b'{"id":1,"result":' + b"9" * 10_000 + b"}"],
)  # fmt: skip
def test_answers_that_are_none(content: bytes) -> None:
    with pytest.raises(Failure, match="answers mana_head"):
        saying(content).call("mana_head")


def test_an_endless_answer_is_left_off() -> None:
    read = []

    def endless() -> Any:
        for _ in range(1000):
            read.append(1)
            yield b" " * 1000

    rpc = rpc_of(lambda request: httpx.Response(200, content=endless()))
    with pytest.raises(Failure, match="more than 20000 bytes"):
        rpc.call("mana_head", limit=20_000)
    assert len(read) < 100


def test_a_slow_answer_is_left_off() -> None:
    with pytest.raises(Failure, match="takes longer"):
        rpc_of(lambda request: httpx.Response(200, content=iter([b"{"] * 3)), seconds=-1.0).call("mana_head")


@pytest.mark.parametrize(
    "sent", [b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\nX-", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"]
)
def test_a_node_that_drips_holds_nobody(sent: bytes) -> None:
    """A byte of the headers or of the body now and then, each in time, and the whole never."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(sent)
                    while True:
                        connection.sendall(b" ")
                        time.sleep(0.05)

        Thread(target=drip, daemon=True).start()
        with pytest.raises(Failure, match=r"takes longer than 0\.5 s"):
            Rpc(f"http://127.0.0.1:{server.getsockname()[1]}", seconds=0.5).call("mana_head")


@pytest.mark.parametrize("url", ["http://me:secret@node.test:1/v3/secret", "http://node.test/?key=secret"])
def test_secrets_of_the_url_are_in_no_message(url: str) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    for handler in (fail, lambda request: answer_of(b"no"), lambda request: answer_of(b"[" * 10**7)):
        with pytest.raises(Failure, match=r"http://node\.test") as failed:
            Rpc(url, httpx.Client(transport=httpx.MockTransport(handler))).call("mana_head")
        assert "secret" not in str(failed.value)
    with pytest.raises(Failure) as failed:
        Rpc(url.replace("http", "gopher"))
    assert "secret" not in str(failed.value)


def test_a_packed_answer_is_not_unpacked() -> None:
    with pytest.raises(Failure, match="encoding"):
        saying(b"\x1f\x8b", **{"Content-Encoding": "gzip"}).call("mana_head")


def test_a_node_that_is_not_there() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(Failure, match="no answer"):
        rpc_of(fail).call("mana_head")
    for url in ("file:///etc/passwd", "node", "http://", "ftp://x/"):
        with pytest.raises(Failure, match="URL"):
            Rpc(url)


@pytest.mark.parametrize("error", [1, {}, {"code": "x", "message": 5}, {"code": -32000, "message": "a\x1b[2J\nb"}])
def test_errors_are_one_harmless_line(error: Any) -> None:
    rpc = rpc_of(lambda request: answer_of({"id": 1, "error": error}))
    with pytest.raises(NodeRefused) as refused:
        rpc.call("mana_submit")
    assert str(refused.value).isprintable()
    long = rpc_of(lambda request: answer_of({"id": 1, "error": {"code": 1, "message": "x" * 10**6}}))
    with pytest.raises(NodeRefused) as refused:
        long.call("mana_submit")
    assert len(str(refused.value)) < MAX_WORDS + 100


def test_numbers_and_bytes() -> None:
    assert (quantity("0x0", "x"), quantity("0xFf", "x"), data("0x", "x"), data("0x00ff", "x", 2)) == (
        0,
        255,
        b"",
        b"\0\xff",
    )
    for bad in (None, 1, "", "0x", "0xg", "0x-1", "0x1_0", "0x 1", "0x" + "1" * 17, "12", True):
        with pytest.raises(Failure):
            quantity(bad, "x")
    for bad in (None, b"", "0x0", "0xzz", "00", "0x 0", "0x0 0 ", [], "0x00ff00"):
        with pytest.raises(Failure):
            data(bad, "x", 2)


CHAIN = Producer(1)
CODE_HASH = keccak256(COUNTER_CODE)
BLOCK = {
    "number": "0x1", "timestamp": "0x500", "gasLimit": "0x1c9c380", "baseFeePerGas": "0x3b9aca00",
    "mixHash": "0x" + "09" * 32, "miner": "0x" + "c0" * 20, "hash": "0x" + "0b" * 32,
}  # fmt: skip
CELLS = {
    ("b", ME): word(10**18), ("c", COUNTER): CODE_HASH, ("s", COUNTER): word(5),
}  # fmt: skip


def told_config(encoded: bytes) -> dict[str, str]:
    return {"hash": "0x" + hashlib.sha256(encoded).hexdigest(), "config": "0x" + encoded.hex()}


def honest(method: str, params: list[Any]) -> Any:
    """What an honest node says of a small state."""
    match method:
        case "mana_chainConfig":
            return told_config(CHAIN.config.encode())
        case "mana_head":
            return {"number": "0x0", "hash": "0x" + "0a" * 32}
        case "eth_getBlockByNumber":
            return dict(BLOCK)
        case "eth_getCode":
            return "0x" + COUNTER_CODE.hex()
        case "eth_getTransactionCount":
            return "0x0"
        case "mana_getCell":
            value = CELLS.get((params[0], bytes.fromhex(params[1][2:])), ZERO32)
            intx = b"\x0e" * 32 if value != ZERO32 else ZERO32
            return {"number": 1, "intx": "0x" + intx.hex(), "value": "0x" + value.hex()}
    raise AssertionError(method)


def lying(method: str, change: Callable[[Any], Any]) -> Rpc:
    return answering(lambda m, p: change(honest(m, p)) if m == method else honest(m, p))


def declares(rpc: Rpc) -> None:
    Client(rpc, read_config(rpc)).declare(ME, Wish(COUNTER), Policy(Intent.CONTESTED))


def test_an_honest_node_is_believed() -> None:
    declares(answering(honest))


LIES: dict[str, tuple[str, Callable[[Any], Any], str]] = {
    "code": ("eth_getCode", lambda _: "0x00", "other bytes"),
    "code kind": ("eth_getCode", lambda _: {}, "no bytes"),
    "short value": ("mana_getCell", lambda cell: cell | {"value": "0x05"}, "32 bytes"),
    "no maker": ("mana_getCell", lambda cell: cell | {"intx": None}, "32 bytes"),
    "maker of nothing": ("mana_getCell", lambda cell: cell | {"intx": "0x" + "00" * 32}, "nobody made"),
    "cell kind": ("mana_getCell", lambda _: [], "no object"),
    "number": ("mana_getCell", lambda cell: cell | {"number": -1}, "cell number"),
    "huge nonce": (
        "mana_getCell",
        lambda cell: cell | {"value": "0x" + "ff" * 32, "intx": "0x" + "01" * 32},
        "64 bits",
    ),
    "gas limit": ("eth_getBlockByNumber", lambda block: block | {"gasLimit": "0xffffffffffffffff"}, "gas limit"),
    "base fee": ("eth_getBlockByNumber", lambda block: block | {"baseFeePerGas": "0x" + "f" * 17}, "64 bits"),
    "number of the block": ("eth_getBlockByNumber", lambda block: block | {"number": "0x" + "f" * 16}, "40 bits"),
    "time": ("eth_getBlockByNumber", lambda block: block | {"timestamp": "0x" + "f" * 16}, "40 bits"),
    "no block": ("eth_getBlockByNumber", lambda _: None, "no object"),
    "no config": ("mana_chainConfig", lambda _: None, "no object"),
    "config hash": ("mana_chainConfig", lambda told: told | {"hash": "0x" + "00" * 32}, "whose hash"),
    "config kind": ("mana_chainConfig", lambda told: told | {"config": None}, "no bytes"),
    "config": ("mana_chainConfig", lambda told: told_config(CHAIN.config.encode()[:-1]), "chain config"),
    "head": ("mana_head", lambda _: {"hash": "0x00"}, "32 bytes"),
    "nonce": ("eth_getTransactionCount", lambda _: "0x3", "3 earlier"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found(lie: str) -> None:
    method, change, words = LIES[lie]
    with pytest.raises(Failure, match=words):
        declares(lying(method, change))


def test_a_dear_fee_must_be_asked_for() -> None:
    """The base fee is the node's word: with 10,000 gwei of it a call costs more than anyone expects."""
    rpc = lying("eth_getBlockByNumber", lambda block: block | {"baseFeePerGas": hex(10**13)})
    with pytest.raises(Failure, match="name --max-fee"):
        declares(rpc)
    client = Client(rpc, read_config(rpc))
    client.declare(ME, Wish(COUNTER, max_fee=2 * 10**13), Policy(Intent.CONTESTED))


@pytest.mark.parametrize("make", [speed_up, cancel])
def test_a_dear_fee_must_be_asked_for_when_replacing(make: Any) -> None:
    """An exact one pays what it names: by the base fee that a node names it would pay all that there is."""
    rpc = lying("eth_getBlockByNumber", lambda block: block | {"baseFeePerGas": hex(10**13)})
    honest_client, client = (Client(one, CHAIN.config) for one in (answering(honest), rpc))
    old = honest_client.declare(ME, Wish(COUNTER), Policy(Intent.EXACT)).transaction
    base_fee = RpcSource(rpc, CHAIN.config).environment.base_fee
    wish = make(old, base_fee, ME) if make is speed_up else make(old, base_fee)
    with pytest.raises(Failure, match="name --max-fee"):
        client.declare(ME, wish, Policy(Intent.EXACT))
    client.declare(ME, Choices(max_fee="20000gwei").wish(wish), Policy(Intent.EXACT))


def lost(declared: Declaration, *, waits: bool) -> LostRace:
    """What a node may say of anything."""
    return LostRace(keccak256(signing_hash(declared.transaction)), "gone", None, (), waits)


def test_again_does_not_climb_without_a_bound() -> None:
    """A node that says "lost" each time raises the fee by a tenth each time; the first bound is the last one, too."""
    client, policy = Client(answering(honest), CHAIN.config), Policy(Intent.CONTESTED)

    def lose(times: int) -> Declaration:
        wish = Wish(COUNTER)
        for _ in range(times):
            declared = client.declare(ME, wish, policy)
            wish = again(wish, lost(declared, waits=True), declared, policy)
        return declared

    assert lose(10).transaction.max_fee > 2 * lose(1).transaction.max_fee
    with pytest.raises(Failure, match="name --max-fee"):
        lose(100)


def test_again_keeps_to_the_fee_that_was_named() -> None:
    client, policy = Client(answering(honest), CHAIN.config), Policy(Intent.CONTESTED)
    wish = Wish(COUNTER, max_fee=3 * 10**9)
    declared = client.declare(ME, wish, policy)
    with pytest.raises(Failure, match=r"takes a max fee of 3\.3 gwei"):
        again(wish, lost(declared, waits=True), declared, policy)
    assert again(wish, lost(declared, waits=False), declared, policy).max_fee == 3 * 10**9


@pytest.mark.parametrize("waits", [False, True])
def test_a_node_cannot_have_it_paid_twice(waits: bool) -> None:
    """It puts the transaction into a block and says that it lost: with the next nonce the same would happen again."""
    client, policy = Client(answering(honest), CHAIN.config), Policy(Intent.OPEN)
    wish = Wish(COUNTER, 7)
    declared = client.declare(ME, wish, policy)
    landed = dict(CELLS) | {("n", ME): word(1)}

    def after(method: str, params: list[Any]) -> Any:
        if method == "eth_getTransactionCount":
            return "0x1"
        value = landed.get((params[0], bytes.fromhex(params[1][2:]))) if method == "mana_getCell" else None
        told = honest(method, params)
        return told if value is None else told | {"value": "0x" + value.hex(), "intx": "0x" + "0e" * 32}

    wish = again(wish, lost(declared, waits=waits), declared, policy)
    with pytest.raises(Failure, match="nonce 0 is used"):
        Client(answering(after), CHAIN.config).declare(ME, wish, policy)
    anew = client.declare(ME, wish, policy)
    assert anew.transaction.nonce == declared.transaction.nonce


@pytest.mark.parametrize("how", ["guard", "pin"])
def test_again_asks_no_less_than_at_first(how: str) -> None:
    """The guard that lost the race is not signed anew with the value that it was to keep away."""
    place = storage(COUNTER, 0) if how == "pin" else storage(OTHER, 0)
    wish = Wish(COUNTER, guards=(place,) if how == "guard" else ())
    policy = Policy(Intent.CONTESTED, pinned=frozenset({place, balance(ME)} if how == "pin" else ()))
    client = Client(answering(honest), CHAIN.config)
    declared = client.declare(ME, wish, policy)
    wish = again(wish, lost(declared, waits=False), declared, policy)
    client.declare(ME, wish, policy)
    address = "0x" + place[1].hex()

    def moved(method: str, params: list[Any]) -> Any:
        told = honest(method, params)
        is_it = method == "mana_getCell" and params[:2] == ["s", address]
        return told | {"value": "0x" + word(9).hex(), "intx": "0x" + "0e" * 32} if is_it else told

    with pytest.raises(Failure, match="and is 0x9 by now"):
        Client(answering(moved), CHAIN.config).declare(ME, wish, policy)


def test_a_replacement_is_declared_on_the_open_block_unless_the_old_one_may_stand_there() -> None:
    for pending_nonce, expected in ((0, True), (1, False)):
        seen: list[Any] = []

        def answer(method: str, params: list[Any], at: int = pending_nonce, seen: list[Any] = seen) -> Any:
            told = honest(method, params)
            if method != "mana_getCell":
                return told
            seen.append(params[3])
            if params[0] == "n" and params[3]:
                return told | {"value": "0x" + word(at).hex(), "intx": "0x" + "0e" * 32}
            return told

        Client(answering(answer), CHAIN.config).declare(ME, Wish(COUNTER, nonce=0), Policy(Intent.OPEN))
        assert seen[-1] is expected


@pytest.mark.parametrize("named", ["0x" + "0d" * 20, None])
def test_a_node_cannot_name_another_contract_than_the_one_deployed(named: str | None) -> None:
    """Who is shown an address pays to it."""
    client = Client(answering(honest), CHAIN.config)
    raw = sign(client.declare(ME, Wish(b"", data=b"\x5f\x5f\xf3"), Policy(Intent.EXACT)).transaction, KEY)
    txid = "0x" + keccak256(raw).hex()
    receipt = {"transactionHash": txid, "blockNumber": "0x7", "status": "0x1", "gasUsed": "0x5208",
               "effectiveGasPrice": "0x2", "contractAddress": named}  # fmt: skip
    client = Client(answering(lambda m, p: txid if m == "mana_submit" else receipt), CHAIN.config)
    with pytest.raises(Failure, match="another contract"):
        client.wait(client.submit(raw), 0)
    receipt["contractAddress"] = "0x" + generate_contract_address(Address(ME), 0).hex()
    landed = client.wait(client.submit(raw), 0)
    assert landed.lines()[1] == f"it deployed {receipt['contractAddress']}"


def test_who_loses_the_node_while_waiting_is_told_what_was_sent() -> None:
    """Or would send it again, with the next nonce."""
    with pytest.raises(Failure, match="JSON") as failed:
        Client(saying(b"gateway timeout"), CHAIN.config).wait(b"\x77" * 32, 0)
    assert failed.value.__notes__ == [f"0x{'77' * 32} is signed and was sent: whoever has it may still fill it"]


def test_what_is_refused_was_sent_all_the_same() -> None:
    client = Client(rpc_of(lambda request: answer_of({"id": 1, "error": {"code": -1, "message": "no"}})), CHAIN.config)
    with pytest.raises(NodeRefused) as refused:
        client.submit(envelope(2))
    assert keccak256(envelope(2)).hex() in refused.value.__notes__[0]


def test_another_chain_is_refused() -> None:
    with pytest.raises(Failure, match="expected was 5"):
        read_config(answering(honest), 5)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"chain_id": 1}, "Ethereum network"), ({"profile": Profile.ETHEREUM}, "profile manaflow"),
     ({"producers": ()}, "chain config")],
)  # fmt: skip
def test_chains_that_nothing_is_signed_for(change: dict[str, Any], words: str) -> None:
    config = replace(CHAIN.config, **change)
    with pytest.raises(Failure, match=words):
        read_config(answering(lambda m, p: told_config(config.encode())))


def test_a_state_that_moves_is_read_anew_a_few_times() -> None:
    heads = iter(range(100))
    rpc = answering(lambda m, p: {"hash": "0x" + word(next(heads)).hex()} if m == "mana_head" else honest(m, p))
    with pytest.raises(Failure, match="moves faster"):
        declares(rpc)
    assert next(heads) == 8


def test_a_snapshot_checks_codes_of_any_source() -> None:
    class Source:
        environment = RpcSource(answering(honest), CHAIN.config).environment

        def cell(self, location: Any) -> Cell:
            return Cell(b"\1" * 32, CODE_HASH)

        def code(self, address: bytes, code_hash: bytes) -> bytes:
            return b"\0"

        def block_hash(self, number: int) -> bytes:
            return ZERO32

    snapshot = Snapshot(Source())
    snapshot.cell((Mark.CODE, COUNTER, ZERO32))
    with pytest.raises(Failure, match="other bytes"):
        snapshot.code(CODE_HASH)
    for number in (0, 1, 2):
        location = (Mark.BLOCKHASH, bytes(20), word(number))
        if number < Source.environment.number:
            assert snapshot.cell(location) == Cell(ZERO32, ZERO32)
        else:
            with pytest.raises(Failure, match="no block hash"):
                snapshot.cell(location)


def test_what_is_submitted_is_named_by_ourselves() -> None:
    client = Client(answering(lambda m, p: "0x" + "00" * 32), CHAIN.config)
    with pytest.raises(Failure, match="names the transaction"):
        client.submit(envelope(2))
    with pytest.raises(Verdict, match="S2"):
        client.submit(b"\x4d\xc0")
    with pytest.raises(Failure, match="another transaction"):
        waiting(answering(lambda m, p: "0x4d"), b"\1" * 32)
    with pytest.raises(Failure, match="knows no transaction"):
        waiting(answering(lambda m, p: "0x"), b"\1" * 32)


def test_receipts_and_conflicts_are_read_strictly() -> None:
    txid = b"\1" * 32
    receipt = {
        "transactionHash": "0x" + txid.hex(), "blockNumber": "0x7", "status": "0x1", "gasUsed": "0x5208",
        "effectiveGasPrice": "0x2", "contractAddress": None,
    }  # fmt: skip
    landed = Client(answering(lambda m, p: receipt), CHAIN.config).wait(txid, 0)
    assert landed.lines()[0].endswith("succeeded in block 7: 21000 gas, 42000 wei of fee")
    for name, bad in (("transactionHash", "0x" + "02" * 32), ("status", "0x11"), ("gasUsed", None), ("blockNumber", 7)):
        with pytest.raises(Failure):
            Client(answering(lambda m, p, n=name, b=bad: receipt | {n: b}), CHAIN.config).receipt(txid)  # type: ignore[misc]
    notice = {"detail": "gone\x1b[31m", "winner": "0x" + "0c" * 32, "mayChange": ["prev", 7, "mask prev"], "waits": 1}
    client = Client(answering(lambda m, p: None if "Receipt" in m else notice), CHAIN.config)
    lost = client.wait(txid, 0)
    assert lost == LostRace(txid, "gone?[31m", b"\x0c" * 32, ("prev", "mask prev"), False)


def test_nothing_known_is_waiting() -> None:
    naps: list[float] = []
    client = Client(answering(lambda m, p: None), CHAIN.config)
    assert "still waits" in client.wait(b"\1" * 32, 0, naps.append).lines()[0]
    assert naps == []


def test_the_right_cell_is_asked_for() -> None:
    asked: list[tuple[str, list[Any]]] = []

    def answer(method: str, params: list[Any]) -> Any:
        asked.append((method, params))
        return honest(method, params)

    RpcSource(answering(answer), CHAIN.config, pending=False).cell(storage(OTHER, 7))
    assert asked[-1] == ("mana_getCell", ["s", "0x" + OTHER.hex(), "0x" + word(7).hex(), False])
