//! The state that an execution sees: one transaction's declared cells, or a filler's latest values.
use std::sync::Arc;

use revm::Database;
use revm::bytecode::Bytecode;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, AddressMap, B256, HashMap, KECCAK_EMPTY, StorageKey, StorageValue, U256};
use revm::state::AccountInfo;

use crate::cells::{self, Location, Rows, Use};
use crate::codes::CodeCache;
use crate::faults::{Fault, misfit};
use crate::overrides::Overrides;
use crate::precompiles::PrecompileSet;
use crate::rules;
use crate::source::Source;

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

fn bit_of(mark: u8) -> Option<u8> {
    match mark {
        cells::BALANCE => Some(B),
        cells::NONCE => Some(N),
        cells::CODE => Some(C),
        _ => None,
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

impl Fields {
    fn forget(&mut self, bit: u8) {
        self.known &= !bit;
        match bit {
            B => self.balance = EMPTY.balance,
            N => self.nonce = EMPTY.nonce,
            _ => self.code = EMPTY.code,
        }
    }
}

/// Values by location. Isolated, a location that is not here is undeclared; otherwise the source knows it, or it is zero.
#[derive(Default)]
pub struct World {
    accounts: AddressMap<Fields>,
    slots: HashMap<(Address, U256), U256>,
    hashes: HashMap<u64, B256>,
    codes: Arc<CodeCache>,
    precompiles: PrecompileSet,
    isolated: bool,
    delegations: bool,
    source: Source,
    overrides: Option<Box<Overrides>>,
}

impl World {
    /// A world of latest values, which asks `source` once for each location that it does not hold.
    pub fn latest(source: Source) -> Self {
        Self { source, ..Self::default() }
    }

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

    /// What the next executions see instead; None for nothing.
    pub fn use_overrides(&mut self, overrides: Option<Box<Overrides>>) {
        self.overrides = overrides;
    }

    pub fn source(&self) -> &Source {
        &self.source
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

    /// The value of a location; zero for what is no location of state.
    pub fn value(&mut self, location: &Location) -> Result<U256, Fault> {
        let Location { mark, addr, slot } = *location;
        match mark {
            cells::STORAGE => self.slot(addr, slot),
            cells::BALANCE => Ok(self.fields(addr, B)?.balance),
            cells::NONCE => Ok(U256::from(self.fields(addr, N)?.nonce)),
            cells::CODE => Ok(cells::code_word(self.fields(addr, C)?.code)),
            _ => Ok(U256::ZERO),
        }
    }

    /// An account with the fields `bits` known, as far as they can be.
    fn fields(&mut self, addr: Address, bits: u8) -> Result<Fields, Fault> {
        let fields = self.accounts.get(&addr).copied().unwrap_or(EMPTY);
        let missing = bits & !fields.known;
        if missing == 0 || !self.source.has_values() {
            return Ok(fields);
        }
        for bit in [B, N, C].into_iter().filter(|bit| missing & bit != 0) {
            let location = Location { mark: mark_of(bit), addr, slot: U256::ZERO };
            let value = self.source.value(&location)?;
            // A verdict would blame the transaction.
            self.put(location, value).map_err(|fault| Fault::raised(misfit(fault.to_string())))?;
        }
        Ok(self.accounts.get(&addr).copied().unwrap_or(EMPTY))
    }

    fn slot(&mut self, addr: Address, slot: U256) -> Result<U256, Fault> {
        if let Some(value) = self.slots.get(&(addr, slot)) {
            return Ok(*value);
        }
        let location = Location { mark: cells::STORAGE, addr, slot };
        if self.isolated {
            return Err(Fault::Undeclared(location));
        }
        if !self.source.has_values() {
            return Ok(U256::ZERO);
        }
        let value = self.source.value(&location)?;
        self.slots.insert((addr, slot), value);
        Ok(value)
    }

    fn code(&self, hash: &B256) -> Result<Bytecode, Fault> {
        if let Some(code) = self.overrides.as_ref().and_then(|overrides| overrides.code(hash)) {
            return Ok(code.clone());
        }
        if let Some(code) = self.codes.get(hash) {
            return Ok(code);
        }
        let code = self.source.code(hash)?.ok_or(Fault::MissingCode(*hash))?;
        self.codes.insert(*hash, code.clone());
        Ok(code)
    }

    /// Slots that are held, and accounts of which a field is.
    pub fn len(&self) -> usize {
        self.accounts.len() + self.slots.len()
    }

    /// Forgets every value, and gives their memory back.
    pub fn forget_all(&mut self) {
        self.accounts = AddressMap::default();
        self.slots = HashMap::default();
    }

    /// Forgets the value of one location.
    pub fn forget(&mut self, location: &Location) {
        let Location { mark, addr, slot } = *location;
        if mark == cells::STORAGE {
            self.slots.remove(&(addr, slot));
        } else if let Some(bit) = bit_of(mark)
            && let Some(fields) = self.accounts.get_mut(&addr)
        {
            fields.forget(bit);
            if fields.known == 0 {
                self.accounts.remove(&addr);
            }
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
        let is_precompile = self.precompiles.contains(&address);
        let mut fields = self.fields(address, if is_precompile { B } else { B | N | C })?;
        if let Some(account) = self.overrides.as_ref().and_then(|overrides| overrides.account(&address)) {
            fields.balance = account.balance.unwrap_or(fields.balance);
            fields.nonce = account.nonce.unwrap_or(fields.nonce);
            fields.code = account.code.unwrap_or(fields.code);
        }
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
        if is_precompile {
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
        let code = self.code(&hash)?;
        if code.is_eip7702() && !self.delegations {
            return Ok(Bytecode::new_legacy(code.original_bytes()));
        }
        Ok(code)
    }

    fn storage(&mut self, address: Address, key: StorageKey) -> Result<StorageValue, Fault> {
        if let Some(value) = self.overrides.as_ref().and_then(|overrides| overrides.slot(&address, &key)) {
            return Ok(value);
        }
        self.slot(address, key)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Fault> {
        let location = Location { mark: cells::BLOCKHASH, addr: Address::ZERO, slot: U256::from(number) };
        let missing = if self.isolated { Fault::Undeclared(location) } else { Fault::MissingBlockHash(number) };
        self.hashes.get(&number).copied().ok_or(missing)
    }
}
