"""JSON-RPC over HTTP to a node that may be hostile: every answer is bounded in bytes and time, and read strictly."""

from __future__ import annotations

import itertools
import queue
import time
from threading import Thread
from typing import Any, Final

import httpx

from manaflow.errors import Failure
from manaflow.wallet.strict_json import parse

MAX_ANSWER_BYTES: Final = 1 << 22
"""Of one answer, unless the caller says otherwise."""
MAX_SECONDS: Final = 30.0
"""For one answer, from the first byte sent to the last one read."""
MAX_WORDS: Final = 1_000
"""Letters that a node's error may have before it is cut."""


class NodeRefused(Failure):
    """The node answers with an error. `data`: whatever it says for machines, unchecked."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        self.code, self.message, self.data = code, message, data
        super().__init__(f"the node refuses: {message} ({code})")


class Rpc:
    """A node's URL. One thread."""

    def __init__(self, url: str, client: httpx.Client | None = None, seconds: float = MAX_SECONDS) -> None:
        """client: for tests. Raises Failure for what is no http or https URL."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise Failure(f"the node's URL is none: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise Failure(f"the node's URL is none of http or https: {parsed.scheme!r}, {parsed.host!r}")
        self.url, self._seconds = url, seconds
        self._shown = f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"
        """Without user, password and path, where services have one put one's secret."""
        self._client = client or httpx.Client(timeout=seconds, follow_redirects=False)
        self._ids = itertools.count(1)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def call(self, method: str, *params: Any, limit: int = MAX_ANSWER_BYTES) -> Any:
        """The result, as JSON has it. Raises NodeRefused for an error, Failure for no answer or a bad one."""
        call_id = next(self._ids)
        body = {"jsonrpc": "2.0", "id": call_id, "method": method, "params": list(params)}
        try:
            answer = parse(self._post(body, limit))
        except httpx.HTTPError as error:
            raise Failure(f"no answer from {self._shown}: {error or type(error).__name__}") from None
        except ValueError:
            raise Failure(f"{self._shown} answers {method} with what is no JSON") from None
        if not isinstance(answer, dict) or answer.get("id") != call_id:
            raise Failure(f"{self._shown} answers {method} with what is no JSON-RPC answer to it")
        if answer.get("error") is not None:
            raise _refused(answer["error"])
        if "result" not in answer:
            raise Failure(f"{self._shown} answers {method} with neither a result nor an error")
        return answer["result"]

    def _post(self, body: dict[str, Any], limit: int) -> bytes:
        """In a thread that is left behind when time is up: each byte of an answer, its headers too, may come late."""
        told: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
        deadline = time.monotonic() + self._seconds

        def work() -> None:
            try:
                told.put(self._read(body, limit, deadline))
            except Exception as error:
                told.put(error)

        Thread(target=work, daemon=True).start()
        try:
            answer = told.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            raise self._late(body) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _read(self, body: dict[str, Any], limit: int, deadline: float) -> bytes:
        headers = {"Accept-Encoding": "identity"}  # so that few bytes cannot become many
        with self._client.stream("POST", self.url, json=body, headers=headers) as response:
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise Failure(f"{self._shown} answers in an encoding that it was not asked for")
            parts, size = [], 0
            for part in response.iter_raw():  # as it comes: of a given size, a part would wait until it is full
                size += len(part)
                if size > limit:
                    raise Failure(f"{self._shown} answers {body['method']} with more than {limit} bytes")
                if time.monotonic() > deadline:
                    raise self._late(body)
                parts.append(part)
        return b"".join(parts)

    def _late(self, body: dict[str, Any]) -> Failure:
        return Failure(f"{self._shown} takes longer than {self._seconds:g} s to answer {body['method']}")


def _refused(error: Any) -> NodeRefused:
    if not isinstance(error, dict):
        return NodeRefused(0, "an error without words")
    code, message = error.get("code"), error.get("message")
    return NodeRefused(code if isinstance(code, int) else 0, printable(message), error.get("data"))


def printable(text: Any) -> str:
    """A node's words as one bounded line: it may not write to the terminal what it likes."""
    shown = text[:MAX_WORDS] if isinstance(text, str) else "(no words)"
    return "".join(letter if letter.isprintable() else "?" for letter in shown)


def quantity(value: Any, what: str, bits: int = 64) -> int:
    """A number from a result: 0x and hex digits. Raises Failure."""
    if isinstance(value, str) and value[:2] == "0x" and 0 < len(value) - 2 <= bits // 4:
        digits = value[2:]
        if all(letter in "0123456789abcdefABCDEF" for letter in digits):
            return int(digits, 16)
    raise Failure(f"the node gives no number of at most {bits} bits for {what}")


def data(value: Any, what: str, length: int | None = None) -> bytes:
    """Bytes from a result: 0x and hex digits, `length` bytes if given. Raises Failure."""
    if isinstance(value, str) and value[:2] == "0x" and len(value) % 2 == 0 and value[2:].isalnum() | (value == "0x"):
        try:
            found = bytes.fromhex(value[2:])
        except ValueError:
            found = None
        if found is not None and length in (None, len(found)):
            return found
    wanted = "bytes" if length is None else f"{length} bytes"
    raise Failure(f"the node gives no {wanted} for {what}")


def fields(value: Any, what: str) -> dict[str, Any]:
    """An object from a result. Raises Failure."""
    if not isinstance(value, dict):
        raise Failure(f"the node gives no object for {what}")
    return value
