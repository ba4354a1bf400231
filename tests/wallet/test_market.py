"""A filler against a wallet on the example's market: it may choose the state, and gets no more than the words say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.amm.market import CONTRACTS, POOL, TOKEN, allowance_slot, balance_slot, calldata, ether_of, tokens_of
from manaflow.errors import Failure, Verdict
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.wallet.claims import Fill
from manaflow.wallet.declare import Wish, declare
from manaflow.wallet.explain import explain
from manaflow.wallet.intents import Intent, Policy
from manaflow.wallet.keys import sign
from manaflow.wallet.source import Snapshot
from tests.wallet.model import ETHER, KEY, ME, OTHER, Model, Refused, asm, environment

ALLOWANCE: Location = (Mark.STORAGE, TOKEN, allowance_slot(ME, POOL))
LEAST = 1_900 * ETHER
"""Tokens, for an ether: the pool's price is 1,992 of them."""
LIAR = asm("36 6040 10 6019 57 6a 01ffffffffffffffffffff 5f 52 6020 5f f3 5b 6001 5f 52 6020 5f f3")
"""A token that has much of everybody's, says yes to every transfer, and does nothing."""
THIEF = asm("5f 5f 5f 5f 47 73" + OTHER.hex() + "5a f1 00")
"""Code that sends all the ether of whoever runs it to OTHER."""
INITCODE = asm("6005 600a 5f 39 6005 5f f3 5f 54 5f 55 00")
"""Deploys five bytes of code."""


def market() -> Model:
    model = Model()
    model.account(ME, 100 * ETHER, 7)
    model.account(OTHER, 5 * ETHER)
    model.account(TOKEN, 0, 1, bytes.fromhex(CONTRACTS["Token"]["code"]))
    model.account(POOL, 1_000 * ETHER, 1, bytes.fromhex(CONTRACTS["Pool"]["code"]))
    for owner, tokens in ((ME, 20_000), (POOL, 2_000_000)):
        model.write((Mark.STORAGE, TOKEN, balance_slot(owner)), tokens * ETHER)
    model.write(ALLOWANCE, 20_000 * ETHER)
    return model


BUY = Wish(POOL, ETHER, calldata("Pool", "buy(uint256)", LEAST))
SELL = Wish(POOL, 0, calldata("Pool", "sell(uint256,uint256)", 2_000 * ETHER, ETHER // 2))
WISHES = {
    "buy": BUY, "sell": SELL, "transfer": Wish(TOKEN, 0, calldata("Token", "transfer(address,uint256)", OTHER, 5)),
    "approve": Wish(TOKEN, 0, calldata("Token", "approve(address,uint256)", POOL, 9)), "ether": Wish(OTHER, ETHER),
    "deploy": Wish(b"", 3, INITCODE), "guarded": replace(BUY, guards=((Mark.BALANCE, OTHER, ZERO32),)),
    "may fail": replace(BUY, may_fail=True, gas_limit=200_000),
}  # fmt: skip
policies = st.builds(
    Policy,
    st.sampled_from(Intent),
    sign_makers=st.booleans(),
    pinned=st.sampled_from([frozenset(), frozenset({ether_of(ME)})]),
) | st.builds(Policy, st.just(Intent.CONTESTED), any_cells=st.just(True))
AMOUNTS = [0, 1, ETHER // 2, 2 * ETHER, 99 * ETHER, 10**6 * ETHER, 2**255]
CELLS = [ether_of(POOL), tokens_of(POOL), tokens_of(ME), tokens_of(OTHER), ALLOWANCE, ether_of(ME), ether_of(OTHER)]
CODES = [(TOKEN, LIAR), (POOL, THIEF), (OTHER, THIEF), (TOKEN, b""), (POOL, b"")]
states = st.tuples(
    st.lists(st.tuples(st.sampled_from(CELLS), st.sampled_from(AMOUNTS)), max_size=4),
    st.sampled_from([None, None, None, *CODES]),
    st.sampled_from([1, 10**9, 2 * 10**9]),
    st.integers(0, 200),
)


def chosen(model: Model, state: tuple[list[tuple[Location, int]], tuple[bytes, bytes] | None, int, int]) -> Model:
    """The state that the filler waits for, or brings about."""
    writes, code, base_fee, later = state
    for location, value in writes:
        model.write(location, value)
    if code is not None:
        model.codes[keccak256(code[1])] = code[1]
        model.write((Mark.CODE, code[0], ZERO32), keccak256(code[1]) if code[1] else ZERO32)
    model.environment = environment(base_fee=base_fee, number=10 + later, timestamp=10_000 + later, coinbase=ME)
    return model


def gain(fill: Fill, location: Location) -> int:
    move = fill.at(location)
    return 0 if move is None else int.from_bytes(move.next, "big") - int.from_bytes(move.prev, "big")


@settings(deadline=None, max_examples=250)
@given(st.sampled_from(sorted(WISHES)), policies, states)
def test_the_words_hold_on_every_state_that_a_filler_may_choose(name: str, policy: Policy, state: object) -> None:
    wish = WISHES[name]
    try:
        declared = declare(Snapshot(market()), ME, wish, policy)
    except Failure:  # a pinned balance that the call does not change alone
        return
    explanation = explain(declared.transaction, ME)
    try:
        fill = chosen(market(), state).fill(sign(declared.transaction, KEY))  # type: ignore[arg-type]
    except (Refused, Verdict):
        return
    assert [str(claim) for claim in explanation.claims if not claim.holds(fill)] == []
    most = declared.transaction.gas_limit * declared.transaction.max_fee + wish.value
    assert -gain(fill, ether_of(ME)) <= most
    is_code_signed = policy.intent != Intent.OPEN and not policy.any_cells
    if is_code_signed and fill.status == 1 and name in ("buy", "guarded"):
        assert gain(fill, tokens_of(ME)) >= LEAST


def test_the_worst_of_a_swap_is_the_least_that_its_calldata_allows() -> None:
    """A sandwich: the filler buys before, down to what the call still takes, and not a token further."""
    declared = declare(Snapshot(market()), ME, BUY, Policy(Intent.CONTESTED)).transaction
    raw = sign(declared, KEY)

    def bought_after(ether: int) -> int:
        model = market()
        model.write(ether_of(POOL), (1_000 + ether) * ETHER)
        model.write(tokens_of(POOL), 2_000_000_000 * ETHER // (1_000 + ether))
        return gain(model.fill(raw), tokens_of(ME))

    assert bought_after(0) > bought_after(20) > bought_after(23) >= LEAST
    with pytest.raises(Refused, match="must succeed"):
        bought_after(24)


@pytest.mark.parametrize("policy", [Policy(Intent.EXACT), Policy(Intent.CONTESTED), Policy(Intent.OPEN)])
def test_code_that_changes_under_a_call(policy: Policy) -> None:
    """Only `open` lets another code take the ether for nothing, and its words name no code that is fixed."""
    declared = declare(Snapshot(market()), ME, BUY, policy).transaction
    model = chosen(market(), ([], (TOKEN, LIAR), 10**9, 0))
    if policy.intent != Intent.OPEN:
        with pytest.raises(Refused, match="prev that is signed"):
            model.fill(sign(declared, KEY))
        return
    fill = model.fill(sign(declared, KEY))
    assert (fill.status, gain(fill, tokens_of(ME))) == (1, 0)
    assert not any("the code of" in str(claim) for claim in explain(declared, ME).claims)
