"""The latest values: asked of a source once, forgotten on demand, and untouched by steps that are refused."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from typing import Any

import numpy as np
import pytest
import rlp

from manaflow._native import Codes, Filled, World
from manaflow.errors import Failure, Rule, Verdict
from manaflow.evm.native import is_block_full
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO32
from tests.native.crafted import ALICE, CONTRACT, environment, transfer, word

RICH = b"\xa9" * 20
COUNTING = bytes.fromhex("60005460010160005500")
"""Adds one to slot 0."""
COLUMNS = ("marks", "addrs", "slots", "prevs", "nexts", "consumes", "references", "statuses", "gas_used", "logs_hashes")


class State:
    """A source that counts what it is asked."""

    def __init__(self, values: dict[tuple[str, bytes, int], int], code: bytes) -> None:
        self.values = {mark.encode() + addr + word(slot): word(value) for (mark, addr, slot), value in values.items()}
        self.codes = {keccak256(code): code}
        self.values[b"c" + CONTRACT + ZERO32] = keccak256(code)
        self.asked: Counter[bytes] = Counter()

    def value(self, key: bytes) -> bytes | None:
        self.asked[key] += 1
        return self.values.get(key)

    def code(self, code_hash: bytes) -> bytes | None:
        self.asked[code_hash] += 1
        return self.codes.get(code_hash)

    def world(self) -> World:
        return World(self.value, self.code)


def counting_state() -> State:
    return State({("b", RICH, 0): 10**30, ("s", CONTRACT, 0): 41, ("n", CONTRACT, 0): 1}, COUNTING)


def loaded_world(state: State) -> World:
    """The same values, all at hand."""
    world = World()
    for key, value in state.values.items():
        world.load(key[:1], key[1:21], key[21:], value)
    return world


def calls(count: int, first_nonce: int = 0) -> list[bytes]:
    return [transfer(first_nonce + i, 60_000) for i in range(count)]


def fill(world: World, steps: list[bytes], codes: Codes, gas_limit: int = 30_000_000, **settings: Any) -> Filled:
    return world.fill(environment(gas_limit=gas_limit), steps, RICH * len(steps), {}, codes, **settings)


def same(first: Filled, second: Filled) -> bool:
    return all(getattr(first, name) == getattr(second, name) for name in (*COLUMNS, "logs", "codes", "places"))


# ---- a source ----


def test_a_lazy_world_fills_as_one_that_has_everything() -> None:
    state, codes = counting_state(), Codes()
    codes.add(COUNTING)
    assert same(fill(state.world(), calls(3), Codes()), fill(loaded_world(state), calls(3), codes))


def test_each_location_and_code_is_asked_for_once() -> None:
    state, codes = counting_state(), Codes()
    world = state.world()
    for batch in range(3):
        fill(world, calls(5, 5 * batch), codes)
    used = fill(world, calls(1, 15), codes)
    keys = {
        used.marks[i : i + 1] + used.addrs[20 * i : 20 * i + 20] + used.slots[32 * i : 32 * i + 32]
        for i in range(len(used.marks))
    }
    assert keys <= state.asked.keys()
    assert set(state.asked.values()) == {1}
    assert world.get(ord("s"), CONTRACT, word(0)) == word(41 + 16)


def test_get_asks_and_remembers() -> None:
    state = counting_state()
    world = state.world()
    for _ in range(2):
        assert world.get(ord("s"), CONTRACT, word(0)) == word(41)
        assert world.get(ord("b"), ALICE, word(0)) == ZERO32
    assert state.asked == {b"s" + CONTRACT + ZERO32: 1, b"b" + ALICE + ZERO32: 1}


def test_what_was_loaded_is_not_asked_for() -> None:
    state = counting_state()
    world = state.world()
    world.load(b"sn", CONTRACT + RICH, word(0) * 2, word(7) + word(0))
    fill(world, calls(1), Codes())
    assert world.get(ord("s"), CONTRACT, word(0)) == word(8)
    assert b"s" + CONTRACT + ZERO32 not in state.asked
    assert b"n" + RICH + ZERO32 not in state.asked
    assert state.asked[b"b" + RICH + ZERO32] == 1


def test_what_is_forgotten_is_asked_for_anew() -> None:
    state, codes = counting_state(), Codes()
    world = state.world()
    fill(world, calls(1), codes)
    assert len(world) == 3
    world.forget(b"s", CONTRACT, word(0))
    assert world.get(ord("s"), CONTRACT, word(0)) == word(41)
    assert world.get(ord("n"), RICH, word(0)) == word(1)
    world.clear()
    assert len(world) == 0
    assert same(fill(world, calls(1), codes), fill(state.world(), calls(1), codes))


def test_forgetting_one_field_leaves_the_others() -> None:
    world = World()
    world.load(b"bn", RICH * 2, word(0) * 2, word(5) + word(6))
    world.forget(b"b", RICH, word(0))
    assert (world.get(ord("b"), RICH, word(0)), world.get(ord("n"), RICH, word(0))) == (ZERO32, word(6))
    world.forget(b"nsex", RICH * 4, word(0) * 4)
    assert len(world) == 0


class BrokenError(Exception):
    """What a broken source raises."""


@pytest.mark.parametrize("broken", ["value", "code"])
@pytest.mark.parametrize("skip_refused", [False, True])
def test_what_a_source_raises_comes_out_and_nothing_has_changed(broken: str, skip_refused: bool) -> None:
    state = counting_state()

    def fails(key: bytes) -> bytes | None:
        if broken == "code" or key[:21] == b"s" + CONTRACT:
            raise BrokenError(key)
        return state.value(key)

    world = World(fails, state.code) if broken == "value" else World(state.value, fails)
    with pytest.raises(BrokenError) as caught:
        fill(world, [transfer(0, 21_000, ALICE), *calls(1, 1)], Codes(), skip_refused=skip_refused)
    assert caught.value.args[0] in (b"s" + CONTRACT + ZERO32, keccak256(COUNTING))
    assert world.get(ord("n"), RICH, word(0)) == ZERO32
    assert world.get(ord("b"), RICH, word(0)) == word(10**30)


@pytest.mark.parametrize("answer", [b"", bytes(31), bytes(33), 5, "0" * 32])
def test_an_answer_that_is_no_value_is_an_error(answer: Any) -> None:
    world = World(lambda key: answer)
    with pytest.raises((ValueError, TypeError)):
        world.get(ord("s"), CONTRACT, word(0))


def test_a_nonce_beyond_64_bits_is_the_sources_error_not_the_steps() -> None:
    with pytest.raises(ValueError, match="no chain holds"):
        fill(World(lambda key: word(2**64)), calls(1), Codes(), skip_refused=True)


def test_a_code_of_another_hash_is_an_error() -> None:
    state = counting_state()
    with pytest.raises(ValueError, match="hash"):
        fill(World(state.value, lambda code_hash: b"\0"), calls(1), Codes())
    with pytest.raises(Failure, match="not at hand"):
        fill(World(state.value, lambda code_hash: None), calls(1), Codes())


def test_a_source_that_uses_its_own_world_is_refused() -> None:
    world = World(lambda key: world.get(key[0], key[1:21], key[21:]))
    with pytest.raises(RuntimeError):
        world.get(ord("b"), RICH, word(0))


def test_a_world_and_the_owner_of_its_source_are_freed_together() -> None:
    class Owner(State):
        def __init__(self) -> None:
            super().__init__({}, COUNTING)
            self.own = self.world()

    owner = weakref.ref(Owner())
    gc.collect()
    assert owner() is None


# ---- steps that are refused ----


def dynamic(nonce: int, **changes: Any) -> bytes:
    """A call of the contract whose access list warms its slot."""
    fields: dict[str, Any] = {
        "chain": 1, "nonce": nonce, "tip": 0, "fee": 7, "gas": 60_000, "to": CONTRACT, "value": 0, "data": b"",
        "accesses": [[CONTRACT, [word(0)]]], "parity": 0, "r": 1, "s": 1,
    }  # fmt: skip
    return b"\2" + bytes(rlp.encode(list((fields | changes).values())))


def test_a_refused_step_leaves_no_trace() -> None:
    """Between valid steps: no nonce is used up, no slot is warm, no gas is counted."""
    state, codes = counting_state(), Codes()
    valid = calls(3)
    bad = [
        transfer(9, 60_000), b"\xc0", dynamic(0, fee=6), dynamic(0, gas=20_000), dynamic(0, value=10**31),
        dynamic(0, chain=2), dynamic(0, gas=30_000_001), b"", b"\x7f",
    ]  # fmt: skip
    steps = [*bad, valid[0], valid[0], *bad, valid[1], *bad, valid[2]]
    alone = fill(state.world(), valid, codes)
    just_enough = 60_000 + int(np.frombuffer(alone.gas_used, np.uint64)[:2].sum())
    filled = fill(state.world(), steps, codes, gas_limit=just_enough, skip_refused=True)
    places = np.frombuffer(filled.places, np.uint32).tolist()
    assert places == [9, 20, 30]
    assert sorted([*places, *(place for place, _, _ in filled.refused)]) == list(range(len(steps)))
    rules = {place: rule for place, rule, _ in filled.refused}
    assert [rules[place] for place in range(9)] == [
        Rule.X0, Rule.S1, Rule.X0, Rule.X0, Rule.X0, Rule.X0, Rule.X0, Rule.S1, Rule.S1,
    ]  # fmt: skip
    assert filled.refused[0][2] == "nonce 9 too high, expected 0"
    assert all(getattr(filled, name) == getattr(alone, name) for name in COLUMNS)
    assert alone.refused == []


def test_without_skipping_a_refused_step_is_an_error() -> None:
    with pytest.raises(Verdict) as caught:
        fill(counting_state().world(), [*calls(1), *calls(1)], Codes())
    assert (caught.value.rule, caught.value.transaction) == (Rule.X0, 1)


def test_a_step_that_the_rules_cannot_hold_is_refused_and_leaves_nothing_warm() -> None:
    """Before Cancun: the contract counts and then destroys itself; what it touched is cold again for the next."""
    killer = CONTRACT[:-1] + b"\1"
    code = COUNTING[:-1] + bytes.fromhex("30ff")
    state = counting_state()
    state.values |= {b"c" + killer + ZERO32: keccak256(code), b"s" + killer + ZERO32: word(3)}
    state.codes[keccak256(code)] = code
    steps = [transfer(0, 90_000, killer), dynamic(0, to=killer), *calls(1)]
    world = state.world()
    filled = world.fill(environment(fork=1), steps, RICH * 3, {}, Codes(), skip_refused=True)
    alone = state.world().fill(environment(fork=1), calls(1), RICH, {}, Codes())
    assert [(place, rule) for place, rule, _ in filled.refused] == [(0, Rule.X0), (1, Rule.X0)]
    assert "SELFDESTRUCT" in filled.refused[0][2]
    assert all(getattr(filled, name) == getattr(alone, name) for name in COLUMNS)
    assert world.get(ord("s"), killer, word(0)) == word(3)


def test_a_step_that_stops_halfway_leaves_none_of_its_slots_to_the_next() -> None:
    """It counts in two slots, then sends ether to an account that can hold no more."""
    sends = CONTRACT[:-1] + b"\2"
    code = COUNTING[:-1] + bytes.fromhex("6001545060006000600060006001") + b"\x73" + ALICE + bytes.fromhex("5af100")
    state = counting_state()
    state.values |= {b"c" + sends + ZERO32: keccak256(code), b"b" + sends + ZERO32: word(5)}
    state.values[b"b" + ALICE + ZERO32] = word(2**256 - 1)
    state.codes[keccak256(code)] = code
    filled = fill(state.world(), [transfer(0, 90_000, sends), *calls(1)], Codes(), skip_refused=True)
    assert [(place, rule) for place, rule, _ in filled.refused] == [(0, Rule.X0)]
    assert "overflows" in filled.refused[0][2]
    alone = fill(state.world(), calls(1), Codes())
    assert all(getattr(filled, name) == getattr(alone, name) for name in COLUMNS)


def test_steps_that_no_longer_fit_the_block_are_told_apart() -> None:
    steps = [*calls(1), transfer(1, 80_000), *calls(1, 1), transfer(5, 21_000)]
    world = counting_state().world()
    filled = world.fill(environment(gas_limit=100_000), steps, RICH * 4, {}, Codes(), skip_refused=True)
    assert np.frombuffer(filled.places, np.uint32).tolist() == [0, 2]
    assert [(place, is_block_full(why)) for place, _, why in filled.refused] == [(1, True), (3, False)]
    late = counting_state().world().fill(environment(), calls(1), RICH, {}, Codes(), 29_999_999, 0, True)
    assert late.places == b""
    assert [is_block_full(why) for _, _, why in late.refused] == [True]
