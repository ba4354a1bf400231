//! What one execution used, field by field: the access table's ledger (docs/SPEC.md, section 7).
use revm::primitives::{Address, AddressMap, B256, KECCAK_EMPTY, U256};
use revm::state::AccountInfo;

use crate::cells::Location;
use crate::faults::Fault;
use crate::precompiles::PrecompileSet;
use crate::world::{self, B, C, N};

/// Lives in the slot of revm's context that is free for such things. It is not journaled: a reverted frame's uses stay.
#[derive(Default)]
pub struct Record {
    used: AddressMap<u8>,
    declared: Option<AddressMap<u8>>,
    hashes: Vec<(u64, B256)>,
    precompiles: PrecompileSet,
    creates: bool,
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
    pub fn new(precompiles: PrecompileSet) -> Self {
        Self { precompiles, ..Self::default() }
    }

    /// Starts the record of the next execution. With `declared`, the first use of any other field is an error.
    pub fn start(&mut self, declared: Option<impl Iterator<Item = (Address, u8)>>) {
        world::clear(&mut self.used);
        self.hashes.clear();
        self.creates = false;
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
