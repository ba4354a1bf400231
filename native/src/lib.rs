//! The native half of Manaflow: revm with field-by-field tracking, envelopes and sender recovery, hashing in batches.
//!
//! `manaflow/_native.pyi` documents what Python sees.
use pyo3::prelude::*;

mod envelope;
mod hashing;
mod recover;
pub mod rules;

#[pymodule]
fn _native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    rules::register(m)?;
    envelope::register(m)?;
    recover::register(m)?;
    hashing::register(m)?;
    Ok(())
}
