//! What one execution used, field by field: the access table's ledger (docs/SPEC.md, section 7).
use revm::primitives::{Address, AddressMap, B256, B256Map, KECCAK_EMPTY, U256};
use revm::state::AccountInfo;

use crate::cells::Location;
use crate::environment::Limits;
use crate::faults::Fault;
use crate::precompiles::PrecompileSet;
use crate::rules;
use crate::world::{self, B, C, N};

/// Beside the bits of the fields: the bytes of the code that the account had before are counted.
const COUNTED: u8 = 8;

/// Lives in the slot of revm's context that is free for such things. It is not journaled: a reverted frame's uses stay.
#[derive(Default)]
pub struct Record {
    used: AddressMap<u8>,
    declared: Option<AddressMap<u8>>,
    hashes: Vec<(u64, B256)>,
    precompiles: PrecompileSet,
    creates: bool,
    /// Codes that were there before and whose bytes were used.
    codes: B256Map<()>,
    code_bytes: u64,
    limits: Limits,
    is_limited: bool,
}

/// Whether each field of an account is zero, by EIP-161.
pub struct Zeros {
    pub balance: bool,
    pub nonce: bool,
    pub code: bool,
}

impl Zeros {
    pub fn of(info: &AccountInfo) -> Self {
        let code = info.code_hash == KECCAK_EMPTY || info.code_hash.is_zero();
        Self { balance: info.balance.is_zero(), nonce: info.nonce == 0, code }
    }

    pub fn all(&self) -> bool {
        self.balance && self.nonce && self.code
    }
}

impl Record {
    pub fn new(precompiles: PrecompileSet, limits: Limits) -> Self {
        Self { precompiles, limits, ..Self::default() }
    }

    /// Starts the record of the next execution. With `declared`, the first use of any other field is an error.
    pub fn start(&mut self, declared: Option<impl Iterator<Item = (Address, u8)>>) {
        world::clear(&mut self.used);
        self.hashes.clear();
        self.creates = false;
        world::clear(&mut self.codes);
        self.code_bytes = 0;
        self.is_limited = true;
        match declared {
            None => self.declared = None,
            Some(fields) => {
                let map = self.declared.get_or_insert_default();
                world::clear(map);
                map.extend(fields);
            }
        }
    }

    /// The execution uses the fields `bits` of `addr`.
    #[inline]
    pub fn note(&mut self, addr: Address, bits: u8) -> Result<(), Fault> {
        let bits = if self.precompiles.contains(&addr) { bits & B } else { bits };
        let known = self.used.entry(addr).or_insert(0);
        let new = bits & !*known;
        if new == 0 {
            return Ok(());
        }
        *known |= new;
        match &self.declared {
            Some(declared) => refuse(addr, new & !declared.get(&addr).copied().unwrap_or(0)),
            None => Ok(()),
        }
    }

    /// C(addr) of the access table: the hash, and the bytes of the code that the account had before (X5: each distinct
    /// code once). `info` is what it holds at its first such use, with its code.
    #[inline]
    pub fn note_code(&mut self, addr: Address, info: &AccountInfo) -> Result<(), Fault> {
        let known = self.used(&addr);
        if known & COUNTED != 0 || self.precompiles.contains(&addr) {
            return Ok(());
        }
        self.note(addr, C)?;
        self.note_no_code(addr);
        if Zeros::of(info).code {
            return Ok(());
        }
        match &info.code {
            Some(code) => self.count(info.code_hash, code.original_byte_slice().len()),
            None => Err(Fault::Internal(format!("the code of {addr:#x} is not loaded"))),
        }
    }

    /// Nothing is to be counted of `addr` any more: what code it gets, this transaction makes.
    pub fn note_no_code(&mut self, addr: Address) {
        *self.used.entry(addr).or_insert(0) |= COUNTED;
    }

    fn count(&mut self, hash: B256, bytes: usize) -> Result<(), Fault> {
        if self.codes.insert(hash, ()).is_none() {
            self.code_bytes += bytes as u64;
        }
        let most = self.limits.code_bytes;
        if self.is_limited && self.code_bytes > most {
            return Err(Fault::Verdict(rules::X5, format!("more than {most} bytes of distinct code")));
        }
        Ok(())
    }

    /// Bytes of the distinct codes that were counted.
    pub fn code_bytes(&self) -> u64 {
        self.code_bytes
    }

    /// The call is the rules' own, not a signer's.
    pub fn lift_limits(&mut self) {
        self.is_limited = false;
    }

    /// E(addr) of the access table: code, balance, nonce, stopping at the first that is not zero.
    #[inline]
    pub fn emptiness(&mut self, addr: Address, zeros: &Zeros) -> Result<(), Fault> {
        for (bit, zero) in [(C, zeros.code), (B, zeros.balance), (N, zeros.nonce)] {
            self.note(addr, bit)?;
            if !zero {
                break;
            }
        }
        Ok(())
    }

    pub fn note_hash(&mut self, number: u64, hash: B256) {
        self.hashes.push((number, hash));
    }

    /// From here on, slots may belong to an account that this transaction made.
    pub fn note_create(&mut self) {
        self.creates = true;
    }

    /// True if the slots of accounts that this transaction made must be looked for among the declared.
    #[inline]
    pub fn checks_created_slots(&self) -> bool {
        self.creates && self.declared.is_some()
    }

    /// The fields of `addr` that were used.
    pub fn used(&self, addr: &Address) -> u8 {
        self.used.get(addr).copied().unwrap_or(0)
    }

    /// Block hashes in the order they were read, with repetitions.
    pub fn hashes(&self) -> &[(u64, B256)] {
        &self.hashes
    }
}

fn refuse(addr: Address, missing: u8) -> Result<(), Fault> {
    if missing == 0 {
        return Ok(());
    }
    let first = missing & missing.wrapping_neg();
    Err(Fault::Undeclared(Location { mark: world::mark_of(first), addr, slot: U256::ZERO }))
}
