//! One call outside any block (eth_call and its kin): by anyone, on the latest values and what overrides them.
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList};
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, Output};
use revm::context_interface::either::Either;
use revm::context_interface::transaction::{
    AccessList, AccessListItem, Authorization, RecoveredAuthorization, SignedAuthorization,
};
use revm::primitives::{Address, B256, Bytes, TxKind, U256};

use crate::cells::{Columns, Use};
use crate::environment::Setting;
use crate::execute::export_logs;
use crate::faults::Fault;
use crate::machine::Machine;
use crate::overrides::{Account, Overrides};
use crate::recover::with_authority;
use crate::world::World;

/// EIP-2718 type of a call with EIP-1559's fees, and of one with authorizations (EIP-7702).
const DYNAMIC_FEE: u8 = 2;
const SET_CODE: u8 = 4;

type Word = [u8; 32];
/// Chain id, address, nonce, y parity, r, s.
type AuthorizationRow = (Word, [u8; 20], u64, u8, Word, Word);

/// What to run.
#[derive(FromPyObject)]
pub struct Request {
    sender: [u8; 20],
    to: Option<[u8; 20]>,
    value: Word,
    data: PyBackedBytes,
    gas_limit: u64,
    max_fee: u128,
    max_priority_fee: u128,
    access_list: Vec<([u8; 20], Vec<Word>)>,
    authorizations: Vec<AuthorizationRow>,
}

/// Address, balance, nonce, code, slots, whether all other slots are zero.
pub type Overridden = ([u8; 20], Option<Word>, Option<u64>, Option<PyBackedBytes>, Vec<(Word, Word)>, bool);

/// What the overrides are to a world.
pub fn overrides_of(rows: Vec<Overridden>) -> Option<Box<Overrides>> {
    if rows.is_empty() {
        return None;
    }
    let mut overrides = Overrides::default();
    for (address, balance, nonce, code, slots, is_whole) in rows {
        let word = U256::from_be_bytes::<32>;
        let slots = slots.into_iter().map(|(slot, value)| (word(slot), word(value))).collect();
        let account = Account { balance: balance.map(word), nonce, code: None, slots, is_whole };
        overrides.put(Address::from(address), code.as_deref(), account);
    }
    Some(Box::new(overrides))
}

impl Request {
    /// A machine for this call alone. No nonce and no cap on gas (EIP-7825) is checked; without a fee, the base fees are
    /// zero, so that none is asked for.
    pub fn machine(&self, setting: &Setting, world: World) -> Machine {
        let mut setting = setting.clone();
        setting.cfg.disable_nonce_check = true;
        setting.cfg.tx_gas_limit_cap = Some(u64::MAX);
        if self.max_fee == 0 {
            setting.block.basefee = 0;
        }
        Machine::new(&setting, world)
    }

    /// The result, and what was used.
    pub fn run(&self, machine: &mut Machine, setting: &Setting) -> Result<(ExecutionResult, Vec<Use>), Fault> {
        let transaction = self.transaction(setting.cfg.chain_id);
        catch_unwind(AssertUnwindSafe(|| machine.simulate(transaction)))
            .unwrap_or_else(|_| Err(Fault::Internal("the EVM panicked".into())))
    }

    fn transaction(&self, chain_id: u64) -> TxEnv {
        let entry = |(address, slots): &([u8; 20], Vec<Word>)| AccessListItem {
            address: Address::from(address),
            storage_keys: slots.iter().map(B256::from).collect(),
        };
        TxEnv {
            tx_type: if self.authorizations.is_empty() { DYNAMIC_FEE } else { SET_CODE },
            caller: Address::from(self.sender),
            gas_limit: self.gas_limit,
            gas_price: self.max_fee,
            kind: self.to.map_or(TxKind::Create, |to| TxKind::Call(Address::from(to))),
            value: U256::from_be_bytes(self.value),
            data: Bytes::copy_from_slice(&self.data),
            nonce: 0,
            chain_id: Some(chain_id),
            access_list: AccessList(self.access_list.iter().map(entry).collect()),
            gas_priority_fee: Some(self.max_priority_fee),
            authorization_list: self.authorizations.iter().map(authorization).map(Either::Right).collect(),
            ..TxEnv::default()
        }
    }
}

fn authorization(row: &AuthorizationRow) -> RecoveredAuthorization {
    let (chain_id, address, nonce, y_parity, r, s) = row;
    let word = U256::from_be_bytes::<32>;
    let inner = Authorization { chain_id: word(*chain_id), address: Address::from(address), nonce: *nonce };
    with_authority(&SignedAuthorization::new_unchecked(inner, *y_parity, word(*r), word(*s)))
}

/// What a call did, and what it used.
#[pyclass(frozen, get_all, module = "manaflow._native")]
pub struct Called {
    outcome: &'static str,
    gas_used: u64,
    gas_refunded: u64,
    output: Py<PyBytes>,
    halt_reason: String,
    created: Option<Py<PyBytes>>,
    logs: Py<PyList>,
    marks: Py<PyBytes>,
    addrs: Py<PyBytes>,
    slots: Py<PyBytes>,
    prevs: Py<PyBytes>,
    nexts: Py<PyBytes>,
}

impl Called {
    /// For Python.
    pub fn export(py: Python<'_>, (result, uses): (ExecutionResult, Vec<Use>)) -> PyResult<Self> {
        let bytes = |column: &[u8]| PyBytes::new(py, column).unbind();
        let mut columns = Columns::default();
        uses.iter().for_each(|used| columns.push(used));
        let gas = *result.gas();
        let (outcome, output, halt_reason, created, logs) = match result {
            ExecutionResult::Success { output: Output::Call(output), logs, .. } => {
                ("success", output, String::new(), None, logs)
            }
            ExecutionResult::Success { output: Output::Create(output, created), logs, .. } => {
                ("success", output, String::new(), created, logs)
            }
            ExecutionResult::Revert { output, .. } => ("revert", output, String::new(), None, Vec::new()),
            ExecutionResult::Halt { reason, .. } => ("halt", Bytes::new(), reason.to_string(), None, Vec::new()),
        };
        Ok(Self {
            outcome,
            gas_used: gas.tx_gas_used(),
            gas_refunded: gas.final_refunded(),
            output: bytes(&output),
            halt_reason,
            created: created.map(|address| bytes(address.as_slice())),
            logs: export_logs(py, &logs)?.unbind(),
            marks: bytes(&columns.marks),
            addrs: bytes(&columns.addrs),
            slots: bytes(&columns.slots),
            prevs: bytes(&columns.prevs),
            nexts: bytes(&columns.nexts),
        })
    }
}
