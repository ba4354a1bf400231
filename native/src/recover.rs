//! Sender recovery, one signature at a time and in batches.
use std::sync::LazyLock;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};
use rayon::prelude::*;
use revm::context_interface::transaction::{RecoveredAuthority, RecoveredAuthorization, SignedAuthorization};
use revm::primitives::{Address, B256, U256, keccak256, uint};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, Secp256k1, VerifyOnly};

use crate::declared::Declared;
use crate::envelope::{Envelope, rule_of};
use crate::hashing::chunk_length;
use crate::senders::{recovered, remembered, sender_of};

/// n of secp256k1.
const CURVE_ORDER: U256 = uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);
/// n / 2, rounded down.
const HALF_ORDER: U256 = uint!(0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0_U256);

/// Bytes of envelopes: up to so many are few.
const FEW: usize = 1 << 16;

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

/// An EIP-7702 tuple with its authority, or marked as one that the execution skips.
pub fn with_authority(signed: &SignedAuthorization) -> RecoveredAuthorization {
    let authority = recover_authority(signed).map_or(RecoveredAuthority::Invalid, RecoveredAuthority::Valid);
    RecoveredAuthorization::new_unchecked(signed.inner().clone(), authority)
}

/// Adds this module's functions to `manaflow._native`.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(decode_envelopes, m)?)?;
    m.add_function(wrap_pyfunction!(senders_recovered, m)?)
}

/// How many senders of envelopes this process has recovered: one is remembered for a while (senders.rs).
#[pyfunction]
fn senders_recovered() -> u64 {
    recovered()
}

/// Decodes envelopes and recovers their senders: the columns of EnvelopeColumns in manaflow/evm/envelopes.py, as bytes.
///
/// An envelope that S1 or S2 refuses has its `code` set to the rule, and zeros in every other column. `threads`: 0 for
/// all.
#[pyfunction]
fn decode_envelopes<'py>(
    py: Python<'py>,
    envelopes: Vec<PyBackedBytes>,
    threads: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let rows = py.detach(|| rows_of(&envelopes, threads));
    let columns = PyDict::new(py);
    for (name, width, write) in COLUMNS {
        let column = PyBytes::new_with(py, rows.len() * width, |out| {
            for (row, cell) in rows.iter().zip(out.chunks_exact_mut(*width)) {
                if let Some(row) = row {
                    write(row, cell);
                }
            }
            Ok(())
        })?;
        columns.set_item(name, column)?;
    }
    let code_of = |(row, raw): (&Option<Row>, &PyBackedBytes)| if row.is_some() { 0 } else { rule_of(raw) };
    let codes: Vec<u8> = rows.iter().zip(&envelopes).map(code_of).collect();
    columns.set_item("code", PyBytes::new(py, &codes))?;
    Ok(columns)
}

/// A row for each envelope, None for one that is refused. By the thread that asks if they are few and all senders are
/// remembered, as in a node that recovers them ahead: to hand that over takes longer.
fn rows_of(envelopes: &[PyBackedBytes], threads: usize) -> Vec<Option<Row>> {
    if envelopes.iter().map(|raw| raw.len()).sum::<usize>() <= FEW {
        let remembered: Option<Vec<_>> = envelopes.iter().map(|raw| Row::remembered(raw)).collect();
        if let Some(rows) = remembered {
            return rows;
        }
    }
    let chunk = chunk_length(envelopes.len(), threads);
    envelopes.par_chunks(chunk).flat_map_iter(|part| part.iter().map(|raw| Row::of(raw))).collect()
}

/// An envelope that decodes, and its sender.
struct Row {
    envelope: Envelope,
    sender: Address,
    txid: B256,
}

impl Row {
    fn of(raw: &[u8]) -> Option<Self> {
        let envelope = Envelope::decode(raw).ok()?;
        let (sender, txid) = sender_of(raw, &envelope)?;
        Some(Self { envelope, sender, txid })
    }

    /// As `of`; None if the sender would have to be recovered.
    fn remembered(raw: &[u8]) -> Option<Option<Self>> {
        let Ok(envelope) = Envelope::decode(raw) else { return Some(None) };
        let txid = keccak256(raw);
        let sender = remembered(&txid)?;
        Some(Some(Self { envelope, sender, txid }))
    }

    /// What a declared envelope says, or `otherwise`.
    fn declared<T>(&self, otherwise: T, field: impl Fn(&Declared) -> T) -> T {
        self.envelope.declared.as_ref().map_or(otherwise, field)
    }

    fn access_slots(&self) -> usize {
        self.envelope.access_list.iter().map(|entry| entry.storage_keys.len()).sum()
    }
}

type Column = (&'static str, usize, fn(&Row, &mut [u8]));

/// (name, bytes of an item, how it is written); integers in the machine's byte order, words big-endian.
///
/// Lengths fit 32 bits because MAX_ENVELOPE_BYTES does.
const COLUMNS: &[Column] = &[
    ("type", 1, |row, out| out[0] = row.envelope.kind),
    ("sender", 20, |row, out| out.copy_from_slice(row.sender.as_slice())),
    ("txid", 32, |row, out| out.copy_from_slice(row.txid.as_slice())),
    ("protected", 1, |row, out| out[0] = row.envelope.chain_id.is_some().into()),
    ("chain_id", 8, |row, out| put64(out, row.envelope.chain_id.unwrap_or(0))),
    ("nonce", 8, |row, out| put64(out, row.envelope.nonce)),
    ("gas_limit", 8, |row, out| put64(out, row.envelope.gas_limit)),
    ("max_priority_fee", 32, |row, out| put_word(out, row.envelope.max_priority_fee)),
    ("max_fee", 32, |row, out| put_word(out, row.envelope.max_fee)),
    ("value", 32, |row, out| put_word(out, row.envelope.value)),
    ("is_create", 1, |row, out| out[0] = row.envelope.to.is_create().into()),
    ("to", 20, |row, out| out.copy_from_slice(row.envelope.to.into_to().unwrap_or_default().as_slice())),
    ("data_bytes", 4, |row, out| put32(out, row.envelope.data.len())),
    ("data_zeros", 4, |row, out| put32(out, row.envelope.data.iter().filter(|&&byte| byte == 0).count())),
    ("access_addresses", 4, |row, out| put32(out, row.envelope.access_list.len())),
    ("access_slots", 4, |row, out| put32(out, row.access_slots())),
    ("max_fee_per_blob_gas", 32, |row, out| put_word(out, row.envelope.max_fee_per_blob_gas)),
    ("blobs", 4, |row, out| put32(out, row.envelope.blob_hashes.len())),
    ("valid_until", 8, |row, out| put64(out, row.declared(0, |declared| declared.valid_until))),
    ("flags", 1, |row, out| out[0] = row.declared(0, |declared| declared.flags)),
    ("guards", 4, |row, out| put32(out, row.declared(0, |declared| declared.guards as usize))),
    ("signed_moves", 4, |row, out| put32(out, row.declared(0, |declared| declared.signed_moves as usize))),
    ("authorizations", 4, |row, out| put32(out, row.envelope.authorizations.len())),
];

fn put32(out: &mut [u8], value: usize) {
    out.copy_from_slice(&(value as u32).to_ne_bytes());
}

fn put64(out: &mut [u8], value: u64) {
    out.copy_from_slice(&value.to_ne_bytes());
}

fn put_word(out: &mut [u8], value: U256) {
    out.copy_from_slice(&value.to_be_bytes::<32>());
}
