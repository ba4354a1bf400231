//! The frames of a block's moves on the wire; manaflow/moves/wire_moves.py says what they hold and is the reference.
use std::collections::HashMap;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::hashing::{Columns, items};

const UNSIGNED: u8 = 0x3F;
const REFERENCE: u8 = 0x80;

type Word = [u8; 32];
/// Locations, uses and values; how many locations and addresses there are.
type Frames<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, usize, usize);

/// A column of big-endian words in their short form: all lengths, then the significant bytes of every row.
#[derive(Default)]
struct Words {
    lengths: Vec<u8>,
    bytes: Vec<u8>,
}

impl Words {
    fn push(&mut self, word: &[u8]) {
        let zeros = word.iter().take_while(|byte| **byte == 0).count();
        self.lengths.push((word.len() - zeros) as u8);
        self.bytes.extend_from_slice(&word[zeros..]);
    }

    fn end(self, frame: &mut Vec<u8>) {
        frame.extend(self.lengths);
        frame.extend(self.bytes);
    }
}

/// Rows by first appearance: each one's place in the table of distinct rows, and the codes that say so.
struct Table<K> {
    places: HashMap<K, u32>,
    codes: Words,
}

impl<K: std::hash::Hash + Eq> Table<K> {
    fn new() -> Self {
        Self { places: HashMap::new(), codes: Words::default() }
    }

    /// (place, whether it is new) of the next row.
    fn push(&mut self, key: K) -> (usize, bool) {
        let next = self.places.len() as u32;
        let place = *self.places.entry(key).or_insert(next);
        let is_new = place == next;
        self.codes.push(&(if is_new { 0 } else { place + 1 }).to_be_bytes());
        (place as usize, is_new)
    }
}

/// What the last use of a location left.
struct Left {
    number: u64,
    value: Word,
}

fn subtract(a: &Word, b: &Word) -> Word {
    let (mut result, mut borrow) = ([0; 32], false);
    for i in (0..32).rev() {
        let (difference, under) = a[i].overflowing_sub(b[i]);
        let (difference, under_again) = difference.overflowing_sub(u8::from(borrow));
        (result[i], borrow) = (difference, under || under_again);
    }
    result
}

/// Signed to unsigned modulo 2^256: -1, 1, -2 become 1, 2, 3.
fn zigzag(word: &Word) -> Word {
    let flip = if word[0] & 0x80 == 0 { 0 } else { 0xFF };
    let mut result = [0; 32];
    for i in 0..32 {
        let below = word.get(i + 1).map_or(0, |byte| byte >> 7);
        result[i] = ((word[i] << 1) | below) ^ flip;
    }
    result
}

/// first cell - number, with the images of 0 and of the first cell swapped, so that virgin (0) is 0.
fn distance(number: u64, first_cell: u64) -> u64 {
    match number {
        0 => 0,
        _ if number == first_cell => first_cell,
        _ => first_cell.wrapping_sub(number),
    }
}

fn word(column: &[u8], row: usize) -> &Word {
    column[32 * row..32 * row + 32].try_into().expect("32 bytes")
}

fn frames(moves: &Columns<'_>, predicted: &[u8], first_cell: u64) -> ([Vec<u8>; 3], usize, usize) {
    let (mut locations, mut addresses) = (Table::<[u8; 53]>::new(), Table::<[u8; 20]>::new());
    let (mut addrs, mut marks, mut slots) = (Words::default(), Words::default(), Words::default());
    let (mut masks, mut numbers, mut prevs, mut nexts) =
        (Words::default(), Words::default(), Words::default(), Words::default());
    let (mut left, mut made) = (Vec::<Left>::new(), first_cell);
    for (i, mask) in moves.mask.iter().enumerate() {
        let (mark, addr, slot) = (moves.mark[i], &moves.addr[20 * i..20 * i + 20], word(moves.slot, i));
        let (number, prev, next) = (moves.number[i], word(moves.prev, i), word(moves.next, i));
        let mut key = [0; 53];
        key[0] = mark;
        key[1..21].copy_from_slice(addr);
        key[21..].copy_from_slice(slot);
        let (place, is_new) = locations.push(key);
        if is_new {
            if addresses.push(addr.try_into().expect("20 bytes")).1 {
                addrs.push(addr);
            }
            marks.push(&[mark]);
            slots.push(slot);
            left.push(Left { number: 0, value: [0; 32] });
        }
        let before = &mut left[place];
        masks.push(&[mask ^ predicted[i]]);
        let sent = if is_new { distance(number, first_cell) } else { number.wrapping_sub(before.number) };
        numbers.push(&sent.to_be_bytes());
        prevs.push(&subtract(prev, &before.value));
        nexts.push(&zigzag(&subtract(next, prev)));
        let is_consume = mask & REFERENCE == 0;
        *before = Left { number: if is_consume { made } else { number }, value: *next };
        made = made.wrapping_add(u64::from(is_consume));
    }
    let (n_locations, n_addresses) = (locations.places.len(), addresses.places.len());
    let [mut table, mut uses, mut values] = [vec![], vec![], vec![]];
    for column in [addrs, addresses.codes, marks, slots] {
        column.end(&mut table);
    }
    for column in [locations.codes, masks, numbers] {
        column.end(&mut uses);
    }
    for column in [prevs, nexts] {
        column.end(&mut values);
    }
    ([table, uses, values], n_locations, n_addresses)
}

/// Unsigned consumes, then unsigned references, as each leaf counts them.
fn predicted_masks(consumes: &[u32], references: &[u32], rows: usize) -> PyResult<Vec<u8>> {
    let counted: u64 = consumes.iter().chain(references).map(|count| u64::from(*count)).sum();
    if consumes.len() != references.len() || counted != rows as u64 {
        return Err(PyValueError::new_err("the leaves do not count the moves"));
    }
    let mut masks = Vec::with_capacity(rows);
    for (consumes, references) in consumes.iter().zip(references) {
        masks.resize(masks.len() + *consumes as usize, UNSIGNED);
        masks.resize(masks.len() + *references as usize, UNSIGNED | REFERENCE);
    }
    Ok(masks)
}

/// The frames of a block's moves; `consumes` and `references` are its leaves' counts.
#[pyfunction]
#[allow(clippy::too_many_arguments)]
pub fn encode_moves<'py>(
    py: Python<'py>,
    mask: PyBuffer<u8>,
    mark: PyBuffer<u8>,
    number: PyBuffer<u64>,
    addr: PyBuffer<u8>,
    slot: PyBuffer<u8>,
    prev: PyBuffer<u8>,
    next: PyBuffer<u8>,
    consumes: PyBuffer<u32>,
    references: PyBuffer<u32>,
    first_cell: u64,
) -> PyResult<Frames<'py>> {
    let moves = Columns {
        mask: items(&mask)?,
        mark: items(&mark)?,
        number: items(&number)?,
        addr: items(&addr)?,
        slot: items(&slot)?,
        prev: items(&prev)?,
        next: items(&next)?,
    };
    moves.check(&[0])?;
    let predicted = predicted_masks(items(&consumes)?, items(&references)?, moves.mask.len())?;
    let ([locations, uses, values], n_locations, n_addresses) = py.detach(|| frames(&moves, &predicted, first_cell));
    let bytes = |frame: Vec<u8>| PyBytes::new(py, &frame);
    Ok((bytes(locations), bytes(uses), bytes(values), n_locations, n_addresses))
}
