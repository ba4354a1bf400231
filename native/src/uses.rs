//! From revm's final state and the record to the uses of rule X4, sorted as rule M5 sorts.
use revm::bytecode::Bytecode;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, B256, KECCAK_EMPTY, Log, U256};
use revm::state::{Account, EvmState};

use crate::cells::{self, Location, Use};
use crate::faults::Fault;
use crate::record::Record;
use crate::world::{B, C, N};

/// What one execution did.
pub struct Ran {
    pub success: bool,
    /// 0 for a system call.
    pub gas_used: u64,
    /// None of a system call: they are no part of its outcome.
    pub logs: Vec<Log>,
    /// Sorted by (mark, addr, slot), each location once.
    pub uses: Vec<Use>,
    /// Bytes of the distinct codes that were there before and that it used (X5).
    pub code_bytes: u64,
    /// Codes that became live.
    pub codes: Vec<(B256, Bytecode)>,
}

/// Every location used, with its values. An account that dies leaves zeros.
pub fn collect(state: &EvmState, record: &Record, spec: SpecId) -> Result<Vec<Use>, Fault> {
    let mut uses = Vec::with_capacity(state.len() * 4);
    for (addr, account) in state {
        if account.is_selfdestructed() && !account.is_created() && !spec.is_enabled_in(SpecId::CANCUN) {
            return Err(Fault::Unsupported(format!(
                "SELFDESTRUCT of {addr:#x}, which this transaction did not make: before Cancun it wipes slots that nobody can name"
            )));
        }
        collect_fields(*addr, account, record.used(addr), &mut uses)?;
        collect_slots(*addr, account, &mut uses);
    }
    collect_hashes(record, &mut uses);
    uses.sort_unstable_by_key(|used| used.location);
    Ok(uses)
}

fn collect_fields(addr: Address, account: &Account, used: u8, uses: &mut Vec<Use>) -> Result<(), Fault> {
    let old = account.original_info();
    let dead = account.is_selfdestructed();
    let after = |value: U256| if dead { U256::ZERO } else { value };
    let fields = [
        (B, cells::BALANCE, old.balance, after(account.info.balance)),
        (N, cells::NONCE, U256::from(old.nonce), after(U256::from(account.info.nonce))),
        (C, cells::CODE, cells::code_word(old.code_hash), after(cells::code_word(account.info.code_hash))),
    ];
    for (bit, mark, prev, next) in fields {
        if used & bit != 0 {
            uses.push(Use { location: Location { mark, addr, slot: U256::ZERO }, prev, next });
        } else if prev != next {
            return Err(Fault::Internal(format!("{} of {addr:#x} changed without being used", char::from(mark))));
        }
    }
    Ok(())
}

/// Slots need no record: revm loads exactly those that are used, and keeps those of reverted frames.
fn collect_slots(addr: Address, account: &Account, uses: &mut Vec<Use>) {
    let dead = account.is_selfdestructed();
    for (slot, value) in &account.storage {
        let location = Location { mark: cells::STORAGE, addr, slot: *slot };
        let next = if dead { U256::ZERO } else { value.present_value };
        uses.push(Use { location, prev: value.original_value, next });
    }
}

fn collect_hashes(record: &Record, uses: &mut Vec<Use>) {
    let mut hashes = record.hashes().to_vec();
    hashes.sort_unstable();
    hashes.dedup();
    for (number, hash) in hashes {
        let location = Location { mark: cells::BLOCKHASH, addr: Address::ZERO, slot: U256::from(number) };
        let value = U256::from_be_bytes(hash.0);
        uses.push(Use { location, prev: value, next: value });
    }
}

/// Codes of accounts whose code changed and that live on.
pub fn codes_made(state: EvmState) -> Vec<(B256, Bytecode)> {
    let changed = |account: &Account| {
        let hash = account.info.code_hash;
        !account.is_selfdestructed() && hash != KECCAK_EMPTY && hash != account.original_info().code_hash
    };
    let made = state.into_values().filter(changed);
    made.filter_map(|account| Some((account.info.code_hash, account.info.code?))).collect()
}
