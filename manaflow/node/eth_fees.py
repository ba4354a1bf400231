"""What to pay: the next block's base fee (EIP-1559) and tips of recent blocks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from manaflow.evm.envelopes import decode_envelopes, effective_prices
from manaflow.moves.header import Header
from manaflow.moves.transactions import GAS_PER_BLOB
from manaflow.node.chain import Chain, ChainThread, SealedBlock
from manaflow.node.encoding import BlockTag, Quantity64, quantity
from manaflow.node.errors import SERVER_ERROR, RpcError, invalid_params
from manaflow.node.eth_forms import Form
from manaflow.node.eth_selection import number_of, reading_of
from manaflow.node.parameters import Method
from manaflow.rules.config import ChainConfig
from manaflow.rules.fees import blob_base_fee, next_base_fee, next_excess_blob_gas

RECENT: Final = 20
"""Blocks that a suggestion looks at, as geth's oracle does."""
SAMPLES: Final = 3
"""Lowest tips that count of each."""
PERCENTILE: Final = 60
DEFAULT_TIP: Final = 10**9
"""Wei per gas, where nobody pays any."""
MAX_TIP: Final = 500 * 10**9
"""No suggestion is above."""
BLOCKS_AT_ONCE: Final = 16
"""Whose tips are read before other calls get their turn on the chain's thread."""
MAX_HISTORY: Final = 1024
"""Blocks of one eth_feeHistory."""
MAX_PERCENTILES: Final = 100
MAX_CACHED: Final = 2048


@dataclass(frozen=True, slots=True)
class Tips:
    """What a block's transactions paid above its base fee."""

    tips: tuple[int, ...]
    """Wei per gas, ascending."""
    gas: tuple[int, ...]
    """Gas used by each."""

    def at(self, percentile: float) -> int:
        """The tip below or at which this share of the block's gas was."""
        if not self.tips:
            return 0
        limit, seen = sum(self.gas) * percentile / 100, 0
        for tip, gas in zip(self.tips, self.gas, strict=True):
            seen += gas
            if seen >= limit:
                return tip
        return self.tips[-1]


def tips_of(sealed: SealedBlock) -> Tips:
    """Of a block's signed transactions."""
    block, first = sealed.block, sealed.first_signed
    if not block.envelopes:
        return Tips((), ())
    prices = effective_prices(decode_envelopes(block.envelopes), block.header.base_fee)
    gas = block.leaves.gas_used[first : first + len(prices)].tolist()
    rows = sorted((price - block.header.base_fee, used) for price, used in zip(prices, gas, strict=True))
    return Tips(tuple(tip for tip, _ in rows), tuple(used for _, used in rows))


class FeeMethods:
    """Suggestions and history."""

    def __init__(self, thread: ChainThread) -> None:
        self._thread = thread
        self._tips: OrderedDict[bytes, Tips] = OrderedDict()  # by block hash, the longest unused first

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {
            "eth_gasPrice": self.gas_price,
            "eth_maxPriorityFeePerGas": self.tip,
            "eth_blobBaseFee": self.blob_fee,
            "eth_feeHistory": self.history,
        }

    async def gas_price(self) -> str:
        """eth_gasPrice: the next base fee and a tip."""
        base_fee, tip = await self._thread.call(self.suggested)
        return quantity(base_fee + tip)

    async def tip(self) -> str:
        """eth_maxPriorityFeePerGas."""
        return quantity((await self._thread.call(self.suggested))[1])

    async def blob_fee(self) -> str:
        """eth_blobBaseFee: of the next block."""
        return quantity(await self._thread.call(next_blob_base_fee))

    async def history(self, count: Any, newest: BlockTag, percentiles: list[float] | None = None) -> Form:
        """eth_feeHistory. count: a Quantity or a number."""
        blocks = count if isinstance(count, int) and not isinstance(count, bool) else _quantity(count)
        _check_percentiles(percentiles or ())
        headers, form = await self._thread.call(_history, blocks, newest)
        if percentiles and headers:
            form["reward"] = rewards = []
            for at in range(0, len(headers), BLOCKS_AT_ONCE):
                some = headers[at : at + BLOCKS_AT_ONCE]
                rewards += await self._thread.call(self._rewards, some, percentiles)
        return form

    def suggested(self, chain: Chain) -> tuple[int, int]:
        """(next base fee, tip), wei per gas. On the chain's thread."""
        head, _ = chain.head
        lowest: list[int] = []
        for number in range(head.number, max(head.number - RECENT, chain.config.genesis_number), -1):
            lowest += self._tips_at(chain, _header(chain, number).hash).tips[:SAMPLES]
        lowest.sort()
        tip = lowest[(len(lowest) - 1) * PERCENTILE // 100] if lowest else DEFAULT_TIP
        return next_base_fee(head), min(tip, MAX_TIP)

    def _rewards(self, chain: Chain, headers: Sequence[Header], percentiles: Sequence[float]) -> list[list[str]]:
        """What these blocks' transactions paid above the base fee. On the chain's thread."""
        rows = [self._tips_at(chain, header.hash) for header in headers]
        return [[quantity(tips.at(percentile)) for percentile in percentiles] for tips in rows]

    def _tips_at(self, chain: Chain, block_hash: bytes) -> Tips:
        """Of a canonical block; of one that was taken back meanwhile none."""
        tips = self._tips.pop(block_hash, None)
        if tips is None:
            reading = reading_of(chain, block_hash)
            tips = Tips((), ()) if reading is None else tips_of(reading.sealed)
        self._tips[block_hash] = tips
        if len(self._tips) > MAX_CACHED:
            self._tips.popitem(last=False)
        return tips


def _history(chain: Chain, count: int, newest: BlockTag) -> tuple[list[Header], Form]:
    """The blocks of an answer of eth_feeHistory, and the answer without rewards. Raises RpcError as geth does."""
    head, _ = chain.head
    last = head.number if newest.name == "pending" else number_of(chain, newest)
    if last > head.number:
        raise RpcError(SERVER_ERROR, f"request beyond head block: requested {last}, head {head.number}")
    wanted = max(0, min(count, MAX_HISTORY, last - chain.config.genesis_number + 1))
    if not wanted:
        return [], {"oldestBlock": quantity(0), "gasUsedRatio": []}
    headers = [_header(chain, number) for number in range(last - wanted + 1, last + 1)]
    return headers, {"oldestBlock": quantity(headers[0].number), **_prices(headers, chain.config)}


def _quantity(value: Any) -> int:
    try:
        return Quantity64.parse(value)
    except ValueError as error:
        raise invalid_params(f"invalid argument 0: {error}") from None


def _check_percentiles(percentiles: Sequence[float]) -> None:
    if len(percentiles) > MAX_PERCENTILES:
        raise RpcError(SERVER_ERROR, f"invalid reward percentile: over the query limit {MAX_PERCENTILES}")
    for i, percentile in enumerate(percentiles):
        if not 0 <= percentile <= 100:
            raise RpcError(SERVER_ERROR, f"invalid reward percentile: {percentile}")
        if i and percentile <= percentiles[i - 1]:
            before = percentiles[i - 1]
            raise RpcError(SERVER_ERROR, f"invalid reward percentile: #{i - 1}:{before} >= #{i}:{percentile}")


def _header(chain: Chain, number: int) -> Header:
    header = chain.header(number)
    if header is None:
        raise RpcError(SERVER_ERROR, "header not found")
    return header


def _prices(headers: Sequence[Header], config: ChainConfig) -> Form:
    """Prices and fullness of consecutive headers; of the prices one more, the next block's."""
    last = headers[-1]
    blobs = [config.entry_at(header.timestamp).blobs for header in headers]
    blob_prices = [_blob_price(header.excess_blob_gas, config, header.timestamp) for header in headers]
    excess = next_excess_blob_gas(last, config, last.timestamp)
    return {
        "baseFeePerGas": [quantity(fee) for fee in (*(header.base_fee for header in headers), next_base_fee(last))],
        "gasUsedRatio": [header.gas_used / header.gas_limit for header in headers],
        "baseFeePerBlobGas": [quantity(fee) for fee in (*blob_prices, _blob_price(excess, config, last.timestamp))],
        "blobGasUsedRatio": [
            header.blob_gas_used / (one.maximum * GAS_PER_BLOB) if one and one.maximum else 0
            for header, one in zip(headers, blobs, strict=True)
        ],
    }


def _blob_price(excess: int, config: ChainConfig, timestamp: int) -> int:
    blobs = config.entry_at(timestamp).blobs
    return blob_base_fee(excess, blobs.update_fraction) if blobs else 0


def next_blob_base_fee(chain: Chain) -> int:
    """Wei per blob gas after the head; on a chain of profile `manaflow`, which has no blobs, the least."""
    head, _ = chain.head
    return _blob_price(next_excess_blob_gas(head, chain.config, head.timestamp), chain.config, head.timestamp)
