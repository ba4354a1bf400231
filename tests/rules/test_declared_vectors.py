"""The vectors of declared transactions hold in Python and in native code, and are what their generator writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from manaflow import _native
from manaflow.errors import Rule, Verdict
from manaflow.evm.envelopes import decode_envelopes
from manaflow.moves.declared import domain_separator, typed_data
from manaflow.moves.envelopes import decode_envelope, recover_sender
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import Move
from manaflow.rules.config import Profile
from manaflow.rules.declared import check_s2, check_s3, check_s4, signed_intx
from manaflow.rules.state import check_v1_intx
from tests.chain import chain_config
from tests.declared import decoded
from tests.vectors.declared.generate import HERE, texts

TYPES = json.loads((HERE / "types.json").read_text())
VALID = json.loads((HERE / "valid.json").read_text())
REFUSED = json.loads((HERE / "refused.json").read_text())
FILLS = json.loads((HERE / "fills.json").read_text())


def data(text: str) -> bytes:
    assert text.startswith("0x")
    return bytes.fromhex(text[2:])


def test_the_generator_writes_these_files() -> None:
    for name, text in texts().items():
        assert (HERE / name).read_text() == text, name


def test_there_is_something_of_everything() -> None:
    assert len({one["txid"] for one in VALID}) == len(VALID) > 150
    masks = {move["mask"] for one in VALID for move in one["message"]["moves"]}
    assert masks == {m for m in range(256) if m & 63 != 63 and (not m & 64 or (m & 128 and not m & 56))}
    assert len({one["envelope"] for one in REFUSED}) == len(REFUSED) > 80
    rules = Counter(fill["rule"] for one in FILLS for fill in one["fills"])
    assert set(rules) == {None, "S2", "S3", "S4", "V1"}
    assert rules[None] > 15


def test_valid_in_python() -> None:
    for one in VALID:
        raw = data(one["envelope"])
        transaction = decoded(raw)
        assert typed_data(transaction) == TYPES | {"domain": one["domain"], "message": one["message"]}, one["name"]
        assert domain_separator(transaction.chain_id or 0) == data(one["domain_separator"])
        assert transaction.signing_hash == data(one["signing_hash"])
        signature = one["signature"]
        assert transaction.y_parity == signature["y_parity"]
        assert (transaction.r, transaction.s) == (int(signature["r"], 16), int(signature["s"], 16))
        assert (transaction.txid, recover_sender(transaction)) == (data(one["txid"]), data(one["sender"]))
        assert transaction.guards == one["guards"]


def test_valid_in_native_code() -> None:
    columns = decode_envelopes([data(one["envelope"]) for one in VALID])
    assert not columns.code.any()
    for i, one in enumerate(VALID):
        assert columns.sender[i].tobytes() == data(one["sender"]), one["name"]
        assert columns.txid[i].tobytes() == data(one["txid"])
        assert columns.guards[i] == one["guards"]
        assert columns.signed_moves[i] == len(one["message"]["moves"])
        fields = _native.decode_envelope(data(one["envelope"]))
        assert fields is not None
        assert data(one["signing_hash"]) in fields


@pytest.mark.parametrize("step", range(4))
def test_eth_account_signs_the_same(step: int) -> None:
    for one in VALID[step::4]:
        message = encode_typed_data(full_message=TYPES | {"domain": one["domain"], "message": one["message"]})
        assert message.header == data(one["domain_separator"])
        signed = Account.from_key(one["key"]).sign_message(message)
        assert signed.message_hash == data(one["signing_hash"]), one["name"]
        assert (signed.r, signed.s) == (int(one["signature"]["r"], 16), int(one["signature"]["s"], 16))
        assert signed.v - 27 == one["signature"]["y_parity"]


def test_refused_in_python_and_in_native_code() -> None:
    for one in REFUSED:
        raw = data(one["envelope"])
        with pytest.raises(Verdict) as caught:
            recover_sender(decode_envelope(raw))
        assert caught.value.rule == Rule.S2, one["reason"]
        assert decode_envelopes([raw]).code.tolist() == [Rule.S2], one["reason"]


def fills() -> Iterator[Any]:
    for one in FILLS:
        for fill in one["fills"]:
            yield pytest.param(one, fill, id=f"{one['name']}: {fill['name']}")


def move_of(shown: dict[str, Any]) -> Move:
    rest = (data(shown[name]) for name in ("addr", "slot", "prev", "next"))
    return Move(shown["mask"], data(shown["mark"])[0], shown["number"], *rest)


def judge(one: dict[str, Any], fill: dict[str, Any]) -> None:
    """S2, S3, S4, and V1 of signed makers."""
    block, raw = fill["block"], data(one["envelope"])
    config = replace(chain_config(), profile=Profile[block["profile"].upper()], chain_id=block["chain_id"])
    moves = [move_of(shown) for shown in fill["moves"]]
    assert moves == sorted(moves, key=lambda move: (move.is_reference, move.location))
    transaction, sender = check_s2(raw, config, keccak256(raw), moves)
    assert (transaction.txid, sender) == (data(one["txid"]), data(one["sender"]))
    check_s3(transaction, moves, fill["status"])
    check_s4(transaction, block["number"])
    makers = {int(number): data(txid) for number, txid in fill["makers"].items()}
    for i, intx in signed_intx(transaction, moves).items():
        check_v1_intx(moves[i], intx, makers.get(moves[i].number))


@pytest.mark.parametrize(("one", "fill"), list(fills()))
def test_fills(one: dict[str, Any], fill: dict[str, Any]) -> None:
    if fill["rule"] is None:
        judge(one, fill)
        return
    with pytest.raises(Verdict) as caught:
        judge(one, fill)
    assert caught.value.rule.name == fill["rule"]
