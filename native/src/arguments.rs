//! Arguments from Python: columns as bytes or as arrays, envelopes, system calls.
use std::ops::Deref;

use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use revm::primitives::{Address, Bytes};

use crate::faults::misfit;
use crate::transaction::Step;

/// A column of bytes: Python's `bytes` as they are, or a copy of any buffer of uint8 (a numpy array of any shape).
pub enum Column {
    Shared(PyBackedBytes),
    Copied(Vec<u8>),
}

impl Deref for Column {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Column {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.extract::<PyBackedBytes>() {
            return Ok(Self::Shared(bytes));
        }
        Ok(Self::Copied(PyBuffer::<u8>::get(&object)?.to_vec(object.py())?))
    }
}

/// A column of counts: a buffer of uint64 or int64, or a sequence of int.
pub struct Counts(pub Vec<u64>);

impl<'py> FromPyObject<'_, 'py> for Counts {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        if let Ok(buffer) = PyBuffer::<u64>::get(&object) {
            return Ok(Self(buffer.to_vec(py)?));
        }
        if let Ok(buffer) = PyBuffer::<i64>::get(&object) {
            let counts: Result<_, _> = buffer.to_vec(py)?.into_iter().map(u64::try_from).collect();
            return Ok(Self(counts.map_err(|_| misfit("a negative count"))?));
        }
        Ok(Self(object.extract()?))
    }
}

/// (to, data) of a system call.
pub fn system_call(to: [u8; 20], data: &[u8]) -> Step {
    Step::System { to: Address::from(to), data: Bytes::copy_from_slice(data) }
}

impl<'py> FromPyObject<'_, 'py> for Step {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(raw) = object.extract::<PyBackedBytes>() {
            return Ok(Self::Envelope(Bytes::copy_from_slice(&raw)));
        }
        let (to, data): ([u8; 20], PyBackedBytes) = object.extract()?;
        Ok(system_call(to, &data))
    }
}

/// The address in row `row` of a column of addresses.
pub fn address(column: &[u8], row: usize) -> PyResult<Address> {
    let bytes = column.get(row * 20..row * 20 + 20).ok_or_else(|| misfit("fewer senders than transactions"))?;
    Ok(Address::from_slice(bytes))
}
