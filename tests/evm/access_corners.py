"""More of the access table: corners where its rows meet. `access_cases.CASES` holds them with the plain rows."""

from __future__ import annotations

from manaflow.moves.hashing import keccak256
from manaflow.rules.config import Fork
from tests.evm.crafting import (
    BASE,
    COINBASE,
    CONTRACT,
    ETHER,
    INVALID,
    NAMES,
    OTHER,
    OUT,
    SENDER,
    STOP,
    THIRD,
    TO,
    Account,
    asm,
    call,
    case,
    create,
    designation,
    load,
    look,
    sign_authorization,
    store,
)  # fmt: skip

REVERT = asm(0, 0, "REVERT")
MADE = ["n to", "c made", "n made"]
MADE2 = ["n to", "c made2", "n made2"]
IDENTITY, ECADD, AUTHORITY = NAMES["identity"], NAMES["ecadd"], NAMES["authority"]
NOT_ON_CURVE = asm(1, 0, "MSTORE", 0, 0, 64, 0)
"""The start of a call of ecadd with a point that is none: it fails."""


def failing(value: int) -> bytes:
    """A call with value of a precompile that fails."""
    return NOT_ON_CURVE + asm(value, ECADD, "GAS", "CALL", "POP")


REVERTED = [
    case("CREATE that reverts", [*BASE, *MADE, "b to", "b made"], code=create(REVERT, 5),
         writes={"n to": 2, "n made": 0, "b made": 0, "b to": ETHER}),
    case("CREATE that uses slots and reverts", [*BASE, *MADE, "s made 1", "b other"],
         code=create(store(1) + look("BALANCE", OTHER) + INVALID), writes={"n to": 2, "n made": 0, "s made 1": 0}),
    case("CREATE that runs out of gas for its code", [*BASE, *MADE], code=create(asm(24_577, 0, "RETURN")),
         writes={"n to": 2, "n made": 0, "c made": 0}),
    case("CREATE of code that begins with 0xef", [*BASE, *MADE], code=create(asm(0xEF, 0, "MSTORE8", 1, 0, "RETURN")),
         writes={"n to": 2, "n made": 0, "c made": 0}),
    case("CREATE in a frame that reverts", [*BASE, "c other", "n other", "c theirs", "n theirs"], code=call(OTHER),
         accounts={OTHER: Account(0, 1, create() + INVALID)}, writes={"n other": 1, "n theirs": 0}),
    case("CREATE in a transaction that reverts", [*BASE, *MADE], code=create() + INVALID, status=0,
         writes={"n to": 1, "n made": 0, "n sender": 6}),
    case("creating that reverts", [*OUT, "c new", "n new", "b new", "s new 1"], to=b"", value=3,
         data=store(1) + REVERT, status=0, writes={"n new": 0, "b new": 0, "s new 1": 0, "n sender": 6}),
]  # fmt: skip

COLLISIONS = [
    case("creating where a nonce and a balance are", [*OUT, "c new", "n new"], to=b"", value=3, status=0,
         accounts={NAMES["new"]: Account(9, 1)}, writes={"n new": 1, "n sender": 6}),
    case("creating where a balance is", [*OUT, "c new", "n new", "b new"], to=b"", value=3,
         accounts={NAMES["new"]: Account(9)}, writes={"n new": 1, "b new": 12}),
    case("creating where a delegation is", [*OUT, "c new"], to=b"", status=0,
         accounts={NAMES["new"]: Account(0, 1, designation(THIRD))}),
    case("CREATE2 where a nonce is", [*BASE, *MADE2], code=create(kind="CREATE2"),
         accounts={NAMES["made2"]: Account(0, 1)}, writes={"n to": 2, "n made2": 1}),
    case("CREATE2 with value where a nonce is", [*BASE, *MADE2, "b to"], code=create(value=5, kind="CREATE2"),
         accounts={NAMES["made2"]: Account(0, 1)}, writes={"b to": ETHER}),
    case("CREATE2 twice with one salt", [*BASE, *MADE2], code=create(kind="CREATE2") + create(kind="CREATE2"),
         writes={"n to": 3, "n made2": 1}),
    case("CREATE in a frame where code was made before", [*BASE, *MADE],
         code=create(asm(1, 0, "RETURN")) + call(NAMES["made"]), writes={"n to": 2}),
]  # fmt: skip

EMPTY = [
    case("CALL without value of nothing", [*BASE, "c other", "b other"], code=call(OTHER) + look("BALANCE", OTHER),
         writes={"b other": 0}),
    case("STATICCALL of nothing", [*BASE, "c other"], code=call(OTHER, kind="STATICCALL")),
    case("DELEGATECALL of nothing", [*BASE, "c other"], code=call(OTHER, kind="DELEGATECALL")),
    case("a call without value of nothing", [*BASE], writes={"c to": 0}),
    case("CALL with value to nothing in a frame that reverts", [*BASE, "c other", "b other", "c third", "b third",
         "n third"], code=call(OTHER), accounts={OTHER: Account(9, 1, call(THIRD, 1) + INVALID)},
         writes={"b third": 0, "b other": 9}),
]  # fmt: skip

PRECOMPILED = [
    case("a precompile that fails", OUT, to=ECADD, data=b"\0" * 31 + b"\1", status=0),
    case("a precompile with value that fails", [*OUT, "b ecadd"], to=ECADD, value=1, data=b"\0" * 31 + b"\1", status=0,
         writes={"b ecadd": 0}),
    case("CALL with value of a precompile that fails", [*BASE, "b to", "b ecadd"], code=failing(1),
         writes={"b ecadd": 0, "b to": ETHER}),
    case("CALL without value of a precompile that fails", BASE, code=failing(0)),
    case("CALL with too much value to a precompile", [*BASE, "b to", "b identity"], code=call(IDENTITY, 2 * ETHER)),
    case("CALL with value to a precompile with a balance", [*BASE, "b to", "b identity"], code=call(IDENTITY, 1),
         accounts={IDENTITY: Account(7)}, writes={"b identity": 8}),
    case("CALLCODE with value of a precompile", [*BASE, "b to"], code=call(IDENTITY, 1, kind="CALLCODE"),
         writes={"b to": ETHER}),
    case("DELEGATECALL of a precompile", BASE, code=call(IDENTITY, kind="DELEGATECALL")),
    case("EXTCODECOPY of a precompile", BASE, code=asm(1, 0, 0, IDENTITY, "EXTCODECOPY")),
    case("EXTCODEHASH of a precompile with a balance", [*BASE, "b identity"], code=look("EXTCODEHASH", IDENTITY),
         accounts={IDENTITY: Account(7)}),
]  # fmt: skip

ALL = ["c authority", "n authority", "b authority"]
DELEGATED = [
    case("three tuples of one authority, the second late", [*BASE, *ALL], writes={"n authority": 2},
         authorizations=(sign_authorization(), sign_authorization(OTHER, 0), sign_authorization(OTHER, 1))),
    case("two tuples of one authority, the first for another chain", [*BASE, *ALL], writes={"n authority": 1},
         authorizations=(sign_authorization(chain_id=1), sign_authorization(OTHER))),
    case("a tuple that delegates to a precompile", [*OUT, *ALL], to=AUTHORITY, data=b"x",
         authorizations=(sign_authorization(IDENTITY),)),
    case("a tuple that delegates to its own authority", [*OUT, *ALL], to=AUTHORITY, status=0,
         authorizations=(sign_authorization(AUTHORITY),)),
    case("a tuple that delegates to a delegated account", [*OUT, *ALL, "c third"], to=AUTHORITY, status=0,
         accounts={THIRD: Account(0, 1, designation(OTHER))}, authorizations=(sign_authorization(),)),
    case("a tuple of the sender", ["b authority", "c authority", "n authority", "b coinbase", "c to"],
         sender=AUTHORITY, authorizations=(sign_authorization(nonce=6),), writes={"n authority": 7}),
    case("a tuple of the sender with the nonce before", ["b authority", "c authority", "n authority", "b coinbase",
         "c to"], sender=AUTHORITY, authorizations=(sign_authorization(nonce=5),), writes={"n authority": 6}),
    case("a tuple of the sender, who calls itself", ["b authority", "c authority", "n authority", "b coinbase",
         "c third", "s authority 1"], sender=AUTHORITY, to=AUTHORITY, authorizations=(sign_authorization(nonce=6),),
         accounts={THIRD: Account(0, 1, store(1))}, writes={"s authority 1": 1, "n authority": 7}),
    case("a tuple of the coinbase", [*OUT[:3], *ALL, "c to"], settings={"coinbase": AUTHORITY},
         authorizations=(sign_authorization(),), writes={"n authority": 1}),
    case("a tuple with the last nonce but one", [*BASE, "c authority", "n authority"],
         accounts={AUTHORITY: Account(1, 2**64 - 2)}, authorizations=(sign_authorization(nonce=2**64 - 2),),
         writes={"n authority": 2**64 - 1}),
    case("CALL of a delegation is followed once", [*BASE, "c other", "c third"], code=call(OTHER),
         accounts={OTHER: Account(0, 1, designation(THIRD)), THIRD: Account(0, 1, designation(COINBASE))}),
    case("CALL of a delegation to itself", [*BASE, "c other"], code=call(OTHER),
         accounts={OTHER: Account(0, 1, designation(OTHER))}),
    case("CALLCODE of a delegated account", [*BASE, "c other", "c third"], code=call(OTHER, kind="CALLCODE"),
         accounts={OTHER: Account(0, 1, designation(THIRD))}),
    case("STATICCALL of a delegated account", [*BASE, "c other", "c third"], code=call(OTHER, kind="STATICCALL"),
         accounts={OTHER: Account(0, 1, designation(THIRD))}),
    case("EXTCODESIZE of a delegated account", [*BASE, "c other", "s to 0"], writes={"s to 0": 23},
         code=asm(OTHER, "EXTCODESIZE", 0, "SSTORE"), accounts={OTHER: Account(0, 1, designation(THIRD))}),
    case("EXTCODEHASH of a delegated account", [*BASE, "c other", "s to 0"],
         writes={"s to 0": int.from_bytes(keccak256(designation(THIRD)), "big")},
         code=asm(OTHER, "EXTCODEHASH", 0, "SSTORE"), accounts={OTHER: Account(0, 1, designation(THIRD))}),
]  # fmt: skip

AT_THE_COINBASE = [
    case("a call of the coinbase with value", [*OUT, "c coinbase"], to=COINBASE, value=1),
    case("CALL with value to the coinbase", [*BASE, "c coinbase", "b to", "n coinbase"], code=call(COINBASE, 1)),
    case("CALL without value of the coinbase without a tip", [*OUT[:3], "c to", "c coinbase"], code=call(COINBASE),
         max_priority_fee=0),
    case("BALANCE of the coinbase without a tip", [*OUT[:3], "c to", "b coinbase"], code=look("BALANCE", COINBASE),
         max_priority_fee=0),
    case("a precompile is the coinbase", [*OUT[:3], "b identity", "c to"], settings={"coinbase": IDENTITY}),
    case("the called contract is the coinbase", [*OUT[:3], "c to", "b to"], settings={"coinbase": TO}, code=STOP),
    case("the new account is the coinbase", [*OUT[:3], "c new", "n new", "b new"], to=b"", data=STOP,
         settings={"coinbase": NAMES["new"]}, writes={"n new": 1}),
    case("SELFDESTRUCT to the coinbase", [*BASE, "c coinbase", "b to", "n coinbase"],
         code=asm(COINBASE, "SELFDESTRUCT"), writes={"b to": 0}),
    case("SELFDESTRUCT of a new account that is the coinbase loses the tip", [*OUT[:3], "c new", "n new", "b new"],
         to=b"", value=3, data=asm("ADDRESS", "SELFDESTRUCT"), settings={"coinbase": NAMES["new"]},
         writes={"b new": 0, "n new": 0}),
    case("the coinbase sends to itself", OUT[:3], to=SENDER, value=1, settings={"coinbase": SENDER}),
]  # fmt: skip

DESTROYED = [
    case("SELFDESTRUCT of an old account to a new one", [*BASE, *MADE, "b to", "b made"],
         code=create() + asm(NAMES["made"], "SELFDESTRUCT"), writes={"b to": 0, "b made": ETHER}),
    case("SELFDESTRUCT of a new account to its maker", [*BASE, *MADE, "b to", "b made"],
         code=create(asm("CALLER", "SELFDESTRUCT"), 5), writes={"b to": ETHER, "b made": 0, "n made": 0}),
    case("SELFDESTRUCT to the sender", [*BASE, "b to"], code=asm(SENDER, "SELFDESTRUCT"), writes={"b to": 0}),
    case("SELFDESTRUCT twice", [*BASE, "c other", "b other", "c third", "b third", "n third"],
         code=call(OTHER) + call(OTHER), accounts={OTHER: Account(9, 1, asm(THIRD, "SELFDESTRUCT"))},
         writes={"b other": 0, "b third": 9}),
    case("SELFDESTRUCT in a frame that reverts", [*BASE, "c other", "c third", "b other"],
         code=call(OTHER), accounts={OTHER: Account(9, 1, call(THIRD, kind="DELEGATECALL") + INVALID),
                                     THIRD: Account(0, 1, asm("ADDRESS", "SELFDESTRUCT"))}, writes={"b other": 9}),
    case("SELFDESTRUCT of a delegated account", [*OUT, "c authority", "c other", "b authority", "c third", "b third",
         "n third"], to=AUTHORITY, accounts={AUTHORITY: Account(9, 1, designation(OTHER)),
                                             OTHER: Account(0, 1, asm(THIRD, "SELFDESTRUCT"))},
         writes={"b authority": 0, "b third": 9}),
    case("a new account keeps what it gets after its SELFDESTRUCT until the end", [*BASE, *MADE, "b made", "b to"],
         code=create(asm("ADDRESS", "SELFDESTRUCT")) + call(NAMES["made"], 5),
         writes={"b made": 0, "b to": ETHER - 5}),
    case("a SELFDESTRUCT before Cancun of an account made in a reverted frame", [*BASE, "c other", "n other",
         "c theirs", "n theirs", "b theirs"], fork=Fork.SHANGHAI, code=call(OTHER),
         accounts={OTHER: Account(0, 1, create(asm("CALLER", "SELFDESTRUCT")) + INVALID)},
         writes={"n other": 1, "n theirs": 0}),
]  # fmt: skip

WITHOUT_GAS = [
    case("CALLCODE without gas for the value", BASE, status=0, code=call(OTHER, 1, 0, "CALLCODE"),
         gas_limit=21_000 + 21 + 2_600 + 8_999),
    case("DELEGATECALL without gas for access", BASE, status=0, code=call(OTHER, 0, 0, "DELEGATECALL"),
         gas_limit=21_000 + 18 + 2_599),
    case("STATICCALL without gas for access", BASE, status=0, code=call(OTHER, 0, 0, "STATICCALL"),
         gas_limit=21_000 + 18 + 2_599),
    case("EXTCODEHASH without gas", BASE, status=0, code=look("EXTCODEHASH", OTHER), gas_limit=21_000 + 3 + 2_599),
    case("CREATE2 without gas", BASE, status=0, code=create(value=5, kind="CREATE2"), gas_limit=21_000 + 12 + 31_999),
    case("BLOCKHASH without gas", BASE, status=0, code=asm(999, "BLOCKHASH"), gas_limit=21_000 + 3 + 19),
    case("SELFBALANCE without gas", BASE, status=0, code=asm("SELFBALANCE"), gas_limit=21_000 + 4),
]  # fmt: skip

WARM = [
    case("a delegate is warm", [*OUT, "c authority", "c third", "b third"], to=AUTHORITY,
         accounts={AUTHORITY: Account(0, 1, designation(THIRD)), THIRD: Account(0, 1, look("BALANCE", THIRD))}),
    case("a delegate is warm after a CALL", [*BASE, "c other", "c third", "b third"],
         code=call(OTHER) + look("BALANCE", THIRD), accounts={OTHER: Account(0, 1, designation(THIRD))}),
    case("an authority is warm", [*BASE, *ALL], code=look("BALANCE", AUTHORITY),
         authorizations=(sign_authorization(),)),
    case("an authority of a tuple with another nonce is warm", [*BASE, *ALL], code=look("BALANCE", AUTHORITY),
         authorizations=(sign_authorization(nonce=9),)),
    case("what a reverted frame warmed is cold", [*BASE, "c other", "b third", "s other 1"],
         code=call(OTHER) + look("BALANCE", THIRD),
         accounts={OTHER: Account(0, 1, look("BALANCE", THIRD) + load(1) + INVALID)}),
    case("a new account is warm though its creation failed", [*BASE, *MADE, "b made"],
         code=create(INVALID) + look("BALANCE", NAMES["made"])),
    case("a new account is warm though its address was taken", [*BASE, "n to", "c made", "b made"],
         code=create() + look("BALANCE", NAMES["made"]), accounts={NAMES["made"]: CONTRACT}),
]  # fmt: skip
"""Warmth is no use; but it is gas, on which the engines must agree."""

CORNERS = [*REVERTED, *COLLISIONS, *EMPTY, *PRECOMPILED, *DELEGATED, *AT_THE_COINBASE, *DESTROYED, *WITHOUT_GAS, *WARM]
