"""`mana_fill`: what filling a transaction on the state as it is would give, without submitting it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from manaflow.coordinator.declare import Fit, Misfit, fit
from manaflow.evm.executor import Environment, Job
from manaflow.evm.logs import logs_hash
from manaflow.evm.native import RevmExecutor
from manaflow.evm.simulate import MAX_TRANSACTION_GAS, CallRequest, CallResult, Ending, simulate
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import UNSIGNED, ZERO32, Location, Mark, Mask
from manaflow.moves.transactions import DeclaredTransaction, EthereumTransaction, NamedMove
from manaflow.moves.view import mark_letter, mask_names
from manaflow.node.chain import Chain, View
from manaflow.node.chain_thread import NodeThread
from manaflow.node.encoding import BlockTag, Data, data, from_json, quantity
from manaflow.node.errors import SERVER_ERROR, RpcError, invalid_params
from manaflow.node.eth_requests import CallObject
from manaflow.node.eth_selection import state_of
from manaflow.node.parameters import Method
from manaflow.rules.bodies import HASH_WINDOW
from manaflow.rules.forks import precompiles

PENDING: Final = BlockTag(name="pending")


class FillMethods:
    """See the module."""

    def __init__(self, thread: NodeThread) -> None:
        self._thread = thread

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {"mana_fill": self.fill}

    async def fill(self, what: Any, block: BlockTag = PENDING) -> dict[str, Any]:
        """mana_fill(a signed envelope as hex, Ethereum's or declared; or a call as eth_call takes it; "pending" or
        "latest").

        {block, sender, txid (null of a call), outcome: {status, gasUsed, logsHash}, output, halt (in words, or null),
        logs: how many, moves, misfit}. Moves are in M5's order, each {kind, mask, mark, number (0: virgin or unsealed),
        intx, addr, slot, prev, next}. misfit: null, or why this fill does not bear out what a declared envelope signs:
        {field, mark, addr, slot, expected, actual, winner, mayChange, detail}.

        -32000 with the verdict (S1, S2, X0) for what cannot be executed.
        """
        if isinstance(what, str):
            try:
                envelope = bytes(Data.parse(what))
            except ValueError as error:
                raise invalid_params(f"invalid argument 0: {error}") from None
            return await self._thread.call(_fill_envelope, envelope, block)
        try:
            asked = msgspec.convert(what, CallObject, dec_hook=from_json)
        except ValueError as error:
            raise invalid_params(f"invalid argument 0: {error}") from None
        return await self._thread.call(_fill_call, asked, block)


def _fill_envelope(chain: Chain, envelope: bytes, block: BlockTag) -> dict[str, Any]:
    view = state_of(chain, block)
    transaction = decode_envelope(envelope)
    sender = recover_sender(transaction)
    if transaction.chain_id not in (None, chain.config.chain_id):
        raise RpcError(SERVER_ERROR, f"of chain {transaction.chain_id}, this is {chain.config.chain_id}")
    filling = _Filling(view, _request_of(transaction, sender))
    filling.execute(transaction)
    return {"txid": data(keccak256(envelope)), **filling.shown(transaction)}


def _fill_call(chain: Chain, asked: CallObject, block: BlockTag) -> dict[str, Any]:
    view = state_of(chain, block)
    most = min(view.environment.gas_limit, MAX_TRANSACTION_GAS)
    request = asked.request(chain.config.chain_id, most if asked.gas is None else min(asked.gas, most))
    return {"txid": None, **_Filling(view, request).shown(None)}


def _request_of(transaction: EthereumTransaction, sender: bytes) -> CallRequest:
    return CallRequest(
        sender=sender,
        to=transaction.to or None,
        gas_limit=transaction.gas_limit,
        value=transaction.value,
        data=transaction.data,
        max_fee=transaction.max_fee,
        max_priority_fee=transaction.max_priority_fee,
        access_list=transaction.access_list,
        authorizations=transaction.authorizations,
    )


class _Filling:
    """One execution on a state, as moves."""

    def __init__(self, view: View, request: CallRequest) -> None:
        """Raises Verdict(X0)."""
        self.view, self.request = view, request
        self.environment: Environment = view.environment
        self.result: CallResult = simulate(view.world, self.environment, request, {}, view.block_hashes, view.codes)
        self.status = int(self.result.outcome == Ending.SUCCESS)
        self.gas_used, self.logs, self.uses = self.result.gas_used, self.result.logs, self.result.uses

    def execute(self, transaction: EthereumTransaction) -> None:
        """As validators do, which a call only comes close to: the nonce is checked, and guards cost gas.

        Raises Verdict(X0).
        """
        cells, codes = _Cells(self), _Codes(self.view)
        job = Job(self.environment, transaction, self.request.sender, 0, 0, cells, codes)
        done = RevmExecutor().execute(job)
        self.status, self.gas_used, self.logs, self.uses = done.status, done.gas_used, done.logs, done.uses

    def value(self, location: Location) -> bytes | None:
        """What lives at a location, 32 bytes; None if nothing can."""
        found = self._live(location)
        return None if found is None else found[1]

    def moves(self) -> list[NamedMove]:
        """In M5's order, all of them unsigned."""
        found = []
        for use in self.uses:
            mask = UNSIGNED if use.prev != use.next else UNSIGNED | Mask.REFERENCE
            intx = ZERO32 if use.mark == Mark.BLOCKHASH else self.view.cell(use.location).intx
            found.append(NamedMove(int(mask), use.mark, intx, use.addr, use.slot, use.prev, use.next))
        return sorted(found, key=_m5)

    def shown(self, transaction: EthereumTransaction | None) -> dict[str, Any]:
        """The answer, but for the txid."""
        moves, misfit, result = self.moves(), None, self.result
        if isinstance(transaction, DeclaredTransaction):
            found = fit(transaction, moves, self.status, self._live)
            moves, misfit = (moves, found) if isinstance(found, Misfit) else (_fitted(moves, found), None)
        return {
            "block": quantity(self.environment.number),
            "sender": data(self.request.sender),
            "outcome": {
                "status": quantity(self.status),
                "gasUsed": quantity(self.gas_used),
                "logsHash": data(logs_hash(self.logs)),
            },
            "output": data(result.output),
            "halt": result.halt_reason or None,
            "logs": len(self.logs),
            "moves": [self._move_shown(move) for move in moves],
            "misfit": None if misfit is None else _misfit_shown(misfit),
        }

    def _live(self, location: Location) -> tuple[bytes, bytes] | None:
        """What a guard finds at a location."""
        mark, addr, slot = location
        if mark == Mark.BLOCKHASH:
            number = int.from_bytes(slot, "big")
            in_window = max(self.environment.number - HASH_WINDOW, 0) <= number < self.environment.number
            found = self.view.block_hashes.get(number) if in_window else None
            return None if found is None else (ZERO32, found)
        if mark in (Mark.CODE, Mark.NONCE) and addr in precompiles(self.environment.fork):
            return None
        cell = self.view.cell(location)
        return cell.intx, cell.value

    def _move_shown(self, move: NamedMove) -> dict[str, Any]:
        number = 0 if move.mark == Mark.BLOCKHASH else self.view.cell(move.location).number
        return {
            "kind": "reference" if move.is_reference else "consume",
            "mask": mask_names(move.mask),
            "mark": mark_letter(move.mark),
            "number": number,
            **{name: data(getattr(move, name)) for name in ("intx", "addr", "slot", "prev", "next")},
        }


class _Cells(Mapping[Location, bytes]):
    """Every cell of a state, of which those that a first run used are listed."""

    def __init__(self, filling: _Filling) -> None:
        self._filling, self._used = filling, [use.location for use in filling.uses]

    def __getitem__(self, location: Location) -> bytes:
        value = self._filling.value(location)
        if value is None:
            raise KeyError(location)
        return value

    def __iter__(self) -> Iterator[Location]:
        return iter(self._used)

    def __len__(self) -> int:
        return len(self._used)


class _Codes(Mapping[bytes, bytes]):
    """Every code of a state; none is listed."""

    def __init__(self, view: View) -> None:
        self._view = view

    def __getitem__(self, code_hash: bytes) -> bytes:
        code = self._view.code(code_hash)
        if code is None:
            raise KeyError(code_hash)
        return code

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _m5(move: NamedMove) -> tuple[bool, int, bytes, bytes]:
    return move.is_reference, move.mark, move.addr, move.slot


def _fitted(moves: Sequence[NamedMove], found: Fit) -> list[NamedMove]:
    signed = [replace(move, mask=mask) for move, mask in zip(moves, found.masks, strict=True)]
    return sorted([*signed, *found.guards], key=_m5)


def _misfit_shown(misfit: Misfit) -> dict[str, Any]:
    mark, addr, slot = misfit.location or (None, None, None)
    shown = {"expected": misfit.expected, "actual": misfit.actual, "winner": misfit.maker, "addr": addr, "slot": slot}
    return {
        "field": misfit.field,
        "mark": None if mark is None else mark_letter(mark),
        **{name: None if value is None else data(value) for name, value in shown.items()},
        "mayChange": list(misfit.may_change),
        "detail": misfit.detail,
    }
