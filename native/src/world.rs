//! The state that an execution sees: one transaction's declared cells, or a filler's latest values.
use std::sync::Arc;

use revm::Database;
use revm::bytecode::Bytecode;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, AddressMap, B256, HashMap, KECCAK_EMPTY, StorageKey, StorageValue, U256};
use revm::state::AccountInfo;

use crate::cells::{self, Location, Rows, Use};
use crate::codes::CodeCache;
use crate::faults::Fault;
use crate::precompiles::PrecompileSet;
use crate::rules;

/// Which fields of an account, as bits.
pub const B: u8 = 1;
/// See [`B`].
pub const N: u8 = 2;
/// See [`B`].
pub const C: u8 = 4;

/// The mark of one field bit.
pub fn mark_of(bit: u8) -> u8 {
    match bit {
        B => cells::BALANCE,
        N => cells::NONCE,
        _ => cells::CODE,
    }
}

/// The three fields of an account, and which of them are known.
#[derive(Debug, Clone, Copy)]
struct Fields {
    balance: U256,
    nonce: u64,
    code: B256,
    known: u8,
}

const EMPTY: Fields = Fields { balance: U256::ZERO, nonce: 0, code: KECCAK_EMPTY, known: 0 };

/// Values by location. Isolated, a location that is not here is undeclared; otherwise it is zero.
#[derive(Default)]
pub struct World {
    accounts: AddressMap<Fields>,
    slots: HashMap<(Address, U256), U256>,
    hashes: HashMap<u64, B256>,
    codes: Arc<CodeCache>,
    precompiles: PrecompileSet,
    isolated: bool,
    delegations: bool,
}

impl World {
    /// A world whose locations are exactly those that [`World::declare`] names.
    pub fn isolated(codes: Arc<CodeCache>) -> Self {
        Self { codes, isolated: true, ..Self::default() }
    }

    pub fn is_isolated(&self) -> bool {
        self.isolated
    }

    pub fn use_codes(&mut self, codes: Arc<CodeCache>) {
        self.codes = codes;
    }

    pub fn use_hashes(&mut self, hashes: impl IntoIterator<Item = (u64, B256)>) {
        self.hashes = hashes.into_iter().collect();
    }

    /// Takes what depends on the fork: its precompiles, and whether it knows EIP-7702 (before it, bytes that look like a
    /// delegation are plain code).
    pub fn use_fork(&mut self, spec: SpecId) {
        self.precompiles = PrecompileSet::of(spec);
        self.delegations = spec.is_enabled_in(SpecId::PRAGUE);
    }

    /// Forgets everything and takes the cells of one transaction. A location named twice breaks M1, a cell that no
    /// chain can hold M4.
    pub fn declare(&mut self, rows: Rows<'_>) -> Result<(), Fault> {
        clear(&mut self.accounts);
        clear(&mut self.slots);
        clear(&mut self.hashes);
        for (location, value) in rows.iter() {
            if !self.put(location, value)? {
                return Err(Fault::Verdict(rules::M1, format!("{} is declared twice", shown(&location))));
            }
        }
        Ok(())
    }

    /// Sets one value; false if the location had one.
    pub fn put(&mut self, location: Location, value: U256) -> Result<bool, Fault> {
        let Location { mark, addr, slot } = location;
        match mark {
            cells::STORAGE => Ok(self.slots.insert((addr, slot), value).is_none()),
            cells::BLOCKHASH if addr.is_zero() => {
                let number = u64::try_from(slot).map_err(|_| malformed(&location))?;
                Ok(self.hashes.insert(number, B256::from(value.to_be_bytes::<32>())).is_none())
            }
            cells::BALANCE | cells::CODE | cells::NONCE if slot.is_zero() => self.put_field(location, value),
            _ => Err(malformed(&location)),
        }
    }

    fn put_field(&mut self, location: Location, value: U256) -> Result<bool, Fault> {
        let nonce = u64::try_from(value);
        if location.mark == cells::NONCE && nonce.is_err() {
            return Err(malformed(&location));
        }
        let fields = self.accounts.entry(location.addr).or_insert(EMPTY);
        let bit = match location.mark {
            cells::BALANCE => {
                fields.balance = value;
                B
            }
            cells::NONCE => {
                fields.nonce = nonce.unwrap_or_default();
                N
            }
            _ => {
                fields.code = cells::code_hash(value);
                C
            }
        };
        let fresh = fields.known & bit == 0;
        fields.known |= bit;
        Ok(fresh)
    }

    /// The value of a location, zero where nothing is known.
    pub fn value(&self, location: &Location) -> U256 {
        let Location { mark, addr, slot } = location;
        let fields = self.accounts.get(addr).unwrap_or(&EMPTY);
        match *mark {
            cells::STORAGE => self.slots.get(&(*addr, *slot)).copied().unwrap_or_default(),
            cells::BALANCE => fields.balance,
            cells::NONCE => U256::from(fields.nonce),
            cells::CODE => cells::code_word(fields.code),
            _ => U256::ZERO,
        }
    }

    /// Takes over what an execution left.
    pub fn apply(&mut self, uses: &[Use]) -> Result<(), Fault> {
        for used in uses.iter().filter(|used| used.is_consume()) {
            self.put(used.location, used.next)?;
        }
        Ok(())
    }

    /// Which fields of which addresses are declared.
    pub fn declared(&self) -> impl Iterator<Item = (Address, u8)> + '_ {
        self.accounts.iter().map(|(addr, fields)| (*addr, fields.known))
    }

    pub fn declares_slot(&self, addr: Address, slot: U256) -> bool {
        self.slots.contains_key(&(addr, slot))
    }
}

/// Empties a map. One that a large transaction has grown is given up: to clear it again and again for the small ones that
/// follow costs as much as it is large.
pub fn clear<K, V, S: Default>(map: &mut HashMap<K, V, S>) {
    if map.capacity() > 4096 {
        *map = HashMap::default();
    } else {
        map.clear();
    }
}

fn shown(location: &Location) -> String {
    format!("{} {:#x} slot {:#066x}", char::from(location.mark).escape_default(), location.addr, location.slot)
}

fn malformed(location: &Location) -> Fault {
    Fault::Verdict(rules::M4, format!("no chain holds such a cell: {}", shown(location)))
}

/// What an isolated world answers for a code that nobody declared. It must never matter, for the record refuses the
/// first use of an undeclared field: an answer that is not zero makes a hole in the record show.
fn poison_code(addr: Address) -> B256 {
    let mut hash = [0xee; 32];
    hash[12..].copy_from_slice(addr.as_slice());
    B256::from(hash)
}

fn poisoned(hash: &B256) -> Option<Address> {
    (hash[..12] == [0xee; 12]).then(|| Address::from_slice(&hash[12..]))
}

const POISON_BALANCE: U256 = U256::from_limbs([0, 1 << 36, 0, 0]);
const POISON_NONCE: u64 = 0x6d61_6e61;

impl Database for World {
    type Error = Fault;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Fault> {
        let mut fields = self.accounts.get(&address).copied().unwrap_or(EMPTY);
        if self.isolated {
            if fields.known & B == 0 {
                fields.balance = POISON_BALANCE;
            }
            if fields.known & N == 0 {
                fields.nonce = POISON_NONCE;
            }
            if fields.known & C == 0 {
                fields.code = poison_code(address);
            }
        }
        if self.precompiles.contains(&address) {
            fields.nonce = 0;
            fields.code = KECCAK_EMPTY;
        }
        let code = (fields.code == KECCAK_EMPTY).then(Bytecode::default);
        Ok(Some(AccountInfo {
            balance: fields.balance,
            nonce: fields.nonce,
            code_hash: fields.code,
            code,
            account_id: None,
        }))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Fault> {
        if self.isolated
            && let Some(addr) = poisoned(&hash)
        {
            return Err(Fault::Undeclared(Location { mark: cells::CODE, addr, slot: U256::ZERO }));
        }
        let code = self.codes.get(&hash).ok_or(Fault::MissingCode(hash))?;
        if code.is_eip7702() && !self.delegations {
            return Ok(Bytecode::new_legacy(code.original_bytes()));
        }
        Ok(code)
    }

    fn storage(&mut self, address: Address, key: StorageKey) -> Result<StorageValue, Fault> {
        match self.slots.get(&(address, key)) {
            Some(value) => Ok(*value),
            None if self.isolated => {
                Err(Fault::Undeclared(Location { mark: cells::STORAGE, addr: address, slot: key }))
            }
            None => Ok(U256::ZERO),
        }
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Fault> {
        let location = Location { mark: cells::BLOCKHASH, addr: Address::ZERO, slot: U256::from(number) };
        let missing = if self.isolated { Fault::Undeclared(location) } else { Fault::MissingBlockHash(number) };
        self.hashes.get(&number).copied().ok_or(missing)
    }
}
