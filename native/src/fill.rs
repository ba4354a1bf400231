//! Filling: steps executed one after another on the latest values, each giving its moves and its outcome.
use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use revm::bytecode::Bytecode;
use revm::primitives::{Address, B256, U256};

use crate::arguments::{self, Column};
use crate::cells::{Columns, Location, Rows};
use crate::codes::{CodeCache, Codes};
use crate::environment::{Environment, Setting};
use crate::execute::run_guarded;
use crate::faults::{Fault, misfit};
use crate::machine::Machine;
use crate::outcome;
use crate::transaction::{Step, Totals};
use crate::uses::Ran;
use crate::world;

/// What the steps of one fill did, as columns.
#[derive(Default)]
struct Steps {
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
    /// Adds one step: its consumes, then its references, each sorted (M5), and its outcome.
    fn push(&mut self, ran: Ran) {
        let consumes = ran.uses.iter().filter(|used| used.is_consume());
        let count = consumes.inspect(|used| self.moves.push(used)).count() as u32;
        let references = ran.uses.iter().filter(|used| !used.is_consume());
        references.for_each(|used| self.moves.push(used));
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
    fn undo(&self, world: &mut world::World) -> Result<(), Fault> {
        let before = Rows::new(&self.moves.marks, &self.moves.addrs, &self.moves.slots, &self.moves.prevs);
        let before: Vec<(Location, U256)> = before.map(|rows| rows.iter().collect()).unwrap_or_default();
        let after = self.moves.nexts.chunks_exact(32).map(U256::from_be_slice);
        let changed = before.into_iter().zip(after).rev().filter(|((_, prev), next)| prev != next);
        changed.into_iter().try_for_each(|((location, prev), _)| world.put(location, prev).map(|_| ()))
    }
}

/// Runs every step, each on what the ones before it left. The error carries the place of the step.
fn run(
    machine: &mut Machine,
    setting: &Setting,
    calls: &[(Step, Address)],
    codes: &CodeCache,
    mut before: Totals,
    steps: &mut Steps,
) -> Result<(), (usize, Fault)> {
    for (place, (step, sender)) in calls.iter().enumerate() {
        let failed = |fault| (place, fault);
        let (call, blob_gas) = step.prepare(setting, *sender, before).map_err(failed)?;
        let ran = run_guarded(machine, call).map_err(failed)?;
        machine.world().apply(&ran.uses).map_err(failed)?;
        ran.codes.iter().for_each(|(hash, code)| codes.insert(*hash, code.clone()));
        before.gas = before.gas.saturating_add(ran.gas_used);
        before.blob_gas = before.blob_gas.saturating_add(blob_gas);
        steps.push(ran);
    }
    Ok(())
}

/// The latest values, for filling. A location that is not here is zero.
#[pyclass(module = "manaflow._native")]
#[derive(Default)]
pub struct World(world::World);

#[pymethods]
impl World {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Set values: the columns of as many locations.
    fn load(&mut self, py: Python<'_>, marks: Column, addrs: Column, slots: Column, values: Column) -> PyResult<()> {
        let rows = Rows::new(&marks, &addrs, &slots, &values).ok_or_else(|| misfit("columns of different lengths"))?;
        for (location, value) in rows.iter() {
            self.0.put(location, value).map_err(|fault| fault.raise(py, None))?;
        }
        Ok(())
    }

    /// The value at a location, 32 bytes.
    fn get<'py>(&self, py: Python<'py>, mark: u8, addr: [u8; 20], slot: [u8; 32]) -> Bound<'py, PyBytes> {
        let location = Location { mark, addr: Address::from(addr), slot: U256::from_be_bytes(slot) };
        PyBytes::new(py, &self.0.value(&location).to_be_bytes::<32>())
    }

    /// Execute steps in order, each on what the ones before it left. If one is invalid, nothing has changed.
    #[pyo3(signature = (environment, steps, senders, block_hashes, codes, gas_before=0, blob_gas_before=0))]
    #[allow(clippy::too_many_arguments)] // by name in Python
    fn fill(
        &mut self,
        py: Python<'_>,
        environment: &Environment,
        steps: Vec<Step>,
        senders: Column,
        block_hashes: HashMap<u64, [u8; 32]>,
        codes: &Codes,
        gas_before: u64,
        blob_gas_before: u64,
    ) -> PyResult<Filled> {
        if senders.len() != steps.len() * 20 {
            return Err(misfit("as many senders as steps, 20 bytes each"));
        }
        let with_sender = |(place, step)| Ok((step, arguments::address(&senders, place)?));
        let calls: Vec<(Step, Address)> = steps.into_iter().enumerate().map(with_sender).collect::<PyResult<_>>()?;
        let hashes = block_hashes.into_iter().map(|(number, hash)| (number, B256::from(hash)));
        let before = Totals { gas: gas_before, blob_gas: blob_gas_before };
        self.0.use_codes(codes.0.clone());
        self.0.use_hashes(hashes);
        let filled = py.detach(|| self.fill_all(&environment.0, &calls, &codes.0, before));
        export(py, filled.map_err(|(place, fault)| fault.raise(py, Some(place)))?)
    }
}

impl World {
    fn fill_all(
        &mut self,
        setting: &Setting,
        calls: &[(Step, Address)],
        codes: &CodeCache,
        before: Totals,
    ) -> Result<Steps, (usize, Fault)> {
        let mut machine = Machine::new(setting, std::mem::take(&mut self.0));
        let mut steps = Steps::default();
        let result = run(&mut machine, setting, calls, codes, before, &mut steps);
        self.0 = machine.into_world();
        if let Err((place, fault)) = result {
            steps.undo(&mut self.0).map_err(|fault| (place, fault))?;
            return Err((place, fault));
        }
        Ok(steps)
    }
}

/// What a fill did, step by step, in columns.
#[pyclass(frozen, get_all, module = "manaflow._native")]
pub struct Filled {
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

fn export(py: Python<'_>, steps: Steps) -> PyResult<Filled> {
    let bytes = |column: &[u8]| PyBytes::new(py, column).unbind();
    let codes = PyDict::new(py);
    for (hash, code) in &steps.codes {
        codes.set_item(PyBytes::new(py, hash.as_slice()), PyBytes::new(py, code.original_byte_slice()))?;
    }
    let logs = steps.logs.iter().map(|logs| PyBytes::new(py, logs));
    Ok(Filled {
        marks: bytes(&steps.moves.marks),
        addrs: bytes(&steps.moves.addrs),
        slots: bytes(&steps.moves.slots),
        prevs: bytes(&steps.moves.prevs),
        nexts: bytes(&steps.moves.nexts),
        consumes: bytes(&steps.consumes),
        references: bytes(&steps.references),
        statuses: bytes(&steps.statuses),
        gas_used: bytes(&steps.gas_used),
        logs_hashes: bytes(&steps.logs_hashes),
        logs: PyList::new(py, logs.collect::<Vec<_>>())?.unbind(),
        codes: codes.unbind(),
    })
}
