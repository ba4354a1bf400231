"""Cells as py-evm's account database: every value that is asked for is a use, and nothing else is there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from eth.abc import AccountDatabaseAPI

from manaflow.errors import Failure, ManaflowError, Undeclared, Unsupported, Verdict
from manaflow.evm.executor import Use
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO20, ZERO32, Location, Mark

EMPTY_CODE_HASH: Final = keccak256(b"")
_WORDS: Final = 2**256
_Warm = tuple[bytes, int | None]
"""An address, or a slot of it, that EIP-2929 counts as accessed."""

# py-evm's transient storage shares our checkpoints, and draws its own first ones from a counter that starts at 0.
_CHECKPOINTS: Final[Iterator[int]] = itertools.count(2**40)


class Stop(BaseException):
    """Carries one of our errors out of py-evm. Not an Exception, so that nothing on the way can swallow it."""

    def __init__(self, error: ManaflowError) -> None:
        super().__init__(error)
        self.error = error


class CellAccounts(AccountDatabaseAPI):
    """Balances, nonces, codes and slots of one execution: its cells, what it wrote over them, and a journal.

    Uses stay when a frame reverts; values and warmth do not. Values are ints here, code hashes too (0 = no code).
    """

    def __init__(
        self,
        cells: Mapping[Location, bytes],
        codes: Mapping[bytes, bytes],
        precompiles: frozenset[bytes],
        check_code_bytes: Callable[[int], None],
    ) -> None:
        """`precompiles`: addresses whose c and n are 0 by rule and never cells.

        `check_code_bytes` raises Verdict(X5) if the codes used so far are too much.
        """
        self._cells, self._codes, self._precompiles = cells, codes, precompiles
        self._check_code_bytes = check_code_bytes
        self._used_codes: set[int] = set()
        self.code_bytes = 0
        """Of the distinct codes that were used and that stood in cells before (X5)."""
        self._made: dict[bytes, bytes] = {}
        self._found: dict[Location, int] = {}
        self._now: dict[Location, int] = {}
        self._created: set[bytes] = set()
        self._warm: set[_Warm] = set()
        self._journal: list[tuple[Location, int] | _Warm] = []
        self._checkpoints: dict[int, int] = {}

    # ---- what the executor asks for ----

    def uses(self) -> tuple[Use, ...]:
        """Every location used, sorted, with its values before and after."""
        return tuple(
            Use(*location, self._found[location].to_bytes(32, "big"), self._now[location].to_bytes(32, "big"))
            for location in sorted(self._found)
        )

    def live_codes(self) -> dict[bytes, bytes]:
        """The codes that the execution made and that stand in a cell at its end, by hash."""
        changed = {
            self._now[location].to_bytes(32, "big")
            for location, found in self._found.items()
            if location[0] == Mark.CODE and self._now[location] != found
        }
        return {code_hash: self._made[code_hash] for code_hash in sorted(changed) if code_hash in self._made}

    def block_hash(self, number: int) -> bytes:
        """The hash of an earlier block, from its `e` cell."""
        return self._use((Mark.BLOCKHASH, ZERO20, number.to_bytes(32, "big"))).to_bytes(32, "big")

    def mark_created(self, address: bytes) -> None:
        """From now on `address` is an account that this transaction creates: its slots before are 0 by rule."""
        self._created.add(address)

    def is_created(self, address: bytes) -> bool:
        """True if this transaction created the account (or tried to: then nothing of it is left)."""
        return address in self._created

    # ---- values ----

    def _use(self, location: Location) -> int:
        value = self._now.get(location)
        if value is None:
            value = self._now[location] = self._found[location] = self._find(location)
        return value

    def _find(self, location: Location) -> int:
        mark, addr, slot = location
        try:
            value = int.from_bytes(self._cells[location], "big")
        except KeyError:
            raise Stop(Undeclared(bytes((mark,)), addr, slot)) from None
        # A new account's slots must be declared like any other, but what the cells say of them does not matter: a claim
        # that one was not 0 is refused by X2.
        return 0 if mark == Mark.STORAGE and addr in self._created else value

    def _set(self, location: Location, value: int) -> None:
        before = self._use(location)
        if value >= _WORDS:
            raise Stop(Unsupported(f"the balance of 0x{location[1].hex()} overflows 256 bits"))
        if before != value:
            self._journal.append((location, before))
            self._now[location] = value

    def get_balance(self, address: bytes) -> int:
        """A use of b."""
        return self._use((Mark.BALANCE, address, ZERO32))

    def set_balance(self, address: bytes, balance: int) -> None:
        """A use of b."""
        self._set((Mark.BALANCE, address, ZERO32), balance)

    def get_nonce(self, address: bytes) -> int:
        """A use of n; a precompile's is 0 by rule."""
        return 0 if address in self._precompiles else self._use((Mark.NONCE, address, ZERO32))

    def set_nonce(self, address: bytes, nonce: int) -> None:
        """A use of n."""
        self._set((Mark.NONCE, address, ZERO32), nonce)

    def increment_nonce(self, address: bytes) -> None:
        """A use of n."""
        self.set_nonce(address, self.get_nonce(address) + 1)

    def _code(self, address: bytes) -> int:
        return 0 if address in self._precompiles else self._use((Mark.CODE, address, ZERO32))

    def get_code_hash(self, address: bytes) -> bytes:
        """A use of c alone, for EXTCODEHASH: keccak("") if there is no code; a precompile's is no code by rule."""
        return self._code(address).to_bytes(32, "big") if self._code(address) else EMPTY_CODE_HASH

    def get_code(self, address: bytes) -> bytes:
        """A use of c with the code's bytes. Stops with Failure if they are missing."""
        value = self._code(address)
        if not value:
            return b""
        code_hash = value.to_bytes(32, "big")
        code = self._made.get(code_hash)
        if code is None:
            code = self._codes.get(code_hash)
        if code is None:
            raise Stop(Failure(f"the code 0x{code_hash.hex()} of 0x{address.hex()} is missing"))
        if self._found[(Mark.CODE, address, ZERO32)] == value:
            self._count(value, len(code))
        return code

    def _count(self, code_hash: int, size: int) -> None:
        """X5: a code that was there before, each distinct one once."""
        if code_hash in self._used_codes:
            return
        self._used_codes.add(code_hash)
        self.code_bytes += size
        try:
            self._check_code_bytes(self.code_bytes)
        except Verdict as verdict:
            raise Stop(verdict) from None

    def set_code(self, address: bytes, code: bytes) -> None:
        """A use of c; `code` is not empty."""
        code_hash = keccak256(code)
        self._made[code_hash] = code
        self._set((Mark.CODE, address, ZERO32), int.from_bytes(code_hash, "big"))

    def delete_code(self, address: bytes) -> None:
        """A use of c."""
        self._set((Mark.CODE, address, ZERO32), 0)

    def get_storage(self, address: bytes, slot: int, from_journal: bool = True) -> int:
        """A use of s. `from_journal` False asks for the value before the transaction (EIP-2200)."""
        location = (Mark.STORAGE, address, slot.to_bytes(32, "big"))
        now = self._use(location)
        return now if from_journal else self._found[location]

    def set_storage(self, address: bytes, slot: int, value: int) -> None:
        """A use of s."""
        self._set((Mark.STORAGE, address, slot.to_bytes(32, "big")), value)

    def delete_storage(self, address: bytes) -> None:
        """Asked before CREATE2 runs: nothing to do, an account without code and nonce has no storage."""

    # ---- accounts ----

    def account_is_empty(self, address: bytes) -> bool:
        """E of the access table (EIP-161): c, then b, then n, stopping at the first that is not 0."""
        return not (self._code(address) or self.get_balance(address) or self.get_nonce(address))

    def account_exists(self, address: bytes) -> bool:
        """The absent account and the empty one are the same."""
        return not self.account_is_empty(address)

    def account_has_code_or_nonce(self, address: bytes) -> bool:
        """EIP-684: c, and n only if c is 0."""
        return bool(self._code(address) or self.get_nonce(address))

    def delete_account(self, address: bytes) -> None:
        """Zero all that was used of an account which the transaction created and destroyed."""
        for location in [location for location in self._now if location[1] == address]:
            self._set(location, 0)

    def touch_account(self, address: bytes) -> None:
        """No use: an empty account is the absent one already."""

    # ---- warmth (EIP-2929), never a use ----

    def is_address_warm(self, address: bytes) -> bool:
        """True if this transaction accessed the account."""
        return (address, None) in self._warm

    def mark_address_warm(self, address: bytes) -> None:
        """Until the frame reverts."""
        self._mark_warm((address, None))

    def is_storage_warm(self, address: bytes, slot: int) -> bool:
        """True if this transaction accessed the slot."""
        return (address, slot) in self._warm

    def mark_storage_warm(self, address: bytes, slot: int) -> None:
        """Until the frame reverts."""
        self._mark_warm((address, slot))

    def _mark_warm(self, key: _Warm) -> None:
        if key not in self._warm:
            self._warm.add(key)
            self._journal.append(key)

    # ---- journal ----

    def record(self) -> int:
        """A checkpoint, unique in this process."""
        checkpoint = next(_CHECKPOINTS)
        self._checkpoints[checkpoint] = len(self._journal)
        return checkpoint

    def discard(self, checkpoint: int) -> None:
        """Back to a checkpoint."""
        while len(self._journal) > self._checkpoints[checkpoint]:
            first, second = self._journal.pop()
            if isinstance(first, tuple):
                assert second is not None
                self._now[first] = second
            else:
                self._warm.discard((first, second))

    def commit(self, checkpoint: int) -> None:
        """Nothing to do: an outer frame may still go back further."""

    def lock_changes(self) -> None:
        """Nothing to do: one database serves one transaction."""

    # ---- py-evm's trie, of which there is none ----

    state_root = ZERO32

    def has_root(self, state_root: bytes) -> bool:
        """Never asked for."""
        return state_root == self.state_root

    def make_state_root(self) -> bytes:
        """No root."""
        return self.state_root

    def persist(self) -> None:
        """Nothing to write."""
