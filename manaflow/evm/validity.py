"""X0: what a fork demands of a transaction before it is executed, in one place for every engine.

The state is the transaction's own cells: its sender's nonce, balance and code must be declared.
"""

from __future__ import annotations

from typing import Final

from manaflow.errors import Failure, Rule, Undeclared, Verdict
from manaflow.evm.executor import Job, SystemCall
from manaflow.moves.marks import MAX_NONCE, ZERO32, Mark
from manaflow.moves.transactions import DECLARED_TYPE, GAS_PER_BLOB, DeclaredTransaction, EthereumTransaction
from manaflow.rules.config import Fork
from manaflow.rules.execution import check_x5_gas

GAS_TRANSACTION: Final = 21_000
GAS_CREATE: Final = 32_000
"""EIP-2."""
GAS_TOKEN: Final = 4
"""Per zero byte of data; a non-zero byte is TOKENS_NON_ZERO of them (EIP-2028)."""
TOKENS_NON_ZERO: Final = 4
GAS_FLOOR_TOKEN: Final = 10
"""EIP-7623."""
GAS_ACCESS_ADDRESS: Final = 2_400
GAS_ACCESS_SLOT: Final = 1_900
"""EIP-2930."""
GAS_INITCODE_WORD: Final = 2
MAX_INITCODE: Final = 49_152
"""Bytes (EIP-3860)."""
GAS_GUARD: Final = 2_100
"""Per guard of a declared envelope: a cold read (SPEC 7, X4)."""
GAS_AUTHORIZATION: Final = 25_000
"""EIP-7702, before the refund for an authority that is not empty."""
MAX_TRANSACTION_GAS: Final = 2**24
"""EIP-7825."""
MAX_TRANSACTION_BLOBS: Final = 6
"""EIP-7594."""
MAX_WEI: Final = 2**128 - 1
"""More wei than any chain holds. Engines compute fees in 128 bits, so that what reaches beyond is refused by rule."""
BLOB_HASH_VERSION: Final = 1
"""EIP-4844."""
_FIRST_FORK: Final = {
    0: Fork.PARIS,
    1: Fork.PARIS,
    2: Fork.PARIS,
    3: Fork.CANCUN,
    4: Fork.PRAGUE,
    DECLARED_TYPE: Fork.PARIS,
}
"""The first fork that has a type of transaction, among those that Manaflow holds."""
DELEGATION: Final = bytes.fromhex("ef0100")
DELEGATION_BYTES: Final = 23
"""A delegation is 0xef0100 and an address (EIP-7702)."""


def check_limits(job: Job) -> None:
    """X5's bound on the gas limit, before anything else is asked of the job. A system call is the rules' own."""
    if not isinstance(job.call, SystemCall):
        check_x5_gas(job.environment.profile, job.call.gas_limit)


def check_x0(job: Job) -> None:
    """X0: the transaction is valid by its fork's rules in its block, with its own cells as the state.

    A system call is valid by rule. Raises Verdict(X0); Undeclared if a cell of the sender is missing; Failure if the
    sender's code is missing from job.codes.
    """
    transaction = job.call
    if not isinstance(transaction, EthereumTransaction):
        return
    check_type(job, transaction)
    check_chain(job, transaction)
    check_fees(job, transaction)
    check_gas(job, transaction)
    check_blobs(job, transaction)
    check_authorizations(transaction)
    check_sender(job, transaction)


def check_type(job: Job, transaction: EthereumTransaction) -> None:
    """The fork has this type of transaction (EIP-4844, EIP-7702); types 3 and 4 call, they do not create."""
    first = _FIRST_FORK.get(transaction.type)
    if first is None or job.environment.fork < first:
        fork = job.environment.fork.name.lower()
        raise _invalid("type", f"one that {fork} has", transaction.type)
    if transaction.type in (3, 4) and not transaction.to:
        raise _invalid(f"recipient of a type {transaction.type} transaction", "20 bytes", "none")


def check_chain(job: Job, transaction: EthereumTransaction) -> None:
    """The chain id is this chain's, or absent (EIP-155; whether it may be absent is S1)."""
    if transaction.chain_id not in (None, job.environment.chain_id):
        raise _invalid("chain id", job.environment.chain_id, transaction.chain_id)


def check_fees(job: Job, transaction: EthereumTransaction) -> None:
    """The fee cap covers the base fee, and the tip stays within the cap (EIP-1559)."""
    if transaction.max_fee < job.environment.base_fee:
        raise _invalid("max fee", f"at least the base fee, {job.environment.base_fee}", transaction.max_fee)
    if transaction.max_priority_fee > transaction.max_fee:
        raise _invalid("max priority fee", f"at most the max fee, {transaction.max_fee}", transaction.max_priority_fee)
    for what, wei in (
        ("gas limit x max fee", transaction.gas_limit * transaction.max_fee),
        ("max fee per blob gas", transaction.max_fee_per_blob_gas),
    ):
        if wei > MAX_WEI:
            raise _invalid(what, f"at most {MAX_WEI}", wei)


def check_gas(job: Job, transaction: EthereumTransaction) -> None:
    """The gas limit covers what is always due and fits the block (and EIP-7825); initcode is bounded (EIP-3860)."""
    fork, limit = job.environment.fork, transaction.gas_limit
    if fork >= Fork.SHANGHAI and not transaction.to and len(transaction.data) > MAX_INITCODE:
        raise _invalid("bytes of initcode", f"at most {MAX_INITCODE}", len(transaction.data))
    due = max(intrinsic_gas(transaction, fork), floor_gas(transaction, fork))
    if limit < due:
        raise _invalid("gas limit", f"at least the intrinsic and floor gas, {due}", limit)
    if fork >= Fork.OSAKA and limit > MAX_TRANSACTION_GAS:
        raise _invalid("gas limit", f"at most {MAX_TRANSACTION_GAS}", limit)
    left = job.environment.gas_limit - job.gas_before
    if limit > left:
        raise _invalid("gas limit", f"at most what the block has left, {left}", limit)


def check_blobs(job: Job, transaction: EthereumTransaction) -> None:
    """A blob transaction has blobs of a known version, pays their price and fits the block (EIP-4844, EIP-7594)."""
    environment, blobs = job.environment, job.environment.blobs
    if transaction.type != 3 or blobs is None:
        return
    if not transaction.blob_hashes:
        raise _invalid("blobs", "at least 1", 0)
    if environment.fork >= Fork.OSAKA and len(transaction.blob_hashes) > MAX_TRANSACTION_BLOBS:
        raise _invalid("blobs", f"at most {MAX_TRANSACTION_BLOBS}", len(transaction.blob_hashes))
    left = blobs.maximum * GAS_PER_BLOB - job.blob_gas_before
    if transaction.blob_gas > left:
        raise _invalid("blob gas", f"at most what the block has left, {left}", transaction.blob_gas)
    for blob_hash in transaction.blob_hashes:
        if blob_hash[0] != BLOB_HASH_VERSION:
            raise _invalid("version of a blob hash", BLOB_HASH_VERSION, blob_hash[0])
    price = environment.blob_base_fee
    if transaction.max_fee_per_blob_gas < price:
        raise _invalid("max fee per blob gas", f"at least {price}", transaction.max_fee_per_blob_gas)


def check_authorizations(transaction: EthereumTransaction) -> None:
    """A type 4 transaction authorizes at least one tuple (EIP-7702); tuples that do not verify are skipped later."""
    if transaction.type == 4 and not transaction.authorizations:
        raise _invalid("authorizations", "at least 1", 0)


def check_sender(job: Job, transaction: EthereumTransaction) -> None:
    """The sender's nonce is the transaction's (and below EIP-2681's bound), it is no contract, and it can pay."""
    nonce = int.from_bytes(_cell(job, Mark.NONCE), "big")
    if transaction.nonce != nonce:
        raise _invalid("nonce", nonce, transaction.nonce)
    if nonce >= MAX_NONCE:
        raise _invalid("nonce", f"below {MAX_NONCE}", nonce)
    balance = int.from_bytes(_cell(job, Mark.BALANCE), "big")
    cost = maximum_cost(transaction)
    if balance < cost:
        raise _invalid("balance of the sender", f"at least {cost}", balance)
    code_hash = _cell(job, Mark.CODE)
    if code_hash == ZERO32:
        return
    code = job.codes.get(code_hash)
    if code is None:
        raise Failure(f"the code 0x{code_hash.hex()} is missing")
    if job.environment.fork < Fork.PRAGUE or not is_delegation(code):
        raise _invalid("code of the sender", "none (EIP-3607)", f"{len(code)} bytes")


def intrinsic_gas(transaction: EthereumTransaction, fork: Fork) -> int:
    """Gas due before execution: data, access list, creation, initcode, authorizations (EIP-2028 to 7702), guards."""
    gas = GAS_TRANSACTION + GAS_TOKEN * calldata_tokens(transaction.data)
    if not transaction.to:
        gas += GAS_CREATE
        if fork >= Fork.SHANGHAI:
            gas += GAS_INITCODE_WORD * ((len(transaction.data) + 31) // 32)
    for entry in transaction.access_list:
        gas += GAS_ACCESS_ADDRESS + GAS_ACCESS_SLOT * len(entry.slots)
    if isinstance(transaction, DeclaredTransaction):
        gas += GAS_GUARD * transaction.guards
    return gas + GAS_AUTHORIZATION * len(transaction.authorizations)


def floor_gas(transaction: EthereumTransaction, fork: Fork) -> int:
    """The least gas that a transaction is charged for (EIP-7623); 0 before Prague."""
    if fork < Fork.PRAGUE:
        return 0
    return GAS_TRANSACTION + GAS_FLOOR_TOKEN * calldata_tokens(transaction.data)


def calldata_tokens(data: bytes) -> int:
    """EIP-7623's measure of data: a zero byte is one token, any other TOKENS_NON_ZERO."""
    zeros = data.count(0)
    return zeros + TOKENS_NON_ZERO * (len(data) - zeros)


def maximum_cost(transaction: EthereumTransaction) -> int:
    """Wei that the sender must own: gas and blob gas at their caps, and the value. May exceed 2^256."""
    blob_cost = transaction.blob_gas * transaction.max_fee_per_blob_gas
    return transaction.gas_limit * transaction.max_fee + blob_cost + transaction.value


def is_delegation(code: bytes) -> bool:
    """True if an account's code is an EIP-7702 delegation."""
    return len(code) == DELEGATION_BYTES and code.startswith(DELEGATION)


def _cell(job: Job, mark: Mark) -> bytes:
    try:
        return job.cells[mark, job.sender, ZERO32]
    except KeyError:
        raise Undeclared(bytes((mark,)), job.sender, ZERO32) from None


def _invalid(what: str, expected: object, actual: object) -> Verdict:
    return Verdict(Rule.X0, what, expected=expected, actual=actual)
