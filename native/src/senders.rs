//! Who signed the envelopes that were asked about lately: to recover a sender costs more than all else about an envelope.
//!
//! The key is the txid, keccak-256 of the whole envelope, signature included, and it is made here, from the bytes that
//! are asked about. So it has one sender, and what is remembered is what recovering it again would give. Only this
//! module writes, and only what `recover_address` has answered.
use std::collections::HashMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, PoisonError, RwLock};

use revm::primitives::{Address, B256, keccak256};

use crate::envelope::Envelope;
use crate::recover::recover_address;

/// Senders of one generation. Two are kept, some 16 MB: all that a node's pool and its last blocks hold.
const GENERATION: usize = 1 << 17;

static SENDERS: LazyLock<RwLock<Senders>> = LazyLock::new(RwLock::default);
static RECOVERED: AtomicU64 = AtomicU64::new(0);

/// Two generations: when the newer one is full, the older one goes.
#[derive(Default)]
struct Senders {
    newer: HashMap<B256, Address>,
    older: HashMap<B256, Address>,
}

impl Senders {
    fn get(&self, txid: &B256) -> Option<Address> {
        self.newer.get(txid).or_else(|| self.older.get(txid)).copied()
    }

    fn insert(&mut self, txid: B256, sender: Address) {
        if self.newer.len() >= GENERATION {
            self.older = mem::take(&mut self.newer);
        }
        self.newer.insert(txid, sender);
    }
}

/// The sender of `envelope`, which `raw` decodes to, if anyone signed it; and its txid.
pub fn sender_of(raw: &[u8], envelope: &Envelope) -> Option<(Address, B256)> {
    let txid = keccak256(raw);
    if let Some(sender) = remembered(&txid) {
        return Some((sender, txid));
    }
    RECOVERED.fetch_add(1, Ordering::Relaxed);
    let sender = recover_address(&envelope.signing_hash(), envelope.y_parity, envelope.r, envelope.s)?;
    SENDERS.write().unwrap_or_else(PoisonError::into_inner).insert(txid, sender);
    Some((sender, txid))
}

/// The sender of the envelope with this txid, if it was asked about lately.
pub fn remembered(txid: &B256) -> Option<Address> {
    SENDERS.read().unwrap_or_else(PoisonError::into_inner).get(txid)
}

/// How many senders this process has recovered.
pub fn recovered() -> u64 {
    RECOVERED.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(i: usize) -> (B256, Address) {
        (keccak256(i.to_be_bytes()), Address::left_padding_from(&i.to_be_bytes()))
    }

    #[test]
    fn the_older_generation_goes_when_the_newer_one_is_full() {
        let mut senders = Senders::default();
        for i in 0..=2 * GENERATION {
            let (txid, sender) = numbered(i);
            senders.insert(txid, sender);
            assert_eq!(senders.get(&txid), Some(sender));
            assert!(senders.newer.len() + senders.older.len() <= 2 * GENERATION);
        }
        assert_eq!(senders.get(&numbered(0).0), None);
        assert_eq!(senders.get(&numbered(GENERATION).0), Some(numbered(GENERATION).1));
    }
}
