//! What an execution sees of its block.
use pyo3::prelude::*;
use revm::context::{BlockEnv, CfgEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, B256, U256};

use crate::faults::misfit;

/// A block's setting in revm's terms.
#[derive(Clone)]
pub struct Setting {
    pub cfg: CfgEnv,
    pub block: BlockEnv,
    /// How many blobs the block may hold.
    pub max_blobs: u64,
    pub credits_coinbase: bool,
    pub limits: Limits,
}

/// What a signed transaction may use at most (X5); without bound in profile `ethereum`.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub gas: u64,
    pub code_bytes: u64,
}

impl Limits {
    const NONE: Self = Self { gas: u64::MAX, code_bytes: u64::MAX };
    /// The numbers of manaflow/rules/execution.py, and a test says so.
    const MANAFLOW: Self = Self { gas: 1 << 24, code_bytes: 1 << 20 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::NONE
    }
}

impl Setting {
    pub fn spec(&self) -> SpecId {
        self.cfg.spec
    }
}

/// Blobs that one transaction may carry from Osaka on (EIP-7594).
const OSAKA_BLOBS_PER_TRANSACTION: u64 = 6;

/// The numbers of manaflow.rules.config.Fork.
fn spec_of(fork: u8) -> PyResult<SpecId> {
    match fork {
        0 => Ok(SpecId::MERGE),
        1 => Ok(SpecId::SHANGHAI),
        2 => Ok(SpecId::CANCUN),
        3 => Ok(SpecId::PRAGUE),
        4 => Ok(SpecId::OSAKA),
        _ => Err(misfit(format!("no fork has the number {fork}"))),
    }
}

/// What an execution sees of its block; the fields of manaflow.evm.executor.Environment.
#[pyclass(frozen, module = "manaflow._native")]
pub struct Environment(pub Setting);

#[pymethods]
impl Environment {
    #[new]
    #[allow(clippy::too_many_arguments)] // the fields of the header, by name in Python
    fn new(
        chain_id: u64,
        fork: u8,
        number: u64,
        timestamp: u64,
        coinbase: [u8; 20],
        gas_limit: u64,
        base_fee: u64,
        prevrandao: [u8; 32],
        excess_blob_gas: u64,
        blob_base_fee: u128,
        max_blobs: u64,
        update_fraction: u64,
        profile: u8,
    ) -> PyResult<Self> {
        let (credits_coinbase, limits) = match profile {
            0 => (true, Limits::NONE),
            1 => (false, Limits::MANAFLOW),
            _ => return Err(misfit(format!("no profile has the number {profile}"))),
        };
        let spec = spec_of(fork)?;
        let mut cfg = CfgEnv::new_with_spec(spec).with_chain_id(chain_id);
        let per_transaction = if spec >= SpecId::OSAKA { OSAKA_BLOBS_PER_TRANSACTION } else { u64::MAX };
        cfg.max_blobs_per_tx = Some(max_blobs.min(per_transaction));
        cfg.blob_base_fee_update_fraction = Some(update_fraction);
        let blobs = BlobExcessGasAndPrice { excess_blob_gas, blob_gasprice: blob_base_fee };
        let block = BlockEnv {
            number: U256::from(number),
            beneficiary: Address::from(coinbase),
            timestamp: U256::from(timestamp),
            gas_limit,
            basefee: base_fee,
            difficulty: U256::ZERO,
            prevrandao: Some(B256::from(prevrandao)),
            blob_excess_gas_and_price: Some(blobs),
            slot_num: 0,
        };
        Ok(Self(Setting { cfg, block, max_blobs, credits_coinbase, limits }))
    }
}
