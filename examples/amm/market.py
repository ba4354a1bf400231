"""The market of the example: one token, one pool, and what their calls and cells look like from outside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eth_abi.abi import encode

from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.wallet.declare import Wish

CONTRACTS: Final[Mapping[str, Any]] = json.loads((Path(__file__).parent / "contracts" / "contracts.json").read_text())
"""Runtime code and selectors by contract; contracts/build.mjs made it from the Solidity beside it."""
TOKEN: Final = bytes.fromhex("70ce000000000000000000000000000000000001")
POOL: Final = bytes.fromhex("9001000000000000000000000000000000000001")
ETHER: Final = 10**18
UNLIMITED: Final = 2**256 - 1

POOL_ETHER: Final = 1_000 * ETHER
POOL_TOKENS: Final = 2_000_000 * ETHER
"""What the pool begins with: 2,000 tokens for an ether."""
TRADER_ETHER: Final = 100 * ETHER
TRADER_TOKENS: Final = 20_000 * ETHER

FOR_EVER: Final = 0
"""Of a signature: one that loses is then given up at once, instead of waiting for its state to come back."""

TOTAL_SUPPLY_SLOT, BALANCES_SLOT, ALLOWANCES_SLOT = range(3)
"""Where Token.sol keeps them."""


def balance_slot(owner: bytes) -> bytes:
    """The slot of `balanceOf[owner]` in the token."""
    return keccak256(owner.rjust(32, b"\0") + BALANCES_SLOT.to_bytes(32, "big"))


def allowance_slot(owner: bytes, spender: bytes) -> bytes:
    """The slot of `allowance[owner][spender]` in the token."""
    of_owner = keccak256(owner.rjust(32, b"\0") + ALLOWANCES_SLOT.to_bytes(32, "big"))
    return keccak256(spender.rjust(32, b"\0") + of_owner)


def ether_of(address: bytes) -> Location:
    """Where an address's ether is."""
    return Mark.BALANCE, address, ZERO32


def tokens_of(owner: bytes) -> Location:
    """Where an owner's tokens are."""
    return Mark.STORAGE, TOKEN, balance_slot(owner)


CONTESTED: Final = (ether_of(POOL), tokens_of(POOL))
"""The two cells that every swap consumes."""


def genesis(traders: Iterable[bytes]) -> dict[str, Any]:
    """What `manaflow genesis` reads: both contracts, and traders with ether, and tokens that the pool may not take."""
    owners = dict.fromkeys(traders, TRADER_TOKENS) | {POOL: POOL_TOKENS}
    storage = {_hex(balance_slot(owner)): hex(tokens) for owner, tokens in owners.items()}
    storage[hex(TOTAL_SUPPLY_SLOT)] = hex(sum(owners.values()))
    token, pool = ("0x" + CONTRACTS[name]["code"] for name in ("Token", "Pool"))
    accounts: dict[str, Any] = {_hex(owner): {"balance": hex(TRADER_ETHER)} for owner in owners}
    accounts[_hex(TOKEN)] = {"nonce": "0x1", "code": token, "storage": storage}
    accounts[_hex(POOL)] = {"balance": hex(POOL_ETHER), "nonce": "0x1", "code": pool}
    return accounts


@dataclass(frozen=True, slots=True)
class Reserves:
    """What the pool holds, in wei and the token's smallest unit."""

    ether: int
    tokens: int

    @property
    def price(self) -> float:
        """Ether for a thousand tokens."""
        return 1_000 * self.ether / self.tokens


@dataclass(frozen=True, slots=True)
class Swap:
    """What a trader wants: to buy tokens for so much ether, or to sell so many."""

    is_buy: bool
    amount: int

    def wish(self, seen: Reserves, slippage: float) -> Wish:
        """The call that takes no less than what the trader sees, less `slippage`.

        This least output is in the calldata, so that it is signed and holds on whatever state the call will run.
        """
        reserves = (seen.ether, seen.tokens) if self.is_buy else (seen.tokens, seen.ether)
        least = int(out(self.amount, *reserves) * (1 - slippage))
        if self.is_buy:
            return Wish(POOL, self.amount, calldata("Pool", "buy(uint256)", least), valid_until=FOR_EVER)
        return Wish(POOL, 0, calldata("Pool", "sell(uint256,uint256)", self.amount, least), valid_until=FOR_EVER)


@dataclass(frozen=True, slots=True)
class Swapped:
    """The pool's event: what was swapped for what."""

    is_buy: bool
    ether: int
    tokens: int

    @staticmethod
    def of(data: bytes) -> Swapped:
        """From a log's data."""
        is_buy, ether, tokens = (int.from_bytes(data[i : i + 32], "big") for i in (0, 32, 64))
        return Swapped(bool(is_buy), ether, tokens)


def approval() -> Wish:
    """The call that lets the pool take any tokens of its caller."""
    return Wish(TOKEN, 0, calldata("Token", "approve(address,uint256)", POOL, UNLIMITED))


def out(amount: int, reserve_in: int, reserve_out: int) -> int:
    """What the pool gives for an amount: as Pool.sol's `out`."""
    less = amount * 997
    return less * reserve_out // (reserve_in * 1000 + less)


def calldata(contract: str, function: str, *arguments: Any) -> bytes:
    """The data of a call: selector and arguments."""
    types = function[function.index("(") + 1 : -1].split(",")
    return bytes.fromhex(CONTRACTS[contract]["selectors"][function]) + encode(types, arguments)


def reserves(value_at: Callable[[Location], bytes]) -> Reserves:
    """What the pool holds in a state."""
    ether, tokens = (int.from_bytes(value_at(location), "big") for location in CONTESTED)
    return Reserves(ether, tokens)


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
