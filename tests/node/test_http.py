"""HTTP as clients see it, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterator

import httpx
import pytest

from manaflow.errors import Failure
from manaflow.node.limits import Limits, Rate
from manaflow.node.server import RpcServer
from manaflow.node.subscriptions import Hub
from tests.node.served import METHODS, Served, read_all, request

CALL = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    limits = Limits(max_body_bytes=100_000, max_batch=10, cors_origins=("https://wallet.example",))
    with Served(limits) as served:
        yield served


def test_a_call(served: Served) -> None:
    answer = served.post(CALL)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"jsonrpc": "2.0", "id": 1, "result": "0x1"}
    assert "server" not in answer.headers


def test_one_connection_serves_many_calls(served: Served) -> None:
    raw = served.socket()
    for _ in range(3):
        raw.sendall(request(CALL))
        assert b'"result":"0x1"' in raw.recv(4096)
    raw.close()


def test_pipelined_calls_are_answered_in_order(served: Served) -> None:
    calls = [b'{"jsonrpc":"2.0","id":%d,"method":"t_sleep","params":[0.001]}' % i for i in range(20)]
    last = request(calls.pop(), "Connection: close")
    raw = served.socket()
    raw.sendall(b"".join(map(request, calls)) + last)
    assert [int(found) for found in re.findall(rb'"id":(\d+)', read_all(raw))] == list(range(20))


def test_notifications_get_no_content(served: Served) -> None:
    answer = served.post(b'{"jsonrpc":"2.0","method":"eth_chainId"}')
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "application/json-rpc", "Application/JSON"])
def test_types_of_json(served: Served, media_type: str) -> None:
    assert served.post(CALL, **{"content-type": media_type}).status_code == 200


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"])
def test_other_types_are_refused(served: Served, media_type: str) -> None:
    """A web page may send these without asking."""
    assert served.post(CALL, **{"content-type": media_type}).status_code == 415


def test_compressed_bodies_are_refused(served: Served) -> None:
    assert served.post(CALL, **{"content-encoding": "gzip"}).status_code == 415


def test_a_body_may_be_as_long_as_the_bound_and_no_longer(served: Served) -> None:
    assert served.post(CALL.ljust(100_000)).status_code == 200
    raw = served.socket()
    raw.sendall(request(b"")[:-4].replace(b"Content-Length: 0", b"Content-Length: 100001") + b"\r\n\r\n")
    assert read_all(raw).startswith(b"HTTP/1.1 413")  # by its header: not a byte of it has been sent


def test_chunked_bodies_are_bounded_too(served: Served) -> None:
    def chunks(count: int) -> Iterator[bytes]:
        yield CALL
        for _ in range(count):
            yield b" " * 1000

    headers = {"content-type": "application/json"}
    with served.client() as client:
        assert client.post("/", content=chunks(99), headers=headers).json()["result"] == "0x1"
        assert client.post("/", content=chunks(100), headers=headers).status_code == 413
        with contextlib.suppress(httpx.TransportError):  # closed while the client was still sending
            assert client.post("/", content=chunks(1000), headers=headers).status_code == 413
    assert served.is_alive()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 405), ("PUT", "/", 405), ("GET", "/nothing", 404), ("POST", "/health", 405), ("POST", "/x", 404)],
)
def test_what_is_not_here(served: Served, method: str, path: str, status: int) -> None:
    with served.client() as client:
        assert client.request(method, path).status_code == status


def test_health_ready_and_metrics(served: Served) -> None:
    served.post(CALL)
    served.post(b'{"jsonrpc":"2.0","id":1,"method":"no_such"}')
    with served.client() as client:
        assert client.get("/health").text == "ok"
        assert client.get("/ready").text == "ready"
        metrics = client.get("/metrics").text
    assert 'manaflow_rpc_calls_total{method="eth_chainId"}' in metrics
    assert 'manaflow_rpc_errors_total{code="-32601",method="unknown"}' in metrics
    assert "no_such" not in metrics  # labels are not for clients to choose


def test_a_node_that_is_not_ready_says_so() -> None:
    with Served(ready=lambda: False) as served, served.client() as client:
        assert client.get("/ready").status_code == 503
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8545", "localhost.evil.example", ""])
def test_other_host_names_are_refused(served: Served, host: str) -> None:
    """DNS rebinding: a web page's own name that resolves to this machine."""
    raw = served.socket()
    raw.sendall(request(CALL, "Connection: close").replace(b"Host: localhost", b"Host: " + host.encode()))
    assert read_all(raw).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:8545", "10.0.0.1"])
def test_names_without_rebinding_are_taken(served: Served, host: str) -> None:
    assert served.post(CALL, host=host).status_code == 200


def test_pages_of_other_origins_are_refused(served: Served) -> None:
    for origin in ("https://evil.example", "http://localhost:1", "null"):
        assert served.post(CALL, origin=origin).status_code == 403
    same = served.url.rstrip("/")
    assert served.post(CALL, origin=same).status_code == 200
    assert served.post(CALL, origin="chrome-extension://abc").status_code == 200


def test_listed_origins_get_cors_headers(served: Served) -> None:
    answer = served.post(CALL, origin="https://wallet.example")
    assert answer.headers["access-control-allow-origin"] == "https://wallet.example"
    assert "access-control-allow-origin" not in served.post(CALL).headers
    with served.client() as client:
        allowed = client.options("/", headers={"origin": "https://wallet.example"})
        refused = client.options("/", headers={"origin": "https://evil.example"})
    assert (allowed.status_code, allowed.headers["access-control-allow-headers"]) == (204, "content-type")
    assert (refused.status_code, refused.headers.get("access-control-allow-origin")) == (403, None)


def test_subscriptions_need_a_websocket(served: Served) -> None:
    answer = served.post(b'{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}').json()
    assert answer["error"] == {"code": -32601, "message": "notifications not supported"}


def test_the_rate_of_one_connection_is_bounded() -> None:
    with Served(Limits(rate=Rate(per_second=0.001, burst=3))) as served, served.client() as client:
        answers = client.post("/", json=[json.loads(CALL)] * 5).json()
        assert [a.get("error", {}).get("code") for a in answers] == [None, None, None, -32005, -32005]
        assert served.is_alive()  # another connection has its own


def test_a_port_that_is_taken_is_a_failure() -> None:
    with Served() as served:
        second = RpcServer(METHODS, Hub(Limits()), port=served.server.port)
        with pytest.raises(Failure, match="cannot listen"):
            asyncio.run(second.serve())
