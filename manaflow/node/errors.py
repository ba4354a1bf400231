"""Errors that a JSON-RPC answer carries. Codes: JSON-RPC 2.0 section 5.1, EIP-1474, and geth's 3 for a revert.

Methods raise RpcError; whatever else they raise is answered with -32603 and told only to the log.
"""

from __future__ import annotations

from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000
RESOURCE_NOT_FOUND = -32001
RESOURCE_UNAVAILABLE = -32002
TRANSACTION_REJECTED = -32003
METHOD_NOT_SUPPORTED = -32004
LIMIT_EXCEEDED = -32005
EXECUTION_REVERTED = 3

ERROR_STRING = bytes.fromhex("08c379a0")
"""Selector of Solidity's Error(string)."""
PANIC = bytes.fromhex("4e487b71")
"""Selector of Solidity's Panic(uint256)."""
PANIC_REASONS = {
    0x00: "generic panic",
    0x01: "assert(false)",
    0x11: "arithmetic underflow or overflow",
    0x12: "division or modulo by zero",
    0x21: "enum overflow",
    0x22: "invalid encoded storage byte array accessed",
    0x31: "out-of-bounds array access; popping on an empty array",
    0x32: "out-of-bounds access of an array or bytesN",
    0x41: "out of memory",
    0x51: "uninitialized function",
}
"""Solidity's documented panic codes, in geth's words."""
MAX_REASON_CHARACTERS = 4096


class RpcError(Exception):
    """An error answer: `code` (see above), `message` for people, `data` JSON-ready or None (then it is left out)."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        self.code, self.message, self.data = code, message, data
        super().__init__(code, message)

    def as_json(self) -> dict[str, Any]:
        """The `error` member of an answer."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return body


def invalid_params(message: str) -> RpcError:
    """-32602."""
    return RpcError(INVALID_PARAMS, message)


def limit_exceeded(message: str) -> RpcError:
    """-32005: a bound of this node, not of the protocol; the same request may pass later or elsewhere."""
    return RpcError(LIMIT_EXCEEDED, f"limit exceeded: {message}")


def revert_reason(output: bytes) -> str | None:
    """What Error(string) or Panic(uint256) says in a revert's output; None for anything else."""
    selector, arguments = output[:4], output[4:]
    try:
        if selector == ERROR_STRING:
            (reason,) = decode(["string"], arguments)
            return str(reason)[:MAX_REASON_CHARACTERS]
        if selector == PANIC:
            (code,) = decode(["uint256"], arguments)
            return PANIC_REASONS.get(code, f"unknown panic code: {code:#x}")
    except (DecodingError, UnicodeDecodeError, OverflowError):
        return None
    return None


def execution_reverted(output: bytes) -> RpcError:
    """Code 3 with the revert's output as `data`, and its reason in the message where it has one."""
    reason = revert_reason(output)
    message = "execution reverted" if reason is None else f"execution reverted: {reason}"
    return RpcError(EXECUTION_REVERTED, message, "0x" + output.hex())
