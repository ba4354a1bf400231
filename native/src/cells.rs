//! Locations, marks and the values of cells, as Manaflow's columns hold them (docs/SPEC.md, section 2).
use revm::primitives::{Address, B256, KECCAK_EMPTY, U256};

/// Balance of an address.
pub const BALANCE: u8 = b'b';
/// Code of an address: the keccak-256 of its bytes, 0 for none.
pub const CODE: u8 = b'c';
/// Hash of a recent block, for BLOCKHASH.
pub const BLOCKHASH: u8 = b'e';
/// Nonce of an address.
pub const NONCE: u8 = b'n';
/// Storage slot of an address.
pub const STORAGE: u8 = b's';

/// Mask bit of a reference that the signer demands although the call may not use it.
pub const GUARD: u8 = 64;
/// Mask bit of a move that leaves its cell live.
pub const REFERENCE: u8 = 128;

/// A piece of state: (mark, addr, slot). The order of the fields is the order of rule M5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub mark: u8,
    pub addr: Address,
    pub slot: U256,
}

/// A location that an execution used, with its value before and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    pub location: Location,
    pub prev: U256,
    pub next: U256,
}

impl Use {
    pub fn is_consume(&self) -> bool {
        self.prev != self.next
    }
}

/// The word of a `c` cell: 0 where the EVM says keccak-256 of nothing.
pub fn code_word(hash: B256) -> U256 {
    if hash == KECCAK_EMPTY { U256::ZERO } else { U256::from_be_bytes(hash.0) }
}

/// The code hash that the EVM knows for the word of a `c` cell.
pub fn code_hash(word: U256) -> B256 {
    if word.is_zero() { KECCAK_EMPTY } else { B256::from(word.to_be_bytes::<32>()) }
}

/// Some rows of a block's columns, borrowed: `marks` one byte a row, `addrs` 20, `slots` and `values` 32.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub marks: &'a [u8],
    pub addrs: &'a [u8],
    pub slots: &'a [u8],
    pub values: &'a [u8],
}

impl<'a> Rows<'a> {
    /// None if the columns do not agree on the number of rows.
    pub fn new(marks: &'a [u8], addrs: &'a [u8], slots: &'a [u8], values: &'a [u8]) -> Option<Self> {
        let n = marks.len();
        let fits = |column: &[u8], width| n.checked_mul(width) == Some(column.len());
        (fits(addrs, 20) && fits(slots, 32) && fits(values, 32)).then_some(Self { marks, addrs, slots, values })
    }

    /// Rows `start` to `stop`, which must be there.
    pub fn take(&self, start: usize, stop: usize) -> Self {
        Self {
            marks: &self.marks[start..stop],
            addrs: &self.addrs[start * 20..stop * 20],
            slots: &self.slots[start * 32..stop * 32],
            values: &self.values[start * 32..stop * 32],
        }
    }

    /// Every row as (location, value).
    pub fn iter(&self) -> impl Iterator<Item = (Location, U256)> + use<'a> {
        let places = self.marks.iter().zip(self.addrs.chunks_exact(20));
        let words = self.slots.chunks_exact(32).zip(self.values.chunks_exact(32));
        places.zip(words).map(|((&mark, addr), (slot, value))| {
            let location = Location { mark, addr: Address::from_slice(addr), slot: U256::from_be_slice(slot) };
            (location, U256::from_be_slice(value))
        })
    }
}

/// Columns that grow, of uses in the order they are pushed.
#[derive(Default)]
pub struct Columns {
    pub marks: Vec<u8>,
    pub addrs: Vec<u8>,
    pub slots: Vec<u8>,
    pub prevs: Vec<u8>,
    pub nexts: Vec<u8>,
}

impl Columns {
    pub fn push(&mut self, used: &Use) {
        self.marks.push(used.location.mark);
        self.addrs.extend_from_slice(used.location.addr.as_slice());
        self.slots.extend_from_slice(&used.location.slot.to_be_bytes::<32>());
        self.prevs.extend_from_slice(&used.prev.to_be_bytes::<32>());
        self.nexts.extend_from_slice(&used.next.to_be_bytes::<32>());
    }
}
