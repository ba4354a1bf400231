//! One isolated execution.
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use revm::primitives::{Address, Log};

use crate::arguments::Column;
use crate::cells::{Columns, Rows};
use crate::codes::Codes;
use crate::environment::Environment;
use crate::faults::{Fault, misfit};
use crate::machine::{Call, Machine};
use crate::transaction::{Step, Totals};
use crate::uses::Ran;
use crate::world::World;

/// What one execution did: its outcome, and exactly what the access table says it used.
#[pyclass(frozen, get_all, module = "manaflow._native")]
pub struct Execution {
    status: u8,
    gas_used: u64,
    code_bytes: u64,
    logs: Py<PyList>,
    marks: Py<PyBytes>,
    addrs: Py<PyBytes>,
    slots: Py<PyBytes>,
    prevs: Py<PyBytes>,
    nexts: Py<PyBytes>,
    codes: Py<PyDict>,
}

/// Runs a call; a panic in the EVM becomes a fault. The machine is not to be used after one.
pub fn run_guarded(machine: &mut Machine, call: Call) -> Result<Ran, Fault> {
    catch_unwind(AssertUnwindSafe(|| machine.run(call)))
        .unwrap_or_else(|_| Err(Fault::Internal("the EVM panicked".into())))
}

/// Run one call with its cells as the whole world.
#[pyfunction]
#[pyo3(signature = (environment, call, sender, gas_before, blob_gas_before, marks, addrs, slots, prevs, codes))]
#[allow(clippy::too_many_arguments)] // columns by name in Python
pub fn execute(
    py: Python<'_>,
    environment: &Environment,
    call: Step,
    sender: [u8; 20],
    gas_before: u64,
    blob_gas_before: u64,
    marks: Column,
    addrs: Column,
    slots: Column,
    prevs: Column,
    codes: &Codes,
) -> PyResult<Execution> {
    let rows = Rows::new(&marks, &addrs, &slots, &prevs).ok_or_else(|| misfit("columns of different lengths"))?;
    let before = Totals { gas: gas_before, blob_gas: blob_gas_before };
    let shared = codes.0.clone();
    let ran = py.detach(|| {
        let (call, _) = call.prepare(&environment.0, Address::from(sender), before)?;
        let mut machine = Machine::new(&environment.0, World::isolated(shared));
        machine.world().declare(rows)?;
        run_guarded(&mut machine, call)
    });
    export(py, &ran.map_err(|fault| fault.raise(py, None))?)
}

/// Logs as (address, topics, data).
pub fn export_logs<'py>(py: Python<'py>, logs: &[Log]) -> PyResult<Bound<'py, PyList>> {
    let exported = PyList::empty(py);
    for log in logs {
        let topics = log.topics().iter().map(|topic| PyBytes::new(py, topic.as_slice()));
        let topics = PyList::new(py, topics.collect::<Vec<_>>())?;
        exported.append((PyBytes::new(py, log.address.as_slice()), topics, PyBytes::new(py, &log.data.data)))?;
    }
    Ok(exported)
}

fn export(py: Python<'_>, ran: &Ran) -> PyResult<Execution> {
    let mut columns = Columns::default();
    ran.uses.iter().for_each(|used| columns.push(used));
    let logs = export_logs(py, &ran.logs)?;
    let codes = PyDict::new(py);
    for (hash, code) in &ran.codes {
        codes.set_item(PyBytes::new(py, hash.as_slice()), PyBytes::new(py, code.original_byte_slice()))?;
    }
    let bytes = |column: &[u8]| PyBytes::new(py, column).unbind();
    Ok(Execution {
        status: u8::from(ran.success),
        gas_used: ran.gas_used,
        code_bytes: ran.code_bytes,
        logs: logs.unbind(),
        marks: bytes(&columns.marks),
        addrs: bytes(&columns.addrs),
        slots: bytes(&columns.slots),
        prevs: bytes(&columns.prevs),
        nexts: bytes(&columns.nexts),
        codes: codes.unbind(),
    })
}
