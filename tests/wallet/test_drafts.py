"""Files between declaring, signing and submitting; a draft that shows one thing and holds another is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from eth_account.messages import encode_typed_data

from manaflow.errors import Failure, Verdict
from manaflow.moves.declared import encode_declared, typed_data
from manaflow.moves.signatures import CURVE_ORDER
from manaflow.wallet.declare import Wish, declare
from manaflow.wallet.drafts import Draft, read_any, read_draft, read_envelope
from manaflow.wallet.intents import Intent, Policy
from manaflow.wallet.keys import sign
from manaflow.wallet.source import Snapshot
from tests.builders import envelope
from tests.wallet.model import KEY, ME, OTHER, world

TRANSACTION = declare(Snapshot(world()), ME, Wish(OTHER, 3), Policy(Intent.EXACT)).transaction
DRAFT = Draft(TRANSACTION, ME)


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(DRAFT.encode()) | fields).encode()


def test_round_trip() -> None:
    read = read_draft(DRAFT.encode())
    assert read.sender == ME
    assert sign(read.transaction, KEY) == sign(TRANSACTION, KEY)
    assert read_any(DRAFT.encode())[1] == ME
    raw = sign(TRANSACTION, KEY)
    assert read_envelope(b" 0x" + raw.hex().encode() + b"\n") == raw
    assert read_any(raw.hex().encode())[1] == ME


def test_typed_data_of_another_transaction_is_refused() -> None:
    """What a hardware wallet would show must be what is held."""
    other = typed_data(replace(TRANSACTION, value=4))
    with pytest.raises(Failure, match="do not sign it"):
        read_draft(changed(typedData=other))
    unsigned = "0x" + encode_declared(replace(TRANSACTION, value=4)).hex()
    with pytest.raises(Failure, match="do not sign it"):
        read_draft(changed(unsigned=unsigned))


def test_a_draft_for_an_ethereum_network_is_refused() -> None:
    read_draft(Draft(replace(TRANSACTION, chain_id=31_337), ME).encode())
    with pytest.raises(Failure, match="chain id 1 is an Ethereum network's"):
        read_draft(Draft(replace(TRANSACTION, chain_id=1), ME).encode())


def test_what_is_no_draft() -> None:
    plain = "0x" + envelope(2).hex()
    bad = [b"", b"[]", b"{}", b"{" * 10_000, b"\xff", changed(version=2), changed(kind="x"), changed(sender="0x00"),
           changed(sender=5), changed(unsigned="0x4d"), changed(unsigned="0xzz"), changed(unsigned=plain)]  # fmt: skip
    for data in bad:
        with pytest.raises(Failure):
            read_draft(data)
    with pytest.raises(Failure, match="no envelope"):
        read_envelope(b"\xff")
    with pytest.raises(Verdict):
        read_any(b"0x4d")


def test_a_signature_from_elsewhere() -> None:
    shown = json.loads(DRAFT.encode())["typedData"]
    theirs = KEY.sign_message(encode_typed_data(full_message=shown)).signature
    assert DRAFT.with_signature(bytes(theirs)) == sign(TRANSACTION, KEY)
    low = bytes(theirs[:64]) + bytes((theirs[64] - 27,))
    assert DRAFT.with_signature(low) == sign(TRANSACTION, KEY)
    high = bytes(theirs[:32]) + (CURVE_ORDER - int.from_bytes(theirs[32:64], "big")).to_bytes(32, "big")
    high += bytes((27 + 28 - theirs[64],))
    for bad in (
        b"",
        bytes(theirs[:64]),
        bytes(65),
        bytes(theirs[:64]) + b"\x05",
        high,
        bytes(low[:-1]) + bytes((1 - low[-1],)),
    ):
        with pytest.raises(Failure, match="signature"):
            DRAFT.with_signature(bad)
