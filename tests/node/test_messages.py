"""What is read of a body, within which bounds."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manaflow.node.errors import RpcError
from manaflow.node.limits import Limits
from manaflow.node.messages import (
    Call,
    Malformed,
    check_structure,
    read_call,
    read_message,
    write_error,
    write_notification,
)
from tests.conftest import ROOT
from tests.moves.test_bounded import depth_of, values

SMALL = Limits(max_depth=4, max_values=20, max_batch=3)


def code_of(body: bytes, limits: Limits = SMALL) -> int | None:
    try:
        read_message(body, limits)
    except RpcError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", None),
        (b"1", None),
        (b" [1] ", None),
        (b"[]", -32600),
        (b"[1,2,3]", None),
        (b"[1,2,3,4]", -32005),
        (b"", -32700),
        (b"{", -32700),
        (b"{} {}", -32700),
        (b"{'a':1}", -32700),
        (b"[1,]", -32700),
        (b"NaN", -32700),
        (b"01", -32700),
        (b"1e999", -32700),
        (b"1" * 10_000, -32700),
        (b'"\xff"', -32700),
        (b'{"a":"\xed\xa0\x80"}', -32700),  # a surrogate in UTF-8
        (b'"\\ud800"', -32700),
        (b'"\x01"', -32700),
        (b"\xef\xbb\xbf{}", -32700),
        ('{"a":1}'.encode("utf-16"), -32700),
        (b"[[[[1]]]]", None),
        (b"[[[[[1]]]]]", -32700),
        (b'{"a":{"a":{"a":{"a":{}}}}}', -32700),
        (b'["[[[[[[[[", "]]\\"]]{{{"]', None),
        (b'{"a":[' + b"0," * 30 + b"0]}", -32005),
        (b'["' + b"," * 50 + b'"]', None),
        (b'{"a":[' + b"[]," * 9 + b"[]]}", -32005),
    ],
)
def test_bodies(body: bytes, code: int | None) -> None:
    assert code_of(body) == code


@given(values)
def test_depth_is_exact(value: Any) -> None:
    limits = Limits(max_depth=3)
    body = json.dumps(value).encode()
    if depth_of(value) <= 3:
        check_structure(body, limits)
    else:
        with pytest.raises(RpcError):
            check_structure(body, limits)


@pytest.mark.parametrize("unit", [b'\\"', b'"', b"\\", b'"\\', b"[", b"[]", b'["]', b'{"a":', b"[" * 50 + b"]" * 50])
def test_time_is_linear(unit: bytes) -> None:
    """Ten million bytes in a moment; with anything quadratic this would take hours."""
    assert code_of(unit * (10_000_000 // len(unit)), Limits()) is not None


def test_brackets_do_not_end_the_process_under_a_lifted_recursion_limit() -> None:
    """py-evm sets it to 100,000: then decoders overflow the stack of C."""
    program = (
        "import sys; sys.setrecursionlimit(10**6)\n"
        "from manaflow.node.messages import read_message; from manaflow.node.limits import Limits\n"
        "from manaflow.node.errors import RpcError\n"
        "for unit in (b'[', b'{\"a\":', b'[]['):\n"
        "    try: read_message(unit * 1_000_000, Limits())\n"
        "    except RpcError as error: print(error.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, set(done.stdout.split()) <= {"-32700", "-32005"}) == (0, True)
    assert len(done.stdout.split()) == 3


@pytest.mark.parametrize(
    ("item", "given"),
    [
        (1, None),
        ("x", None),
        (None, None),
        ([], None),
        ({}, None),
        ({"id": 1}, 1),
        ({"jsonrpc": "2.0", "id": "a"}, "a"),
        ({"jsonrpc": "2.0", "id": 1, "method": 1}, 1),
        ({"jsonrpc": "2.0", "id": 1, "method": None}, 1),
        ({"jsonrpc": "1.0", "id": 1, "method": "m"}, 1),
        ({"jsonrpc": 2.0, "id": 1, "method": "m"}, 1),
        ({"id": 1, "method": "m"}, 1),
        ({"jsonrpc": "2.0", "id": True, "method": "m"}, None),
        ({"jsonrpc": "2.0", "id": [], "method": "m"}, None),
        ({"jsonrpc": "2.0", "id": {}, "method": "m"}, None),
    ],
)
def test_what_is_no_request(item: Any, given: Any) -> None:
    with pytest.raises(Malformed) as broken:
        read_call(item)
    assert broken.value.id == given


@pytest.mark.parametrize("given", [0, -1, 1.5, "", "x", None, 2**63, 2**64 - 1])
def test_ids(given: Any) -> None:
    call = read_call({"jsonrpc": "2.0", "id": given, "method": "m", "params": [1], "more": 1})
    assert (call.id, call.name, call.params, call.wants_answer) == (given, "m", [1], True)
    assert json.loads(write_error(given, RpcError(1, "x")))["id"] == given


def test_a_call_without_id_is_a_notification() -> None:
    assert not read_call({"jsonrpc": "2.0", "method": "m"}).wants_answer


MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(["jsonrpc", "id", "method", "params", "more", "m\\u0065thod"]),
        st.sampled_from(
            ['"2.0"', '"2\\u002e0"', '"m"', "1", "-1", "1.0", "1e2", "18446744073709551616", "1e400", "null", "true",
             "[]", '{"a":[1.5,null]}', '"\xff"', '"\\ud800"'],
        ),
    ),
    max_size=5,
)  # fmt: skip
WELL = [("jsonrpc", '"2.0"'), ("method", '"m"')]


@given(st.lists(MEMBERS | MEMBERS.map(lambda more: WELL + more), min_size=1, max_size=3), st.booleans())
def test_a_request_is_read_alike_however_it_is_decoded(items: list[list[tuple[str, str]]], is_batch: bool) -> None:
    objects = ["{" + ",".join(f'"{name}":{value}' for name, value in item) + "}" for item in items]
    body = ("[" + ",".join(objects) + "]" if is_batch else objects[0]).encode("latin-1")
    try:
        plain = msgspec.json.decode(body)
    except (ValueError, msgspec.DecodeError):
        assert code_of(body, Limits()) == -32700
        return
    found = read_message(body, Limits())
    pairs = zip(found, plain, strict=True) if is_batch else [(found, plain)]
    for one, other in pairs:
        assert repr(read(one)) == repr(read(other))  # with the types of numbers


def read(item: Any) -> Any:
    try:
        call = read_call(item)
    except Malformed as broken:
        return broken.id, broken.what, broken.wants_answer
    return call.name, call.params, call.id, call.wants_answer


def test_requests_alone_are_decoded_as_calls() -> None:
    good = b'{"jsonrpc":"2.0","id":1,"method":"m","params":[]}'
    assert isinstance(read_message(good, SMALL), Call)
    assert [type(one) for one in read_message(b"[%b,%b]" % (good, good), SMALL)] == [Call, Call]
    assert [type(one) for one in read_message(b"[%b,1]" % good, SMALL)] == [dict, int]


def test_the_last_of_two_equal_keys_counts() -> None:
    """As in geth: one parser reads the body, so nobody can be told two things."""
    assert read_message(b'{"method":"a","method":"b"}', SMALL) == {"method": "b"}


def test_a_notification_to_a_subscriber() -> None:
    told = json.loads(write_notification("0x1", {"a": 1}))
    assert told == {
        "jsonrpc": "2.0",
        "method": "eth_subscription",
        "params": {"subscription": "0x1", "result": {"a": 1}},
    }
