"""Ethereum blocks with their pre-state, read from neutral-block/1 files (JSON, plain or under zstd).

What the file says of itself is recomputed where Ethereum commits to it: the header's hash over its fields and every
transaction's hash. Anything wrong with a file is a Failure that names it: such a file is an input of a replay, which no
rule judges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import rlp
import zstandard

from manaflow.coordinator.hexadecimal import read_bytes, read_integer, read_word, shortened
from manaflow.coordinator.inputs import BlockInputs
from manaflow.errors import Failure
from manaflow.moves import bounded
from manaflow.moves.block import Withdrawal
from manaflow.moves.bounded import read_at_most
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Location, Mark

FORMAT: Final = "neutral-block/1"
MAX_FILE_BYTES: Final = 64 * 2**20
MAX_JSON_BYTES: Final = 64 * 2**20
"""After decompression. The largest real file has 5 MB; parsed JSON may take thirty times its text's memory."""
MAX_JSON_DEPTH: Final = 32
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"

_HASH, _ADDRESS, _BLOOM = 32, 20, 256
_HEADER: Final[tuple[tuple[str, int | None], ...]] = (
    ("parentHash", _HASH), ("sha3Uncles", _HASH), ("miner", _ADDRESS), ("stateRoot", _HASH),
    ("transactionsRoot", _HASH), ("receiptsRoot", _HASH), ("logsBloom", _BLOOM), ("difficulty", None),
    ("number", None), ("gasLimit", None),
    ("gasUsed", None), ("timestamp", None), ("extraData", -1), ("mixHash", _HASH), ("nonce", 8),
    ("baseFeePerGas", None), ("withdrawalsRoot", _HASH), ("blobGasUsed", None), ("excessBlobGas", None),
    ("parentBeaconBlockRoot", _HASH), ("requestsHash", _HASH),
)  # fmt: skip
"""An Ethereum header's fields in the order of its RLP: width in bytes, -1 for any, None for an integer. Forks only
appended: London one (EIP-1559), Shanghai one (EIP-4895), Cancun three (EIP-4844, 4788), Prague one (EIP-7685)."""
_FRONTIER_FIELDS: Final = 15
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Account:
    """One account before the block, restricted to what the block touches."""

    nonce: int
    balance: int
    """Wei."""
    code: bytes | None
    """None: an account whose code is unknown and not needed."""
    code_hash: bytes
    """keccak-256 of the code; 32 zero bytes if there is none."""
    storage: Mapping[bytes, bytes]
    """Word by slot, 32 bytes each; a slot that is absent was not read."""


@dataclass(frozen=True, slots=True)
class EthereumBlock:
    """An Ethereum block and the state before it. Fields that its fork does not have are zero."""

    chain_id: int
    number: int
    hash: bytes
    parent_hash: bytes
    coinbase: bytes
    timestamp: int
    gas_limit: int
    gas_used: int
    base_fee: int
    prevrandao: bytes
    blob_gas_used: int
    excess_blob_gas: int
    parent_beacon_root: bytes
    extra_data: bytes
    receipts_root: bytes
    logs_bloom: bytes
    envelopes: tuple[bytes, ...]
    """Signed EIP-2718 bytes, in order."""
    senders: tuple[bytes, ...]
    """Who signed them, as the file says; not checked here."""
    withdrawals: tuple[Withdrawal, ...]
    block_hashes: Mapping[int, bytes]
    """Known hashes of the 256 blocks before this one, by number."""
    prestate: Mapping[bytes, Account]
    """By address; an absent address does not exist, or the file does not know it (`unknown_accounts`)."""
    unknown_accounts: tuple[bytes, ...]
    """Accounts that exist on Ethereum, whose state before the block is not known; no transaction reads them."""

    def inputs(self) -> BlockInputs:
        """What a filler is told of this block."""
        return BlockInputs(
            number=self.number,
            seen_parent_hash=self.parent_hash,
            coinbase=self.coinbase,
            timestamp=self.timestamp,
            gas_limit=self.gas_limit,
            base_fee=self.base_fee,
            prevrandao=self.prevrandao,
            excess_blob_gas=self.excess_blob_gas,
            parent_beacon_root=self.parent_beacon_root,
            extra_data=self.extra_data,
            envelopes=self.envelopes,
            withdrawals=self.withdrawals,
            block_hashes=self.block_hashes,
        )


def load_block(path: Path) -> EthereumBlock:
    """Read one file. Raises Failure, which names the file, if it cannot be read or contradicts itself."""
    return _naming(path, lambda: block_of(read_json(path)))


def read_json(path: Path) -> Any:
    """The JSON of a file, plain or under zstd, at most MAX_JSON_BYTES. Raises Failure."""
    return _naming(path, lambda: parse_json(_unpacked(path)))


def parse_json(text: bytes) -> Any:
    """JSON in UTF-8 that nests at most MAX_JSON_DEPTH deep. Raises ValueError (bounded.parse_json)."""
    return bounded.parse_json(text, MAX_JSON_DEPTH)


def block_of(fields: Any) -> EthereumBlock:
    """The block of a neutral-block/1 object. Raises ValueError, KeyError or TypeError if it is none."""
    if fields["format"] != FORMAT:
        raise ValueError(f"format {fields['format']!r}, this program reads {FORMAT!r}")
    header, block_hash = fields["header"], read_bytes(fields["hash"], _HASH)
    _check_header(header, block_hash)
    number = read_integer(header["number"])
    return EthereumBlock(
        chain_id=_plain(fields["chainId"]),
        number=number,
        hash=block_hash,
        parent_hash=read_bytes(header["parentHash"], _HASH),
        coinbase=read_bytes(header["miner"], _ADDRESS),
        timestamp=read_integer(header["timestamp"]),
        gas_limit=read_integer(header["gasLimit"]),
        gas_used=read_integer(header["gasUsed"]),
        base_fee=read_integer(header.get("baseFeePerGas", "0x0")),
        prevrandao=read_bytes(header["mixHash"], _HASH),
        blob_gas_used=read_integer(header.get("blobGasUsed", "0x0")),
        excess_blob_gas=read_integer(header.get("excessBlobGas", "0x0")),
        parent_beacon_root=read_bytes(header["parentBeaconBlockRoot"], _HASH)
        if "parentBeaconBlockRoot" in header
        else ZERO32,
        extra_data=read_bytes(header["extraData"]),
        receipts_root=read_bytes(header["receiptsRoot"], _HASH),
        logs_bloom=read_bytes(header["logsBloom"], _BLOOM),
        envelopes=tuple(_envelope(i, entry) for i, entry in enumerate(fields["transactions"])),
        senders=tuple(read_bytes(entry["sender"], _ADDRESS) for entry in fields["transactions"]),
        withdrawals=tuple(_withdrawal(entry) for entry in fields["withdrawals"] or ()),
        block_hashes=_block_hashes(fields["blockHashes"], number, read_bytes(header["parentHash"], _HASH)),
        prestate={read_bytes(address, _ADDRESS): _account(entry) for address, entry in fields["prestate"].items()},
        unknown_accounts=tuple(read_bytes(address, _ADDRESS) for address in fields.get("unknownAccounts", ())),
    )


def header_hash(header: Mapping[str, Any]) -> bytes:
    """keccak-256 of the RLP of an Ethereum header, given by its JSON-RPC names.

    Raises ValueError for a field too many, too few or malformed.
    """
    present = [name for name, _ in _HEADER if name in header]
    if present != [name for name, _ in _HEADER[: len(present)]] or len(present) < _FRONTIER_FIELDS:
        raise ValueError("the header's fields are those of no fork")
    if unknown := set(header) - set(present):
        raise ValueError(f"the header has unknown fields: {', '.join(sorted(unknown))}")
    values = [
        read_integer(header[name]) if width is None else read_bytes(header[name], width)
        for name, width in _HEADER[: len(present)]
    ]
    return keccak256(rlp.encode(values))


def _naming(path: Path, read: Callable[[], _T]) -> _T:
    """What `read` returns; everything that a bad file can make it raise becomes a Failure with the file's name."""
    try:
        return read()
    except Failure:
        raise
    except KeyError as error:
        raise Failure(f"{path}: field {error} is missing") from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, zstandard.ZstdError) as error:
        raise Failure(f"{path}: {error}") from error


def _unpacked(path: Path) -> bytes:
    with path.open("rb") as file:
        data = read_at_most(file, MAX_FILE_BYTES)
    if data is None:
        raise ValueError(f"more than {MAX_FILE_BYTES} bytes")
    if not data.startswith(_ZSTD_MAGIC):
        return data
    # A stream, because a frame's own claim of its content size would decide what a one-shot decompression allocates.
    with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(data) as reader:
        text = read_at_most(reader, MAX_JSON_BYTES)
    if text is None:
        raise ValueError(f"more than {MAX_JSON_BYTES} bytes after decompression")
    return text


def _check_header(header: Mapping[str, Any], block_hash: bytes) -> None:
    found = header_hash(header)
    if found != block_hash:
        raise ValueError(f"the header's fields hash to 0x{found.hex()}, the file says 0x{block_hash.hex()}")


def _envelope(position: int, entry: Mapping[str, Any]) -> bytes:
    raw, txid = read_bytes(entry["raw"]), read_bytes(entry["hash"], _HASH)
    found = keccak256(raw)
    if found != txid:
        raise ValueError(f"transaction {position} hashes to 0x{found.hex()}, the file says 0x{txid.hex()}")
    return raw


def _withdrawal(entry: Mapping[str, Any]) -> Withdrawal:
    index, validator, amount = (read_integer(entry[name], 64) for name in ("index", "validatorIndex", "amount"))
    return Withdrawal(index, validator, read_bytes(entry["address"], _ADDRESS), amount)


def _block_hashes(entries: Mapping[str, Any], number: int, parent_hash: bytes) -> dict[int, bytes]:
    hashes = {int(text): read_bytes(value, _HASH) for text, value in entries.items()}
    if hashes.get(number - 1, parent_hash) != parent_hash:
        raise ValueError("blockHashes contradicts parentHash")
    if any(not number - 256 <= known < number for known in hashes):
        raise ValueError("blockHashes names a block outside the last 256")
    return hashes


def _account(entry: Mapping[str, Any]) -> Account:
    code = None if entry["code"] is None else read_bytes(entry["code"])
    empty_or_known = keccak256(code) if code else ZERO32
    code_hash = read_bytes(entry["codeHash"], _HASH) if code is None else empty_or_known
    storage = {read_bytes(slot, _HASH): read_word(word) for slot, word in entry["storage"].items()}
    return Account(read_integer(entry["nonce"], 64), read_integer(entry["balance"]), code, code_hash, storage)


def _plain(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"{shortened(value)} is not a number below 2^63")
    return value


def cells_of(accounts: Mapping[bytes, Account]) -> Iterator[tuple[Location, bytes]]:
    """Every location that these accounts know, with its value (zeros included); unknown codes are left out."""
    for address, account in accounts.items():
        yield (Mark.BALANCE, address, ZERO32), account.balance.to_bytes(32, "big")
        yield (Mark.NONCE, address, ZERO32), account.nonce.to_bytes(32, "big")
        if account.code is not None:
            yield (Mark.CODE, address, ZERO32), account.code_hash
        for slot, word in account.storage.items():
            yield (Mark.STORAGE, address, slot), word
