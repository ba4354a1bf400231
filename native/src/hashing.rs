//! SHA-256 trees (RFC 6962) and keccak-256 in batches. sha2 uses the processor's SHA instructions where it has them.
use std::slice;

use pyo3::buffer::{Element, PyBuffer};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

type Hash = [u8; 32];

/// 0x00, then mask | mark | number:8 | addr:20 | slot:32 | prev:32 | next:32.
const MOVE_BYTES: usize = 1 + 126;
/// Items of a job when any thread may take it: long enough to hide the handing over, short enough to share evenly.
const CHUNK: usize = 32;
/// Up to so many bytes are hashed by the thread that asks: on a busy machine, to wait for another one takes longer.
const FEW: usize = 1 << 18;

/// How many of `items` one job takes so that at most `threads` run at once; 0 for all threads.
pub fn chunk_length(items: usize, threads: usize) -> usize {
    if threads == 0 { CHUNK } else { items.div_ceil(threads).max(1) }
}

/// SHA-256(0x00 | data).
fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(data).finalize().into()
}

/// SHA-256(0x01 | left | right).
fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    Sha256::digest(bytes).into()
}

/// Root over leaf hashes, in their place: pairing level by level, the odd one carried up, is RFC 6962's split.
fn root_in_place(hashes: &mut [Hash]) -> Hash {
    if hashes.is_empty() {
        return Sha256::digest([]).into();
    }
    let mut count = hashes.len();
    while count > 1 {
        for pair in 0..count / 2 {
            hashes[pair] = node_hash(&hashes[2 * pair], &hashes[2 * pair + 1]);
        }
        if count % 2 == 1 {
            hashes[count / 2] = hashes[count - 1];
        }
        count = count.div_ceil(2);
    }
    hashes[0]
}

/// The items of a C-contiguous Python buffer, without a copy.
///
/// The caller in Python must not write to the array meanwhile: the GIL is released, as in hashlib.
pub fn items<T: Element + Sync>(buffer: &PyBuffer<T>) -> PyResult<&[T]> {
    if !buffer.is_c_contiguous() {
        return Err(PyValueError::new_err("the array is not C-contiguous"));
    }
    // PyBuffer compares the type of an item, but takes the other byte order for the machine's.
    if matches!(buffer.format().to_bytes().first(), Some(b'<' | b'>' | b'!')) {
        return Err(PyValueError::new_err("the array's byte order is not the machine's"));
    }
    if buffer.item_count() == 0 {
        return Ok(&[]);
    }
    // SAFETY: PyBuffer has checked type, size and alignment of the items; it is contiguous and keeps the memory alive.
    Ok(unsafe { slice::from_raw_parts(buffer.buf_ptr().cast(), buffer.item_count()) })
}

/// The columns of Moves in manaflow/moves/columns.py.
pub struct Columns<'a> {
    pub mask: &'a [u8],
    pub mark: &'a [u8],
    pub number: &'a [u64],
    pub addr: &'a [u8],
    pub slot: &'a [u8],
    pub prev: &'a [u8],
    pub next: &'a [u8],
}

impl Columns<'_> {
    /// Raises ValueError unless the columns are of one length and the offsets within it.
    pub fn check(&self, offsets: &[i64]) -> PyResult<()> {
        let rows = self.mask.len();
        let words = [self.slot, self.prev, self.next].iter().all(|column| column.len() == 32 * rows);
        if self.mark.len() != rows || self.number.len() != rows || self.addr.len() != 20 * rows || !words {
            return Err(PyValueError::new_err("columns of different lengths"));
        }
        let bounded = offsets.first() >= Some(&0) && offsets.last() <= Some(&(rows as i64));
        if !bounded || !offsets.is_sorted() {
            return Err(PyValueError::new_err("offsets do not fit the moves"));
        }
        Ok(())
    }

    fn move_hash(&self, i: usize) -> Hash {
        let mut bytes = [0; MOVE_BYTES];
        bytes[1] = self.mask[i];
        bytes[2] = self.mark[i];
        bytes[3..11].copy_from_slice(&self.number[i].to_be_bytes());
        bytes[11..31].copy_from_slice(&self.addr[20 * i..20 * i + 20]);
        for (word, column) in [self.slot, self.prev, self.next].iter().enumerate() {
            bytes[31 + 32 * word..63 + 32 * word].copy_from_slice(&column[32 * i..32 * i + 32]);
        }
        Sha256::digest(bytes).into()
    }

    fn root(&self, start: i64, stop: i64) -> Hash {
        let mut hashes: Vec<Hash> = (start as usize..stop as usize).map(|i| self.move_hash(i)).collect();
        root_in_place(&mut hashes)
    }
}

/// Adds this module's functions to `manaflow._native`.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(moves_roots, m)?)?;
    m.add_function(wrap_pyfunction!(tree_root, m)?)?;
    m.add_function(wrap_pyfunction!(keccak256, m)?)?;
    m.add_function(wrap_pyfunction!(keccak256_many, m)?)
}

/// The moves root of each transaction, 32 bytes each: rows offsets[i] to offsets[i + 1] are its moves.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
fn moves_roots<'py>(
    py: Python<'py>,
    mask: PyBuffer<u8>,
    mark: PyBuffer<u8>,
    number: PyBuffer<u64>,
    addr: PyBuffer<u8>,
    slot: PyBuffer<u8>,
    prev: PyBuffer<u8>,
    next: PyBuffer<u8>,
    offsets: PyBuffer<i64>,
    threads: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let columns = Columns {
        mask: items(&mask)?,
        mark: items(&mark)?,
        number: items(&number)?,
        addr: items(&addr)?,
        slot: items(&slot)?,
        prev: items(&prev)?,
        next: items(&next)?,
    };
    let offsets = items(&offsets)?;
    columns.check(offsets)?;
    let count = offsets.len() - 1;
    let roots: Vec<Hash> = py.detach(|| {
        let bounds: Vec<&[i64]> = offsets.windows(2).collect();
        if columns.mask.len() * MOVE_BYTES <= FEW {
            return bounds.into_iter().map(|b| columns.root(b[0], b[1])).collect();
        }
        let chunk = chunk_length(count, threads);
        bounds.par_chunks(chunk).flat_map_iter(|part| part.iter().map(|b| columns.root(b[0], b[1]))).collect()
    });
    Ok(PyBytes::new(py, roots.as_flattened()))
}

/// RFC 6962 root over leaves of `width` bytes each.
#[pyfunction]
fn tree_root<'py>(py: Python<'py>, leaves: PyBuffer<u8>, width: usize) -> PyResult<Bound<'py, PyBytes>> {
    let leaves = items(&leaves)?;
    if width == 0 || leaves.len() % width != 0 {
        return Err(PyValueError::new_err("the leaves do not have that width"));
    }
    let root = py.detach(|| {
        let mut hashes: Vec<Hash> = leaves.chunks_exact(width).map(leaf_hash).collect();
        root_in_place(&mut hashes)
    });
    Ok(PyBytes::new(py, &root))
}

/// keccak-256 of `data`, 32 bytes.
#[pyfunction]
fn keccak256<'py>(py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, revm::primitives::keccak256(data).as_slice())
}

/// keccak-256 of each item, 32 bytes each.
#[pyfunction]
fn keccak256_many<'py>(py: Python<'py>, items: Vec<PyBackedBytes>) -> Bound<'py, PyBytes> {
    let hash = |item: &PyBackedBytes| revm::primitives::keccak256(item).0;
    let hashes: Vec<Hash> = py.detach(|| {
        if items.iter().map(|item| item.len()).sum::<usize>() <= FEW {
            items.iter().map(hash).collect()
        } else {
            items.par_iter().with_min_len(CHUNK).map(hash).collect()
        }
    });
    PyBytes::new(py, hashes.as_flattened())
}
