"""What an error answer says, and what a revert means."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from manaflow.node.errors import ERROR_STRING, PANIC, RpcError, execution_reverted, limit_exceeded, revert_reason


def test_data_is_left_out_where_there_is_none() -> None:
    assert RpcError(-32000, "no").as_json() == {"code": -32000, "message": "no"}
    assert RpcError(-32000, "no", "0x").as_json() == {"code": -32000, "message": "no", "data": "0x"}
    assert limit_exceeded("x").code == -32005


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (b"", "execution reverted"),
        (b"\x01\x02", "execution reverted"),
        (ERROR_STRING + encode(["string"], ["not enough"]), "execution reverted: not enough"),
        (ERROR_STRING + encode(["string"], [""]), "execution reverted: "),
        (ERROR_STRING + bytes.fromhex("ff" * 64), "execution reverted"),
        (ERROR_STRING + encode(["bytes"], [b"\xff\xfe"]), "execution reverted"),
        (PANIC + (0x11).to_bytes(32), "execution reverted: arithmetic underflow or overflow"),
        (PANIC + (0x99).to_bytes(32), "execution reverted: unknown panic code: 0x99"),
        (PANIC + b"\x11", "execution reverted"),
        (b"\xde\xad\xbe\xef" + bytes(32), "execution reverted"),
    ],
)
def test_reverts(output: bytes, message: str) -> None:
    error = execution_reverted(output)
    assert (error.code, error.message, error.data) == (3, message, "0x" + output.hex())


@given(st.sampled_from([ERROR_STRING, PANIC, b""]), st.binary(max_size=200))
def test_any_output_has_a_reason_or_none(selector: bytes, rest: bytes) -> None:
    reason = revert_reason(selector + rest)
    assert reason is None or isinstance(reason, str)


def test_a_reason_is_bounded() -> None:
    assert len(execution_reverted(ERROR_STRING + encode(["string"], ["x" * 100_000])).message) < 5000
