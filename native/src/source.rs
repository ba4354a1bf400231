//! Where the latest values come from that a world does not hold yet: two Python callables.
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use revm::bytecode::Bytecode;
use revm::primitives::{B256, U256, keccak256};

use crate::cells::Location;
use crate::codes::analyse;
use crate::faults::Fault;

/// Asked with the GIL attached. What they raise becomes the fault [`Fault::Raised`].
#[derive(Default)]
pub struct Source {
    /// mark | address | slot (53 bytes) to 32 bytes, or None for zero.
    values: Option<Py<PyAny>>,
    /// A code's keccak-256 to its bytes, or None.
    codes: Option<Py<PyAny>>,
}

impl Source {
    pub fn new(values: Option<Py<PyAny>>, codes: Option<Py<PyAny>>) -> Self {
        Self { values, codes }
    }

    /// True if a location that is not held is to be asked for; otherwise it is zero.
    pub fn has_values(&self) -> bool {
        self.values.is_some()
    }

    /// The value of a location.
    pub fn value(&self, location: &Location) -> Result<U256, Fault> {
        let Some(callable) = &self.values else { return Ok(U256::ZERO) };
        Python::attach(|py| {
            let Some(answer) = ask(callable.bind(py), &key(location))? else { return Ok(U256::ZERO) };
            let answer: [u8; 32] = answer.as_bytes().try_into().map_err(|_| wrong("a value has 32 bytes"))?;
            Ok(U256::from_be_bytes(answer))
        })
        .map_err(Fault::raised)
    }

    /// The code of this hash, analysed.
    pub fn code(&self, hash: &B256) -> Result<Option<Bytecode>, Fault> {
        let Some(callable) = &self.codes else { return Ok(None) };
        Python::attach(|py| {
            let Some(code) = ask(callable.bind(py), hash.as_slice())? else { return Ok(None) };
            if keccak256(code.as_bytes()) != *hash {
                return Err(wrong("the code's hash is another"));
            }
            Ok(Some(analyse(code.as_bytes())))
        })
        .map_err(Fault::raised)
    }

    /// For Python's garbage collector: a source may well hold the world that asks it.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.values)?;
        visit.call(&self.codes)
    }
}

fn ask<'py>(callable: &Bound<'py, PyAny>, key: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let answer = callable.call1((PyBytes::new(callable.py(), key),))?;
    if answer.is_none() { Ok(None) } else { Ok(Some(answer.cast_into::<PyBytes>()?)) }
}

fn key(location: &Location) -> [u8; 53] {
    let mut key = [0; 53];
    key[0] = location.mark;
    key[1..21].copy_from_slice(location.addr.as_slice());
    key[21..].copy_from_slice(&location.slot.to_be_bytes::<32>());
    key
}

/// The error for an answer that is none.
fn wrong(what: &'static str) -> PyErr {
    PyValueError::new_err(format!("the source's answer is of no use: {what}"))
}
