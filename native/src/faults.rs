//! Why an execution gives no result, and the Python error that says so.
use std::fmt;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use revm::database_interface::DBErrorMarker;
use revm::primitives::B256;

use crate::cells::Location;
use crate::rules;

/// Every way an execution may end without a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The execution used a location that its moves do not name (X1).
    Undeclared(Location),
    /// The transaction is invalid (X0), or its cells break the rule named.
    Verdict(u8, String),
    /// The bytes of a code that lives at a declared cell are not at hand.
    MissingCode(B256),
    /// The hash of a block within BLOCKHASH's window is not at hand.
    MissingBlockHash(u64),
    /// Real input that the rules cannot hold.
    Unsupported(String),
    /// A Python callable that was asked for a value or a code raised this.
    Raised(Raised),
    /// A bug of ours.
    Internal(String),
}

/// A Python error on its way through the EVM; equal only to itself.
#[derive(Debug, Clone)]
pub struct Raised(Arc<PyErr>);

impl PartialEq for Raised {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Raised {}

impl Fault {
    pub fn raised(error: PyErr) -> Self {
        Self::Raised(Raised(Arc::new(error)))
    }

    pub fn invalid(what: impl Into<String>) -> Self {
        Self::Verdict(rules::X0, what.into())
    }

    /// The rule that this fault breaks, if it is the transaction's fault and not ours.
    pub fn rule(&self) -> Option<u8> {
        match self {
            Self::Undeclared(_) => Some(rules::X1),
            Self::Verdict(rule, _) => Some(*rule),
            _ => None,
        }
    }

    /// The error of manaflow/errors.py for this fault; `transaction` is its place, where there are several.
    pub fn raise(&self, py: Python<'_>, transaction: Option<usize>) -> PyErr {
        self.error(py, transaction).map_or_else(|failed| failed, PyErr::from_value)
    }

    fn error<'py>(&self, py: Python<'py>, transaction: Option<usize>) -> PyResult<Bound<'py, PyAny>> {
        let errors = py.import("manaflow.errors")?;
        let place = transaction.map_or(String::new(), |i| format!("transaction {i}: "));
        match self {
            Self::Undeclared(Location { mark, addr, slot }) => errors.getattr("Undeclared")?.call1((
                PyBytes::new(py, &[*mark]),
                PyBytes::new(py, addr.as_slice()),
                PyBytes::new(py, &slot.to_be_bytes::<32>()),
            )),
            Self::Verdict(rule, what) => {
                let rule = errors.getattr("Rule")?.call1((*rule,))?;
                let at = PyDict::new(py);
                at.set_item("transaction", transaction)?;
                errors.getattr("Verdict")?.call((rule, what), Some(&at))
            }
            Self::Raised(raised) => Err(raised.0.clone_ref(py)),
            Self::Unsupported(_) => errors.getattr("Unsupported")?.call1((format!("{place}{self}"),)),
            _ => errors.getattr("Failure")?.call1((format!("{place}{self}"),)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undeclared(Location { mark, addr, slot }) => {
                write!(f, "undeclared access: {} {addr:#x} slot {slot:#066x}", char::from(*mark))
            }
            Self::MissingCode(hash) => write!(f, "the code {hash} is not at hand"),
            Self::MissingBlockHash(number) => write!(f, "the hash of block {number} is not at hand"),
            Self::Verdict(_, what) | Self::Unsupported(what) => f.write_str(what),
            Self::Raised(raised) => write!(f, "{}", raised.0),
            Self::Internal(what) => write!(f, "a bug in manaflow: {what}"),
        }
    }
}

impl std::error::Error for Fault {}
impl DBErrorMarker for Fault {}

/// The error for arguments that do not fit each other.
pub fn misfit(what: impl Into<String>) -> PyErr {
    PyValueError::new_err(what.into())
}
