//! Code bytes by hash, analysed once and shared by all threads.
use std::sync::{Arc, PoisonError, RwLock};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use revm::bytecode::Bytecode;
use revm::primitives::{B256, B256Map, Bytes, keccak256};

/// Analysed codes by keccak-256 of their bytes.
#[derive(Default)]
pub struct CodeCache(RwLock<B256Map<Bytecode>>);

impl CodeCache {
    pub fn get(&self, hash: &B256) -> Option<Bytecode> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    pub fn insert(&self, hash: B256, code: Bytecode) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).entry(hash).or_insert(code);
    }

    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Analyses code; bytes that look like a delegation (EIP-7702) and are none are plain code.
pub fn analyse(code: &[u8]) -> Bytecode {
    let bytes = Bytes::copy_from_slice(code);
    Bytecode::new_raw_checked(bytes.clone()).unwrap_or_else(|_| Bytecode::new_legacy(bytes))
}

/// Code bytes by hash, with their jump tables; safe to share between threads.
#[pyclass(frozen, module = "manaflow._native")]
pub struct Codes(pub Arc<CodeCache>);

#[pymethods]
impl Codes {
    #[new]
    fn new() -> Self {
        Self(Arc::default())
    }

    /// Analyse and keep `code`; returns its keccak-256.
    fn add<'py>(&self, py: Python<'py>, code: &[u8]) -> Bound<'py, PyBytes> {
        let hash = keccak256(code);
        if self.0.get(&hash).is_none() {
            self.0.insert(hash, analyse(code));
        }
        PyBytes::new(py, hash.as_slice())
    }

    /// The bytes whose keccak-256 is `hash`, if they are here.
    fn get<'py>(&self, py: Python<'py>, hash: &[u8]) -> Option<Bound<'py, PyBytes>> {
        let code = self.0.get(&B256::try_from(hash).ok()?)?;
        Some(PyBytes::new(py, code.original_byte_slice()))
    }

    fn __contains__(&self, hash: &[u8]) -> bool {
        B256::try_from(hash).is_ok_and(|hash| self.0.get(&hash).is_some())
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }
}
