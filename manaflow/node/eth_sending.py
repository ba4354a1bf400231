"""Sending signed transactions, and why one is refused in the words of geth's pool, which tools look for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from manaflow.coordinator.messages import Accepted, Reason, Refused
from manaflow.errors import Failure, StorageFailure, Verdict
from manaflow.evm.validity import floor_gas, intrinsic_gas
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.transactions import DeclaredTransaction, EthereumTransaction
from manaflow.node.chain import Chain, ChainThread
from manaflow.node.encoding import Data, data
from manaflow.node.errors import SERVER_ERROR, RpcError
from manaflow.node.parameters import Method
from manaflow.node.rpc import as_one
from manaflow.rules.config import ChainConfig

WORDS: Final = {
    Reason.KNOWN: "already known",
    Reason.NONCE_USED: "nonce too low",
    Reason.NONCE_FAR: "nonce too high",
    Reason.BALANCE: "insufficient funds for gas * price + value",
    Reason.SENDER_FULL: "account limit exceeded",
    Reason.EXPIRED: "transaction expired",
    Reason.FEES: "max priority fee per gas higher than max fee per gas",
    Reason.TOO_LARGE: "oversized data",
}
"""What geth says where one reason has one wording."""


class SendingMethods:
    """eth_sendRawTransaction."""

    def __init__(self, thread: ChainThread) -> None:
        self._thread = thread

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {"eth_sendRawTransaction": self.send_raw}

    @as_one("send_many")
    async def send_raw(self, envelope: Data) -> str:
        """eth_sendRawTransaction: the txid of a transaction that the pool has, on disk."""
        return data(await send(self._thread, bytes(envelope)))

    async def send_many(self, calls: Sequence[Sequence[Data]], room: int) -> list[str | RpcError]:
        """eth_sendRawTransaction of each; see rpc.Many."""
        outcomes = await send_all(self._thread, [bytes(envelope) for (envelope,) in calls])
        return [data(outcome) if isinstance(outcome, bytes) else outcome for outcome in outcomes]


async def send(thread: ChainThread, envelope: bytes) -> bytes:
    """Submit an envelope; its txid.

    Raises RpcError -32000: refused, with geth's words and `data` for machines; or this node takes no transactions.
    """
    (outcome,) = await send_all(thread, [envelope])
    if isinstance(outcome, RpcError):
        raise outcome
    return outcome


async def send_all(thread: ChainThread, envelopes: Sequence[bytes]) -> list[bytes | RpcError]:
    """Submit envelopes; of each its txid, or why it is refused. Raises RpcError where `send` does for all of them."""
    results = await _submitted(thread, envelopes)
    if all(isinstance(result, Accepted) for result in results):
        return [result.txid for result in results]
    config = await thread.call(_config)
    return [
        result.txid if isinstance(result, Accepted) else _refusal(result, envelope, config)
        for result, envelope in zip(results, envelopes, strict=True)
    ]


def _refusal(refused: Refused, envelope: bytes, config: ChainConfig) -> RpcError:
    told = {"reason": refused.reason.value, "detail": refused.detail, "hash": data(refused.txid)}
    return RpcError(SERVER_ERROR, refusal_words(refused, envelope, config), told)


async def _submitted(thread: ChainThread, envelopes: Sequence[bytes]) -> list[Accepted | Refused]:
    try:
        return await thread.submit_all(envelopes)
    except StorageFailure:
        raise  # the operator's business, not a stranger's
    except Failure as failure:
        raise RpcError(SERVER_ERROR, str(failure)) from None


def _config(chain: Chain) -> ChainConfig:
    return chain.config


def refusal_words(refused: Refused, envelope: bytes, config: ChainConfig) -> str:
    """Geth's words for a refusal, and then our own."""
    if refused.reason == Reason.MALFORMED:
        return f"{_malformed_words(envelope, config)}: {refused.detail}"
    if refused.reason == Reason.KNOWN:
        return WORDS[Reason.KNOWN]
    return f"{_words(refused, envelope, config)}: {refused.detail}"


def _words(refused: Refused, envelope: bytes, config: ChainConfig) -> str:
    transaction = _decoded(envelope)
    if refused.reason == Reason.UNDERPRICED:
        return "transaction underpriced" if refused.winner is None else "replacement transaction underpriced"
    if refused.reason == Reason.GAS_LIMIT and transaction is not None:
        fork = config.forks[-1].fork
        due = max(intrinsic_gas(transaction, fork), floor_gas(transaction, fork))
        return "intrinsic gas too low" if transaction.gas_limit < due else "exceeds block gas limit"
    if refused.reason == Reason.FEES and transaction is not None:
        return WORDS[Reason.FEES] if transaction.max_priority_fee > transaction.max_fee else "fee cap exceeded"
    if refused.reason == Reason.TOO_LARGE and transaction is not None and not transaction.to:
        return "max initcode size exceeded"
    return WORDS.get(refused.reason, "transaction refused")


def _malformed_words(envelope: bytes, config: ChainConfig) -> str:
    """What geth says of an envelope that S1 or S2 refuses."""
    transaction = _decoded(envelope)
    if transaction is None:
        kind = envelope[:1]
        is_unknown = b"\x04" < kind < b"\xc0" and kind != b"\x4d"
        return "transaction type not supported" if is_unknown else "rlp: the transaction does not decode"
    if transaction.chain_id is None:
        return "only replay-protected (EIP-155) transactions allowed over RPC"
    if transaction.chain_id != config.chain_id:
        have = f"have {transaction.chain_id} want {config.chain_id}"
        return f"invalid sender: invalid chain id for signer: {have}"
    if transaction.type == 3 or isinstance(transaction, DeclaredTransaction):
        return "transaction type not supported"
    return "invalid sender"


def _decoded(envelope: bytes) -> EthereumTransaction | None:
    try:
        return decode_envelope(envelope)
    except Verdict:
        return None
