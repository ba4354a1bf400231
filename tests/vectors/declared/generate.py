"""Write the vectors of declared transactions anew: `python -m tests.vectors.declared.generate` (format: README.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import coincurve

from manaflow.moves.declared import domain_separator, typed_data
from manaflow.moves.marks import UNSIGNED, ZERO32, Mark, Mask, Move
from manaflow.moves.transactions import AccessEntry, NamedMove
from tests.builders import KEY, OTHER_KEY, TO, Tree, address_of
from tests.declared import (
    GUARD,
    LIMIT,
    MOVES,
    SENDER,
    declared_envelope,
    declared_items,
    decoded,
    encode_declared_items,
    filled,
    masked,
    named_move,
    unsigned_move,
    word,
)

HERE: Final = Path(__file__).parent
CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
MAKER: Final = b"\xcd" * 32
OTHER: Final = b"\x0f" * 20


def shown(value: bytes) -> str:
    return "0x" + value.hex()


# ---- valid envelopes ----


def valid() -> Iterator[dict[str, Any]]:
    """Each with what is signed, and by whom."""
    yield vector("some of each kind of move")
    yield vector("no moves", moves=())
    yield vector("another key, everything empty", OTHER_KEY, moves=(), to=b"", data=b"", access_list=(), flags=0)
    for mask in range(128):  # with and without REFERENCE: every combination of the six bits but all of them
        bits = (mask & 63) | (Mask.REFERENCE if mask & 64 else 0)
        if bits & UNSIGNED != UNSIGNED:
            move = named_move(bits, Mark.STORAGE, TO, 1, 2, 3, MAKER)
            yield vector(f"mask {bits:#04x}", moves=(move,))
    for bits in range(8):
        form = named_move(Mask.REFERENCE | Mask.GUARD | bits, Mark.STORAGE, TO, 1, 2, 2, MAKER)
        yield vector(f"guard, mask {form.mask:#04x}", moves=(form,))
    for flags in (0, 2, 3):
        yield vector(f"flags {flags}", flags=flags)
    yield vector("a create", to=b"", data=b"\x60\x00\x60\x00\xf3")
    yield vector("to the zero address", to=bytes(20))
    entries = (AccessEntry(TO, ()), AccessEntry(TO, (word(1), ZERO32)), AccessEntry(OTHER, ()))
    yield vector("an access list", access_list=entries)
    yield vector("equal moves", moves=(GUARD, GUARD, *[named_move(UNSIGNED & ~Mask.MARK, Mark.STORAGE)] * 3))
    yield vector("a virgin cell's maker is signed", moves=(named_move(0, Mark.STORAGE, TO, 1),))
    yield vector("one mark of each kind", moves=tuple(named_move(Mask.INTX | Mask.REFERENCE, mark) for mark in Mark))
    yield vector("a mark that nobody knows, refused in a block by M4", moves=(named_move(Mask.INTX, 0xFF),))
    yield vector("the last block number", valid_until=2**64 - 1)
    small = {"chain_id": 1, "nonce": 0x7F, "gas_limit": 0x80, "max_fee": 0xFF, "max_priority_fee": 1, "value": 0}
    yield vector("integers of one byte", **small)
    yield vector(
        "the largest integers", chain_id=2**64 - 1, nonce=2**64 - 1, gas_limit=2**64 - 1, max_fee=2**256 - 1,
        max_priority_fee=2**256 - 1, value=2**256 - 1,
    )  # fmt: skip
    yield vector("long data", data=bytes(range(256)) * 2)


def vector(name: str, key: coincurve.PrivateKey = KEY, **fields: Any) -> dict[str, Any]:
    """A valid envelope and everything that follows from it."""
    if "moves" in fields:
        fields["moves"] = tuple(sorted(fields["moves"], key=lambda move: move.sort_key))
    raw = declared_envelope(key=key, **fields)
    transaction = decoded(raw)
    typed = typed_data(transaction)
    return {
        "name": name,
        "key": shown(key.secret),
        "domain": typed["domain"],
        "message": typed["message"],
        "domain_separator": shown(domain_separator(transaction.chain_id or 0)),
        "signing_hash": shown(transaction.signing_hash),
        "signature": {
            "y_parity": transaction.y_parity,
            "r": shown(word(transaction.r)),
            "s": shown(word(transaction.s)),
        },
        "envelope": shown(raw),
        "sender": shown(address_of(key)),
        "txid": shown(transaction.txid),
        "guards": transaction.guards,
    }


# ---- refused encodings ----


def refused() -> Iterator[dict[str, str]]:
    """Bytes that no reader may accept, each with the reason; all but these are as in the first valid vector."""
    raw = declared_envelope()
    s, parity = int.from_bytes(declared_items()["s"], "big"), int.from_bytes(declared_items()["y_parity"], "big")
    yield bad("the type byte alone", raw[:1])
    yield bad("the last byte is missing", raw[:-1])
    yield bad("a byte follows the list", raw + b"\0")
    yield bad("an item follows the last", encode_declared_items(declared_items() | {"more": b""}))
    for name in declared_items():
        yield bad(f"{name} is missing", encode_declared_items({k: v for k, v in declared_items().items() if k != name}))
    widths = {"chain_id": 8, "nonce": 8, "gas_limit": 8, "valid_until": 8, "tip": 32, "fee": 32, "value": 32}
    for name, width in widths.items():
        yield changed(f"{name} has {width + 1} bytes", **{name: 256**width})
        yield changed(f"{name} has a leading zero", **{name: b"\0\1"})
        yield changed(f"{name} is a zero byte instead of nothing", **{name: b"\0"})
    yield changed("to has 19 bytes", to=TO[1:])
    yield changed("to has 21 bytes", to=b"\0" + TO)
    yield changed("an access list's slot has 31 bytes", access_list=[[TO, [bytes(31)]]])
    yield changed("an access entry has three items", access_list=[[TO, [], b""]])
    yield changed("flag 4 is known to nobody", flags=4)
    yield changed("flags has two bytes", flags=256)
    yield changed("y parity is 2", y_parity=2)
    yield changed("y parity is 27", y_parity=27)
    yield changed("r is 0", r=0)
    yield changed("r is the curve's order", r=CURVE_ORDER)
    yield changed("s is 0", s=0)
    yield changed("s is high", s=CURVE_ORDER - s, y_parity=1 - parity)
    yield changed("s is half the curve's order, rounded up", s=CURVE_ORDER // 2 + 1)
    yield changed("no key recovers from r", r=5)
    yield from refused_moves()


def refused_moves() -> Iterator[dict[str, str]]:
    good = item(named_move(Mask.INTX, Mark.STORAGE, TO, 1, 2, 3))
    whole = item(named_move(0, Mark.STORAGE, TO, 1, 2, 3, MAKER))
    yield changed("a move is bytes", moves=[b""])
    yield changed("a move has six items", moves=[good[:-1]])
    yield changed("a move has eight items", moves=[[*good, b""]])
    yield changed("a mask is empty", moves=[[b"", *good[1:]]])
    yield changed("a mask has two bytes", moves=[[b"\0\1", *good[1:]]])
    for mask in (0x3F, 0xBF, 0x7F, 0xFF):
        yield changed(f"mask {mask:#04x} signs nothing", moves=[[bytes((mask,)), *[b""] * 6]])
    for at, name in enumerate(("mark", "intx", "addr", "slot", "prev", "next"), start=1):
        yield changed(f"{name} is not masked and empty", moves=[[*whole[:at], b"", *whole[at + 1 :]]])
        yield changed(f"{name} is a byte longer", moves=[[*whole[:at], b"\1" + whole[at], *whole[at + 1 :]]])
        bit = next(bit for bit, field in LIMIT.items() if field == name)
        yield changed(f"{name} is masked and not empty", moves=[[bytes((int(bit),)), *whole[1:]]])
        yield changed(f"{name} is a list", moves=[[*whole[:at], [], *whole[at + 1 :]]])
    yield changed("a guard that is no reference", moves=[[b"\x40", *whole[1:]]])
    for bit in (Mask.MARK, Mask.ADDR, Mask.SLOT):
        form = masked(replace(named_move(0xC0, Mark.STORAGE, TO, 1, 2, 2, MAKER), mask=0xC0 | bit))
        yield changed(f"a guard's {LIMIT[bit]} is masked", moves=[item(form)])
    for at, name in enumerate(("mask", "mark", "intx", "addr", "slot", "prev", "next")):
        later = [*whole[:at], b"\x80" if name == "mask" else b"\xff" * len(whole[at]), *whole[at + 1 :]]
        yield changed(f"moves descend by {name}", moves=[later, whole])


def bad(reason: str, raw: bytes) -> dict[str, str]:
    return {"reason": reason, "envelope": shown(raw)}


def changed(reason: str, **items: Tree) -> dict[str, str]:
    return bad(reason, encode_declared_items(declared_items() | items))


def item(move: NamedMove) -> list[bytes]:
    """A move as the envelope writes it."""
    tree: list[bytes] = declared_items(declared_envelope((move,)))["moves"][0]
    return tree


# ---- fills ----

ADDED: Final = unsigned_move(Mark.BALANCE, OTHER)


def honest() -> list[Move]:
    """A fill of MOVES."""
    some = {"prev": word(8), "next": word(9)}
    moves = [
        filled(form, **{name: some[name] for bit, name in LIMIT.items() if form.mask & bit and name in some})
        for form in MOVES
    ]
    return m5([replace(move, number=7) if move.mark == Mark.CODE else move for move in moves])


def m5(moves: Sequence[Move]) -> list[Move]:
    return sorted(moves, key=lambda move: (move.is_reference, move.location))


def fills() -> Iterator[dict[str, Any]]:
    """Groups of one envelope and fills of it."""
    yield group("an open transaction", declared_envelope(), list(fills_of_open()))
    yield group("a closed transaction", declared_envelope(flags=0), [
        fill("as signed", honest()),
        fill("it may fail", honest(), status=0),
        fill("a move is added", [*honest(), ADDED], rule="S3"),
    ])  # fmt: skip
    yield group("a transaction that must succeed", declared_envelope(flags=2), [
        fill("it succeeds", honest()),
        fill("it fails", honest(), status=0, rule="S3"),
        fill("a move is added", [*honest(), ADDED], rule="S3"),
    ])  # fmt: skip
    yield group("a transaction until block 1000", declared_envelope(valid_until=1000), [
        fill("in block 999", honest(), number=999),
        fill("in block 1000", honest(), number=1000),
        fill("in block 1001", honest(), number=1001, rule="S4"),
    ])  # fmt: skip
    for bit, name in LIMIT.items():
        yield field_group(bit, name)
    yield repeated_group()
    yield makers_group()


def fills_of_open() -> Iterator[dict[str, Any]]:
    moves = honest()
    guard = next(i for i, move in enumerate(moves) if move.mask & Mask.GUARD)
    balance = next(i for i, move in enumerate(moves) if move.mark == Mark.BALANCE)
    yield fill("as signed", moves)
    yield fill("moves are added", [*moves, ADDED, unsigned_move(Mark.STORAGE, OTHER, 1, 2, 3)])
    yield fill("masked fields differ", put(moves, balance, prev=word(100), next=word(1)))
    yield fill("another chain", moves, chain_id=7778, rule="S2")
    yield fill("profile ethereum", moves, profile="ethereum", rule="S2")
    yield fill("no moves at all", [], rule="S2")
    for i in range(len(moves)):
        yield fill(f"move {i} is left out", moves[:i] + moves[i + 1 :], rule="S2")
        for bit in (*LIMIT, Mask.GUARD, Mask.REFERENCE):
            lie = put(moves, i, mask=moves[i].mask ^ bit)
            yield fill(f"the mask of move {i} lies about bit {int(bit)}", lie, rule="S2")
    yield fill("a guard is added", [*moves, replace(ADDED, mask=ADDED.mask | Mask.GUARD)], rule="S3")
    yield fill("a guard becomes a plain unsigned move", put(moves, guard, mask=0xBF), rule="S2")
    yield fill("another maker", moves, makers={7: word(1)}, rule="V1")
    yield fill("a virgin cell where a maker is signed", [replace(move, number=0) for move in moves], rule="V1")


def field_group(bit: Mask, name: str) -> dict[str, Any]:
    """One field signed in one group's envelope, and masked in another move of the same envelope."""
    signed = named_move(Mask.INTX if name != "intx" else 0, Mark.STORAGE, TO, 1, 2, 3, MAKER)
    free = masked(replace(signed, mask=signed.mask | bit | Mask.INTX, slot=word(4)))
    whole = [filled(signed, number=7), filled(free, mark=ord("s"), addr=TO, slot=word(4), prev=word(2), next=word(3))]
    other: dict[str, Any] = {"mark": ord("b"), "addr": OTHER, "slot": word(9), "prev": word(9), "next": word(9)}
    cases = [fill("as signed", whole)]
    if name == "intx":
        cases.append(fill("the signed field differs", whole, makers={7: word(1)}, rule="V1"))
    else:
        cases.append(fill("the masked field differs", put(whole, 1, **{name: other[name]})))
        cases.append(fill("the signed field differs", put(whole, 0, **{name: other[name]}), rule="S2"))
    return group(f"{name} signed and masked", declared_envelope((signed, free)), cases)


def repeated_group() -> dict[str, Any]:
    form = named_move(Mask.INTX | Mask.SLOT | Mask.PREV | Mask.NEXT)
    moves = [filled(form, slot=word(k), next=word(1)) for k in (1, 2, 3)]
    return group("equal moves", declared_envelope((form, form)), [
        fill("twice", moves[:2]), fill("once", moves[:1], rule="S2"), fill("thrice", moves, rule="S2"),
    ])  # fmt: skip


def makers_group() -> dict[str, Any]:
    """Where several moves fit, the first in M5's order takes the least signed maker."""
    forms = tuple(named_move(Mask.SLOT | Mask.PREV | Mask.NEXT, intx=word(maker)) for maker in (5, 6))
    moves = [filled(forms[0], 10 + k, slot=word(k), next=word(1)) for k in (1, 2)]
    return group("makers of moves that fit one another", declared_envelope(forms), [
        fill("ascending", moves, makers={11: word(5), 12: word(6)}),
        fill("descending", moves, makers={11: word(6), 12: word(5)}, rule="V1"),
    ])  # fmt: skip


def put(moves: Sequence[Move], i: int, **fields: Any) -> list[Move]:
    return [replace(move, **fields) if k == i else move for k, move in enumerate(moves)]


def fill(name: str, moves: Sequence[Move], rule: str | None = None, **context: Any) -> dict[str, Any]:
    """One fill; `rule` is the one that refuses it."""
    makers = context.pop("makers", {7: MAKER})
    status = context.pop("status", 1)
    return {
        "name": name,
        "block": {"profile": "manaflow", "chain_id": 7777, "number": 1, **context},
        "status": status,
        "moves": [shown_move(move) for move in m5(moves)],
        "makers": {str(number): shown(txid) for number, txid in makers.items()},
        "rule": rule,
    }


def shown_move(move: Move) -> dict[str, Any]:
    fields = {name: shown(getattr(move, name)) for name in ("addr", "slot", "prev", "next")}
    return {"mask": move.mask, "mark": shown(bytes((move.mark,))), "number": move.number, **fields}


def group(name: str, raw: bytes, cases: list[dict[str, Any]]) -> dict[str, Any]:
    txid = decoded(raw).txid
    return {"name": name, "envelope": shown(raw), "sender": shown(SENDER), "txid": shown(txid), "fills": cases}


FILES: Final = {"valid.json": valid, "refused.json": refused, "fills.json": fills}


def text_of(name: str) -> str:
    """The content of a file, one vector a line."""
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in FILES[name]())
    return f"[\n{lines}\n]\n"


def types_text() -> str:
    """What all typed data share."""
    typed = typed_data(decoded(declared_envelope()))
    return json.dumps({name: typed[name] for name in ("types", "primaryType")}, indent=1) + "\n"


def texts() -> dict[str, str]:
    """Every file's content by name."""
    return {name: text_of(name) for name in FILES} | {"types.json": types_text()}


def main() -> None:
    """Write every file."""
    for name, text in texts().items():
        (HERE / name).write_text(text)
        print(f"{name}: {len(text)} bytes")


if __name__ == "__main__":
    main()
