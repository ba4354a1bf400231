//! Which addresses are precompiles in a fork. Their code and nonce are 0 by rule and never cells.
use revm::precompile::{PrecompileSpecId, Precompiles};
use revm::primitives::Address;
use revm::primitives::hardfork::SpecId;

/// Precompiles live at small numbers: one bit for each of the first 512 addresses.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrecompileSet([u64; 8]);

impl PrecompileSet {
    /// The precompiles of a fork, as revm knows them.
    pub fn of(spec: SpecId) -> Self {
        let mut set = Self::default();
        for address in Precompiles::new(PrecompileSpecId::from_spec_id(spec)).addresses() {
            if let Some((word, bit)) = place(address) {
                set.0[word] |= bit;
            }
        }
        set
    }

    #[inline]
    pub fn contains(&self, address: &Address) -> bool {
        place(address).is_some_and(|(word, bit)| self.0[word] & bit != 0)
    }
}

#[inline]
fn place(address: &Address) -> Option<(usize, u64)> {
    let (high, low) = address.split_at(18);
    let number = usize::from(u16::from_be_bytes([low[0], low[1]]));
    (high.iter().all(|byte| *byte == 0) && number < 512).then_some((number / 64, 1 << (number % 64)))
}
