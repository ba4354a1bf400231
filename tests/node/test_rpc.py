"""The dispatcher without a socket: JSON-RPC 2.0 to the letter, and nothing of the inside in an answer."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manaflow.node.errors import RpcError
from manaflow.node.limits import Limits, MethodClass, MethodRates, Rate, TokenBucket
from manaflow.node.rpc import Caller, Dispatcher, as_one, together
from tests.node.served import METHODS, SECRET
from tests.node.test_limits import Hands


class Notes:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, int | None]] = []
        self.faults: list[BaseException] = []

    def answered(self, method: str, seconds: float, code: int | None, count: int = 1) -> None:
        self.answers += [(method, code)] * count

    def fault(self, method: str, error: BaseException) -> str:
        self.faults.append(error)
        return "f00d"


def ask(body: Any, limits: Limits | None = None, notes: Notes | None = None, bucket: TokenBucket | None = None) -> Any:
    """The decoded answer; None where there is none."""
    limits = limits or Limits()
    clock = Hands()
    dispatcher = Dispatcher(METHODS, limits, MethodRates(limits.method_classes, clock), notes or Notes())
    caller = Caller("127.0.0.1", bucket or TokenBucket(limits.rate, clock))
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = asyncio.run(dispatcher.answer(raw, caller))
    return None if answer is None else json.loads(answer)


def call(method: str, *params: Any, number: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


def error_of(answer: Any) -> Any:
    assert set(answer) == {"jsonrpc", "id", "error"}
    return answer["error"]["code"], answer["error"]["message"]


def test_a_result() -> None:
    assert ask(call("t_add", "0x1", "0x2", number="a")) == {"jsonrpc": "2.0", "id": "a", "result": "0x3"}


@pytest.mark.parametrize("body", [call("t_client"), [call("t_client")] * 2])
def test_a_method_may_ask_who_calls(body: Any) -> None:
    answers = ask(body)
    assert {answer["result"] for answer in (answers if isinstance(answers, list) else [answers])} == {"127.0.0.1"}


def test_params_may_be_absent() -> None:
    assert ask({"jsonrpc": "2.0", "id": None, "method": "eth_chainId"}) == {
        "jsonrpc": "2.0",
        "id": None,
        "result": "0x1",
    }


def test_the_errors_of_json_rpc() -> None:
    assert error_of(ask(b"{"))[0] == -32700
    assert error_of(ask(b"[]")) == (-32600, "invalid request: empty batch")
    assert error_of(ask(b"1"))[0] == -32600
    assert error_of(ask(call("eth_nothing"))) == (-32601, "the method eth_nothing does not exist/is not available")
    assert error_of(ask(call("t_add", "0x1"))) == (-32602, "missing value for required argument 1")
    assert ask(b"{")["id"] is None


def test_errors_of_methods() -> None:
    assert error_of(ask(call("t_refuse"))) == (-32003, "nonce too low")
    assert ask(call("t_revert"))["error"] == {"code": 3, "message": "execution reverted", "data": "0x01"}
    verdict = ask(call("t_judge"))["error"]
    assert (verdict["code"], verdict["message"]) == (-32000, "V2, transaction 3: the cell is dead")
    assert verdict["data"]["rule"] == "V2"


@pytest.mark.parametrize("method", ["t_broken", "t_unreadable"])
def test_what_breaks_inside_stays_inside(method: str) -> None:
    notes = Notes()
    answer = ask(call(method, number=9), notes=notes)
    assert error_of(answer) == (-32603, "internal error, logged as f00d")
    assert answer["id"] == 9
    assert SECRET not in json.dumps(answer)
    assert len(notes.faults) == 1
    assert notes.answers == [(method, -32603)]


def test_notifications_are_run_and_not_answered() -> None:
    notes = Notes()
    for method in ("eth_chainId", "t_refuse", "eth_nothing"):
        assert ask({"jsonrpc": "2.0", "method": method}, notes=notes) is None
    assert notes.answers == [("eth_chainId", None), ("t_refuse", -32003), ("unknown", -32601)]


def test_batches() -> None:
    """The example of the specification, in our methods."""
    answers = ask(
        [
            call("t_add", "0x1", "0x2", number="1"),
            {"jsonrpc": "2.0", "method": "eth_chainId"},
            {"foo": "boo"},
            call("foo.get", number="5"),
            1,
            call("eth_chainId", number="9"),
        ]
    )
    assert [(a["id"], a.get("result"), a.get("error", {}).get("code")) for a in answers] == [
        ("1", "0x3", None),
        (None, None, -32600),
        ("5", None, -32601),
        (None, None, -32600),
        ("9", "0x1", None),
    ]
    assert ask([{"jsonrpc": "2.0", "method": "eth_chainId"}]) is None
    assert ask([{"jsonrpc": "2.0", "method": "eth_chainId"}, call("eth_chainId")])[0]["id"] == 1


def test_answers_are_bounded() -> None:
    limits = Limits(max_response_bytes=1000)
    assert error_of(ask(call("t_large", 1000), limits))[0] == -32005
    assert len(ask(call("t_large", 900), limits)["result"]) == 900
    notes = Notes()
    calls = [call("t_large", 600, number=i) for i in range(4)]
    answers = ask([*calls, {"jsonrpc": "2.0", "method": "eth_chainId"}, 5], limits, notes)
    assert [a.get("error", {}).get("code") for a in answers] == [None, *[-32005] * 4]
    assert [a["id"] for a in answers] == [0, 1, 2, 3, None]
    assert len(notes.answers) == 2  # the others were not even run


def test_calls_end_in_time() -> None:
    limits = Limits(call_timeout=0.05)
    assert error_of(ask(call("t_sleep", 10), limits)) == (-32002, "request timed out")
    answers = ask([call("t_sleep", 10), call("eth_chainId")], limits)
    assert [a["error"]["code"] for a in answers] == [-32002, -32002]


def test_a_bucket_bounds_calls_and_not_bodies() -> None:
    answers = ask([call("eth_chainId")] * 3, bucket=TokenBucket(Rate(0, 2), Hands()))
    assert ["result" in a for a in answers] == [True, True, False]


def test_expensive_methods_have_buckets_of_their_own() -> None:
    kind = MethodClass(frozenset({"t_add"}), everyone=Rate(0, 5), each_client=Rate(0, 1))
    good, bad = call("t_add", "0x1", "0x1"), call("t_add", "x")
    answers = ask([bad, good, good, call("eth_chainId")], Limits(method_classes=(kind,)))
    assert [a.get("error", {}).get("code") for a in answers] == [-32602, None, -32005, None]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": st.integers() | JSON,
        "method": st.sampled_from([m for m in sorted(METHODS) if m not in ("t_sleep", "t_large")]) | JSON,
        "params": st.lists(st.sampled_from(["0x1", "0x" + "11" * 20, "latest", None]), max_size=3) | JSON,
    },
)


@given(REQUESTS | st.lists(REQUESTS | JSON, max_size=4) | JSON)
def test_any_json_gets_the_right_number_of_answers(message: Any) -> None:
    answer = ask(message)
    if not isinstance(message, list) or not message:
        answers = [] if answer is None else [answer]
    else:
        answers = answer or []
        assert answer is None or isinstance(answer, list)
        assert len(answers) <= len(message)
    for one in answers:
        assert one["jsonrpc"] == "2.0"
        assert ("result" in one) != ("error" in one)
        if "error" in one:
            assert isinstance(one["error"]["code"], int)
            assert isinstance(one["error"]["message"], str)


@given(st.binary(max_size=50))
def test_any_bytes_get_an_answer(body: bytes) -> None:
    ask(body)


def test_marked_calls_of_a_batch_run_together_and_others_stay_in_order() -> None:
    running, most, order = 0, 0, []

    @together
    async def slow(name: str) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return name

    async def plain(name: str) -> str:
        assert running == 0, "what is not marked waits for what came before"
        order.append(name)
        return name

    calls = [("slow", str(i)) for i in range(120)] + [("plain", "a"), ("plain", "b"), ("slow", "c")]
    body = [{"jsonrpc": "2.0", "id": i, "method": name, "params": [text]} for i, (name, text) in enumerate(calls)]
    dispatcher = Dispatcher({"slow": slow, "plain": plain}, Limits(), MethodRates((), time.monotonic), Notes())
    answer = asyncio.run(_answered(dispatcher, json.dumps(body).encode()))
    assert [item["result"] for item in json.loads(answer)] == [text for _, text in calls]
    assert most == 120
    assert order == ["a", "b"]


class Doubling:
    """A method that answers many calls as one."""

    def __init__(self) -> None:
        self.taken: list[list[int]] = []

    @as_one("double_many")
    async def double(self, number: int) -> int:
        return (await self.double_many([[number]], 0))[0]

    async def double_many(self, calls: list[list[int]], room: int) -> list[Any]:
        self.taken.append([number for (number,) in calls])
        if any(number < 0 for (number,) in calls):
            raise ZeroDivisionError
        return [RpcError(-32003, "odd") if number % 2 else 2 * number for (number,) in calls]


def test_calls_that_are_answered_as_one_have_their_own_answers() -> None:
    doubling, notes = Doubling(), Notes()
    dispatcher = Dispatcher({"double": doubling.double}, Limits(), MethodRates((), time.monotonic), notes)
    params: list[Any] = [[2], [3], ["x"], [4]]
    body: list[Any] = [call("double", *one, number=i) for i, one in enumerate(params)]
    del body[3]["id"]
    body += [{**call("double", 5, number=True)}, call("none"), call("double", 6, number=6), 1, call("double", -1)]
    answers = json.loads(asyncio.run(_answered(dispatcher, json.dumps(body).encode())))
    assert doubling.taken == [[2, 3, 4], [6], [-1]]
    assert [answer.get("result") for answer in answers] == [4, None, None, None, None, 12, None, None]
    codes = [answer["error"]["code"] if "error" in answer else None for answer in answers]
    assert codes == [None, -32003, -32602, -32600, -32601, None, -32600, -32603]
    assert [answer["id"] for answer in answers] == [0, 1, 2, None, 1, 6, None, 1]
    assert ("double", None) in notes.answers
    assert ("unknown", -32600) in notes.answers
    assert len(notes.answers) == len(body)
    assert [type(fault) for fault in notes.faults] == [ZeroDivisionError]


def test_calls_that_are_answered_as_one_are_held_to_the_same_rates() -> None:
    doubling, clock = Doubling(), Hands()
    kind = MethodClass(frozenset({"double"}), everyone=Rate(0, 9), each_client=Rate(0, 2))
    dispatcher = Dispatcher({"double": doubling.double}, Limits(), MethodRates((kind,), clock), Notes())
    caller = Caller("127.0.0.1", TokenBucket(Rate(0, 4), clock))
    body = json.dumps([call("double", one, number=i) for i, one in enumerate([2, "x", 4, 6, 8, 10])]).encode()
    answers = json.loads(asyncio.run(dispatcher.answer(body, caller)) or b"")
    assert doubling.taken == [[2, 4]]
    assert [answer.get("result") for answer in answers] == [4, None, 8, None, None, None]
    messages = [answer["error"]["message"] for answer in answers if "error" in answer]
    assert messages[1:] == [
        f"limit exceeded: too many calls {what}" for what in ("of double", "on this connection", "on this connection")
    ]


async def _answered(dispatcher: Dispatcher, body: bytes) -> bytes:
    caller = Caller("127.0.0.1", TokenBucket(Rate(1e9, 1e9), time.monotonic))
    answer = await dispatcher.answer(body, caller)
    assert answer is not None
    return answer
