"""Random EVM code that has something to say: steps that touch state, and tell what they saw in storage and logs."""

from __future__ import annotations

import random

from tests.evm.crafting import (
    COINBASE,
    ETHER,
    NAMES,
    NUMBER,
    OTHER,
    SENDER,
    THIRD,
    TO,
    asm,
    unless,
)
from tests.evm.random_inputs import light_input

NOBODY = b"\xee" * 20
"""An address that nothing but a program ever names."""
PRECOMPILES = tuple(number.to_bytes(20, "big") for number in (*range(1, 0x12), 0x100))
CONTRACTS = (TO, OTHER, THIRD)
PEOPLE = (SENDER, COINBASE, NOBODY, NAMES["authority"], NAMES["new"], NAMES["made"], NAMES["made2"])
WORDS = (0, 1, 2, 31, 32, 33, 2**64 - 1, 2**255, 2**256 - 1)
BLOCK = ("COINBASE", "TIMESTAMP", "NUMBER", "PREVRANDAO", "GASLIMIT", "CHAINID", "BASEFEE", "BLOBBASEFEE")
FRAME = ("ORIGIN", "CALLER", "CALLVALUE", "GASPRICE", "CODESIZE", "CALLDATASIZE", "RETURNDATASIZE", "ADDRESS", "PC",
         "MSIZE", "GAS", "SELFBALANCE")  # fmt: skip
ONE = ("ISZERO", "NOT", "CALLDATALOAD", "BLOBHASH")
TWO = ("ADD", "MUL", "SUB", "DIV", "SDIV", "MOD", "SMOD", "EXP", "SIGNEXTEND", "LT", "GT", "SLT", "SGT", "EQ", "AND",
       "OR", "XOR", "BYTE", "SHL", "SHR", "SAR")  # fmt: skip
THREE = ("ADDMOD", "MULMOD")


def target(rng: random.Random) -> bytes:
    group = rng.choices((CONTRACTS, PEOPLE, PRECOMPILES), (6, 4, 1))[0]
    return rng.choice(group)


def amount(rng: random.Random) -> int:
    return rng.choice((0, 0, 0, 1, 5, ETHER, 2 * ETHER))


def kept(rng: random.Random) -> bytes:
    """Takes the top of the stack: into a slot, a log, transient storage, or nowhere."""
    slot = rng.randrange(4)
    ways = (asm("POP"), asm(slot, "SSTORE"), asm(32, 0, "LOG1"), asm(slot, "TSTORE"), asm(0, "MSTORE"))
    return rng.choices(ways, (4, 4, 1, 0.3, 2))[0]


def memory(data: bytes) -> bytes:
    """Puts data at the start of memory, word by word."""
    parts = [data[start : start + 32].ljust(32, b"\0") for start in range(0, len(data), 32)]
    return b"".join(asm(part, 32 * i, "MSTORE") for i, part in enumerate(parts))


def invocation(rng: random.Random, to: bytes, sent: int) -> bytes:
    """One call of any kind, and a look at what it gave back."""
    kind = rng.choice(("CALL", "CALL", "CALL", "CALLCODE", "DELEGATECALL", "STATICCALL"))
    gas = rng.choice((None, None, None, 0, 2_299, 2_300, 2_307, 9_000, 30_000, rng.randrange(60_000)))
    value = [amount(rng)] if kind in ("CALL", "CALLCODE") else []
    sizes = rng.choice(((0, 0), (sent, 64), (sent, 0), (sent, 4_000)))
    code = asm(sizes[1], 64, sizes[0], 0, *value, to, "GAS" if gas is None else gas, kind) + kept(rng)
    after = rng.randrange(6)
    if after == 0:
        code += asm("RETURNDATASIZE", 0, 0, "RETURNDATACOPY", 0, "MLOAD") + kept(rng)
    elif after == 1 and rng.random() < 0.3:
        code += asm(rng.choice((0, 1, 32)), rng.choice((0, 1)), 0, "RETURNDATACOPY")
    return code


def precompile(rng: random.Random) -> bytes:
    address = rng.choice(PRECOMPILES)
    data = light_input(rng, int.from_bytes(address, "big"))
    return memory(data) + invocation(rng, address, len(data))


def deploys(runtime: bytes) -> bytes:
    """Initcode, to be put at the start of memory, that leaves `runtime`."""
    head = asm(len(runtime), 14, 0, "CODECOPY", len(runtime), 0, "RETURN")
    head = head.ljust(14, bytes((0x5B,)))
    return head + runtime if len(head) == 14 else asm(1, 0, "RETURN")


def creation(rng: random.Random, depth: int) -> bytes:
    """CREATE or CREATE2, sometimes twice with one salt (a collision), sometimes called afterwards."""
    initcode = rng.choice(
        (
            b"",
            program(rng, depth + 1),
            program(rng, depth + 1),
            deploys(program(rng, depth + 1)),
            deploys(asm("CALLER", "SELFDESTRUCT")),
            asm("ADDRESS", "SELFDESTRUCT"),
            asm(0xEF, 0, "MSTORE8", 1, 0, "RETURN"),
            asm(24_577, 0, "RETURN"),
            asm(32, 0, "REVERT"),
        )
    )
    kind = rng.choice(("CREATE", "CREATE2"))
    salt = [rng.randrange(2)] if kind == "CREATE2" else []
    made = memory(initcode) + asm(*salt, len(initcode), 0, amount(rng), kind)
    after = rng.randrange(5)
    if after == 0:
        return made + kept(rng) + made + kept(rng)
    if after == 1:
        return made + asm(rng.choice(("BALANCE", "EXTCODESIZE", "EXTCODEHASH"))) + kept(rng)
    if after == 2:
        return made + asm(0, "MSTORE", 0, 0, 0, 0, amount(rng), 0, "MLOAD", "GAS", "CALL") + kept(rng)
    return made + kept(rng)


def arithmetic(rng: random.Random) -> bytes:
    names, count = rng.choice(((ONE, 1), (TWO, 2), (THREE, 3)))
    return asm(*(rng.choice(WORDS) for _ in range(count)), rng.choice(names)) + kept(rng)


def ending(rng: random.Random) -> bytes:
    size = rng.choice((0, 1, 32, 64))
    return rng.choice(
        (
            asm(target(rng), "SELFDESTRUCT"),
            asm(target(rng), "SELFDESTRUCT"),
            asm("ADDRESS", "SELFDESTRUCT"),
            b"\xfe" if rng.random() < 0.4 else asm(size, 0, "REVERT"),
            asm(size, 0, "RETURN"),
            asm(size, 0, "RETURN"),
        )
    )


def slots(rng: random.Random) -> bytes:
    slot = rng.choice((0, 1, 2, 3, 3, 2**256 - 1))
    return rng.choice(
        (
            asm(slot, "SLOAD") + kept(rng),
            asm(rng.randrange(3), slot, "SSTORE"),
            asm(rng.randrange(3), slot, "SSTORE"),
            asm(rng.randrange(3), slot, "TSTORE"),
            asm(slot, "TLOAD") + kept(rng),
        )
    )


def look(rng: random.Random) -> bytes:
    kind = rng.randrange(5)
    if kind == 0:
        return asm(rng.choice((0, 1, 32, 4_000)), rng.choice((0, 2**255)), 0, target(rng), "EXTCODECOPY")
    if kind == 1:
        number = rng.choice((NUMBER, NUMBER - 1, NUMBER - 2, NUMBER - 256, NUMBER - 257, 0, 2**256 - 1))
        return asm(number, "BLOCKHASH") + kept(rng)
    return asm(target(rng), rng.choice(("BALANCE", "EXTCODESIZE", "EXTCODEHASH"))) + kept(rng)


def event(rng: random.Random) -> bytes:
    topics = rng.randrange(5)
    return asm(*(rng.choice(WORDS) for _ in range(topics)), rng.choice((0, 1, 64)), 0, f"LOG{topics}")


def misc(rng: random.Random) -> bytes:
    return rng.choice(
        (
            asm(rng.choice(FRAME)) + kept(rng),
            asm(rng.choice(BLOCK)) + kept(rng),
            asm(rng.choice((0, 32, 100)), 0, rng.choice((0, 64)), rng.choice(("CODECOPY", "CALLDATACOPY", "MCOPY"))),
            asm(rng.choice((0, 32, 100)), 0, "SHA3") + kept(rng),
            rng.randbytes(rng.randrange(1, 8)) if rng.random() < 0.3 else asm(0, "MLOAD") + kept(rng),
        )
    )


def step(rng: random.Random, depth: int = 0) -> bytes:
    """One thing that a contract may do; often cut short by the gas it is given."""
    kind = rng.choices(range(9), (30, 6, 18, 14, 10 if depth < 2 else 0, 5, 4, 6, 4))[0]
    if kind == 0:
        return invocation(rng, target(rng), rng.choice((0, 4, 32)))
    if kind == 1:
        return precompile(rng)
    if kind == 4:
        return creation(rng, depth)
    if kind == 8:
        return unless(asm(rng.choice(("CALLVALUE", "CALLDATASIZE", "RETURNDATASIZE"))), step(rng, depth + 1))
    return {2: look, 3: slots, 5: event, 6: arithmetic, 7: misc}[kind](rng)


def program(rng: random.Random, depth: int = 0) -> bytes:
    body = b"".join(step(rng, depth) for _ in range(rng.randrange(1, 9 if depth == 0 else 4)))
    return body + (ending(rng) if rng.random() < 0.4 else b"")
