"""A chain for development: accounts that everybody knows, rich from genesis, as users of anvil and hardhat expect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.exceptions import ValidationError

from manaflow.coordinator.genesis import Allocation, manaflow_config, new_chain
from manaflow.coordinator.replay import DEVELOPMENT_KEY, address_of
from manaflow.errors import Failure
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.wire import GenesisFile

MNEMONIC: Final = "test test test test test test test test test test test junk"
"""Published: anyone can spend what these accounts hold."""
CHAIN_ID: Final = 31337
ETHER: Final = 10**18


@dataclass(frozen=True, slots=True)
class DevelopmentAccount:
    """An account whose key the node shows and signs with."""

    address: bytes
    key: bytes
    """32 bytes."""
    checksum_address: str
    """EIP-55."""


def development_accounts(mnemonic: str, count: int) -> list[DevelopmentAccount]:
    """The first accounts of a BIP-39 mnemonic, by path m/44'/60'/0'/0/i. Raises Failure for one that is none."""
    Account.enable_unaudited_hdwallet_features()
    accounts = []
    for i in range(count):
        try:
            account: LocalAccount = Account.from_mnemonic(mnemonic, account_path=f"m/44'/60'/0'/0/{i}")
        except ValidationError as error:
            raise Failure(f"the mnemonic is none: {error}") from error
        address = bytes.fromhex(account.address[2:])
        accounts.append(DevelopmentAccount(address, bytes(account.key), account.address))
    return accounts


def development_genesis(
    accounts: list[DevelopmentAccount], *, chain_id: int, balance: int, gas_limit: int, base_fee: int, timestamp: int
) -> GenesisFile:
    """Genesis of a chain that the published development key seals. balance: wei of each account.

    Raises Failure for a chain id of an Ethereum network.
    """
    config = manaflow_config(chain_id, [address_of(DEVELOPMENT_KEY)])
    alloc: dict[bytes, Allocation] = {account.address: (balance, 0, b"", {}) for account in accounts}
    return new_chain(config, alloc, NATIVE, timestamp=timestamp, gas_limit=gas_limit, base_fee=base_fee)
