"""Anything that strangers may send to a chain of profile `manaflow`, picked by a seed: calls, masks, guards, lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Any, Final

import numpy as np

from manaflow._native import Codes, World
from manaflow.coordinator.naming import Rows
from manaflow.evm.environment import SYSTEM_CONTRACTS, environment_of
from manaflow.evm.native import fill_steps
from manaflow.moves.batch import Batch
from manaflow.moves.columns import Moves
from manaflow.moves.hashing import keccak256
from manaflow.moves.header import Header
from manaflow.moves.leaf import SystemKind
from manaflow.moves.marks import UNSIGNED, ZERO20, ZERO32, Location, Mark, Mask
from manaflow.moves.transactions import NamedMove
from manaflow.rules.config import ChainConfig
from tests.declared import declared_envelope, masked
from tests.evm.crafting import asm, write
from tests.manaflow_chain import BASE_FEE, CHAIN_ID, COINBASE, Producer
from tests.validator.admitting import (
    HASHER,
    HASHER_CODE,
    READER,
    READER_CODE,
    TOKEN,
    TOKEN_CODE,
    WRITER,
    WRITER_CODE,
    changed,
)

GIVER, LOOKER, ENDER, MAKER, COUNTER, CALLER = (bytes([0xD0 + i]) * 20 for i in range(6))
ARGUMENT: Final = asm(0, "CALLDATALOAD")
DEPLOYS: Final = bytes.fromhex("6001600a5f3960015ff3fe")
"""Init code of one byte of code."""
CODES: Final[dict[bytes, bytes]] = {
    TOKEN: TOKEN_CODE,
    READER: READER_CODE,
    WRITER: WRITER_CODE,
    HASHER: HASHER_CODE,
    GIVER: asm(0, 0, 0, 0, "CALLVALUE") + ARGUMENT + asm("GAS", "CALL", 0, "SSTORE"),
    LOOKER: ARGUMENT + asm("BALANCE", "POP") + ARGUMENT + asm("EXTCODEHASH", "SELFBALANCE", "COINBASE", "BALANCE"),
    ENDER: ARGUMENT + asm("SELFDESTRUCT"),
    MAKER: write(asm(0, "CALLDATALOAD", "POP", "CALLER", "SELFDESTRUCT"))
    + ARGUMENT
    + asm(7, 0, "CALLVALUE", "CREATE2", 1, "SSTORE")
    + write(DEPLOYS)
    + ARGUMENT
    + asm(11, 0, 0, "CREATE2", 2, "SSTORE"),
    COUNTER: bytes.fromhex("36156008575f5ffd5b5f546001015f5500"),
    CALLER: asm(32, 0, 32, 0) + ARGUMENT + asm("GAS", "DELEGATECALL") + asm(0, 0, 32, 0, 0) + ARGUMENT
    + asm("GAS", "CALL", "TIMESTAMP", 2, "SSTORE"),
}  # fmt: skip
"""Contracts of genesis by address; each takes one word."""
CELL: Final = int(Mask.INTX | Mask.PREV | Mask.NEXT)
PRECOMPILES: Final = tuple(n.to_bytes(20, "big") for n in (1, 2, 4, 9, 0x11))


def chain(accounts: int = 5) -> Producer:
    """Accounts with ether, and every contract with some."""
    return Producer(accounts, {addr: (10**6, 1, code, {ZERO32: b"\0" * 31 + b"\5"}) for addr, code in CODES.items()})


@dataclass
class Signer:
    """Makes envelopes; knows what state they will probably meet."""

    chain: Producer
    rng: Random
    record: Callable[[bytes], bytes]
    """number:8 | intx:32 | value:32 of what lives at mark | addr | slot."""
    code_of: Callable[[bytes], bytes | None]
    hashes: Callable[[Header], dict[int, bytes]]
    sent: list[tuple[int, bytes]] = field(default_factory=list)
    """(sender, txid) of all that was signed."""

    @property
    def config(self) -> ChainConfig:
        return self.chain.config

    def address(self) -> bytes:
        """Somebody, something, or nobody."""
        rng = self.rng
        kind = rng.randrange(8)
        if kind < 3:
            return rng.choice(self.chain.addresses)
        if kind < 6:
            return rng.choice(list(CODES))
        return rng.choice([*PRECOMPILES, COINBASE, ZERO20, SYSTEM_CONTRACTS[SystemKind.HISTORY], rng.randbytes(20)])

    def call(self, header: Header) -> dict[str, Any]:
        """Receiver, value and data of a call."""
        rng = self.rng
        to = self.address() if rng.random() < 0.3 else rng.choice(list(CODES))
        value = rng.choice([0, 0, 0, 1, 1000, 10**15])
        first = self.address().rjust(32, b"\0")
        if to in (HASHER, SYSTEM_CONTRACTS[SystemKind.HISTORY]):
            first = max(header.number - rng.choice([0, 1, 1, 2, 3, 256, 257]), 0).to_bytes(32, "big")
        if to in (READER, WRITER) and rng.random() < 0.8:
            first = rng.randrange(3).to_bytes(32, "big")
        data = first + rng.randrange(4).to_bytes(32, "big")
        if to in (GIVER, MAKER, CALLER, COUNTER) and rng.random() < 0.7:
            value, data = 0, b"" if to == COUNTER else data
        if rng.random() < 0.06:
            return {"to": b"", "value": value, "data": rng.choice([b"", b"\xfe", DEPLOYS])}
        return {"to": to, "value": value, "data": data}

    def ethereum(self, header: Header) -> bytes:
        """An envelope of Ethereum's, of any kind."""
        rng, sender = self.rng, self.rng.randrange(len(self.chain.keys))
        call, kind = self.call(header), rng.choice([0, 1, 2, 2, 2, 4])
        kind = 2 if kind == 4 and not call["to"] else kind
        authorizations = []
        if kind == 4:
            for _ in range(rng.choice([1, 1, 2])):
                who = rng.randrange(len(self.chain.keys))
                nonce = self.chain.nonces[who] + (1 if who == sender else 0) + (rng.random() < 0.1)
                if rng.random() < 0.6:
                    nonce = self._nonce(who) + (who == sender)
                authorizations.append((who, rng.choice([*CODES, ZERO20, rng.choice(PRECOMPILES)]), nonce))
        nonce = None
        if rng.random() < 0.3:
            nonce = self._nonce(sender)
            self.chain.nonces[sender] = nonce
        raw = self.chain.sign(
            sender, **call, kind=kind, gas=rng.choice([60_000, 150_000, 400_000, 21_000, 1_000_000]),
            max_fee=rng.choice([10, 10, 3, 1]) * BASE_FEE, tip=rng.choice([0, 1, 10**6, 10**9]),
            authorizations=authorizations, nonce=nonce,
        )  # fmt: skip
        self.sent.append((sender, keccak256(raw)))
        return raw

    def _nonce(self, sender: int) -> int:
        return int.from_bytes(self.record(bytes([Mark.NONCE]) + self.chain.addresses[sender] + ZERO32)[40:], "big")

    def declared(self, header: Header) -> bytes:
        """A declared envelope over what the call does now, masked and guarded at random."""
        rng, sender = self.rng, self.rng.randrange(len(self.chain.keys))
        nonce = self.chain.nonces[sender] if rng.random() < 0.5 else self._nonce(sender)
        self.chain.nonces[sender] = nonce + 1
        fee = rng.choice([10, 10, 2]) * BASE_FEE
        call: dict[str, Any] = {
            "chain_id": CHAIN_ID, "nonce": nonce, "max_priority_fee": rng.choice([fee, 0, 10**6]), "max_fee": fee,
            "gas_limit": rng.choice([80_000, 300_000, 700_000]), "access_list": (),
            "valid_until": rng.choice([0, 0, 0, header.number - 1, header.number, header.number + 1]),
            "flags": rng.choice([0, 0, 1, 1, 2, 3]), **self.call(header),
        }  # fmt: skip
        guards = tuple(self._guard(header) for _ in range(rng.choice([0, 0, 0, 1, 2])))
        forms = (*self._forms(header, sender, call, len(guards)), *guards)
        raw = declared_envelope(forms, self.chain.keys[sender], **call)
        self.sent.append((sender, keccak256(raw)))
        return raw

    def _uses(self, header: Header, sender: int, call: dict[str, Any], guards: int) -> list[tuple[bool, NamedMove]]:
        """What the call does on the state as it is."""
        guard = NamedMove(int(Mask.REFERENCE | Mask.GUARD | CELL), Mark.STORAGE, ZERO32, ZERO20, ZERO32, ZERO32, ZERO32)
        plain = declared_envelope((guard,) * guards, self.chain.keys[sender], **{**call, "flags": 1, "valid_until": 0})
        world = World(lambda key: self.record(key)[40:], self.code_of)
        who = self.chain.addresses[sender]
        world.load(bytes([Mark.NONCE]), who, ZERO32, call["nonce"].to_bytes(32, "big"))
        filled = fill_steps(
            world, environment_of(header, self.config), [plain], [who], self.hashes(header), Codes(), skip_refused=True
        )
        rows, found = Rows.of(filled), []
        for i in range(len(rows.mark)):
            mark, addr, slot = int(rows.mark[i]), rows.addr[i].tobytes(), rows.slot[i].tobytes()
            intx = ZERO32 if mark == Mark.BLOCKHASH else self.record(bytes([mark]) + addr + slot)[8:40]
            is_reference = i >= rows.consumes[0]
            move = NamedMove(0, mark, intx, addr, slot, rows.prev[i].tobytes(), rows.next[i].tobytes())
            found.append((is_reference, move))
        return found

    def _forms(self, header: Header, sender: int, call: dict[str, Any], guards: int) -> list[NamedMove]:
        rng, forms = self.rng, []
        style = rng.choice(["usual", "usual", "random", "all", "few", "blind"])
        for is_reference, move in self._uses(header, sender, call, guards):
            mask = {
                "usual": int(Mask.INTX) if move.mark == Mark.NONCE else CELL,
                "random": rng.randrange(64),
                "all": rng.choice([0, 1]),
                "few": CELL if rng.random() < 0.3 else UNSIGNED,
                "blind": UNSIGNED ^ rng.choice([1, 2, 4, 8, 16, 32]),
            }[style]
            if mask & UNSIGNED == UNSIGNED:
                continue
            if not mask & 1 and rng.random() < 0.4 and self.sent:
                mine = [txid for who, txid in self.sent if who == sender]
                move = replace(move, intx=rng.choice(mine or [rng.randbytes(32)]))
            if rng.random() < 0.02:
                move = replace(move, prev=rng.randbytes(32))
            forms.append(masked(replace(move, mask=mask | (Mask.REFERENCE if is_reference else 0))))
        return forms

    def _guard(self, header: Header) -> NamedMove:
        rng = self.rng
        where: list[Location] = [
            (Mark.STORAGE, WRITER, rng.randrange(4).to_bytes(32, "big")), (Mark.STORAGE, COUNTER, ZERO32),
            (Mark.BALANCE, self.address(), ZERO32), (Mark.CODE, self.address(), ZERO32),
            (Mark.NONCE, self.address(), ZERO32), (Mark.STORAGE, rng.randbytes(20), ZERO32),
            (Mark.BLOCKHASH, ZERO20, max(header.number - rng.choice([0, 1, 2]), 0).to_bytes(32, "big")),
        ]  # fmt: skip
        mark, addr, slot = rng.choice(where)
        record = bytes(72) if mark == Mark.BLOCKHASH else self.record(bytes([mark]) + addr + slot)
        value = self.hashes(header).get(int.from_bytes(slot, "big"), ZERO32) if mark == Mark.BLOCKHASH else record[40:]
        mask = Mask.REFERENCE | Mask.GUARD | rng.choice([0, 1, 7, 7, 6, 5])
        return masked(NamedMove(int(mask), mark, record[8:40], addr, slot, value, value))


def tampered(batch: Batch, rng: Random) -> Batch:
    """A batch with one thing wrong in it, or several."""
    for _ in range(rng.choice([1, 1, 1, 2])):
        batch = _changed(batch, rng) if len(batch.moves) else batch
    return batch


def _changed(batch: Batch, rng: Random) -> Batch:
    row, t = rng.randrange(len(batch.moves)), rng.randrange(len(batch))
    other = rng.randrange(len(batch.moves))
    moves, envelopes, value = batch.moves, batch.envelopes, rng.randbytes(32)
    changes: list[Callable[[], Batch]] = [
        lambda: changed(batch, row=row, mask=int(moves.mask[row]) ^ (1 << rng.randrange(8))),
        lambda: changed(batch, row=row, intx=rng.choice([ZERO32, value, batch.intx[other].tobytes()])),
        lambda: changed(batch, row=row, number=rng.choice([0, 1, int(moves.number[other]), 2**63, 2**64 - 1])),
        lambda: changed(batch, row=row, prev=rng.choice([ZERO32, value, moves.prev[other].tobytes()])),
        lambda: changed(batch, row=row, next=rng.choice([ZERO32, value, moves.next[other].tobytes()])),
        lambda: changed(batch, row=row, next=bytes(31) + bytes([(int(moves.next[row][31]) + 1) % 256])),
        lambda: changed(batch, row=row, mark=rng.choice(b"bcensx\0")),
        lambda: changed(batch, row=row, addr=rng.choice([*PRECOMPILES, moves.addr[other].tobytes()])),
        lambda: changed(batch, row=row, slot=rng.choice([ZERO32, moves.slot[other].tobytes()])),
        lambda: changed(batch, t=t, status=rng.randrange(3)),
        lambda: changed(batch, t=t, gas_used=int(batch.gas_used[t]) + rng.choice([1, -1, 2**40])),
        lambda: changed(batch, t=t, logs_hash=value),
        lambda: _without(batch, row, t),
        lambda: _with_reference(batch, other, t),
        lambda: replace(batch, codes=()),
        lambda: replace(batch, codes=(*batch.codes, b"\xef\x01\x00" + value)),
        lambda: replace(batch, envelopes=(*envelopes[:t], _bent(envelopes[t], rng), *envelopes[t + 1 :])),
    ]  # fmt: skip
    return rng.choice(changes)()


def _bent(raw: bytes, rng: Random) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :]


def _taken(batch: Batch, order: list[int]) -> dict[str, Any]:
    columns = {field.name: getattr(batch.moves, field.name)[order] for field in fields(Moves)}
    return {"moves": Moves(**columns), "intx": batch.intx[order]}


def _without(batch: Batch, row: int, t: int) -> Batch:
    """One move less."""
    offsets = batch.offsets()
    t = int(np.searchsorted(offsets, row, side="right")) - 1
    order = [i for i in range(len(batch.moves)) if i != row]
    name = "consumes" if row - offsets[t] < batch.consumes[t] else "references"
    counts = getattr(batch, name).copy()
    counts[t] -= 1
    return replace(batch, **{name: counts}, **_taken(batch, order))


def _with_reference(batch: Batch, row: int, t: int) -> Batch:
    """One more reference in transaction t, in its place by M5: a copy of another row's, or of what that row makes."""
    offsets = batch.offsets().tolist()
    first, stop = offsets[t] + int(batch.consumes[t]), offsets[t + 1]
    here = batch.moves[row].location
    at = next((i for i in range(first, stop) if batch.moves[i].location > here), stop)
    order = [*range(at), row, *range(at, len(batch.moves))]
    taken = replace(batch, **_taken(batch, order))
    references = batch.references.copy()
    references[t] += 1
    taken = replace(taken, references=references)
    return changed(taken, row=at, mask=UNSIGNED | Mask.REFERENCE, next=taken.moves.prev[at].tobytes())
