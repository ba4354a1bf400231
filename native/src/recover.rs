//! Sender recovery.
use pyo3::prelude::*;

/// Adds this module's functions to `manaflow._native`.
pub fn register(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
