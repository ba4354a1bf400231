//! Filling: steps executed one after another on the latest values, each giving its moves and its outcome.
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use revm::bytecode::Bytecode;
use revm::primitives::{Address, B256, U256};

use crate::cells::{Columns, Location, Rows};
use crate::codes::CodeCache;
use crate::environment::Setting;
use crate::execute::run_guarded;
use crate::faults::Fault;
use crate::machine::Machine;
use crate::outcome;
use crate::rules;
use crate::transaction::{Step, Totals};
use crate::uses::Ran;
use crate::world::World;

/// A step that was left out: its place, the rule that refuses it, why.
type Refusal = (usize, u8, String);

/// What the steps of one fill did, as columns.
#[derive(Default)]
pub struct Steps {
    skip_refused: bool,
    refused: Vec<Refusal>,
    places: Vec<u8>,
    moves: Columns,
    consumes: Vec<u8>,
    references: Vec<u8>,
    statuses: Vec<u8>,
    gas_used: Vec<u8>,
    logs_hashes: Vec<u8>,
    logs: Vec<Vec<u8>>,
    codes: Vec<(B256, Bytecode)>,
}

impl Steps {
    /// With `skip_refused`, a step that is refused is left out; else it is an error.
    pub fn new(skip_refused: bool) -> Self {
        Self { skip_refused, ..Self::default() }
    }

    /// Runs every step, each on what the ones before it left. The error carries the place of the step.
    pub fn run(
        &mut self,
        machine: &mut Machine,
        setting: &Setting,
        calls: &[(Step, Address)],
        codes: &CodeCache,
        mut before: Totals,
    ) -> Result<(), (usize, Fault)> {
        for (place, (step, sender)) in calls.iter().enumerate() {
            match execute(machine, setting, step, *sender, before) {
                Ok((ran, blob_gas)) => {
                    machine.world().apply(&ran.uses).map_err(|fault| (place, fault))?;
                    ran.codes.iter().for_each(|(hash, code)| codes.insert(*hash, code.clone()));
                    before.gas = before.gas.saturating_add(ran.gas_used);
                    before.blob_gas = before.blob_gas.saturating_add(blob_gas);
                    self.push(place, ran);
                }
                Err(fault) => self.refuse(place, fault)?,
            }
        }
        Ok(())
    }

    /// Leaves a step out, if it is the step's own fault and wanted.
    fn refuse(&mut self, place: usize, fault: Fault) -> Result<(), (usize, Fault)> {
        let refusal = match fault {
            Fault::Verdict(rule, why) if self.skip_refused => (place, rule, why),
            // No block can hold it, so that it is no more valid than what X0 refuses.
            Fault::Unsupported(why) if self.skip_refused => (place, rules::X0, why),
            fault => return Err((place, fault)),
        };
        self.refused.push(refusal);
        Ok(())
    }

    /// Adds one step: its consumes, then its references, each sorted (M5), and its outcome.
    fn push(&mut self, place: usize, ran: Ran) {
        let consumes = ran.uses.iter().filter(|used| used.is_consume());
        let count = consumes.inspect(|used| self.moves.push(used)).count() as u32;
        let references = ran.uses.iter().filter(|used| !used.is_consume());
        references.for_each(|used| self.moves.push(used));
        self.places.extend((place as u32).to_ne_bytes());
        self.consumes.extend(count.to_ne_bytes());
        self.references.extend((ran.uses.len() as u32 - count).to_ne_bytes());
        self.statuses.push(u8::from(ran.success));
        self.gas_used.extend(ran.gas_used.to_ne_bytes());
        let logs = outcome::encode_logs(&ran.logs);
        self.logs_hashes.extend_from_slice(outcome::hash_encoded(&logs).as_slice());
        self.logs.push(logs);
        self.codes.extend(ran.codes);
    }

    /// Every consume undone, the last one first.
    pub fn undo(&self, world: &mut World) -> Result<(), (usize, Fault)> {
        let before = Rows::new(&self.moves.marks, &self.moves.addrs, &self.moves.slots, &self.moves.prevs);
        let before: Vec<(Location, U256)> = before.map(|rows| rows.iter().collect()).unwrap_or_default();
        let after = self.moves.nexts.chunks_exact(32).map(U256::from_be_slice);
        for ((location, prev), next) in before.into_iter().zip(after).rev() {
            if prev != next {
                world.put(location, prev).map_err(|fault| (0, fault))?;
            }
        }
        Ok(())
    }

    /// For Python.
    pub fn export(self, py: Python<'_>) -> PyResult<Filled> {
        let bytes = |column: &[u8]| PyBytes::new(py, column).unbind();
        let codes = PyDict::new(py);
        for (hash, code) in &self.codes {
            codes.set_item(PyBytes::new(py, hash.as_slice()), PyBytes::new(py, code.original_byte_slice()))?;
        }
        let logs = self.logs.iter().map(|logs| PyBytes::new(py, logs));
        Ok(Filled {
            places: bytes(&self.places),
            refused: PyList::new(py, self.refused)?.unbind(),
            marks: bytes(&self.moves.marks),
            addrs: bytes(&self.moves.addrs),
            slots: bytes(&self.moves.slots),
            prevs: bytes(&self.moves.prevs),
            nexts: bytes(&self.moves.nexts),
            consumes: bytes(&self.consumes),
            references: bytes(&self.references),
            statuses: bytes(&self.statuses),
            gas_used: bytes(&self.gas_used),
            logs_hashes: bytes(&self.logs_hashes),
            logs: PyList::new(py, logs.collect::<Vec<_>>())?.unbind(),
            codes: codes.unbind(),
        })
    }
}

/// One step's execution and its blob gas.
fn execute(
    machine: &mut Machine,
    setting: &Setting,
    step: &Step,
    sender: Address,
    before: Totals,
) -> Result<(Ran, u64), Fault> {
    let (call, blob_gas) = step.prepare(setting, sender, before)?;
    Ok((run_guarded(machine, call)?, blob_gas))
}

/// What a fill did, step by step, in columns.
#[pyclass(frozen, get_all, module = "manaflow._native")]
pub struct Filled {
    places: Py<PyBytes>,
    refused: Py<PyList>,
    marks: Py<PyBytes>,
    addrs: Py<PyBytes>,
    slots: Py<PyBytes>,
    prevs: Py<PyBytes>,
    nexts: Py<PyBytes>,
    consumes: Py<PyBytes>,
    references: Py<PyBytes>,
    statuses: Py<PyBytes>,
    gas_used: Py<PyBytes>,
    logs_hashes: Py<PyBytes>,
    logs: Py<PyList>,
    codes: Py<PyDict>,
}
