"""Two precompiles that py-evm gets wrong or slow."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any, Final

import eth
from ckzg import load_trusted_setup, verify_kzg_proof
from eth.abc import ComputationAPI
from eth.exceptions import VMError
from eth.precompiles.modexp import extract_lengths
from eth.vm.forks.berlin.computation import _compute_modexp_gas_fee_eip_2565

from manaflow.evm.validity import BLOB_HASH_VERSION

GAS_POINT_EVALUATION: Final = 50_000
FIELD_ELEMENTS_PER_BLOB: Final = 4096
BLS_MODULUS: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""EIP-4844."""


def modexp(computation: ComputationAPI) -> ComputationAPI:
    """EIP-198 with the price of EIP-2565. py-evm answers 0 for an empty base, but x^0 is 1 modulo more than 1."""
    data = computation.msg.data_as_bytes
    computation.consume_gas(_compute_modexp_gas_fee_eip_2565(data), reason="MODEXP")
    base_bytes, exponent_bytes, modulus_bytes = extract_lengths(data)
    if not modulus_bytes:
        # Nothing to answer; and without base and modulus an exponent of any claimed length is cheap: never take it.
        computation.output = b""
        return computation
    base = _number(data, 96, base_bytes)
    exponent = _number(data, 96 + base_bytes, exponent_bytes)
    modulus = _number(data, 96 + base_bytes + exponent_bytes, modulus_bytes)
    result = pow(base, exponent, modulus) if modulus else 0
    computation.output = result.to_bytes(modulus_bytes, "big")
    return computation


def _number(data: bytes, start: int, size: int) -> int:
    """A big-endian number of `size` bytes, as if the data went on in zeros."""
    part = data[start : start + size]
    return int.from_bytes(part, "big") << 8 * (size - len(part))


def point_evaluation(computation: ComputationAPI) -> ComputationAPI:
    """EIP-4844. py-evm reads the trusted setup anew for each call (2 s), and checks by `assert`."""
    computation.consume_gas(GAS_POINT_EVALUATION, reason="point evaluation")
    data = computation.msg.data_as_bytes
    if len(data) != 192:
        raise VMError("point evaluation: not 192 bytes")
    versioned_hash, z, y, commitment, proof = data[:32], data[32:64], data[64:96], data[96:144], data[144:]
    if bytes((BLOB_HASH_VERSION,)) + hashlib.sha256(commitment).digest()[1:] != versioned_hash:
        raise VMError("point evaluation: the commitment is not the one of the hash")
    try:
        proves = verify_kzg_proof(commitment, z, y, proof, _trusted_setup())
    except RuntimeError as error:  # a point or a number out of range
        raise VMError(f"point evaluation: {error}") from error
    if not proves:
        raise VMError("point evaluation: the proof does not verify")
    computation.output = FIELD_ELEMENTS_PER_BLOB.to_bytes(32, "big") + BLS_MODULUS.to_bytes(32, "big")
    return computation


@functools.cache
def _trusted_setup() -> Any:
    path = Path(eth.__file__).parent / "_utils" / "kzg_trusted_setup.txt"
    return load_trusted_setup(str(path), 0)
