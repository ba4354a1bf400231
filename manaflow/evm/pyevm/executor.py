"""PyEvmExecutor: a transaction from its purchase of gas to its last refund, around py-evm's interpreter."""

from __future__ import annotations

from typing import Any, Final

from eth._utils.address import generate_contract_address
from eth.abc import ComputationAPI, MessageAPI
from eth.exceptions import ContractCreationCollision
from eth.vm.message import Message

from manaflow.errors import Unsupported
from manaflow.evm.environment import SYSTEM_GAS
from manaflow.evm.executor import Execution, Job, Log, SystemCall
from manaflow.evm.pyevm.accounts import Stop
from manaflow.evm.pyevm.state import state_of
from manaflow.evm.validity import DELEGATION, check_limits, check_x0, floor_gas, intrinsic_gas, is_delegation
from manaflow.moves.envelopes import recover_authority
from manaflow.moves.marks import MAX_NONCE, ZERO20
from manaflow.moves.transactions import Authorization, EthereumTransaction
from manaflow.rules.config import Fork

MAX_REFUND_QUOTIENT: Final = 5
"""At most this part of the gas is refunded (EIP-3529)."""
AUTHORIZATION_REFUND: Final = 12_500
"""For an authority that is not empty: 25,000 less what the tuple costs (EIP-7702)."""


class PyEvmExecutor:
    """The independent executor (see Executor): Paris to Prague, in pure Python, some hundred transactions a second."""

    name = "pyevm"

    def execute(self, job: Job) -> Execution:
        """Run the job. Raises Undeclared, Verdict (X0, X5), Failure (see Executor), and Unsupported."""
        check_limits(job)
        check_x0(job)
        state = state_of(job)
        try:
            if isinstance(job.call, SystemCall):
                computation, gas_used = _run_system_call(state, job, job.call), 0
            else:
                computation, gas_used = _run_transaction(state, job, job.call)
        except Stop as stop:
            raise stop.error from None
        logs = () if isinstance(job.call, SystemCall) else _logs(computation)
        accounts = state.accounts
        return Execution(
            int(computation.is_success), gas_used, logs, accounts.uses(), accounts.live_codes(), accounts.code_bytes
        )


def _run_system_call(state: Any, job: Job, call: SystemCall) -> ComputationAPI:
    """No fee, no nonce, no cell of the caller (EIP-4788). Its logs are no part of the outcome."""
    message = Message(
        gas=SYSTEM_GAS, to=call.to, sender=job.sender, value=0, data=call.data, code=state.get_code(call.to)
    )
    computation = _run(state, message, _context(state, 0, job.sender, ()))
    _delete_destroyed(state, computation)
    return computation


def _run_transaction(state: Any, job: Job, transaction: EthereumTransaction) -> tuple[ComputationAPI, int]:
    """The computation and the gas used. check_x0 has passed, so the sender can pay."""
    environment, sender = job.environment, job.sender
    price = transaction.effective_gas_price(environment.base_fee)
    state.get_code(sender)  # EIP-3607, judged by check_x0, is a use
    blob_cost = transaction.blob_gas * environment.blob_base_fee
    state.delta_balance(sender, -(transaction.gas_limit * price + blob_cost))
    state.increment_nonce(sender)
    refund = sum(_authorize(state, job, authorization) for authorization in transaction.authorizations)
    message = _message(state, job, transaction, refund)
    _warm(state, transaction, message)
    computation = _run(state, message, _context(state, price, sender, transaction.blob_hashes))
    return computation, _settle(state, job, transaction, computation)


def _authorize(state: Any, job: Job, authorization: Authorization) -> int:
    """One EIP-7702 tuple, in the order of the access table; returns its refund in gas.

    Not py-evm's: that one asks whether the account exists before the nonce, and swallows every exception.
    """
    if authorization.chain_id not in (0, job.environment.chain_id) or authorization.nonce >= MAX_NONCE:
        return 0
    authority = recover_authority(authorization)
    if authority is None:
        return 0
    state.mark_address_warm(authority)
    code = state.get_code(authority)
    if code and not is_delegation(code):
        return 0
    if state.get_nonce(authority) != authorization.nonce:
        return 0
    is_new = not (code or authorization.nonce or state.get_balance(authority))
    if authorization.address == ZERO20:
        state.delete_code(authority)
    else:
        state.set_code(authority, DELEGATION + authorization.address)
    state.increment_nonce(authority)
    return 0 if is_new else AUTHORIZATION_REFUND


def _message(state: Any, job: Job, transaction: EthereumTransaction, refund: int) -> MessageAPI:
    """The first frame. A delegation is followed once (EIP-7702), and what it leads to is warm."""
    gas = transaction.gas_limit - intrinsic_gas(transaction, job.environment.fork)
    fields = {"gas": gas, "sender": job.sender, "value": transaction.value, "to": transaction.to}
    if not transaction.to:
        address = generate_contract_address(job.sender, transaction.nonce)
        return Message(**fields, data=b"", code=transaction.data, create_address=address)
    code, delegated = state.get_code(transaction.to), False
    if job.environment.fork >= Fork.PRAGUE and is_delegation(code):
        delegate, delegated = code[3:], True
        state.mark_address_warm(delegate)
        code = state.get_code(delegate)
    return Message(**fields, data=transaction.data, code=code, refund=refund, is_delegation=delegated)


def _warm(state: Any, transaction: EthereumTransaction, message: MessageAPI) -> None:
    """What EIP-2929 and 2930 count as accessed from the start; the coinbase is py-evm's own doing (EIP-3651)."""
    state.mark_address_warm(message.sender)
    state.mark_address_warm(message.storage_address)
    for entry in transaction.access_list:
        state.mark_address_warm(entry.address)
        for slot in entry.slots:
            state.mark_storage_warm(entry.address, int.from_bytes(slot, "big"))


def _context(state: Any, gas_price: int, origin: bytes, blob_hashes: tuple[bytes, ...]) -> Any:
    return state.get_transaction_context_class()(gas_price=gas_price, origin=origin, blob_versioned_hashes=blob_hashes)


def _run(state: Any, message: MessageAPI, context: Any) -> ComputationAPI:
    """Run the first frame, or let it fail if its new address is taken (EIP-684)."""
    kind = state.computation_class
    if not message.is_create:
        return kind.apply_message(state, message, context)
    if state.has_code_or_nonce(message.storage_address):
        computation = state.get_computation(message, context)
        computation.error = ContractCreationCollision("the new address is taken")
        return computation
    return kind.apply_create_message(state, message, context)


def _settle(state: Any, job: Job, transaction: EthereumTransaction, computation: ComputationAPI) -> int:
    """Refunds, the tip and destroyed accounts; returns the gas used (EIP-3529, 7623). No sweep of empty accounts.

    Not py-evm's: that one credits a coinbase with 0 and asks for every account that was touched.
    """
    environment = job.environment
    spent: int = transaction.gas_limit - computation.get_gas_remaining()
    used: int = spent - min(computation.get_gas_refund(), spent // MAX_REFUND_QUOTIENT)
    used = max(used, floor_gas(transaction, environment.fork))
    price = transaction.effective_gas_price(environment.base_fee)
    state.delta_balance(job.sender, (transaction.gas_limit - used) * price)
    tip = used * (price - environment.base_fee)
    if tip and environment.credits_coinbase:
        state.delta_balance(environment.coinbase, tip)
    _delete_destroyed(state, computation)
    return used


def _delete_destroyed(state: Any, computation: ComputationAPI) -> None:
    """After the fees, as Ethereum does: a destroyed coinbase loses its tip.

    Stops with Unsupported at an account that is older than the transaction (before Cancun).
    """
    for account in sorted(computation.get_accounts_for_deletion()):
        if not state.accounts.is_created(account):
            what = f"SELFDESTRUCT of 0x{account.hex()}, which this transaction did not make"
            raise Stop(Unsupported(f"{what}: before Cancun it wipes slots that nobody can name"))
        state.delete_account(account)


def _logs(computation: ComputationAPI) -> tuple[Log, ...]:
    return tuple(
        Log(bytes(address), tuple(topic.to_bytes(32, "big") for topic in topics), bytes(data))
        for address, topics, data in computation.get_log_entries()
    )
