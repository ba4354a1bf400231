"""Mutations of leaves, envelopes, codes, withdrawals and headers, and those that accuse nobody."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from manaflow.moves.block import Block, Withdrawal
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.header import Header
from manaflow.moves.leaf import SystemKind, system_txid
from manaflow.rules.bodies import GAS_PER_CODE
from tests.builders import KEY, envelope
from tests.catalogue.dishonest import Draft, Step, Transaction, resigned, sealed
from tests.catalogue.envelopes import append_signed, stranger_moves
from tests.mutation.moves import change_move
from tests.mutation.operators import (
    OPERATORS,
    WORDS,
    Change,
    Operator,
    flipped,
    integer,
    pick,
    register,
    renumbered,
)

# ---- leaves ----


def _change_leaf(name: str, falsify: Callable[[Any, random.Random], Any]) -> Change:
    def change(draft: Draft, rng: random.Random) -> None:
        transaction = rng.choice(draft.transactions)
        transaction.say(**{name: falsify(getattr(transaction.leaf, name), rng)})

    return change


def _register_leaves() -> None:
    everything = frozenset({Step.COUNTS, Step.TXIDS, Step.MOVES_ROOTS, Step.TOTALS, Step.SUMS})
    for bits, names in ((1, ("status",)), (48, ("gas_used",)), (30, ("consumes", "references"))):
        for name in names:
            for way, falsify in integer(bits).items():
                leave = {Step.COUNTS} if bits == 30 else set()
                register(f"leaf.{name}.{way}", _change_leaf(name, falsify), leave=leave)
    for name in ("first_cell", "gas", "blob_gas", "fees"):
        for way, falsify in integer(48).items():
            register(f"leaf.{name}.{way}", _change_leaf(name, falsify), leave=everything)
    for way, word in WORDS.items():
        register(f"leaf.logs_hash.{way}", _change_leaf("logs_hash", word))
        register(f"leaf.txid.{way}", _change_leaf("txid", word), leave={Step.TXIDS}, apart={"withheld"})
        register(f"leaf.moves_root.{way}", _change_leaf("moves_root", word), leave=everything, apart={"withheld"})
    register("leaf.txid.swapped", _swap_txids, leave={Step.TXIDS})
    register("leaf.counts.shift", _shift_counts, leave={Step.COUNTS})
    register("leaf.counts.neighbour", _shift_between, leave={Step.COUNTS, Step.MOVES_ROOTS, Step.TOTALS})


def _swap_txids(draft: Draft, rng: random.Random) -> None:
    """Two leaves name each other's envelope."""
    i, k = rng.sample(draft.signed, 2)
    one, other = draft[i].leaf.txid, draft[k].leaf.txid
    draft[i].say(txid=other)
    draft[k].say(txid=one)


def _shift_counts(draft: Draft, rng: random.Random) -> None:
    """A consume is counted as a reference, or the reverse."""
    transaction = pick(draft, rng)
    by = rng.choice([by for by, side in ((1, "references"), (-1, "consumes")) if getattr(transaction.leaf, side)])
    leaf = transaction.leaf
    transaction.say(consumes=leaf.consumes + by, references=leaf.references - by)


def _shift_between(draft: Draft, rng: random.Random) -> None:
    """A move is counted to the neighbour: the sums and the trees stay."""
    i = rng.randrange(len(draft.transactions) - 1) if len(draft.transactions) > 1 else 0
    here, after = draft[i], draft[i + 1]
    if not after.leaf.references:
        raise LookupError("no reference to lend")
    here.say(references=here.leaf.references + 1)
    after.say(references=after.leaf.references - 1)


_register_leaves()


# ---- transactions and envelopes ----


def _signed(draft: Draft, rng: random.Random) -> int:
    return rng.choice(draft.signed)


def _change_envelope(falsify: Callable[[bytes, random.Random], bytes]) -> Change:
    def change(draft: Draft, rng: random.Random) -> None:
        transaction = draft[_signed(draft, rng)]
        assert transaction.envelope is not None
        transaction.envelope = falsify(transaction.envelope, rng)

    return change


def _swap_envelope(draft: Draft, rng: random.Random) -> None:
    draft[_signed(draft, rng)].envelope = draft[_signed(draft, rng)].envelope


def _withhold_envelope(draft: Draft, rng: random.Random) -> None:
    draft[_signed(draft, rng)].envelope = None


def _swap_transactions(draft: Draft, rng: random.Random) -> None:
    i, k = rng.sample(range(len(draft.transactions)), 2)
    draft.transactions[i], draft.transactions[k] = draft[k], draft[i]


def _delete_transaction(draft: Draft, rng: random.Random) -> None:
    del draft.transactions[rng.randrange(len(draft.transactions))]


def _duplicate_transaction(draft: Draft, rng: random.Random) -> None:
    i = rng.randrange(len(draft.transactions))
    twin = draft[i]
    draft.transactions.insert(i, Transaction(twin.leaf, list(twin.moves), twin.envelope))


def _insert_system(draft: Draft, rng: random.Random) -> None:
    """A system transaction where it does not belong."""
    kind, chain_id = rng.choice(list(SystemKind)), _chain_id(draft)
    txid = system_txid(kind, chain_id, draft.header.number)
    leaf = replace(draft[0].leaf, txid=txid, status=1, gas_used=0)
    draft.transactions.insert(rng.randrange(len(draft.transactions) + 1), Transaction(leaf, [], None))


def _chain_id(draft: Draft) -> int:
    """By the first envelope that names one."""
    decoded = (decode_envelope(t.envelope) for t in draft.transactions if t.envelope is not None)
    return next(made.chain_id for made in decoded if made.chain_id is not None)


def _insert_signed(**wrong: Any) -> Change:
    """A transaction of a key of our own, whose envelope is signed and whose fields may be wrong; it cannot pay."""

    def change(draft: Draft, rng: random.Random) -> None:
        fields: dict[str, Any] = {
            "chain_id": _chain_id(draft), "nonce": 0, "tip": 0, "fee": 2 * draft.header.base_fee, "gas_limit": 21_000,
            "value": 0, "data": b"", "access_list": [], "blob_fee": 10**12,
        }  # fmt: skip
        append_signed(draft, envelope(2, KEY, **fields | wrong), stranger_moves())

    return change


def _empty(draft: Draft, rng: random.Random) -> None:
    draft.transactions.clear()


def _only_system(draft: Draft, rng: random.Random) -> None:
    """A prefix of the block that leaves out closing calls."""
    del draft.transactions[1:]


for _name, _falsify in {
    "flip": flipped,
    "truncate": lambda raw, rng: raw[: rng.randrange(len(raw))],
    "extend": lambda raw, rng: raw + rng.randbytes(1),
    "empty": lambda raw, rng: b"",
    "random": lambda raw, rng: rng.randbytes(len(raw)),
}.items():
    register(f"envelope.{_name}", _change_envelope(_falsify))
register("envelope.of_another", _swap_envelope)
register("envelope.left_over", lambda d, r: d.left_over.append(d[_signed(d, r)].envelope or b""), apart={"withheld"})
register("envelope.withheld", _withhold_envelope, apart={"withheld"})
register("transactions.swap", _swap_transactions, free=True)
register("transactions.swap_renumbered", renumbered(_swap_transactions), free=True)
register("transactions.delete", _delete_transaction, free=True)
register("transactions.delete_renumbered", renumbered(_delete_transaction), free=True)
register("transactions.duplicate", _duplicate_transaction)
register("transactions.duplicate_renumbered", renumbered(_duplicate_transaction))
for _name, _wrong in {
    "poor": {}, "gas": {"gas_limit": 20_999}, "block_gas": {"gas_limit": 2**40}, "cheap": {"fee": 1},
    "tip": {"tip": 2**100}, "chain": {"chain_id": 99}, "nonce": {"nonce": 7}, "value": {"value": 2**255},
}.items():  # fmt: skip
    register(f"transactions.insert_signed_{_name}", _insert_signed(**_wrong))
register("transactions.insert_system", _insert_system)
register("transactions.empty", _empty, free=True)
register("transactions.cut", _only_system, free=True)


# ---- codes and withdrawals ----


def _any_code(draft: Draft, rng: random.Random) -> int:
    return rng.randrange(len(draft.codes))


def _flip_code(draft: Draft, rng: random.Random) -> None:
    i = _any_code(draft, rng)
    draft.codes[i] = flipped(draft.codes[i], rng)


def _swap_codes(draft: Draft, rng: random.Random) -> None:
    draft.codes += [rng.randbytes(9) for _ in range(3)]
    draft.codes.sort(key=lambda code: rng.random())


def _many_codes(draft: Draft, rng: random.Random) -> None:
    most = draft.header.gas_limit // 200 + 24_576
    draft.codes += [rng.randbytes(24_576) for _ in range(most // 24_576 + 1)]


def _many_small_codes(draft: Draft, rng: random.Random) -> None:
    count = draft.header.gas_limit // GAS_PER_CODE + 1
    draft.codes += [rng.randbytes(6) for _ in range(count - len(draft.codes) + 1)]


def _duplicate_code(draft: Draft, rng: random.Random) -> None:
    draft.codes += [draft.codes[_any_code(draft, rng)] if draft.codes else b"\0"] * 2


def _delete_code(draft: Draft, rng: random.Random) -> None:
    if not draft.codes:
        raise LookupError("no codes")
    del draft.codes[_any_code(draft, rng)]


register("codes.flip", lambda d, r: _flip_code(d, r) if d.codes else _nothing())
register("codes.delete", _delete_code)
register("codes.insert", lambda d, r: d.codes.append(r.randbytes(r.randrange(100))), free=True)
register("codes.too_many", _many_codes)
register("codes.too_many_small", _many_small_codes)
register("codes.order", _swap_codes, leave={Step.CODE_ORDER}, free=True)
register("codes.duplicate", _duplicate_code)


def _nothing() -> None:
    raise LookupError("nothing to mutate")


def _change_withdrawal(name: str, falsify: Callable[[Any, random.Random], Any]) -> Change:
    def change(draft: Draft, rng: random.Random) -> None:
        i = rng.randrange(len(draft.withdrawals)) if draft.withdrawals else -1
        paid = draft.withdrawals[i]
        draft.withdrawals[i] = replace(paid, **{name: falsify(getattr(paid, name), rng)})

    return change


def _edit_withdrawals(edit: Callable[[list[Withdrawal], random.Random], object]) -> Change:
    def change(draft: Draft, rng: random.Random) -> None:
        if not draft.withdrawals:
            raise LookupError("no withdrawals")
        edit(draft.withdrawals, rng)

    return change


for _name in ("index", "validator", "amount"):
    for _way, _to in integer(60).items():
        register(f"withdrawal.{_name}.{_way}", _change_withdrawal(_name, _to), free=_name != "amount")
for _way, _word in WORDS.items():
    register(f"withdrawal.address.{_way}", _change_withdrawal("address", _word))
register("withdrawals.delete", _edit_withdrawals(lambda rows, rng: rows.pop(rng.randrange(len(rows)))))
register("withdrawals.duplicate", _edit_withdrawals(lambda rows, rng: rows.append(rng.choice(rows))))
register("withdrawals.shuffle", _edit_withdrawals(lambda rows, rng: rng.shuffle(rows)), free=True)
register("withdrawals.clear", _edit_withdrawals(lambda rows, rng: rows.clear()))
register("withdrawals.insert", lambda d, r: d.withdrawals.append(Withdrawal(1, 2, r.randbytes(20), r.randrange(1, 9))))
register("withdrawals.insert_zero", lambda d, r: d.withdrawals.append(Withdrawal(1, 2, r.randbytes(20), 0)), free=True)
register(
    "withdrawals.other_root",
    _edit_withdrawals(lambda rows, rng: rows.pop()),
    leave={Step.WITHDRAWALS_ROOT},
    apart={"withheld"},
)


# ---- headers ----

INPUTS: Final = frozenset({
    "seen_parent_hash", "coinbase", "timestamp", "prevrandao", "parent_beacon_root", "extra_data", "gas_limit",
})  # fmt: skip
"""Fields that their producer chooses, at least in some blocks and within bounds."""
ROOTS: Final = frozenset({"transactions_root", "codes_root", "withdrawals_root"})


def _register_headers() -> None:
    for name in Header.__dataclass_fields__:
        if name == "version":
            continue
        is_word = name.endswith(("hash", "root")) or name in ("config", "coinbase", "prevrandao", "extra_data")
        ways: dict[str, Any] = dict(WORDS if is_word else integer(40))
        for way, falsify in ways.items():
            apart = frozenset({"withheld"}) if name in ROOTS else frozenset()
            OPERATORS.append(Operator(f"header.{name}.{way}", _header_maker(name, falsify), name in INPUTS, apart))


def _header_maker(name: str, falsify: Callable[[Any, random.Random], Any]) -> Callable[[Block, random.Random], Block]:
    def make(block: Block, rng: random.Random) -> Block:
        value = getattr(block.header, name)
        return resigned(block, **{name: falsify(value or (b"\0" if value == b"" else value), rng)})

    return make


_register_headers()


# ---- what is counted apart ----


def _unsigned(block: Block, rng: random.Random) -> Block:
    return replace(block, signature=flipped(block.signature, rng))


def _signed_by_another(block: Block, rng: random.Random) -> Block:
    return resigned(block, key=rng.randbytes(32), timestamp=block.header.timestamp)


OPERATORS.append(Operator("signature.flip", _unsigned, apart=frozenset({"B7"})))
OPERATORS.append(Operator("signature.of_another", _signed_by_another, apart=frozenset({"B7"})))


def _other_body(block: Block, rng: random.Random) -> Block:
    """Moves that are not those of the header: whoever passes this on does not accuse the producer."""
    draft = Draft.of(block)
    change_move("next", flipped, sort=False, renumber=False)(draft, rng)
    return replace(sealed(draft), header=block.header, signature=block.signature)


def _other_moves(block: Block, rng: random.Random) -> Block:
    draft = Draft.of(block)
    change_move("prev", flipped, sort=False, renumber=False)(draft, rng)
    return replace(block, moves=sealed(draft).moves)


OPERATORS.append(Operator("body.leaves_of_another", _other_body, apart=frozenset({"withheld"})))
OPERATORS.append(Operator("body.moves_of_another", _other_moves, apart=frozenset({"withheld"})))


def _other_envelopes(block: Block, rng: random.Random) -> Block:
    """Envelopes in another order than the leaves name them."""
    return replace(block, envelopes=tuple(rng.sample(block.envelopes, len(block.envelopes))))


OPERATORS.append(Operator("body.envelopes_shuffled", _other_envelopes, apart=frozenset({"withheld"})))
