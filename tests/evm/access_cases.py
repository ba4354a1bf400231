"""The access table (docs/SPEC.md, section 7) row by row: small transactions with the exact locations that they use.

Data for every executor: `CASES` holds jobs over a wide world, which declares more than any case uses, and what they
must use. Locations are written "mark name [slot]": "b sender", "s to 7", "e 99".
"""

from __future__ import annotations

from manaflow.moves.envelopes import CURVE_ORDER, AccessEntry
from manaflow.moves.hashing import keccak256
from manaflow.moves.marks import ZERO20
from manaflow.rules.config import Fork
from tests.evm.crafting import (
    ETHER,
    NAMES,
    NUMBER,
    OTHER,
    SENDER,
    THIRD,
    TO,
    Account,
    asm,
    call,
    case,
    designation,
    sign_authorization,
    system_case,
    unless,
    word,
    write,
)  # fmt: skip

OUT = ["b sender", "c sender", "n sender", "b coinbase"]
"""What every transaction with a tip uses."""
BASE = [*OUT, "c to"]
STOP = asm("STOP")
CONTRACT = Account(0, 1, STOP)
INVALID = b"\xfe"
DEEP = unless(asm(0, 0, 0, 0, 0, "ADDRESS", "GAS", "CALL"), call(OTHER, 1))
"""Calls itself until the depth fails; there, and only there, it sends 1 wei to `other`."""


def store(slot: int) -> bytes:
    return asm(1, slot, "SSTORE")


def load(slot: int) -> bytes:
    return asm(slot, "SLOAD", "POP")


def look(opcode: str, target: bytes) -> bytes:
    return asm(target, opcode, "POP")


def create(initcode: bytes = b"", value: int = 0, kind: str = "CREATE") -> bytes:
    salt = [0] if kind == "CREATE2" else []
    return (write(initcode) if initcode else b"") + asm(*salt, len(initcode), 0, value, kind, "POP")


SENDER_AND_TOP = [
    case("a call without value", BASE),
    case("a call with value", [*BASE, "b to"], value=1),
    case("a call of itself with value", OUT, to=SENDER, value=1),
    case("a sender with a delegation", BASE, accounts={SENDER: Account(ETHER, 5, designation(THIRD))}),
    case("no tip", ["b sender", "c sender", "n sender", "c to"], max_priority_fee=0),
    case("no tip although offered", ["b sender", "c sender", "n sender", "c to"], max_fee=7),
    case("the profile does not credit", ["b sender", "c sender", "n sender", "c to"],
         settings={"credits_coinbase": False}),
    case("the coinbase sends", ["b sender", "c sender", "n sender", "c to"], settings={"coinbase": SENDER}),
    case("a precompile", OUT, to=NAMES["identity"]),
    case("a precompile with value", [*OUT, "b identity"], to=NAMES["identity"], value=1),
    case("a delegated account", [*BASE, "c third"], accounts={TO: Account(0, 1, designation(THIRD))}),
    case("a delegation to a precompile runs nothing", BASE, accounts={TO: Account(0, 1, designation(NAMES["sha256"]))},
         data=b"x"),
    case("a delegation is followed once", [*BASE, "c third"], status=0,
         accounts={TO: Account(0, 1, designation(THIRD)), THIRD: Account(0, 1, designation(OTHER))}),
    case("a delegation to itself", BASE, status=0, accounts={TO: Account(0, 1, designation(TO))}),
    case("a delegated account with value", [*BASE, "c third", "b to"], value=1,
         accounts={TO: Account(0, 1, designation(THIRD))}),
    case("no delegation before Prague", BASE, fork=Fork.CANCUN, status=0,
         accounts={TO: Account(0, 1, designation(THIRD))}),
    case("an access list is no use", BASE, access_list=(AccessEntry(OTHER, (word(1), word(2))),)),
    case("creating", [*OUT, "c new", "n new"], to=b"", data=STOP, writes={"n new": 1, "c new": 0}),
    case("creating with value", [*OUT, "c new", "n new", "b new"], to=b"", value=3, writes={"b new": 3}),
    case("creating where code is", [*OUT, "c new"], to=b"", value=3, status=0, accounts={NAMES["new"]: CONTRACT}),
    case("creating where a nonce is", [*OUT, "c new", "n new"], to=b"", value=3, status=0,
         accounts={NAMES["new"]: Account(0, 1)}, writes={"n new": 1, "n sender": 6}),
    case("creating with a failing initcode", [*OUT, "c new", "n new", "b new"], to=b"", value=3, data=INVALID, status=0,
         writes={"n new": 0, "b new": 0, "n sender": 6}),
    case("slots of a new account", [*OUT, "c new", "n new", "s new 1", "s new 2"], to=b"", data=store(1) + load(2),
         writes={"s new 1": 1, "s new 2": 0}),
    case("slots of a new account are 0 whatever is said", [*OUT, "c new", "n new", "s new 1", "s new 2"], to=b"",
         data=load(1) + store(2), accounts={NAMES["new"]: Account(0, 0, b"", {1: 9, 2: 9})}, writes={"s new 1": 0}),
]  # fmt: skip

AUTHORITY = NAMES["authority"]
TUPLES = [
    case("a tuple of another chain", BASE, authorizations=(sign_authorization(chain_id=1),)),
    case("a tuple with the last nonce", BASE, authorizations=(sign_authorization(nonce=2**64 - 1),)),
    case("a tuple with a high s", BASE, authorizations=(sign_authorization(s=CURVE_ORDER // 2 + 1),)),
    case("a tuple with a wide parity", BASE, authorizations=(sign_authorization(y_parity=2),)),
    case("a tuple that recovers nobody", BASE, authorizations=(sign_authorization(r=CURVE_ORDER),)),
    case("a tuple of a contract", [*BASE, "c authority"], authorizations=(sign_authorization(),),
         accounts={AUTHORITY: CONTRACT}),
    case("a tuple with another nonce", [*BASE, "c authority", "n authority"],
         authorizations=(sign_authorization(nonce=1),)),
    case("a tuple of an empty authority", [*BASE, "c authority", "n authority", "b authority"],
         authorizations=(sign_authorization(),),
         writes={"n authority": 1, "c authority": int.from_bytes(keccak256(designation(THIRD)), "big")}),
    case("a tuple for any chain", [*BASE, "c authority", "n authority", "b authority"],
         authorizations=(sign_authorization(chain_id=0),), writes={"n authority": 1}),
    case("a tuple of an authority with a nonce", [*BASE, "c authority", "n authority"],
         authorizations=(sign_authorization(nonce=4),), accounts={AUTHORITY: Account(1, 4)}),
    case("a tuple of a delegated authority", [*BASE, "c authority", "n authority"],
         authorizations=(sign_authorization(),), accounts={AUTHORITY: Account(1, 0, designation(OTHER))}),
    case("a tuple that clears", [*BASE, "c authority", "n authority"], authorizations=(sign_authorization(ZERO20),),
         accounts={AUTHORITY: Account(1, 0, designation(OTHER))}, writes={"c authority": 0, "n authority": 1}),
    case("a tuple stays if the call reverts", [*BASE, "c authority", "n authority", "b authority"], status=0,
         code=INVALID, authorizations=(sign_authorization(),), writes={"n authority": 1}),
    case("two tuples of one authority", [*BASE, "c authority", "n authority", "b authority"],
         authorizations=(sign_authorization(), sign_authorization(ZERO20, 1)),
         writes={"n authority": 2, "c authority": 0}),
    case("a tuple of the called account", [*OUT, "c authority", "n authority", "b authority", "c third"], to=AUTHORITY,
         authorizations=(sign_authorization(),)),
]  # fmt: skip

LOOKS = [
    case("BALANCE", [*BASE, "b other"], code=look("BALANCE", OTHER)),
    case("BALANCE of a precompile", [*BASE, "b identity"], code=look("BALANCE", NAMES["identity"])),
    case("BALANCE without gas", BASE, status=0, code=look("BALANCE", OTHER), gas_limit=21_000 + 3 + 2_599),
    case("BALANCE with its gas", [*BASE, "b other"], code=look("BALANCE", OTHER), gas_limit=21_000 + 3 + 2_600 + 2),
    case("SELFBALANCE", [*BASE, "b to"], code=asm("SELFBALANCE")),
    case("EXTCODESIZE", [*BASE, "c other"], code=look("EXTCODESIZE", OTHER), accounts={OTHER: CONTRACT}),
    case("EXTCODESIZE of nothing", [*BASE, "c other"], code=look("EXTCODESIZE", OTHER)),
    case("EXTCODESIZE of a precompile", BASE, code=look("EXTCODESIZE", NAMES["identity"])),
    case("EXTCODESIZE without gas", BASE, status=0, code=look("EXTCODESIZE", OTHER), gas_limit=21_000 + 3 + 2_599),
    case("EXTCODECOPY", [*BASE, "c other"], code=asm(1, 0, 0, OTHER, "EXTCODECOPY"), accounts={OTHER: CONTRACT}),
    case("EXTCODECOPY of no bytes", [*BASE, "c other"], code=asm(0, 0, 0, OTHER, "EXTCODECOPY")),
    case("EXTCODECOPY without gas for access", BASE, status=0, code=asm(32, 0, 0, OTHER, "EXTCODECOPY"),
         gas_limit=21_000 + 12 + 6 + 2_599),
    case("EXTCODECOPY without gas for words", BASE, status=0, code=asm(32, 0, 0, TO, "EXTCODECOPY", 64, 0, 0, OTHER,
         "EXTCODECOPY"), gas_limit=21_000 + 12 + 106 + 12 + 3 + 5),
    case("EXTCODECOPY of itself", BASE, code=asm(32, 0, 0, TO, "EXTCODECOPY")),
    case("EXTCODEHASH of code", [*BASE, "c other"], code=look("EXTCODEHASH", OTHER), accounts={OTHER: CONTRACT}),
    case("EXTCODEHASH of a balance", [*BASE, "c other", "b other", "s to 0"],
         code=asm(OTHER, "EXTCODEHASH", 0, "SSTORE"), accounts={OTHER: Account(1)},
         writes={"s to 0": int.from_bytes(keccak256(b""), "big")}),
    case("EXTCODEHASH of a nonce", [*BASE, "c other", "b other", "n other"], code=look("EXTCODEHASH", OTHER),
         accounts={OTHER: Account(0, 1)}),
    case("EXTCODEHASH of nothing", [*BASE, "c other", "b other", "n other", "s to 0"],
         code=asm(OTHER, "EXTCODEHASH", 0, "SSTORE"), writes={"s to 0": 0}),
    case("EXTCODEHASH of a precompile", [*BASE, "b identity"], code=look("EXTCODEHASH", NAMES["identity"])),
    case("BLOCKHASH of the parent", [*BASE, "e 999"], code=asm(999, "BLOCKHASH")),
    case("BLOCKHASH at the end of the window", [*BASE, "e 744"], code=asm(744, "BLOCKHASH")),
    case("BLOCKHASH beyond the window", BASE, code=asm(743, "BLOCKHASH")),
    case("BLOCKHASH of this block", BASE, code=asm(NUMBER, "BLOCKHASH")),
    case("BLOCKHASH of a huge number", BASE, code=asm(2**255 + 999, "BLOCKHASH")),
    case("opcodes that use nothing", BASE,
         code=asm("COINBASE", "TIMESTAMP", "NUMBER", "PREVRANDAO", "GASLIMIT", "CHAINID",
         "BASEFEE", "BLOBBASEFEE", "ORIGIN", "CALLER", "CALLVALUE", "GASPRICE", "CODESIZE", "GAS", 1, 1, "TSTORE", 1,
         "TLOAD", 32, 0, 0, "CODECOPY", 0, 0, "LOG0")),
]  # fmt: skip

SLOTS = [
    case("SLOAD", [*BASE, "s to 3"], code=load(3)),
    case("SLOAD without gas", BASE, status=0, code=load(3), gas_limit=21_000 + 3 + 2_099),
    case("SSTORE", [*BASE, "s to 3"], code=store(3), writes={"s to 3": 1}),
    case("SSTORE of the same value", [*BASE, "s to 3"], code=store(3), accounts={TO: Account(0, 1, store(3), {3: 1})}),
    case("SSTORE with 2300 gas", BASE, status=0, code=store(3), gas_limit=21_000 + 6 + 2_300),
    case("SSTORE with 2301 gas", [*BASE, "s to 3"], status=0, code=store(3), gas_limit=21_000 + 6 + 2_301,
         writes={"s to 3": 0}),
    case("SSTORE in a static frame", [*BASE, "c other"], code=call(OTHER, kind="STATICCALL"),
         accounts={OTHER: Account(0, 1, store(3))}),
    case("uses of a reverted frame", [*BASE, "c other", "s other 1", "s other 2", "b third"], code=call(OTHER),
         accounts={OTHER: Account(0, 1, load(1) + store(2) + look("BALANCE", THIRD) + INVALID)},
         writes={"s other 2": 0}),
    case("uses of a reverted transaction", [*BASE, "s to 1", "b to"], status=0, value=1, code=store(1) + INVALID,
         writes={"s to 1": 0}),
]  # fmt: skip

PUSHES = 21
"""Gas of the seven pushes of call()."""
CALLS = [
    case("CALL", [*BASE, "c other"], code=call(OTHER)),
    case("CALL of a precompile", BASE, code=call(NAMES["identity"])),
    case("CALL with value to code", [*BASE, "c other", "b to", "b other"], code=call(OTHER, 1),
         accounts={OTHER: CONTRACT},
         writes={"b other": 1, "b to": ETHER - 1}),
    case("CALL with value to a balance", [*BASE, "c other", "b to", "b other"], code=call(OTHER, 1),
         accounts={OTHER: Account(1)}),
    case("CALL with value to nothing", [*BASE, "c other", "b to", "b other", "n other"], code=call(OTHER, 1)),
    case("CALL with value to a precompile", [*BASE, "b to", "b identity"], code=call(NAMES["identity"], 1)),
    case("CALL with too much value", [*BASE, "c other", "b to"], code=call(OTHER, 2 * ETHER),
         accounts={OTHER: CONTRACT}),
    case("CALL with too much value to nothing", [*BASE, "c other", "b to", "b other", "n other"],
         code=call(OTHER, 2 * ETHER)),
    case("CALL of itself with value", [*BASE, "b to"], code=unless(asm("CALLVALUE"), call(TO, 1)),
         writes={"b to": ETHER}),
    case("CALL with value too deep", [*BASE, "c other"], code=DEEP, accounts={OTHER: CONTRACT}, gas_limit=2**52,
         settings={"gas_limit": 2**53}),
    case("CALL without gas for access", BASE, status=0, code=call(OTHER), gas_limit=21_000 + PUSHES - 1 + 2_599),
    case("CALL with gas for access", [*BASE, "c other"], code=call(OTHER), gas_limit=21_000 + PUSHES - 1 + 2_600 + 2),
    case("CALL without gas for the value", BASE, status=0, code=call(OTHER, 1, 0),
         gas_limit=21_000 + PUSHES + 2_600 + 8_999),
    case("CALL without gas for the new account", [*BASE, "c other", "b other", "n other"], status=0,
         code=call(OTHER, 1, 0), gas_limit=21_000 + PUSHES + 2_600 + 9_000 + 24_999),
    case("CALL with gas for the new account", [*BASE, "c other", "b other", "n other", "b to"],
         code=call(OTHER, 1, 0), gas_limit=21_000 + PUSHES + 2_600 + 9_000 + 25_000 + 2),
    case("CALL without gas for memory", BASE, status=0, code=asm(2**40, 0, 0, 0, 0, OTHER, "GAS", "CALL")),
    case("CALL with value in a static frame", [*BASE, "c other"], code=call(OTHER, kind="STATICCALL"),
         accounts={OTHER: Account(9, 1, call(THIRD, 1))}),
    case("CALL of a delegated account", [*BASE, "c other", "c third"], code=call(OTHER),
         accounts={OTHER: Account(0, 1, designation(THIRD))}),
    case("CALL of a delegated account with value", [*BASE, "c other", "c third", "b to", "b other"],
         code=call(OTHER, 1),
         accounts={OTHER: Account(0, 1, designation(THIRD))}),
    case("CALL of a delegation to a precompile", [*BASE, "c other"], code=call(OTHER),
         accounts={OTHER: Account(0, 1, designation(NAMES["sha256"]))}),
    case("CALL without gas for the delegate", [*BASE, "c other"], status=0, code=call(OTHER, 0, 0),
         gas_limit=21_000 + PUSHES + 2_600 + 2_599, accounts={OTHER: Account(0, 1, designation(THIRD))}),
    case("CALL with gas for the delegate", [*BASE, "c other", "c third"], code=call(OTHER, 0, 0),
         gas_limit=21_000 + PUSHES + 2_600 + 2_600 + 2, accounts={OTHER: Account(0, 1, designation(THIRD))}),
    case("CALL follows nothing before Prague", [*BASE, "c other"], code=call(OTHER), fork=Fork.CANCUN,
         accounts={OTHER: Account(0, 1, designation(THIRD))}),
    case("CALLCODE", [*BASE, "c other"], code=call(OTHER, kind="CALLCODE")),
    case("CALLCODE with value", [*BASE, "c other", "b to"], code=call(OTHER, 1, kind="CALLCODE"),
         writes={"b to": ETHER}),
    case("CALLCODE with too much value", [*BASE, "c other", "b to"], code=call(OTHER, 2 * ETHER, kind="CALLCODE")),
    case("CALLCODE of a precompile", BASE, code=call(NAMES["identity"], kind="CALLCODE")),
    case("DELEGATECALL", [*BASE, "c other", "s to 4"], code=call(OTHER, kind="DELEGATECALL"), value=0,
         accounts={OTHER: Account(0, 1, load(4))}),
    case("DELEGATECALL in a frame with value", [*BASE, "c other", "b to"],
         code=call(OTHER, kind="DELEGATECALL"), value=1),
    case("DELEGATECALL of a delegated account", [*BASE, "c other", "c third"], code=call(OTHER, kind="DELEGATECALL"),
         accounts={OTHER: Account(0, 1, designation(THIRD))}),
    case("STATICCALL", [*BASE, "c other", "s other 4"], code=call(OTHER, kind="STATICCALL"),
         accounts={OTHER: Account(0, 1, load(4))}),
    case("STATICCALL of a precompile", BASE, code=call(NAMES["identity"], kind="STATICCALL")),
]  # fmt: skip

MADE = ["n to", "c made", "n made"]
CREATES = [
    case("CREATE", [*BASE, *MADE], code=create(), writes={"n to": 2, "n made": 1}),
    case("CREATE with value", [*BASE, *MADE, "b to", "b made"], code=create(value=5), writes={"b made": 5}),
    case("CREATE with too much value", [*BASE, "b to"], code=create(value=2 * ETHER)),
    case("CREATE with the last nonce", [*BASE, "n to"], code=b"\0", writes={"n to": 2**64 - 1},
         accounts={TO: Account(0, 2**64 - 1, create())}),
    case("CREATE where code is", [*BASE, "n to", "c made", "b to"], code=create(value=5),
         accounts={NAMES["made"]: CONTRACT}, writes={"n to": 2}),
    case("CREATE where a nonce is", [*BASE, *MADE, "b to"], code=create(value=5),
         accounts={NAMES["made"]: Account(0, 1)}, writes={"n to": 2}),
    case("CREATE where a balance is", [*BASE, *MADE], code=create(), accounts={NAMES["made"]: Account(7)}),
    case("CREATE with failing initcode", [*BASE, *MADE, "b to", "b made"], code=create(INVALID, 5),
         writes={"n to": 2, "n made": 0, "b made": 0, "b to": ETHER}),
    case("CREATE with storage", [*BASE, *MADE, "s made 3"], code=create(store(3)), writes={"s made 3": 1}),
    case("CREATE that leaves code", [*BASE, *MADE], code=create(asm(1, 0, "RETURN")),
         writes={"c made": int.from_bytes(keccak256(b"\0"), "big")}),
    case("CREATE of too much initcode", BASE, status=0, code=asm(49_153, 0, 5, "CREATE")),
    case("CREATE of much initcode", [*BASE, *MADE, "b to", "b made"], code=asm(49_152, 0, 5, "CREATE")),
    case("CREATE of more initcode before Shanghai", [*BASE, *MADE], code=asm(49_153, 0, 0, "CREATE"), fork=Fork.PARIS),
    case("CREATE without gas", BASE, status=0, code=create(value=5), gas_limit=21_000 + 9 + 31_999),
    case("CREATE in a static frame", [*BASE, "c other"], code=call(OTHER, kind="STATICCALL"),
         accounts={OTHER: Account(9, 1, create(value=5))}),
    case("CREATE2", [*BASE, "n to", "c made2", "n made2"], code=create(kind="CREATE2"), writes={"n to": 2}),
    case("CREATE2 with value", [*BASE, "n to", "c made2", "n made2", "b to", "b made2"],
         code=create(value=5, kind="CREATE2")),
    case("CREATE2 where code is", [*BASE, "n to", "c made2"], code=create(kind="CREATE2"),
         accounts={NAMES["made2"]: CONTRACT}),
    case("CREATE2 with too much value", [*BASE, "b to"], code=create(value=2 * ETHER, kind="CREATE2")),
    case("CREATE by the sender's delegate", [*OUT, "c other", "c own", "n own"], to=SENDER, writes={"n sender": 7},
         accounts={SENDER: Account(ETHER, 5, designation(OTHER)), OTHER: Account(0, 1, create(asm(0, "POP")))}),
]  # fmt: skip

DESTROY = asm(OTHER, "SELFDESTRUCT")
DESTROYS = [
    case("SELFDESTRUCT without a balance", [*BASE, "b to"], accounts={TO: Account(0, 1, DESTROY)}, writes={"b to": 0}),
    case("SELFDESTRUCT to code", [*BASE, "b to", "c other", "b other"], code=DESTROY, accounts={OTHER: CONTRACT},
         writes={"b to": 0, "b other": ETHER}),
    case("SELFDESTRUCT to a balance", [*BASE, "b to", "c other", "b other"], code=DESTROY,
         accounts={OTHER: Account(1)}),
    case("SELFDESTRUCT to nothing", [*BASE, "b to", "c other", "b other", "n other"], code=DESTROY),
    case("SELFDESTRUCT to a nonce", [*BASE, "b to", "c other", "b other", "n other"], code=DESTROY,
         accounts={OTHER: Account(0, 1)}),
    case("SELFDESTRUCT to itself", [*BASE, "b to"], code=asm(TO, "SELFDESTRUCT"), writes={"b to": ETHER}),
    case("SELFDESTRUCT to a precompile", [*BASE, "b to", "b identity"], code=asm(NAMES["identity"], "SELFDESTRUCT")),
    case("SELFDESTRUCT without gas", BASE, status=0, code=DESTROY, gas_limit=21_000 + 3 + 5_000 + 2_599),
    case("SELFDESTRUCT without gas for the new account", [*BASE, "b to", "c other", "b other", "n other"], status=0,
         code=DESTROY, gas_limit=21_000 + 3 + 5_000 + 2_600 + 24_999, writes={"b to": ETHER}),
    case("SELFDESTRUCT in a static frame", [*BASE, "c other"], code=call(OTHER, kind="STATICCALL"),
         accounts={OTHER: Account(9, 1, asm(THIRD, "SELFDESTRUCT"))}),
    case("SELFDESTRUCT of a new account", [*OUT, "c new", "n new", "b new", "s new 1", "c other", "b other", "n other"],
         to=b"", value=3, data=store(1) + DESTROY, writes={"n new": 0, "b new": 0, "s new 1": 0, "b other": 3}),
    case("SELFDESTRUCT of a new account to itself", [*OUT, "c new", "n new", "b new"], to=b"", value=3,
         data=asm("ADDRESS", "SELFDESTRUCT"), writes={"b new": 0}),
    case("SELFDESTRUCT of a new account before Cancun",
         [*OUT, "c new", "n new", "b new", "c other", "b other", "n other"],
         to=b"", value=3, data=DESTROY, fork=Fork.SHANGHAI, writes={"n new": 0, "b new": 0, "b other": 3}),
    case("a reverted SELFDESTRUCT before Cancun", [*BASE, "c other", "c third", "b third"], fork=Fork.PARIS,
         code=call(OTHER), accounts={OTHER: Account(0, 1, call(THIRD) + INVALID),
                                     THIRD: Account(0, 1, asm(TO, "SELFDESTRUCT"))}),
]  # fmt: skip

SYSTEM = [
    system_case("a system call without code", ["c beacon"], Account()),
    system_case("a system call", ["c beacon", "s beacon 1", "b third"],
                Account(0, 1, store(1) + look("BALANCE", THIRD))),
    system_case("a system call that fails", ["c beacon", "s beacon 1"], Account(0, 1, store(1) + INVALID), status=0),
]  # fmt: skip

CASES = [*SENDER_AND_TOP, *TUPLES, *LOOKS, *SLOTS, *CALLS, *CREATES, *DESTROYS, *SYSTEM]
