//! The latest values as Python holds them: loaded or asked for, changed by fills, seen by calls.
use std::collections::HashMap;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use revm::primitives::{Address, B256, U256};

use crate::arguments::{self, Column};
use crate::call::{Called, Overridden, Request};
use crate::cells::{Location, Rows};
use crate::codes::Codes;
use crate::environment::Environment;
use crate::faults::misfit;
use crate::fill::{Filled, Steps};
use crate::machine::Machine;
use crate::source::Source;
use crate::transaction::{Step, Totals};
use crate::world;

/// The latest values. A location that is not here is asked of the source, once, or is zero.
#[pyclass(module = "manaflow._native")]
pub struct World(world::World);

#[pymethods]
impl World {
    #[new]
    #[pyo3(signature = (source=None, code_source=None))]
    fn new(source: Option<Py<PyAny>>, code_source: Option<Py<PyAny>>) -> Self {
        Self(world::World::latest(Source::new(source, code_source)))
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
    fn get<'py>(&mut self, py: Python<'py>, mark: u8, addr: [u8; 20], slot: [u8; 32]) -> PyResult<Bound<'py, PyBytes>> {
        let location = Location { mark, addr: Address::from(addr), slot: U256::from_be_bytes(slot) };
        let value = self.0.value(&location).map_err(|fault| fault.raise(py, None))?;
        Ok(PyBytes::new(py, &value.to_be_bytes::<32>()))
    }

    /// Forget the values of as many locations.
    fn forget(&mut self, marks: Column, addrs: Column, slots: Column) -> PyResult<()> {
        let rows = Rows::new(&marks, &addrs, &slots, &slots).ok_or_else(|| misfit("columns of different lengths"))?;
        rows.iter().for_each(|(location, _)| self.0.forget(&location));
        Ok(())
    }

    /// Forget every value.
    fn clear(&mut self) {
        self.0.forget_all();
    }

    /// Slots, and accounts of which a field is held.
    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Execute steps in order, each on what the ones before it left. On an error, nothing has changed.
    #[pyo3(signature = (
        environment, steps, senders, block_hashes, codes, gas_before=0, blob_gas_before=0, skip_refused=false
    ))]
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
        skip_refused: bool,
    ) -> PyResult<Filled> {
        if senders.len() != steps.len() * 20 {
            return Err(misfit("as many senders as steps, 20 bytes each"));
        }
        let with_sender = |(place, step)| Ok((step, arguments::address(&senders, place)?));
        let calls: Vec<(Step, Address)> = steps.into_iter().enumerate().map(with_sender).collect::<PyResult<_>>()?;
        let before = Totals { gas: gas_before, blob_gas: blob_gas_before };
        self.prepare(block_hashes, codes);
        let filled = py.detach(|| {
            let mut machine = Machine::new(&environment.0, std::mem::take(&mut self.0));
            let mut steps = Steps::new(skip_refused);
            let result = steps.run(&mut machine, &environment.0, &calls, &codes.0, before);
            self.0 = machine.into_world();
            match result {
                Ok(()) => Ok(steps),
                Err(failed) => steps.undo(&mut self.0).and(Err(failed)),
            }
        });
        filled.map_err(|(place, fault)| fault.raise(py, Some(place)))?.export(py)
    }

    /// Run one call outside any block. Nothing changes, but what was asked of the source is kept.
    #[allow(clippy::too_many_arguments)] // by name in Python
    fn call(
        &mut self,
        py: Python<'_>,
        environment: &Environment,
        request: Request,
        overrides: Vec<Overridden>,
        block_hashes: HashMap<u64, [u8; 32]>,
        codes: &Codes,
    ) -> PyResult<Called> {
        self.prepare(block_hashes, codes);
        let result = py.detach(|| {
            self.0.use_overrides(crate::call::overrides_of(overrides));
            let mut machine = request.machine(&environment.0, std::mem::take(&mut self.0));
            let result = request.run(&mut machine, &environment.0);
            self.0 = machine.into_world();
            self.0.use_overrides(None);
            result
        });
        Called::export(py, result.map_err(|fault| fault.raise(py, None))?)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.source().traverse(&visit)
    }

    fn __clear__(&mut self) {
        self.0 = world::World::default();
    }
}

impl World {
    fn prepare(&mut self, block_hashes: HashMap<u64, [u8; 32]>, codes: &Codes) {
        self.0.use_codes(codes.0.clone());
        self.0.use_hashes(block_hashes.into_iter().map(|(number, hash)| (number, B256::from(hash))));
    }
}
