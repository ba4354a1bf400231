"""What differs between forks and that rules need to know: the precompiles' addresses (docs/SPEC.md, section 2)."""

from __future__ import annotations

from typing import Final

from manaflow.rules.config import Fork


def _addresses(last: int) -> frozenset[bytes]:
    return frozenset(n.to_bytes(20, "big") for n in range(1, last + 1))


_PARIS, _CANCUN, _PRAGUE = _addresses(0x09), _addresses(0x0A), _addresses(0x11)
_PRECOMPILES: Final = {
    Fork.PARIS: _PARIS,
    Fork.SHANGHAI: _PARIS,
    Fork.CANCUN: _CANCUN,
    Fork.PRAGUE: _PRAGUE,
    Fork.OSAKA: _PRAGUE | {(0x100).to_bytes(20, "big")},
}


def precompiles(fork: Fork) -> frozenset[bytes]:
    """Addresses of the fork's precompiles, 20 bytes each.

    1 to 9, then EIP-4844 (10), EIP-2537 (11 to 17), EIP-7951 (0x100).
    """
    return _PRECOMPILES[fork]
