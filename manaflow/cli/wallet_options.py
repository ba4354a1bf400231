"""What the wallet's commands share: how to mask and pay, whose key, which node."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, get_type_hints

import typer

from manaflow.cli.files import MAX_KEY_FILE_BYTES, read_bounded, read_key, write_whole
from manaflow.cli.keys import PasswordFile, is_keystore, password
from manaflow.errors import ManaflowError
from manaflow.moves.marks import ZERO32, Location, Mark
from manaflow.wallet import strict_json
from manaflow.wallet.intents import Intent, Policy
from manaflow.wallet.words import parse_amount

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from manaflow.wallet.client import Client
    from manaflow.wallet.declare import Wish

NODE_VARIABLE: Final = "MANAFLOW_NODE"
KEY_VARIABLE: Final = "MANAFLOW_PRIVATE_KEY"
MNEMONIC_VARIABLE: Final = "MANAFLOW_MNEMONIC"
DEFAULT_NODE: Final = "http://127.0.0.1:8545"
_FUNCTION_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
Node = Annotated[str, typer.Option(help="The node's URL.", envvar=NODE_VARIABLE)]
ChainId = Annotated[int | None, typer.Option(help="The chain id that the node must have.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key", help=f"A keystore, or a file with a bare key; else {KEY_VARIABLE} or {MNEMONIC_VARIABLE} (variables)."
    ),
]
Index = Annotated[int, typer.Option(help="Account of the mnemonic: m/44'/60'/0'/0/INDEX.", min=0)]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask before signing.")]


@dataclass(frozen=True, slots=True)
class Choices:
    """How to declare."""

    intent: Annotated[Intent, typer.Option(help="What to fix: everything, your own cells, or nothing.")] = (
        Intent.CONTESTED
    )
    any_cells: Annotated[
        bool, typer.Option("--any-cells", help="contested: leave open which of the others' cells the call uses.")
    ] = False
    sign_makers: Annotated[bool, typer.Option("--sign-makers", help="Sign which transaction made each cell.")] = False
    guard: Annotated[
        list[str] | None, typer.Option(help="A cell that must stay as it is: b:ADDRESS, n:, c:, s:ADDRESS:SLOT.")
    ] = None
    pin: Annotated[
        list[str] | None, typer.Option(help="A cell of the call's, or `balance` for yours, whose values to fix.")
    ] = None
    max_fee: Annotated[str | None, typer.Option(help="Per gas, such as 20gwei.")] = None
    priority_fee: Annotated[str | None, typer.Option(help="Per gas, beyond the base fee.")] = None
    gas: Annotated[int | None, typer.Option(help="Gas limit.", min=21_000, max=2**24)] = None
    valid_until: Annotated[
        int | None, typer.Option(help="Last block that may hold it; 0 for ever; 100 blocks if left out.", min=0)
    ] = None
    may_fail: Annotated[bool, typer.Option("--may-fail", help="Let it stand in a block even if its call fails.")] = (
        False
    )

    def policy(self, sender: bytes) -> Policy:
        """How to mask. Raises a usage error."""
        own = (int(Mark.BALANCE), sender, ZERO32)
        pinned = frozenset(own if text == "balance" else location(text) for text in self.pin or ())
        if self.any_cells and self.intent != Intent.CONTESTED:
            raise typer.BadParameter("--any-cells goes with --intent contested")
        return Policy(self.intent, self.any_cells, self.sign_makers, pinned)

    def wish(self, wish: Wish) -> Wish:
        """A call with these fees, limits and guards."""
        return replace(
            wish,
            gas_limit=self.gas if wish.gas_limit is None else wish.gas_limit,
            max_fee=wish.max_fee if self.max_fee is None else parse_amount(self.max_fee),
            is_fee_chosen=wish.is_fee_chosen and self.max_fee is None,
            priority_fee=wish.priority_fee if self.priority_fee is None else parse_amount(self.priority_fee),
            valid_until=self.valid_until,
            may_fail=self.may_fail or wish.may_fail,
            guards=(*wish.guards, *(location(text) for text in self.guard or ())),
        )


@dataclass(frozen=True, slots=True)
class Signing:
    """Whose key, which node, and how long to wait."""

    node: Node = DEFAULT_NODE
    chain_id: ChainId = None
    key: KeyFile = None
    password_file: PasswordFile = None
    index: Index = 0
    yes: Yes = False
    wait: Annotated[float, typer.Option(help="Seconds to wait for a block; 0: do not wait.", min=0, max=86_400)] = 60.0
    again: Annotated[int, typer.Option(help="How often to declare anew after a lost race.", min=0, max=100)] = 0


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a command's parameters that are dataclasses of options into those options, for Typer to see."""
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters
    groups = {name: hints[name] for name in own if hints.get(name) in (Choices, Signing)}
    shown: list[inspect.Parameter] = []
    for name, parameter in own.items():
        listed = _options(groups[name]) if name in groups else [parameter.replace(annotation=hints[name])]
        shown += [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in listed]

    @wraps(command)
    def run(**given: Any) -> None:
        made = {name: group(**{f.name: given.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        command(**given, **made)

    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in shown}
    return run


def _options(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]


def address(text: str) -> bytes:
    """20 bytes from 0x and 40 hex digits; a mixed-case checksum (EIP-55) must hold. Raises a usage error."""
    from eth_utils.address import is_checksum_address, is_hex_address

    is_mixed = text[2:] not in (text[2:].lower(), text[2:].upper())
    if not text.startswith("0x") or not is_hex_address(text) or (is_mixed and not is_checksum_address(text)):
        raise typer.BadParameter(f"{text!r} is no address, or its checksum is wrong")
    return bytes.fromhex(text[2:])


def location(text: str) -> Location:
    """A cell from b:ADDRESS, n:ADDRESS, c:ADDRESS or s:ADDRESS:SLOT. Raises a usage error."""
    mark, _, rest = text.partition(":")
    where, has_slot, slot = rest.partition(":")
    if mark not in ("b", "c", "n", "s") or bool(has_slot) != (mark == "s"):
        raise typer.BadParameter(f"{text!r} is no cell: b:ADDRESS, n:ADDRESS, c:ADDRESS or s:ADDRESS:SLOT")
    try:
        word = (int(slot, 0) if slot else 0).to_bytes(32, "big")
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{slot!r} is no slot") from None
    return ord(mark), address(where), word


def account_of(key: Path | None, password_file: Path | None, index: int) -> LocalAccount:
    """The signer's account: from a file, or a variable. Secrets are never arguments. Raises a usage error, Failure."""
    from manaflow.wallet import keys

    if index and (key is not None or KEY_VARIABLE in os.environ):
        raise typer.BadParameter(f"--index counts the accounts of {MNEMONIC_VARIABLE}, and another key comes first")
    if key is not None:
        data = read_bounded(key, keys.MAX_KEYSTORE_BYTES)
        if is_keystore(data):
            return keys.decrypt(keys.read_keystore(key), keys.Secret(password(password_file)))
        if len(data) > MAX_KEY_FILE_BYTES:
            raise typer.BadParameter(f"{key} holds no key")
        return keys.from_private_key(keys.Secret(read_key(key).hex()))
    if KEY_VARIABLE in os.environ:
        return keys.from_private_key(keys.Secret(os.environ[KEY_VARIABLE]))
    if MNEMONIC_VARIABLE in os.environ:
        return keys.derive(keys.Secret(os.environ[MNEMONIC_VARIABLE]), index)
    raise typer.BadParameter(f"whose account? Name --key, or set {KEY_VARIABLE} or {MNEMONIC_VARIABLE}")


def write_result(out: Path, data: bytes) -> None:
    """Write a draft or an envelope, over nothing but another one: least of all over a key. Raises a usage error."""
    from manaflow.wallet.drafts import MAX_FILE_BYTES, read_any

    if out.exists():
        try:
            read_any(read_bounded(out, MAX_FILE_BYTES))
        except ManaflowError:
            raise typer.BadParameter(f"{out} is neither a draft nor an envelope: it is not overwritten") from None
    write_whole(out, data)


def client_of(node: str, chain_id: int | None) -> Client:
    """A wallet at a node."""
    from manaflow.wallet.client import Client
    from manaflow.wallet.rpc import Rpc
    from manaflow.wallet.rpc_source import read_config

    rpc = Rpc(node)
    return Client(rpc, read_config(rpc, chain_id))


def call_data(signature: str, arguments: Sequence[str]) -> bytes:
    """ABI-encoded call of `name(type,...)` with arguments as words; arrays and tuples as JSON. Raises a usage error.

    `uint` is written out as uint256, as in Solidity: the selector of the short form is another function's.
    """
    from eth_abi.abi import encode
    from eth_abi.exceptions import EncodingError, ParseError
    from eth_abi.grammar import normalize, parse
    from eth_utils.abi import function_signature_to_4byte_selector

    try:
        name, opening, types = signature.replace(" ", "").partition("(")
        if not _FUNCTION_NAME.fullmatch(name):
            raise ValueError("no name of a function")
        listed: str = normalize(opening + types)  # type: ignore[no-untyped-call]
        kinds = [part.to_type_str() for part in parse(listed).components]
        values = [_argument(kind, text) for kind, text in zip(kinds, arguments, strict=True)]
        return bytes(function_signature_to_4byte_selector(name + listed)) + encode(kinds, values)
    except (ValueError, ParseError, EncodingError, AttributeError, TypeError, OverflowError, RecursionError) as error:
        raise typer.BadParameter(f"{signature} with {len(arguments)} arguments: {error}") from None


def _argument(kind: str, text: str) -> Any:
    if kind.endswith("]") or kind.startswith("("):
        return strict_json.parse(text.encode())
    if kind.startswith(("uint", "int")):
        return int(text, 0)
    if kind == "bool":
        if text not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text == "true"
    if kind == "address":
        return address(text)
    if not kind.startswith("bytes"):
        return text
    value, length = bytes.fromhex(text.removeprefix("0x")), kind.removeprefix("bytes")
    if length and len(value) != int(length):
        raise ValueError(f"{text} has {len(value)} bytes")  # which end to fill up is not ours to guess
    return value
