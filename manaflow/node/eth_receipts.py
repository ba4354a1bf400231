"""A sealed block's receipts as Ethereum's JSON-RPC shows them. Pure; made away from the chain's thread."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import Final

from manaflow.coordinator.receipts import item_bloom
from manaflow.evm.envelopes import decode_envelopes, effective_prices
from manaflow.moves.columns import U8
from manaflow.moves.envelopes import created_address
from manaflow.moves.rlp_reader import RlpError
from manaflow.node.chain import SealedBlock
from manaflow.node.encoding import data, quantity
from manaflow.node.eth_forms import Form, LogFields, log_form, place_form

NO_BLOOM: Final = data(bytes(256))
ENVELOPE: Final = 1 << 10
"""Bytes of logs that are read while one sender is recovered, about."""
ADDRESS: Final = 0x94
TOPIC: Final = b"\xa0"
"""What stands before 20 and before 32 bytes in RLP."""


def logs_of(logs_rlp: bytes) -> list[LogFields]:
    """The logs of a receipt, read at the places where a log has its fields. Raises RlpError for what is no such list.

    Most of a receipt's work: a reader that asks of each item what it is takes ten times as long.
    """
    try:
        at, end = _payload(logs_rlp, 0, 0xC0)
        logs = []
        while at < end:
            log, at = _log(logs_rlp, at)
            logs.append(log)
    except IndexError:
        raise RlpError("logs: cut off") from None
    if not at == end == len(logs_rlp):
        raise RlpError("logs: a length is wrong")
    return logs


def bloom_of_logs(logs: list[LogFields]) -> int:
    """Their 2048-bit bloom, as an integer."""
    bloom = 0
    for address, topics, _ in logs:
        bloom |= item_bloom(address)
        for topic in topics:
            bloom |= item_bloom(topic)
    return bloom


def _log(rlp: bytes, at: int) -> tuple[LogFields, int]:
    """The log that begins at `at`, and where it ends."""
    address_at, stop = _payload(rlp, at, 0xC0)
    topics_at, data_at = _payload(rlp, address_at + 21, 0xC0)
    payload_at, payload_stop = _payload(rlp, data_at, 0x80) if rlp[data_at] >= 0x80 else (data_at, data_at + 1)
    if rlp[address_at] != ADDRESS or rlp[topics_at:data_at:33].strip(TOPIC):
        raise RlpError("log: an address or a topic has another length")
    if (data_at - topics_at) % 33 or payload_stop != stop:
        raise RlpError("log: a length is wrong")
    payload = rlp[payload_at:stop]
    if payload_at > data_at and len(payload) == 1 and payload < b"\x80":
        raise RlpError("log: a single byte with a prefix")
    topics = [rlp[at + 1 : at + 33] for at in range(topics_at, data_at, 33)]
    return (rlp[address_at + 1 : address_at + 21], topics, payload), stop


def _payload(rlp: bytes, at: int, base: int) -> tuple[int, int]:
    """Where the payload of a list (base 0xC0) or of a string with a prefix (0x80) begins and ends."""
    length = rlp[at] - base
    if 0 <= length < 56:
        return at + 1, at + 1 + length
    if not 56 <= length < 64:
        raise RlpError("logs: a list where bytes belong, or bytes where a list does")
    start = at + length - 54
    size = rlp[at + 1] if length == 56 else int.from_bytes(rlp[at + 1 : start], "big")
    if size < 56 or rlp[at + 1] == 0:
        raise RlpError("logs: a length that fits a shorter form")
    return start, start + size


class Receipts:
    """Of one sealed block, made by columns. Nothing is worked out later, so threads may share it."""

    def __init__(self, sealed: SealedBlock) -> None:
        """Raises RlpError for logs that are none."""
        block, signed = sealed.block, slice(sealed.first_signed, sealed.first_signed + len(sealed.receipts))
        columns = decode_envelopes(block.envelopes)
        self._receipts, self._place = sealed.receipts, place_form(block.header, block.hash)
        self._txids, self._senders, self._receivers = map(
            _hexed, (block.leaves.txid[signed], columns.sender, columns.to)
        )
        self._is_create: list[bool] = columns.is_create.astype(bool).tolist()
        self._nonces: list[int] = columns.nonce.tolist()
        self._gas_used: list[int] = block.leaves.gas_used[signed].tolist()
        self._prices = effective_prices(columns, block.header.base_fee)
        self._logs = [logs_of(receipt.logs_rlp) for receipt in sealed.receipts]
        self._first_logs = list(accumulate(map(len, self._logs), initial=0))

    def __len__(self) -> int:
        return len(self._receipts)

    def forms(self) -> list[Form]:
        """All of them."""
        return [self.form(i) for i in range(len(self))]

    def form(self, index: int) -> Form:
        """One of them. IndexError."""
        receipt, logs, is_create = self._receipts[index], self._logs[index], self._is_create[index]
        sender, place = self._senders[index], self._place
        own: Form = {"transactionHash": self._txids[index], "transactionIndex": quantity(index)}
        first, where = self._first_logs[index], {**place, **own} if logs else {}
        return {
            "type": quantity(receipt.type),
            "status": quantity(receipt.status),
            **own,
            "blockHash": place["blockHash"],
            "blockNumber": place["blockNumber"],
            "from": sender,
            "to": None if is_create else self._receivers[index],
            "contractAddress": _created(sender, self._nonces[index]) if is_create else None,
            "cumulativeGasUsed": quantity(receipt.cumulative_gas),
            "gasUsed": quantity(self._gas_used[index]),
            "effectiveGasPrice": quantity(self._prices[index]),
            "logs": [log_form(log, where, first + i) for i, log in enumerate(logs)],
            "logsBloom": _bloom(logs) if logs else NO_BLOOM,
        }


@lru_cache(maxsize=8)
def receipts_of(sealed: SealedBlock) -> Receipts:
    """Receipts of a block are asked for one by one: what making them has worked out is kept."""
    return Receipts(sealed)


def weight_of(sealed: SealedBlock) -> int:
    """What there is to do before any receipt of a block is there, about, in bytes of logs to read."""
    return ENVELOPE * len(sealed.receipts) + sum(len(receipt.logs_rlp) for receipt in sealed.receipts)


def _hexed(rows: U8) -> list[str]:
    """uint8[n, width] as `data` shows each row."""
    digits, width = rows.tobytes().hex(), 2 * rows.shape[1]
    return ["0x" + digits[at : at + width] for at in range(0, len(digits), width)]


def _created(sender: str, nonce: int) -> str:
    return data(created_address(bytes.fromhex(sender[2:]), nonce))


def _bloom(logs: list[LogFields]) -> str:
    return data(bloom_of_logs(logs).to_bytes(256, "big"))
