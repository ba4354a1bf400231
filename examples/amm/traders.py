"""Traders: each has an account, swaps in mind, and one way of signing them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from eth_account.signers.local import LocalAccount

from examples.amm.market import ETHER, Reserves, Swap
from manaflow.moves.hashing import keccak256
from manaflow.wallet.declare import Wish
from manaflow.wallet.intents import Intent
from manaflow.wallet.keys import Secret, address_of, from_private_key


@dataclass
class Trader:
    """One trader, and what became of the swaps so far."""

    account: LocalAccount
    intent: Intent
    swaps: Sequence[Swap]
    slippage: float = 0.05
    """How much less than what the pool gives now a swap accepts."""
    landed: int = 0
    """Swaps that are in the chain or the open block."""
    attempts: list[int] = field(default_factory=list)
    """How often each swap was signed."""

    @cached_property
    def address(self) -> bytes:
        """20 bytes."""
        return address_of(self.account)

    @property
    def is_done(self) -> bool:
        """True if every swap has landed."""
        return self.landed == len(self.swaps)

    @property
    def swap(self) -> Swap:
        """The next one."""
        return self.swaps[self.landed]

    def wish(self, seen: Reserves) -> Wish:
        """The next swap on what the trader sees of the pool; counted as an attempt."""
        if len(self.attempts) == self.landed:
            self.attempts.append(0)
        self.attempts[-1] += 1
        return self.swap.wish(seen, self.slippage)


def traders(seed: int, groups: dict[Intent, int], swaps: int) -> list[Trader]:
    """So many traders of each intent, mixed, each with so many swaps in mind: the same for the same seed."""
    chance = random.Random(seed)
    intents = [intent for intent, count in groups.items() for _ in range(count)]
    chance.shuffle(intents)
    return [
        Trader(_account(seed, number), intent, [_swap(chance) for _ in range(swaps)])
        for number, intent in enumerate(intents)
    ]


def _account(seed: int, number: int) -> LocalAccount:
    """Its key is no secret: only for an example."""
    return from_private_key(Secret(keccak256(b"manaflow example trader %d %d" % (seed, number)).hex()))


def _swap(chance: random.Random) -> Swap:
    """A tenth of an ether to one, or tokens worth as much."""
    is_buy, tenths = chance.random() < 0.5, chance.randint(1, 10)
    return Swap(is_buy, tenths * ETHER // 10 if is_buy else tenths * 200 * ETHER)
