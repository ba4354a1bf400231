"""The opcodes that py-evm lets read state earlier, or more of it, than the access table (docs/SPEC.md, section 7) says.

Each override keeps py-evm's gas and results and changes only when and which state is asked for. The other opcodes of
the table read as it says, on CellAccounts: BALANCE, SELFBALANCE, EXTCODESIZE, EXTCODEHASH, SLOAD, SSTORE, BLOCKHASH.
"""

from __future__ import annotations

from typing import Any, Final

from eth import constants
from eth._utils.address import force_bytes_to_address
from eth.abc import ComputationAPI, MessageAPI
from eth.exceptions import Halt, OutOfGas, WriteProtection
from eth.vm import mnemonics, opcode_values
from eth.vm.forks.berlin import logic as berlin
from eth.vm.forks.berlin.constants import COLD_ACCOUNT_ACCESS_COST
from eth.vm.forks.shanghai import logic as shanghai
from eth.vm.logic.context import consume_extcodecopy_word_cost
from eth.vm.logic.system import CreateOpcodeStackData
from eth.vm.opcode import as_opcode

from manaflow.evm.validity import MAX_INITCODE, is_delegation
from manaflow.moves.marks import MAX_NONCE
from manaflow.rules.config import Fork

GAS_SELFDESTRUCT: Final = 5_000
"""EIP-150."""


def extcodecopy(computation: ComputationAPI) -> None:
    """C once memory, words and access are paid; py-evm reads the code before the last two."""
    address = force_bytes_to_address(computation.stack_pop1_bytes())
    target, source, size = computation.stack_pop_ints(3)
    computation.extend_memory(target, size)
    consume_extcodecopy_word_cost(computation, size)
    _pay_access(computation, address, mnemonics.EXTCODECOPY)
    code = computation.state.get_code(address)
    computation.memory_write(target, size, code[source : source + size].ljust(size, b"\0"))


class _Call:
    """CALL and its kin: C when memory, access and value are paid, E only for a value, b only when the transfer is due.

    py-evm asks for emptiness and for the caller's balance even without a value, and before the value is paid.
    """

    mnemonic: str
    tests_emptiness = False
    """CALL: a value to an empty account pays for its creation."""
    follows_delegation = False
    """EIP-7702, from Prague."""
    get_call_params: Any
    consume_account_load_gas: Any

    def __call__(self, computation: ComputationAPI) -> None:
        params = self.get_call_params(computation)
        gas, value, to, sender, code_address, in_at, in_size, out_at, out_size, transfers, is_static = params
        paid_value = value if transfers else 0
        computation.extend_memory(in_at, in_size)
        computation.extend_memory(out_at, out_size)
        code, delegate = self.load_code(computation, code_address or to, paid_value)
        child_gas = self.child_gas(computation, gas, paid_value)
        if not _can_enter(computation, paid_value):
            computation.return_data = b""
            computation.return_gas(child_gas)
            computation.stack_push_int(0)
            return
        message = computation.prepare_child_message(
            gas=child_gas,
            to=to,
            value=value,
            data=computation.memory_read_bytes(in_at, in_size),
            code=code,
            code_address=delegate or code_address,
            should_transfer_value=transfers,
            is_static=is_static,
            is_delegation=delegate is not None,
            **({} if sender is None else {"sender": sender}),
        )
        _run_call(computation, message, out_at, out_size)

    def load_code(self, computation: ComputationAPI, source: bytes, value: int) -> tuple[bytes, bytes | None]:
        """The code to run and the delegate it comes from, if any; pays for access, value, new account and delegate."""
        state = computation.state
        self.consume_account_load_gas(computation, source)
        if value:
            computation.consume_gas(constants.GAS_CALLVALUE, reason=self.mnemonic)
        code = state.get_code(source)
        if value and self.tests_emptiness and state.account_is_empty(source):
            computation.consume_gas(constants.GAS_NEWACCOUNT, reason=self.mnemonic)
        if not (self.follows_delegation and is_delegation(code)):
            return code, None
        delegate = code[3:]
        self.consume_account_load_gas(computation, delegate)
        return state.get_code(delegate), delegate

    def child_gas(self, computation: ComputationAPI, gas: int, value: int) -> int:
        """What the callee gets: at most 63/64 of what is left (EIP-150), paid here, and the stipend for a value."""
        left: int = computation.get_gas_remaining()
        child = min(gas, left - left // 64)
        computation.consume_gas(child, reason=self.mnemonic)
        return child + (constants.GAS_CALLSTIPEND if value else 0)


def _can_enter(computation: ComputationAPI, value: int) -> bool:
    """Depth first; b(self) only if the depth passes and there is a value."""
    if computation.msg.depth + 1 > constants.STACK_DEPTH_LIMIT:
        return False
    return not value or bool(computation.state.get_balance(computation.msg.storage_address) >= value)


def _run_call(computation: ComputationAPI, message: MessageAPI, out_at: int, out_size: int) -> None:
    """As py-evm does it: run the child, push its status, copy its output, return its gas."""
    child = computation.apply_child_computation(message)
    computation.stack_push_int(0 if child.is_error else 1)
    if not child.should_erase_return_data:
        size = min(out_size, len(child.output))
        computation.memory_write(out_at, size, child.output[:size])
    if child.should_return_gas:
        computation.return_gas(child.get_gas_remaining())


class _CallOp(_Call, berlin.CallEIP2929):
    tests_emptiness = True


class _CallCodeOp(_Call, berlin.CallCodeEIP2929):
    pass


class _DelegateCallOp(_Call, berlin.DelegateCallEIP2929):
    pass


class _StaticCallOp(_Call, berlin.StaticCallEIP2929):
    pass


class _Create:
    """CREATE and CREATE2: b(self) only for a value, n(self) only if it suffices; size and depth come before both.

    py-evm asks for both at once, and judges the size of the initcode after it has raised the nonce.
    """

    mnemonic: str
    initcode_limit: int | None = None
    """EIP-3860, from Shanghai."""
    get_stack_data: Any
    get_gas_cost: Any
    max_child_gas_modifier: Any
    generate_contract_address: Any
    apply_create_message: Any

    def __call__(self, computation: ComputationAPI) -> None:
        if computation.msg.is_static:
            raise WriteProtection("CREATE inside of a STATICCALL")
        data: CreateOpcodeStackData = self.get_stack_data(computation)
        if self.initcode_limit is not None and data.memory_length > self.initcode_limit:
            raise OutOfGas("EIP-3860: too much initcode")
        computation.consume_gas(self.get_gas_cost(data), reason=self.mnemonic)
        computation.extend_memory(data.memory_start, data.memory_length)
        computation.return_data = b""
        if not self.may_create(computation, data.endowment):
            computation.stack_push_int(0)
            return
        initcode = computation.memory_read_bytes(data.memory_start, data.memory_length)
        gas = self.max_child_gas_modifier(computation.get_gas_remaining())
        computation.consume_gas(gas, reason=self.mnemonic)
        address = self.generate_contract_address(data, initcode, computation)
        if computation.state.has_code_or_nonce(address):
            computation.stack_push_int(0)
            return
        message = computation.prepare_child_message(
            gas=gas,
            to=constants.CREATE_CONTRACT_ADDRESS,
            value=data.endowment,
            data=b"",
            code=initcode,
            create_address=address,
        )
        self.apply_create_message(computation, message)

    def may_create(self, computation: ComputationAPI, endowment: int) -> bool:
        """Depth, then b(self) for an endowment, then n(self) below its bound (EIP-2681)."""
        if not _can_enter(computation, endowment):
            return False
        nonce: int = computation.state.get_nonce(computation.msg.storage_address)
        return nonce < MAX_NONCE


class _CreateParis(_Create, berlin.CreateEIP2929):
    pass


class _Create2Paris(_Create, berlin.Create2EIP2929):
    pass


class _CreateShanghai(_Create, shanghai.CreateEIP3860):
    initcode_limit = MAX_INITCODE


class _Create2Shanghai(_Create, shanghai.Create2EIP3860):
    initcode_limit = MAX_INITCODE


def selfdestruct_cancun(computation: ComputationAPI) -> None:
    """b(self), and only if it is > 0 E and b of the beneficiary. An older account stays (EIP-6780)."""
    _selfdestruct(computation, computation.msg.storage_address in computation.contracts_created)


def selfdestruct_paris(computation: ComputationAPI) -> None:
    """The same uses; every account is destroyed (an older one, unless its frame reverts, is Unsupported at the end)."""
    _selfdestruct(computation, True)


def _selfdestruct(computation: ComputationAPI, destroys: bool) -> None:
    state, account = computation.state, computation.msg.storage_address
    if computation.msg.is_static:
        raise WriteProtection("SELFDESTRUCT inside of a STATICCALL")
    beneficiary = force_bytes_to_address(computation.stack_pop1_bytes())
    if not state.is_address_warm(beneficiary):
        state.mark_address_warm(beneficiary)
        computation.consume_gas(COLD_ACCOUNT_ACCESS_COST, reason=mnemonics.SELFDESTRUCT)
    balance = state.get_balance(account)
    if balance:
        if state.account_is_empty(beneficiary):
            computation.consume_gas(constants.GAS_SELFDESTRUCT_NEWACCOUNT, reason=mnemonics.SELFDESTRUCT)
        state.delta_balance(account, -balance)
        state.delta_balance(beneficiary, balance)
    if destroys:
        state.set_balance(account, 0)  # what went to itself is burned
        computation.register_account_for_deletion(beneficiary)
    raise Halt("SELFDESTRUCT")


def _pay_access(computation: ComputationAPI, address: bytes, reason: str) -> None:
    berlin._consume_gas_for_account_load(computation, address, reason)


def overrides(fork: Fork) -> dict[int, Any]:
    """The opcodes of `fork` that stand in for py-evm's, by value."""
    return {
        opcode_values.EXTCODECOPY: as_opcode(extcodecopy, mnemonics.EXTCODECOPY, constants.GAS_NULL),
        opcode_values.SELFDESTRUCT: as_opcode(
            selfdestruct_cancun if fork >= Fork.CANCUN else selfdestruct_paris, mnemonics.SELFDESTRUCT, GAS_SELFDESTRUCT
        ),
        **_creates(fork),
        **_calls(fork),
    }


def _calls(fork: Fork) -> dict[int, Any]:
    kinds: dict[int, tuple[Any, str]] = {
        opcode_values.CALL: (_CallOp, mnemonics.CALL),
        opcode_values.CALLCODE: (_CallCodeOp, mnemonics.CALLCODE),
        opcode_values.DELEGATECALL: (_DelegateCallOp, mnemonics.DELEGATECALL),
        opcode_values.STATICCALL: (_StaticCallOp, mnemonics.STATICCALL),
    }
    return {
        value: kind.configure(
            __name__=f"opcode:{mnemonic}",
            mnemonic=mnemonic,
            gas_cost=constants.GAS_NULL,
            follows_delegation=fork >= Fork.PRAGUE,
        )()
        for value, (kind, mnemonic) in kinds.items()
    }


def _creates(fork: Fork) -> dict[int, Any]:
    old = fork < Fork.SHANGHAI
    kinds: dict[int, tuple[Any, str]] = {
        opcode_values.CREATE: (_CreateParis if old else _CreateShanghai, mnemonics.CREATE),
        opcode_values.CREATE2: (_Create2Paris if old else _Create2Shanghai, mnemonics.CREATE2),
    }
    return {
        value: kind.configure(__name__=f"opcode:{mnemonic}", mnemonic=mnemonic, gas_cost=constants.GAS_CREATE)()
        for value, (kind, mnemonic) in kinds.items()
    }
