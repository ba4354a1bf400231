"""eth_call, eth_estimateGas and eth_createAccessList, with geth's errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from manaflow.errors import CallFailed, Failure, Rule, StorageFailure, Verdict
from manaflow.evm.executor import Environment
from manaflow.evm.simulate import (
    MAX_TRANSACTION_GAS,
    CallRequest,
    CallResult,
    Ending,
    Overrides,
    create_access_list,
    estimate_gas,
    simulate,
)
from manaflow.evm.validity import MAX_INITCODE
from manaflow.moves.marks import ZERO32, Mark
from manaflow.node.chain import Chain, ChainThread, View
from manaflow.node.encoding import LATEST, BlockTag, data, quantity
from manaflow.node.errors import SERVER_ERROR, RpcError, execution_reverted
from manaflow.node.eth_forms import Form, access_list_form
from manaflow.node.eth_requests import BlockOverride, CallObject, StateOverride, overrides_of
from manaflow.node.eth_selection import state_of
from manaflow.node.mending import BegunAnew
from manaflow.node.parameters import Method
from manaflow.rules.config import Fork, Profile

P = ParamSpec("P")
T = TypeVar("T")

CALL_GAS: Final = 50_000_000
"""What one call may use, as in geth."""
PENDING: Final = BlockTag(name="pending")
HALTS: Final = {
    "opcode not found": "invalid opcode",
    "invalid 0xFE opcode": "invalid opcode: INVALID",
    "stack overflow": "stack limit reached 1024 (1023)",
    "state change during static call": "write protection",
    "call not allowed inside static call": "write protection",
    "create collision": "contract address collision",
    "create contract size limit": "max code size exceeded",
    "create initcode size limit": "max initcode size exceeded",
    "out of funds": "insufficient balance for transfer",
    "call too deep": "max call depth exceeded",
    "out of offset": "return data out of bounds",
}
"""The engine's words for an exceptional halt, and geth's."""


class CallMethods:
    """Calls outside any block."""

    def __init__(self, thread: ChainThread, gas_cap: int = CALL_GAS) -> None:
        """gas_cap: what one call may use."""
        self._thread, self._gas_cap = thread, gas_cap

    def methods(self) -> dict[str, Method]:
        """By name."""
        return {
            "eth_call": self.call,
            "eth_estimateGas": self.estimate,
            "eth_createAccessList": self.access_list,
        }

    async def call(
        self,
        request: CallObject,
        block: BlockTag = LATEST,
        accounts: StateOverride | None = None,
        header: BlockOverride | None = None,
    ) -> str:
        """eth_call: what the call returns."""
        return data(await self._ask(call, request, block, accounts, header, self._gas_cap))

    async def estimate(
        self,
        request: CallObject,
        block: BlockTag = PENDING,
        accounts: StateOverride | None = None,
        header: BlockOverride | None = None,
    ) -> str:
        """eth_estimateGas: the least gas limit that is enough."""
        return quantity(await self._ask(estimate, request, block, accounts, header, self._gas_cap))

    async def access_list(
        self, request: CallObject, block: BlockTag = PENDING, accounts: StateOverride | None = None
    ) -> Form:
        """eth_createAccessList: a list for the call, the gas under it, and the error of a call that fails."""
        return await self._ask(access_list, request, block, accounts, self._gas_cap)

    async def _ask(self, run: Callable[Concatenate[Chain, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """On the chain's thread. Raises RpcError -32000 for what this node cannot run: it lacks a code, say, that
        another coordinator's transaction has made in the open block.
        """
        try:
            return await self._thread.call(run, *arguments, **named)
        except (StorageFailure, BegunAnew):
            raise
        except Failure as failure:
            raise RpcError(SERVER_ERROR, str(failure)) from None


class Scene:
    """A state and a block in which calls run."""

    def __init__(
        self,
        chain: Chain,
        block: BlockTag,
        accounts: StateOverride | None = None,
        header: BlockOverride | None = None,
    ) -> None:
        """Raises RpcError for what cannot be had."""
        self.overrides: Overrides = overrides_of(accounts)
        self.view: View = state_of(chain, block)
        self.environment: Environment = self.view.environment
        if header is not None:
            self.environment = header.of(self.environment)

    @property
    def place(self) -> tuple[Any, ...]:
        """What every simulation takes behind its request."""
        return self.overrides, self.view.block_hashes, self.view.codes

    def run(self, request: CallRequest) -> CallResult:
        """Run a call. Raises RpcError if it cannot start."""
        self.check(request)
        try:
            return simulate(self.view.world, self.environment, request, *self.place)
        except Verdict as verdict:
            raise self.unstarted(verdict, request) from None

    def check(self, request: CallRequest) -> None:
        """What geth checks before it runs a call, in its words. Raises RpcError -32000."""
        cap, base_fee = request.max_fee, self.environment.base_fee
        who = f"address 0x{request.sender.hex()}"
        if 0 < cap < base_fee:
            raise RpcError(
                SERVER_ERROR,
                f"max fee per gas less than block base fee: {who}, maxFeePerGas: {cap}, baseFee: {base_fee}",
            )
        if request.to is None and len(request.data) > MAX_INITCODE:
            raise RpcError(
                SERVER_ERROR, f"max initcode size exceeded: code size {len(request.data)} limit {MAX_INITCODE}"
            )
        balance, due = self.balance(request.sender), request.gas_limit * cap + request.value
        if balance < due:
            text = f"insufficient funds for gas * price + value: {who} have {balance} want {due}"
            raise RpcError(SERVER_ERROR, text)

    def balance(self, address: bytes) -> int:
        """Wei, overrides included."""
        override = self.overrides.get(address)
        if override is not None and override.balance is not None:
            return override.balance
        return int.from_bytes(self.view.world.get(Mark.BALANCE, address, ZERO32))

    @staticmethod
    def unstarted(verdict: Verdict, request: CallRequest) -> Exception:
        """The error of a call whose gas is below what is due before it starts, which is all that `check` leaves."""
        if verdict.rule != Rule.X0:
            return verdict
        return RpcError(SERVER_ERROR, f"intrinsic gas too low: have {request.gas_limit}: {verdict.what}")


def call(
    chain: Chain,
    asked: CallObject,
    block: BlockTag,
    accounts: StateOverride | None,
    header: BlockOverride | None,
    gas_cap: int,
) -> bytes:
    """What a call returns. Raises RpcError: code 3 for a revert."""
    scene = Scene(chain, block, accounts, header)
    gas = gas_cap if asked.gas is None else min(asked.gas, gas_cap)
    result = scene.run(asked.request(chain.config.chain_id, gas))
    if result.outcome == Ending.REVERT:
        raise execution_reverted(result.output)
    if result.outcome == Ending.HALT:
        raise RpcError(SERVER_ERROR, halt_words(result.halt_reason))
    return result.output


def halt_words(reason: str) -> str:
    """An exceptional halt in geth's words."""
    return "out of gas" if reason.startswith("out of gas") else HALTS.get(reason, reason)


def estimate(
    chain: Chain,
    asked: CallObject,
    block: BlockTag,
    accounts: StateOverride | None,
    header: BlockOverride | None,
    gas_cap: int,
) -> int:
    """The least gas limit with which a call succeeds. Raises RpcError: code 3 for a revert."""
    scene = Scene(chain, block, accounts, header)
    highest = scene.environment.gas_limit if asked.gas is None else asked.gas
    request = asked.request(chain.config.chain_id, highest_gas(scene.environment, min(highest, gas_cap)))
    scene.check(replace(request, gas_limit=0))
    affordable = request.gas_limit
    if request.max_fee:
        affordable = min(affordable, (scene.balance(request.sender) - request.value) // request.max_fee)
    try:
        return estimate_gas(scene.view.world, scene.environment, request, *scene.place)
    except CallFailed as failed:
        if failed.output or str(failed) == "execution reverted":
            raise execution_reverted(failed.output) from None
        raise _not_enough(failed, affordable) from None
    except Verdict as verdict:
        if verdict.rule != Rule.X0:
            raise
        raise RpcError(SERVER_ERROR, f"gas required exceeds allowance ({affordable})") from None


def highest_gas(environment: Environment, gas: int) -> int:
    """What of this gas a transaction may have at all (X5, EIP-7825)."""
    is_bound = environment.profile == Profile.MANAFLOW or environment.fork >= Fork.OSAKA
    return min(gas, MAX_TRANSACTION_GAS) if is_bound else gas


def _not_enough(failed: CallFailed, affordable: int) -> RpcError:
    _, _, reason = str(failed).partition(": ")
    words = halt_words(reason)
    return RpcError(SERVER_ERROR, f"gas required exceeds allowance ({affordable})" if words == "out of gas" else words)


def access_list(chain: Chain, asked: CallObject, block: BlockTag, accounts: StateOverride | None, gas_cap: int) -> Form:
    """The answer of eth_createAccessList."""
    scene = Scene(chain, block, accounts)
    gas = scene.environment.gas_limit if asked.gas is None else asked.gas
    request = asked.request(chain.config.chain_id, highest_gas(scene.environment, min(gas, gas_cap)))
    scene.check(request)
    try:
        entries, result = create_access_list(scene.view.world, scene.environment, request, *scene.place)
    except Verdict as verdict:
        raise scene.unstarted(verdict, request) from None
    form: Form = {"accessList": access_list_form(entries), "gasUsed": quantity(result.gas_used)}
    if result.outcome == Ending.REVERT:
        form["error"] = execution_reverted(result.output).message
    elif result.outcome == Ending.HALT:
        form["error"] = halt_words(result.halt_reason)
    return form
