//! Ethereum's signed envelopes, types 0 to 4, decoded strictly (rule S1), and the door to declared ones (S2).
//!
//! The twin of manaflow/moves/envelopes.py: the same bytes are accepted and refused, and mean the same. What depends on
//! the fork, the chain or the state is X0's to judge.
pub mod rlp_reader;

use std::fmt;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use revm::context::TxEnv;
use revm::context_interface::either::Either;
use revm::context_interface::transaction::{AccessList, AccessListItem, Authorization, SignedAuthorization};
use revm::primitives::{Address, B256, Bytes, TxKind, U256, keccak256, uint};

use crate::declared::{self, DECLARED_TYPE, Declared, SignedMove};
use crate::recover::{is_low_signature, recover_authority, with_authority};
use crate::rules;
use rlp_reader::{RlpReader, list_prefix};

/// Bytes of one envelope; keeps a fraud proof's parts small (F2).
pub const MAX_ENVELOPE_BYTES: usize = 1 << 20;
/// The largest legacy v by EIP-155: 35 + 2 * (2^64 - 1) + 1.
const MAX_V: U256 = uint!(0x20000000000000022_U256);

/// Why an envelope is refused; [`rule_of`] says by which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub field: &'static str,
    pub why: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// The rule that judges an envelope's bytes: S2 if they begin as a declared one, else S1.
pub fn rule_of(raw: &[u8]) -> u8 {
    if raw.first() == Some(&DECLARED_TYPE) { rules::S2 } else { rules::S1 }
}

/// A decoded envelope; fees in wei. The fields are those of EthereumTransaction in manaflow/moves/transactions.py.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// EIP-2718 type; 0 for legacy.
    pub kind: u8,
    /// None for a legacy transaction without EIP-155 protection.
    pub chain_id: Option<u64>,
    pub nonce: u64,
    /// Equal to `max_fee` in types 0 and 1.
    pub max_priority_fee: U256,
    /// The gas price in types 0 and 1.
    pub max_fee: U256,
    pub gas_limit: u64,
    pub to: TxKind,
    pub value: U256,
    pub data: Bytes,
    pub access_list: Vec<AccessListItem>,
    pub max_fee_per_blob_gas: U256,
    pub blob_hashes: Vec<B256>,
    pub authorizations: Vec<SignedAuthorization>,
    pub y_parity: u8,
    pub r: U256,
    pub s: U256,
    /// What the sender signed the keccak-256 of, none in a declared one. Executions do not ask: it is not hashed here.
    pub signed: Vec<u8>,
    /// Of a declared one, what it says beyond the call.
    pub declared: Option<Declared>,
}

impl Envelope {
    /// Reads an envelope: one encoding, bounded fields, low s (EIP-2), nothing behind it.
    pub fn decode(raw: &[u8]) -> Result<Self, Refused> {
        if raw.is_empty() || raw.len() > MAX_ENVELOPE_BYTES {
            return Err(Refused { field: "the envelope", why: "length" });
        }
        match raw[0] {
            0xc0.. => Self::decode_legacy(raw),
            DECLARED_TYPE => declared::decode(raw),
            kind @ 1..=4 => Self::decode_typed(raw, kind),
            _ => Err(Refused { field: "the envelope", why: "unknown type" }),
        }
    }

    /// What the sender signed.
    pub fn signing_hash(&self) -> B256 {
        self.declared.as_ref().map_or_else(|| keccak256(&self.signed), |declared| declared.signing_hash(self))
    }

    /// Gas that is due before the execution beyond what Ethereum asks for.
    pub fn guard_gas(&self) -> u64 {
        self.declared.as_ref().map_or(0, Declared::guard_gas)
    }

    /// The transaction as revm takes it, from a sender recovered before: a declared one as type 2, without its moves.
    /// Authorities are recovered here.
    ///
    /// None if a fee needs more than 128 bits, which revm cannot hold: to be refused by X0.
    pub fn tx_env(&self, sender: Address) -> Option<TxEnv> {
        let priority_fee = u128::try_from(self.max_priority_fee).ok()?;
        Some(TxEnv {
            tx_type: if self.declared.is_some() { 2 } else { self.kind },
            caller: sender,
            gas_limit: self.gas_limit,
            gas_price: self.max_fee.try_into().ok()?,
            kind: self.to,
            value: self.value,
            data: self.data.clone(),
            nonce: self.nonce,
            chain_id: self.chain_id,
            access_list: AccessList(self.access_list.clone()),
            gas_priority_fee: (self.kind >= 2).then_some(priority_fee),
            blob_hashes: self.blob_hashes.clone(),
            max_fee_per_blob_gas: self.max_fee_per_blob_gas.try_into().ok()?,
            authorization_list: self.authorizations.iter().map(with_authority).map(Either::Right).collect(),
        })
    }

    /// rlp([nonce, gas price, gas limit, to, value, data, v, r, s]), v 27 or 28, or by EIP-155.
    fn decode_legacy(raw: &[u8]) -> Result<Self, Refused> {
        let mut fields = RlpReader::whole(raw)?;
        let nonce = fields.integer64("nonce")?;
        let price = fields.integer("gas price", 32)?;
        let gas_limit = fields.integer64("gas limit")?;
        let to = decode_to(&mut fields, 0)?;
        let value = fields.integer("value", 32)?;
        let data = fields.string("data")?;
        let mut signed = fields.consumed().to_vec();
        let (chain_id, y_parity) = split_v(fields.integer("v", 9)?)?;
        let (r, s) = decode_r_s(&mut fields)?;
        fields.finish("the transaction")?;
        if let Some(chain_id) = chain_id {
            encode_integer(chain_id, &mut signed);
            signed.extend([0x80, 0x80]);
        }
        Ok(Self {
            kind: 0,
            chain_id,
            nonce,
            max_priority_fee: price,
            max_fee: price,
            gas_limit,
            to,
            value,
            data: Bytes::copy_from_slice(data),
            access_list: Vec::new(),
            max_fee_per_blob_gas: U256::ZERO,
            blob_hashes: Vec::new(),
            authorizations: Vec::new(),
            y_parity,
            r,
            s,
            signed: with_prefix(&[], &signed),
            declared: None,
        })
    }

    /// kind | rlp([the call's fields, the type's own, y parity, r, s]).
    fn decode_typed(raw: &[u8], kind: u8) -> Result<Self, Refused> {
        let fields = &mut RlpReader::whole(&raw[1..])?;
        let mut tx = Self::decode_call(fields, kind)?;
        if kind == 3 {
            tx.max_fee_per_blob_gas = fields.integer("max fee per blob gas", 32)?;
            tx.blob_hashes = decode_hashes(fields.items("blob hashes")?, "blob hash")?;
        }
        if kind == 4 {
            tx.authorizations = decode_authorizations(fields.items("authorization list")?)?;
        }
        tx.signed = with_prefix(&raw[..1], fields.consumed());
        tx.decode_signature(fields)?;
        Ok(tx)
    }

    /// What every type but legacy begins with: chain id, nonce, fees, gas limit, to, value, data, access list. The
    /// envelope is not signed yet.
    pub fn decode_call(fields: &mut RlpReader<'_>, kind: u8) -> Result<Self, Refused> {
        let chain_id = Some(fields.integer64("chain id")?);
        let nonce = fields.integer64("nonce")?;
        let max_priority_fee = fields.integer(if kind > 1 { "max priority fee" } else { "gas price" }, 32)?;
        let max_fee = if kind > 1 { fields.integer("max fee", 32)? } else { max_priority_fee };
        Ok(Self {
            kind,
            chain_id,
            nonce,
            max_priority_fee,
            max_fee,
            gas_limit: fields.integer64("gas limit")?,
            to: decode_to(fields, kind)?,
            value: fields.integer("value", 32)?,
            data: Bytes::copy_from_slice(fields.string("data")?),
            access_list: decode_access_list(fields.items("access list")?)?,
            max_fee_per_blob_gas: U256::ZERO,
            blob_hashes: Vec::new(),
            authorizations: Vec::new(),
            y_parity: 0,
            r: U256::ZERO,
            s: U256::ZERO,
            signed: Vec::new(),
            declared: None,
        })
    }

    /// What every type but legacy ends with: y parity, r, s, and nothing behind them.
    pub fn decode_signature(&mut self, fields: &mut RlpReader<'_>) -> Result<(), Refused> {
        self.y_parity = fields.integer("y parity", 1)?.to();
        if self.y_parity > 1 {
            return Err(Refused { field: "y parity", why: "neither 0 nor 1" });
        }
        (self.r, self.s) = decode_r_s(fields)?;
        fields.finish("the transaction")
    }
}

/// `before`, then the RLP of the list whose payload is `payload`.
fn with_prefix(before: &[u8], payload: &[u8]) -> Vec<u8> {
    [before, &list_prefix(payload.len()), payload].concat()
}

/// Appends the RLP of an integer.
fn encode_integer(value: u64, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    let digits = &bytes[value.leading_zeros() as usize / 8..];
    if value >= 0x80 || value == 0 {
        out.push(0x80 + digits.len() as u8);
    }
    out.extend_from_slice(digits);
}

/// (chain id, y parity) of a legacy v; the chain id is None without EIP-155.
fn split_v(v: U256) -> Result<(Option<u64>, u8), Refused> {
    let v27 = uint!(27_U256);
    let v35 = uint!(35_U256);
    if v == v27 || v == v27 + uint!(1_U256) {
        return Ok((None, (v - v27).to()));
    }
    if v < v35 || v > MAX_V {
        return Err(Refused { field: "v", why: "neither 27, 28 nor by EIP-155" });
    }
    let rest: U256 = v - v35;
    let chain_id: U256 = rest >> 1;
    Ok((Some(chain_id.to()), u8::from(rest.bit(0))))
}

/// 20 bytes, or none for a create, which types 3 and 4 cannot be.
fn decode_to(fields: &mut RlpReader<'_>, kind: u8) -> Result<TxKind, Refused> {
    let to = fields.string("to")?;
    match to.len() {
        20 => Ok(TxKind::Call(Address::from_slice(to))),
        0 if !matches!(kind, 3 | 4) => Ok(TxKind::Create),
        _ => Err(Refused { field: "to", why: "length" }),
    }
}

fn decode_r_s(fields: &mut RlpReader<'_>) -> Result<(U256, U256), Refused> {
    let (r, s) = (fields.integer("r", 32)?, fields.integer("s", 32)?);
    if !is_low_signature(r, s) {
        return Err(Refused { field: "r and s", why: "out of range, or s not low (EIP-2)" });
    }
    Ok((r, s))
}

fn decode_hashes(mut items: RlpReader<'_>, field: &'static str) -> Result<Vec<B256>, Refused> {
    let mut hashes = Vec::new();
    while items.more() {
        hashes.push(B256::from(items.fixed::<32>(field)?));
    }
    Ok(hashes)
}

/// [[address, [slot, ...]], ...] (EIP-2930).
fn decode_access_list(mut items: RlpReader<'_>) -> Result<Vec<AccessListItem>, Refused> {
    let mut entries = Vec::new();
    while items.more() {
        let mut entry = items.items("access entry")?;
        let address = Address::from(entry.fixed::<20>("access entry's address")?);
        let storage_keys = decode_hashes(entry.items("access entry's slots")?, "access entry's slot")?;
        entry.finish("access entry")?;
        entries.push(AccessListItem { address, storage_keys });
    }
    Ok(entries)
}

/// [[chain id, address, nonce, y parity, r, s], ...] (EIP-7702); only the widths are judged.
fn decode_authorizations(mut items: RlpReader<'_>) -> Result<Vec<SignedAuthorization>, Refused> {
    let mut tuples = Vec::new();
    while items.more() {
        let mut one = items.items("authorization")?;
        let inner = Authorization {
            chain_id: one.integer("authorization's chain id", 32)?,
            address: Address::from(one.fixed::<20>("authorization's address")?),
            nonce: one.integer64("authorization's nonce")?,
        };
        let y_parity = one.integer("authorization's y parity", 1)?.to();
        let (r, s) = (one.integer("authorization's r", 32)?, one.integer("authorization's s", 32)?);
        one.finish("authorization")?;
        tuples.push(SignedAuthorization::new_unchecked(inner, y_parity, r, s));
    }
    Ok(tuples)
}

/// Adds this module's functions to `manaflow._native`.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(decode_envelope, m)?)?;
    m.add_function(wrap_pyfunction!(recover_authorities, m)?)
}

/// The authority of each EIP-7702 tuple, None for one that does not verify; None for all if S1 or S2 refuses.
#[pyfunction]
fn recover_authorities<'py>(py: Python<'py>, raw: &[u8]) -> Option<Vec<Option<Bound<'py, PyBytes>>>> {
    let envelope = Envelope::decode(raw).ok()?;
    let authority = |signed| recover_authority(signed).map(|authority| PyBytes::new(py, authority.as_slice()));
    Some(envelope.authorizations.iter().map(authority).collect())
}

/// The fields of EthereumTransaction or DeclaredTransaction in manaflow/moves/transactions.py, in their order, moves as
/// tuples of theirs; None if S1 or S2 refuses the bytes.
#[pyfunction]
fn decode_envelope<'py>(py: Python<'py>, raw: &[u8]) -> PyResult<Option<Bound<'py, PyTuple>>> {
    let Ok(tx) = Envelope::decode(raw) else { return Ok(None) };
    let bytes = |value: &[u8]| PyBytes::new(py, value).into_any();
    let list = |items: Vec<Bound<'py, PyAny>>| PyTuple::new(py, items);
    let number = |value: U256| int_from_bytes(py, value);
    let hashes = |hashes: &[B256]| list(hashes.iter().map(|hash| bytes(hash.as_slice())).collect());
    let mut access_list = Vec::new();
    for entry in &tx.access_list {
        access_list.push((bytes(entry.address.as_slice()), hashes(&entry.storage_keys)?).into_pyobject(py)?.into_any());
    }
    let mut authorizations = Vec::new();
    for one in &tx.authorizations {
        let (chain_id, address, nonce) = (number(*one.chain_id())?, bytes(one.address().as_slice()), one.nonce());
        let tuple = (chain_id, address, nonce, one.y_parity(), number(one.r())?, number(one.s())?);
        authorizations.push(tuple.into_pyobject(py)?.into_any());
    }
    let mut items = vec![
        tx.kind.into_pyobject(py)?.into_any(),
        tx.chain_id.into_pyobject(py)?.into_any(),
        tx.nonce.into_pyobject(py)?.into_any(),
        number(tx.max_priority_fee)?,
        number(tx.max_fee)?,
        tx.gas_limit.into_pyobject(py)?.into_any(),
        bytes(tx.to.to().map_or(&[], |to| to.as_slice())),
        number(tx.value)?,
        bytes(&tx.data),
        list(access_list)?.into_any(),
        number(tx.max_fee_per_blob_gas)?,
        hashes(&tx.blob_hashes)?.into_any(),
        list(authorizations)?.into_any(),
        tx.y_parity.into_pyobject(py)?.into_any(),
        number(tx.r)?,
        number(tx.s)?,
        bytes(tx.signing_hash().as_slice()),
        bytes(keccak256(raw).as_slice()),
    ];
    if let Some(declared) = &tx.declared {
        items.push(declared.valid_until.into_pyobject(py)?.into_any());
        items.push(declared.flags.into_pyobject(py)?.into_any());
        let moves: Vec<ShownMove<'py>> = declared.moves().map(|one| shown_move(py, &one)).collect();
        items.push(PyTuple::new(py, moves)?.into_any());
    }
    list(items).map(Some)
}

/// (mask, mark, intx, addr, slot, prev, next).
fn shown_move<'py>(py: Python<'py>, one: &SignedMove) -> ShownMove<'py> {
    let bytes = |value: &[u8]| PyBytes::new(py, value);
    let words = (bytes(&one.slot), bytes(&one.prev), bytes(&one.next));
    (one.mask, one.mark, bytes(&one.intx), bytes(&one.addr), words.0, words.1, words.2)
}

type ShownMove<'py> =
    (u8, u8, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// A Python int.
fn int_from_bytes<'py>(py: Python<'py>, value: U256) -> PyResult<Bound<'py, PyAny>> {
    let int = py.get_type::<pyo3::types::PyInt>();
    int.call_method1("from_bytes", (PyBytes::new(py, &value.to_be_bytes::<32>()), "big"))
}
