//! The native half of Manaflow: revm with field-by-field tracking, envelopes and sender recovery, hashing in batches.
//!
//! `manaflow/_native.pyi` documents what Python sees. One execution goes through these modules: `transaction` (envelope
//! to revm's form), `validity` (X0 beyond revm), `machine` (revm with a record: `handler`, `opcodes`, `record`) on a
//! `world`, `uses` (what it used) and `outcome`; `execute`, `block`, `fill` and
//! `call` are the four ways in; the last two run on the values of `latest`.
use pyo3::prelude::*;

mod arguments;
mod block;
mod call;
mod cells;
mod codes;
mod declared;
mod envelope;
mod environment;
mod execute;
mod faults;
mod fill;
mod handler;
mod hashing;
mod latest;
mod machine;
mod opcodes;
mod outcome;
mod overrides;
mod plain;
mod precompiles;
mod record;
mod recover;
pub mod rules;
mod senders;
mod source;
mod transaction;
mod uses;
mod wire;
mod world;

#[pymodule]
fn _native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<codes::Codes>()?;
    m.add_class::<environment::Environment>()?;
    m.add_class::<execute::Execution>()?;
    m.add_class::<latest::World>()?;
    m.add_class::<fill::Filled>()?;
    m.add_class::<call::Called>()?;
    m.add_function(wrap_pyfunction!(execute::execute, m)?)?;
    m.add_function(wrap_pyfunction!(block::execute_block, m)?)?;
    m.add_function(wrap_pyfunction!(wire::encode_moves, m)?)?;
    m.add("NOT_EXECUTED", block::NOT_EXECUTED)?;
    rules::register(m)?;
    envelope::register(m)?;
    plain::register(m)?;
    recover::register(m)?;
    hashing::register(m)?;
    Ok(())
}
