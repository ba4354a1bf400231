//! Plain revm: a block's steps in order on a mutable in-memory state, with no record and no moves.
//!
//! For benchmarks only: the way every other client executes, measured beside ours in one run. Nothing else uses it.
use std::collections::HashMap;

use pyo3::prelude::*;
use revm::context_interface::ContextTr;
use revm::database::{DbAccount, InMemoryDB};
use revm::primitives::{Address, B256, U256};
use revm::{Context, ExecuteCommitEvm, MainBuilder, MainContext, SystemCallCommitEvm};

use crate::arguments::{self, Column};
use crate::cells::{self, Location, Rows};
use crate::codes::{CodeCache, Codes};
use crate::environment::{Environment, Setting};
use crate::faults::{Fault, misfit};
use crate::machine::Call;
use crate::transaction::{Step, Totals};

/// Adds this module's class to `manaflow._native`.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Plain>()
}

/// A block for plain revm. Getting ready and running are apart, so that a caller can time each.
#[pyclass(module = "manaflow._native")]
pub struct Plain {
    setting: Setting,
    steps: Vec<(Step, Address)>,
    before: InMemoryDB,
    state: InMemoryDB,
    calls: Vec<Call>,
}

#[pymethods]
impl Plain {
    #[new]
    #[allow(clippy::too_many_arguments)] // columns by name in Python
    fn new(
        py: Python<'_>,
        environment: &Environment,
        steps: Vec<Step>,
        senders: Column,
        marks: Column,
        addrs: Column,
        slots: Column,
        values: Column,
        block_hashes: HashMap<u64, [u8; 32]>,
        codes: &Codes,
    ) -> PyResult<Self> {
        let rows = Rows::new(&marks, &addrs, &slots, &values).ok_or_else(|| misfit("columns of different lengths"))?;
        let with_sender = |(place, step)| Ok((step, arguments::address(&senders, place)?));
        let steps = steps.into_iter().enumerate().map(with_sender).collect::<PyResult<_>>()?;
        let mut before = InMemoryDB::default();
        for (location, value) in rows.iter() {
            put(&mut before, &codes.0, location, value).map_err(|fault| fault.raise(py, None))?;
        }
        let hashes = block_hashes.into_iter().map(|(number, hash)| (U256::from(number), B256::from(hash)));
        before.cache.block_hashes.extend(hashes);
        Ok(Self { setting: environment.0.clone(), steps, before, state: InMemoryDB::default(), calls: Vec::new() })
    }

    /// Take the state back to what it was before the block.
    fn reset(&mut self) {
        self.state = self.before.clone();
    }

    /// Decode every envelope for the next run: what executing a sealed block does as well.
    fn decode(&mut self, py: Python<'_>) -> PyResult<()> {
        let Self { setting, steps, .. } = self;
        let prepared = |(place, (step, sender)): (usize, &(Step, Address))| {
            let prepared = step.prepare(setting, *sender, Totals::default());
            prepared.map(|(call, _)| call).map_err(|fault| fault.raise(py, Some(place)))
        };
        self.calls = steps.iter().enumerate().map(prepared).collect::<PyResult<_>>()?;
        Ok(())
    }

    /// Execute what was decoded, each step on what the ones before it left; returns the transactions' gas.
    fn run(&mut self, py: Python<'_>) -> PyResult<u64> {
        let calls = std::mem::take(&mut self.calls);
        py.detach(|| self.run_all(calls)).map_err(|fault| fault.raise(py, None))
    }
}

impl Plain {
    fn run_all(&mut self, calls: Vec<Call>) -> Result<u64, Fault> {
        let Setting { cfg, block, .. } = self.setting.clone();
        let state = std::mem::take(&mut self.state);
        let mut evm = Context::mainnet().with_db(state).with_cfg(cfg).with_block(block).build_mainnet();
        let mut gas = 0;
        for call in calls {
            match call {
                Call::Transaction { transaction, .. } => {
                    gas += evm.transact_commit(*transaction).map_err(failed)?.tx_gas_used();
                }
                Call::System { to, data } => {
                    evm.system_call_commit(to, data).map_err(failed)?;
                }
            }
        }
        self.state = std::mem::take(evm.ctx.db_mut()); // given up by the next reset, not here
        Ok(gas)
    }
}

fn failed(error: impl std::fmt::Display) -> Fault {
    Fault::Internal(format!("plain revm: {error}"))
}

/// Sets one value of a state.
fn put(state: &mut InMemoryDB, codes: &CodeCache, location: Location, value: U256) -> Result<(), Fault> {
    let Location { mark, addr, slot } = location;
    let account: &mut DbAccount = state.cache.accounts.entry(addr).or_default();
    match mark {
        cells::BALANCE => account.info.balance = value,
        cells::NONCE => account.info.nonce = value.saturating_to(),
        cells::STORAGE => {
            account.storage.insert(slot, value);
        }
        _ => {
            let hash = cells::code_hash(value);
            let code = codes.get(&hash).ok_or(Fault::MissingCode(hash))?;
            account.info.code_hash = hash;
            account.info.code = Some(code.clone());
            state.cache.contracts.insert(hash, code);
        }
    }
    Ok(())
}
