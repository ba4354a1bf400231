//! The numbers of the rules: the same as `Rule` in manaflow/errors.py, and a test says so.
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Declares each rule's number as a constant, and the table that Python compares.
macro_rules! rules {
    ($($name:ident = $number:literal),* $(,)?) => {
        $(#[allow(dead_code)] pub const $name: u8 = $number;)*
        /// Every rule by name.
        pub const RULES: &[(&str, u8)] = &[$((stringify!($name), $number)),*];
    };
}

rules! {
    M1 = 1, M2 = 2, M3 = 3, M4 = 4, M5 = 5, M6 = 6,
    S1 = 11, S2 = 12, S3 = 13, S4 = 14,
    B1 = 21, B2 = 22, B3 = 23, B4 = 24, B5 = 25, B6 = 26, B7 = 27, B8 = 28,
    V1 = 31, V2 = 32, V3 = 33, V4 = 34,
    X0 = 40, X1 = 41, X2 = 42, X3 = 43, X4 = 44, X5 = 45,
}

/// Adds `RULES` to `manaflow._native`.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let rules = PyDict::new(m.py());
    for (name, number) in RULES {
        rules.set_item(name, number)?;
    }
    m.add("RULES", rules)
}
