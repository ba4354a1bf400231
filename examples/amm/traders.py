"""Traders: each has a key, swaps in mind, and one way of signing them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import coincurve

from examples.amm.market import ETHER, Call, Reserves, Swap, approval, reserves
from manaflow.moves.declared import encode_declared, signing_hash
from manaflow.moves.hashing import keccak256
from manaflow.wallet.declare import Wish, declare
from manaflow.wallet.intents import Intent, Policy
from manaflow.wallet.source import CellSource, Snapshot

EXACT: Final = Policy(Intent.EXACT)


@dataclass
class Trader:
    """One trader, and what became of the swaps so far."""

    key: coincurve.PrivateKey
    intent: Intent
    swaps: Sequence[Swap]
    slippage: float = 0.05
    """How much less than what the pool gives now a swap accepts."""
    landed: int = 0
    """Swaps that are in the chain or the open block."""
    attempts: list[int] = field(default_factory=list)
    """How often each swap was signed."""

    @property
    def address(self) -> bytes:
        """20 bytes."""
        return keccak256(self.key.public_key.format(compressed=False)[1:])[12:]

    @property
    def is_done(self) -> bool:
        """True if every swap has landed."""
        return self.landed == len(self.swaps)

    def sign_approval(self, source: CellSource) -> bytes:
        """Let the pool take tokens. Nobody else writes these cells, so that the exact form never loses."""
        return self._sign(source, lambda seen: approval(), EXACT)

    def sign_swap(self, source: CellSource) -> bytes:
        """The next swap, on the state as the source has it."""
        swap = self.swaps[self.landed]
        if len(self.attempts) == self.landed:
            self.attempts.append(0)
        self.attempts[-1] += 1
        return self._sign(source, lambda seen: swap.call(seen, self.slippage), Policy(self.intent))

    def _sign(self, source: CellSource, call: Callable[[Reserves], Call], policy: Policy) -> bytes:
        """Execute here, declare the moves as the policy says, sign; a signed envelope."""
        snapshot = Snapshot(source)
        wanted = call(reserves(lambda location: snapshot.cell(location).value))
        # For ever (0): a swap that loses is then given up at once, instead of waiting for its state to come back.
        wish = Wish(wanted.to, wanted.value, wanted.data, valid_until=0)
        transaction = declare(snapshot, self.address, wish, policy).transaction
        signature = self.key.sign_recoverable(signing_hash(transaction), hasher=None)
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        return encode_declared(replace(transaction, y_parity=signature[64], r=r, s=s))


def traders(seed: int, groups: dict[Intent, int], swaps: int) -> list[Trader]:
    """So many traders of each intent, each with so many swaps in mind: the same for the same seed."""
    chance = random.Random(seed)
    intents = [intent for intent, count in groups.items() for _ in range(count)]
    return [
        Trader(_key(seed, number), intent, [_swap(chance) for _ in range(swaps)])
        for number, intent in enumerate(intents)
    ]


def _key(seed: int, number: int) -> coincurve.PrivateKey:
    """Not secret: only for an example."""
    return coincurve.PrivateKey(keccak256(b"manaflow example trader %d %d" % (seed, number)))


def _swap(chance: random.Random) -> Swap:
    """A tenth of an ether to one, or tokens worth as much."""
    is_buy, tenths = chance.random() < 0.5, chance.randint(1, 10)
    return Swap(is_buy, tenths * ETHER // 10 if is_buy else tenths * 200 * ETHER)
