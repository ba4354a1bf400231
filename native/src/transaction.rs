//! From an envelope to what revm runs, with the part of X0 that revm leaves out.
use revm::context::TxEnv;
use revm::primitives::{Address, Bytes};

use crate::envelope::{Envelope, rule_of};
use crate::environment::Setting;
use crate::faults::Fault;
use crate::machine::Call;
use crate::rules;

/// Blob gas of one blob (EIP-4844).
const GAS_PER_BLOB: u64 = 1 << 17;

/// What a block has used before a transaction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    pub gas: u64,
    pub blob_gas: u64,
}

/// One thing to execute, as it comes from Python.
pub enum Step {
    Envelope(Bytes),
    System { to: Address, data: Bytes },
}

impl Step {
    /// What revm runs for this step, and its blob gas. S1, S2 and X0 may refuse it.
    pub fn prepare(&self, setting: &Setting, sender: Address, before: Totals) -> Result<(Call, u64), Fault> {
        match self {
            Self::Envelope(raw) => prepare_envelope(raw, setting, sender, before),
            Self::System { to, data } => Ok((Call::System { to: *to, data: data.clone() }, 0)),
        }
    }
}

/// [`Step::prepare`] of an envelope.
pub fn prepare_envelope(raw: &[u8], setting: &Setting, sender: Address, before: Totals) -> Result<(Call, u64), Fault> {
    let refused = |why| Fault::Verdict(rule_of(raw), format!("{why}"));
    let envelope = Envelope::decode(raw).map_err(refused)?;
    check_gas_limit(envelope.gas_limit, setting)?;
    let transaction = envelope.tx_env(sender).ok_or_else(|| Fault::invalid("a fee of more than 128 bits"))?;
    let blob_gas = GAS_PER_BLOB * transaction.blob_hashes.len() as u64;
    check_block_limits(&transaction, blob_gas, setting, before)?;
    Ok((Call::Transaction { transaction: Box::new(transaction), guard_gas: envelope.guard_gas() }, blob_gas))
}

/// X5, before anything is executed.
fn check_gas_limit(gas_limit: u64, setting: &Setting) -> Result<(), Fault> {
    let most = setting.limits.gas;
    if gas_limit > most {
        return Err(Fault::Verdict(rules::X5, format!("a gas limit of more than {most}")));
    }
    Ok(())
}

/// X0: the transaction fits into what the block has left of gas and of blob gas.
fn check_block_limits(transaction: &TxEnv, blob_gas: u64, setting: &Setting, before: Totals) -> Result<(), Fault> {
    let left = setting.block.gas_limit.saturating_sub(before.gas);
    if transaction.gas_limit > left {
        return Err(Fault::invalid(format!(
            "gas limit {} exceeds the {left} gas that the block has left",
            transaction.gas_limit
        )));
    }
    let left = setting.max_blobs.saturating_mul(GAS_PER_BLOB).saturating_sub(before.blob_gas);
    if blob_gas > left {
        return Err(Fault::invalid(format!("{blob_gas} blob gas exceeds the {left} that the block has left")));
    }
    Ok(())
}
