"""What is typed becomes what is signed: call data, whose account."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import typer

from manaflow.cli.wallet_options import account_of, call_data

TO = "0x" + "11" * 20
TRANSFER = "a9059cbb" + "00" * 12 + "11" * 20 + "00" * 31 + "05"


@pytest.mark.parametrize(
    "signature", ["transfer(address,uint256)", "transfer(address,uint)", "transfer(address, uint)"]
)
def test_a_short_type_is_the_long_one(signature: str) -> None:
    """By its own letters `transfer(address,uint)` has a selector that calls a contract's fallback."""
    assert call_data(signature, [TO, "5"]).hex() == TRANSFER


def test_types_within_types() -> None:
    short, long = "f((uint,byte)[],int)", "f((uint256,bytes1)[],int256)"
    assert call_data(short, ["[]", "-1"]) == call_data(long, ["[]", "-1"])


BAD: list[tuple[str, Sequence[str]]] = [
    ("transfer(address,uint256)", [TO]), ("(address)", [TO]), ("transfer", []), ("1f()", []), ("f(address to)", [TO]),
    ("f(bytes32)", ["0x12"]), ("f(bytes4)", ["0x1234567890"]), ("f(uint8)", ["256"]), ("f(uint256)", ["-1"]),
    ("f(bool)", ["1"]), ("f(address)", ["0x11"]), ("f(uint256[])", ["[" * 100_000]), ("f(uint256[])", ["5"]),
    ("f(hello)", ["5"]), ("f(", []), ("f()g", []), ("f(uint256)", ["1.5"]), ("f(address)", [TO.upper()]),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(BAD)))
def test_what_is_no_call(case: int) -> None:
    signature, arguments = BAD[case]
    with pytest.raises(typer.BadParameter):
        call_data(signature, arguments)


@pytest.mark.parametrize("where", ["file", "variable"])
def test_an_index_is_not_ignored(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who names account 3 does not mean the bare key that another variable holds."""
    key = tmp_path / "key"
    key.write_text("46" * 32)
    monkeypatch.setenv("MANAFLOW_MNEMONIC", "test test test test test test test test test test test junk")
    if where == "variable":
        monkeypatch.setenv("MANAFLOW_PRIVATE_KEY", "46" * 32)
    given = key if where == "file" else None
    assert account_of(given, None, 0).address == "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F"
    with pytest.raises(typer.BadParameter, match="another key comes first"):
        account_of(given, None, 3)
