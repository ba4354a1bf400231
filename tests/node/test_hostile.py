"""Clients that mean harm: slow ones, greedy ones, and those that send what nobody should."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from unittest import mock

import pytest
from websockets.server import ServerProtocol
from websockets.sync.client import connect

from manaflow.node.limits import Limits, Rate
from manaflow.node.metrics import Metrics
from manaflow.node.socket_protocol import PIECE
from manaflow.node.subscriptions import Hub
from manaflow.node.websocket import Sockets
from tests.node.served import UPGRADE, Served, frame, read_all, request, upgraded

SUBSCRIBE = b'{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}'
CALL = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
HEAD = {"hash": "0x" + "11" * 32, "extra": "x" * 10_000}


def dropped(served: Served, why: str) -> float:
    return served.metrics.registry.get_sample_value("manaflow_clients_dropped_total", {"why": why}) or 0.0


def open_sockets(served: Served) -> float:
    return served.metrics.registry.get_sample_value("manaflow_connections") or 0.0


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def sends_until_cut(raw: socket.socket, data: bytes, times: int, pause: float = 0.0) -> bool:
    """Send the same again and again; True when the server puts an end to it."""
    try:
        for _ in range(times):
            raw.sendall(data)
            time.sleep(pause)
    except OSError:
        return True
    return False


def test_headers_that_never_end_are_cut_off_in_time() -> None:
    """Slowloris: each byte in time, the whole never."""
    with Served(Limits(header_timeout=0.5)) as served:
        raw = served.socket()
        raw.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n")
        assert sends_until_cut(raw, b"X: y\r\n", times=200, pause=0.05)
        assert dropped(served, "header_timeout") == 1


@pytest.mark.parametrize("start", [b"", b"\r\n", b"POST"])
def test_silence_after_connecting_is_cut_off(start: bytes) -> None:
    with Served(Limits(header_timeout=0.3)) as served:
        raw = served.socket()
        raw.sendall(start)
        assert read_all(raw) == b""


def test_blank_lines_between_requests_do_not_keep_a_connection() -> None:
    with Served(Limits(header_timeout=0.3, keep_alive_timeout=60)) as served:
        raw = served.socket()
        raw.sendall(request(b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'))
        assert b"0x1" in raw.recv(4096)
        raw.sendall(b"\r\n")
        assert read_all(raw) == b""


def test_a_body_that_never_ends_is_cut_off() -> None:
    with Served(Limits(body_timeout=0.5)) as served:
        raw = served.socket()
        raw.sendall(request(b"")[:-4].replace(b"Content-Length: 0", b"Content-Length: 1000") + b"\r\n\r\n{")
        assert read_all(raw) == b""
        assert dropped(served, "body_timeout") == 1


def test_a_slow_but_honest_client_is_served() -> None:
    with Served(Limits(header_timeout=5, body_timeout=5)) as served:
        raw = served.socket()
        for byte in request(b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}', "Connection: close"):
            raw.sendall(bytes([byte]))
        assert b'"result":"0x1"' in read_all(raw)


def test_an_idle_connection_is_closed() -> None:
    with Served(Limits(keep_alive_timeout=1)) as served:
        raw = served.socket()
        raw.sendall(request(b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'))
        assert b"0x1" in read_all(raw)


@pytest.mark.parametrize("endless", [b"POST /" + b"a" * 200_000, b"POST / HTTP/1.1\r\nX: " + b"a" * 200_000])
def test_headers_without_end_are_refused(endless: bytes) -> None:
    with Served() as served:
        raw = served.socket()
        assert sends_until_cut(raw, endless, times=1) or sends_until_cut(raw, b"a" * 10_000, times=100, pause=0.01)
        assert served.is_alive()
        until(lambda: open_sockets(served) == 0)


def test_trailers_without_end_are_cut_off() -> None:
    """Headers after a chunked body are kept by the parser: they count as its body."""
    with Served(Limits(max_body_bytes=10_000)) as served:
        raw = served.socket()
        head = request(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        raw.sendall(head + b"1\r\n{\r\n0\r\n")
        assert sends_until_cut(raw, b"X-Trailer: %b\r\n" % (b"y" * 1000), times=1000, pause=0.001)
        assert served.is_alive()


def test_connections_are_bounded_and_come_back() -> None:
    with Served(Limits(max_connections=3)) as served:
        crowd = [served.socket() for _ in range(3)]
        until(lambda: open_sockets(served) == 3)
        assert read_all(served.socket()).startswith(b"HTTP/1.1 503")
        for raw in crowd:
            raw.close()
        until(lambda: open_sockets(served) == 0)
        assert served.is_alive()


def test_one_address_cannot_take_all_connections() -> None:
    with Served(Limits(max_connections=3, max_connections_each=2)) as served:
        crowd = [upgraded(served), served.socket()]
        assert read_all(served.socket()).startswith(b"HTTP/1.1 503")
        other = socket.create_connection(("127.0.0.1", served.server.port), 20, source_address=("127.0.0.2", 0))
        other.sendall(request(CALL))
        assert b'"result":"0x1"' in other.recv(4096)
        for raw in crowd:
            raw.close()
        until(lambda: open_sockets(served) == 1)
        assert served.is_alive()
        other.close()


def test_websockets_count_as_connections() -> None:
    with Served(Limits(max_connections=2)) as served:
        crowd = [upgraded(served) for _ in range(2)]
        assert read_all(served.socket()).startswith(b"HTTP/1.1 503")
        crowd.pop().close()
        until(lambda: open_sockets(served) == 1)
        assert served.is_alive()
        crowd.pop().close()  # it would not answer the server's goodbye


def test_a_slow_reader_is_cut_off_and_others_hear_everything() -> None:
    with Served(Limits(max_queued_bytes=1 << 20)) as served, connect(served.ws_url) as healthy:
        healthy.send(SUBSCRIBE)
        healthy.recv(timeout=10)
        slow = upgraded(served, receive_buffer=4096)
        slow.sendall(frame(SUBSCRIBE))
        until(lambda: served.run(served.hub.count) == 2)
        for number in range(1000):
            served.publish("newHeads", {**HEAD, "number": number})
            assert json.loads(healthy.recv(timeout=10))["params"]["result"]["number"] == number
        assert dropped(served, "slow_reader") == 1
        assert served.run(served.hub.count) == 1
        until(lambda: open_sockets(served) == 1)


def test_all_slow_readers_together_are_bounded_and_the_healthy_stay() -> None:
    """The common memory runs out long before any single queue is full: the slowest go first."""
    limits = Limits(max_queued_bytes=64 << 20, max_buffered_bytes=2 << 20)
    with Served(limits) as served, connect(served.ws_url) as healthy:
        healthy.send(SUBSCRIBE)
        healthy.recv(timeout=10)
        slow = [upgraded(served, receive_buffer=4096) for _ in range(5)]
        for raw in slow:
            raw.sendall(frame(SUBSCRIBE))
        until(lambda: served.run(served.hub.count) == 6)
        for number in range(600):
            served.publish("newHeads", {**HEAD, "number": number})
            assert json.loads(healthy.recv(timeout=10))["params"]["result"]["number"] == number
        assert dropped(served, "slow_reader") >= 3


def test_a_reader_that_stops_is_cut_off_after_the_deadline() -> None:
    """Its queue has room left; its socket has not moved."""
    with Served(Limits(write_timeout=0.5)) as served:
        slow = upgraded(served, receive_buffer=4096)
        slow.sendall(frame(b'{"jsonrpc":"2.0","id":1,"method":"t_large","params":[10000000]}'))
        until(lambda: dropped(served, "write_timeout") == 1)
        until(lambda: open_sockets(served) == 0)


@pytest.mark.parametrize("headers", [(), ("Connection: close",)])
def test_an_answer_that_nobody_reads_is_given_up(headers: tuple[str, ...]) -> None:
    with Served(Limits(write_timeout=0.5)) as served:
        raw = served.socket(receive_buffer=4096)
        raw.sendall(request(b'{"jsonrpc":"2.0","id":1,"method":"t_large","params":[10000000]}', *headers))
        until(lambda: dropped(served, "write_timeout") == 1)
        until(lambda: open_sockets(served) == 0)


def test_pings_without_reading_are_cut_off() -> None:
    with Served(Limits(frame_rate=Rate(10**6, 10**6))) as served:
        raw = upgraded(served, receive_buffer=4096)
        assert sends_until_cut(raw, frame(b"p" * 125, opcode=9) * 500, times=1000)
        assert dropped(served, "slow_reader") == 1


@pytest.mark.parametrize(
    "counted",
    [frame(b"", opcode=10), frame(b"p" * 125, opcode=9), frame(b"{}"), frame(b" " * 31, opcode=2)],
    ids=["pong", "ping", "tiny", "just tiny"],
)
def test_frames_that_are_no_calls_are_counted(counted: bytes) -> None:
    with Served(Limits(frame_rate=Rate(0.001, 3))) as served:
        raw = upgraded(served)  # which is one
        for _ in range(20):
            raw.sendall(frame(CALL))
            assert b'"result":"0x1"' in raw.recv(4096)
        raw.sendall(counted * 2)
        raw.sendall(frame(CALL))
        until(lambda: b'"result":"0x1"' in raw.recv(4096))
        raw.sendall(counted)
        read_all(raw)
        assert dropped(served, "frames") == 1


def test_parts_of_messages_are_counted() -> None:
    with Served(Limits(frame_rate=Rate(0.001, 3))) as served:
        raw = upgraded(served)
        raw.sendall(fragment(CALL, opcode=1) + fragment(b" ", is_last=True))
        assert b'"result":"0x1"' in raw.recv(4096)
        raw.sendall(fragment(CALL, opcode=1))
        read_all(raw)
        assert dropped(served, "frames") == 1


def test_tiny_frames_are_cut_off_before_all_are_parsed() -> None:
    parse, sizes = ServerProtocol.receive_data, list[int]()

    def counting(self: ServerProtocol, data: bytes) -> None:
        sizes.append(len(data))
        parse(self, data)

    with Served() as served, mock.patch.object(ServerProtocol, "receive_data", counting):
        raw = upgraded(served)
        assert sends_until_cut(raw, frame(b"", opcode=10) * 10_000, times=100)
        assert dropped(served, "frames") == 1
        assert max(sizes) <= PIECE
        assert served.is_alive()


def fragment(payload: bytes, *, opcode: int = 0, is_last: bool = False) -> bytes:
    head, *rest = frame(payload, opcode)
    return bytes([head if is_last else head & 0x7F, *rest])


@pytest.mark.parametrize("payload", [b"", b" "])
def test_a_message_of_too_many_fragments_is_cut_off(payload: bytes) -> None:
    """Empty ones add nothing to the message's size, and small ones forty times as much to the memory it takes."""
    with Served() as served:
        raw = upgraded(served)
        raw.sendall(fragment(b"[", opcode=1))
        assert sends_until_cut(raw, fragment(payload) * 1000, times=1000)
        assert dropped(served, "fragments") == 1
        assert served.is_alive()


def test_a_message_may_come_in_parts_but_not_for_ever() -> None:
    with Served(Limits(body_timeout=0.5)) as served:
        raw = upgraded(served)
        body = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
        for _ in range(2):
            raw.sendall(fragment(body[:1], opcode=1) + b"".join(fragment(body[i : i + 1]) for i in range(1, len(body))))
            raw.sendall(fragment(b"", is_last=True))
            assert b'"result":"0x1"' in raw.recv(4096)
        time.sleep(0.7)  # nothing has begun: no hurry
        raw.sendall(frame(body))
        assert b'"result":"0x1"' in raw.recv(4096)
        raw.sendall(fragment(body, opcode=1))
        read_all(raw)
        assert dropped(served, "body_timeout") == 1


def test_a_socket_that_answers_no_ping_goes() -> None:
    with Served(Limits(ping_interval=0.2, ping_timeout=0.2, write_timeout=0.2)) as served:
        raw = upgraded(served)
        assert read_all(raw)  # pings and a goodbye
        until(lambda: open_sockets(served) == 0)


@pytest.mark.parametrize("shape", [b"[", b'{"a":', b'[{"a":'])
def test_a_million_brackets(shape: bytes) -> None:
    with Served() as served:
        answer = served.post(shape * (1_000_000 // len(shape)))
        assert answer.json()["error"]["code"] in (-32700, -32005)
        assert served.is_alive()


def test_a_giant_batch() -> None:
    with Served() as served:
        call = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
        assert len(served.post(b"[" + b",".join([call] * 1000) + b"]").json()) == 1000
        assert served.post(b"[" + b",".join([call] * 1001) + b"]").json()["error"]["code"] == -32005
        assert served.post(b"[" + b",".join([b"{}"] * 3_000_000) + b"]").json()["error"]["code"] == -32005
        assert served.is_alive()


def test_answers_of_a_batch_are_bounded_together() -> None:
    with Served(Limits(max_response_bytes=10_000)) as served:
        calls = [{"jsonrpc": "2.0", "id": i, "method": "t_large", "params": [4000]} for i in range(5)]
        answer = served.post(json.dumps(calls).encode())
        assert ["result" in one for one in answer.json()] == [True, True, False, False, False]
        assert answer.json()[4]["error"]["code"] == -32005


def test_small_requests_pass_when_the_common_memory_is_taken() -> None:
    with Served(Limits(max_buffered_bytes=1 << 20)) as served:
        half = request(b"{".ljust(5 << 20))[: -1 << 20]
        greedy = served.socket()
        assert sends_until_cut(greedy, half, times=1) or read_all(greedy).startswith(b"HTTP/1.1 503")
        holding = served.socket()
        holding.sendall(request(b"{".ljust(1 << 20))[:-1])  # all but a little of the memory, and it stays
        until(lambda: served.post(b"{".ljust(1 << 19)).status_code == 503)
        assert served.is_alive()
        holding.sendall(b" ")
        assert b"-32700" in holding.recv(4096)
        assert served.post(b"{".ljust(1 << 19)).status_code == 200  # it has been given back


TOO_BIG = b"\x03\xf1"  # 1009


def held(served: Served) -> int:
    return served.server._gate.sockets_budget.used


@pytest.mark.parametrize("is_one_frame", [True, False])
def test_messages_being_read_are_in_the_common_memory(is_one_frame: bool) -> None:
    with Served(Limits(max_buffered_bytes=1 << 20)) as served:
        large, at = CALL.ljust(1 << 20), -1000
        holding, late = upgraded(served), upgraded(served)
        fragments = fragment(large[:at], opcode=1), fragment(large[at:], is_last=True)
        sent = (frame(large)[:at], frame(large)[at:]) if is_one_frame else fragments
        holding.sendall(sent[0])
        until(lambda: held(served) > 900_000)
        late.sendall(fragment(b" " * 600_000, opcode=1))
        assert TOO_BIG in read_all(late)
        assert dropped(served, "memory") == 1
        with connect(served.ws_url) as other:
            other.send(CALL.decode())
            assert json.loads(other.recv(timeout=10))["result"] == "0x1"  # small ones pass
        holding.sendall(sent[1])
        assert b'"result":"0x1"' in holding.recv(4096)
        until(lambda: held(served) == 0)
        holding.close()


def test_messages_being_answered_are_in_the_common_memory() -> None:
    with Served(Limits(max_buffered_bytes=1 << 20)) as served:
        asking, late = upgraded(served), upgraded(served)
        asking.sendall(frame(b'{"jsonrpc":"2.0","id":1,"method":"t_sleep","params":[1]}'.ljust(1 << 20)))
        until(lambda: held(served) > 900_000)
        late.sendall(fragment(b" " * 600_000, opcode=1))
        assert TOO_BIG in read_all(late)
        assert b'"result"' in asking.recv(4096)
        until(lambda: held(served) == 0)
        asking.sendall(frame(b'{"jsonrpc":"2.0","id":1,"method":"t_sleep","params":[30]}'.ljust(1 << 20)))
        until(lambda: held(served) > 900_000)
        asking.close()
        until(lambda: held(served) == 0)


def test_who_holds_the_memory_by_sending_makes_room_for_answers() -> None:
    with Served(Limits(max_buffered_bytes=1 << 20)) as served:
        holding = upgraded(served)
        holding.sendall(frame(b" " * (1 << 20))[:-1])
        until(lambda: held(served) > 900_000)
        with connect(served.ws_url) as other:
            other.send('{"jsonrpc":"2.0","id":1,"method":"t_large","params":[500000]}')
            assert len(json.loads(other.recv(timeout=10))["result"]) == 500_000
        assert read_all(holding) == b""
        until(lambda: held(served) == 0)


def test_a_websocket_client_that_vanishes_leaves_nothing() -> None:
    with Served() as served:
        for _ in range(20):
            raw = served.socket()
            raw.sendall(UPGRADE)
            raw.recv(4096)
            raw.sendall(frame(SUBSCRIBE) + frame(b'{"jsonrpc":"2.0","id":1,"method":"t_sleep","params":[30]}'))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            raw.close()
        until(lambda: open_sockets(served) == 0 and served.run(served.hub.count) == 0)


def test_a_goodbye_behind_broken_text_is_cut_off() -> None:
    with Served() as served:
        raw = upgraded(served)
        raw.sendall(frame(b"\xff") + frame(b"\x03\xe8", opcode=8))
        read_all(raw)
        until(lambda: dropped(served, "malformed") == 1 and open_sockets(served) == 0)


def test_room_is_made_by_whoever_holds_the_most() -> None:
    class Reader:
        def __init__(self, held: int) -> None:
            self.held_bytes = held

        def drop(self) -> None:
            sockets.budget.give(self.held_bytes)
            self.held_bytes = 0

    limits = Limits(max_buffered_bytes=100)
    sockets = Sockets(None, Hub(limits), limits, Metrics())  # type: ignore[arg-type]
    readers = [Reader(10), Reader(60), Reader(30)]
    sockets.sessions.update(readers)  # type: ignore[arg-type]
    assert sockets.budget.take(100)
    assert sockets.make_room(5)
    assert [reader.held_bytes for reader in readers] == [10, 0, 30]
    assert not sockets.make_room(1000)  # more than there ever is
