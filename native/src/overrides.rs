//! What one simulated call sees instead of the latest values; nothing of it stays.
use revm::bytecode::Bytecode;
use revm::primitives::{Address, AddressMap, B256, B256Map, HashMap, KECCAK_EMPTY, U256, keccak256};

use crate::codes::analyse;

/// The fields of one account that are overridden.
#[derive(Default)]
pub struct Account {
    pub balance: Option<U256>,
    pub nonce: Option<u64>,
    /// Its keccak-256.
    pub code: Option<B256>,
    pub slots: HashMap<U256, U256>,
    /// Every slot that is not among `slots` is zero.
    pub is_whole: bool,
}

/// Overridden accounts, and the bytes of overridden codes.
#[derive(Default)]
pub struct Overrides {
    accounts: AddressMap<Account>,
    codes: B256Map<Bytecode>,
}

impl Overrides {
    /// Overrides an account; `code`: its bytes.
    pub fn put(&mut self, address: Address, code: Option<&[u8]>, mut account: Account) {
        account.code = code.map(|bytes| self.keep(bytes));
        self.accounts.insert(address, account);
    }

    fn keep(&mut self, code: &[u8]) -> B256 {
        if code.is_empty() {
            return KECCAK_EMPTY;
        }
        let hash = keccak256(code);
        self.codes.entry(hash).or_insert_with(|| analyse(code));
        hash
    }

    pub fn account(&self, address: &Address) -> Option<&Account> {
        self.accounts.get(address)
    }

    pub fn code(&self, hash: &B256) -> Option<&Bytecode> {
        self.codes.get(hash)
    }

    /// The value of a slot, if it is overridden.
    pub fn slot(&self, address: &Address, slot: &U256) -> Option<U256> {
        let account = self.accounts.get(address)?;
        account.slots.get(slot).copied().or(account.is_whole.then_some(U256::ZERO))
    }
}
