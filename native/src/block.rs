//! A sealed block's transactions, each executed alone, in any order and in parallel (rules X0 to X5).
use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList};
use rayon::prelude::*;
use revm::primitives::{Address, U256};

use crate::arguments::{Column, Counts, system_call};
use crate::cells::{GUARD, REFERENCE, Rows};
use crate::codes::Codes;
use crate::environment::{Environment, Setting};
use crate::execute::run_guarded;
use crate::faults::{Fault, misfit};
use crate::machine::Machine;
use crate::outcome::{NO_LOGS_HASH, encode_logs, hash_encoded};
use crate::rules;
use crate::transaction::{Step, Totals, prepare_envelope};
use crate::uses::Ran;
use crate::world::World;

/// What `execute_block` answers for a leaf that `order` does not name.
pub const NOT_EXECUTED: u8 = 255;

/// The columns of a block, all of lengths that fit each other.
struct Block<'a> {
    setting: &'a Setting,
    rows: Rows<'a>,
    nexts: &'a [u8],
    masks: &'a [u8],
    offsets: &'a [u64],
    envelopes: &'a [PyBackedBytes],
    system: HashMap<usize, Step>,
    senders: &'a [u8],
    statuses: &'a [u8],
    gas_used: &'a [u64],
    logs_hashes: &'a [u8],
    gas_before: &'a [u64],
    blob_gas_before: &'a [u64],
    keep_logs: bool,
}

/// The number of the first rule that a leaf breaks, or 0; and the RLP of its logs, if they are kept.
#[derive(Default)]
struct Judged {
    rule: u8,
    logs: Vec<u8>,
}

impl Judged {
    fn broken(rule: u8) -> Self {
        Self { rule, logs: Vec::new() }
    }
}

impl Block<'_> {
    /// Every access below stays within these lengths.
    fn fits(&self) -> bool {
        let (leaves, rows) = (self.envelopes.len(), self.rows.marks.len());
        let offsets_fit = self.offsets.len() == leaves + 1
            && self.offsets[0] == 0
            && self.offsets[leaves] == rows as u64
            && self.offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        offsets_fit
            && self.nexts.len() == rows * 32
            && self.masks.len() == rows
            && self.senders.len() == leaves * 20
            && self.statuses.len() == leaves
            && self.gas_used.len() == leaves
            && self.logs_hashes.len() == leaves * 32
            && self.gas_before.len() == leaves
            && self.blob_gas_before.len() == leaves
            && self.system.keys().all(|leaf| *leaf < leaves)
    }

    /// What leaf `leaf` breaks. A leaf without envelope and call has no execution.
    fn check(&self, machine: &mut Machine, leaf: usize) -> Result<Judged, Fault> {
        match self.execute(machine, leaf) {
            Ok(Some(ran)) => Ok(self.judge(leaf, &ran)),
            Ok(None) => Ok(Judged::default()),
            Err(fault) => fault.rule().map(Judged::broken).ok_or(fault),
        }
    }

    fn execute(&self, machine: &mut Machine, leaf: usize) -> Result<Option<Ran>, Fault> {
        let before = Totals { gas: self.gas_before[leaf], blob_gas: self.blob_gas_before[leaf] };
        let sender = Address::from_slice(&self.senders[leaf * 20..leaf * 20 + 20]);
        let (call, _) = match self.system.get(&leaf) {
            Some(step) => step.prepare(self.setting, sender, before)?,
            None if self.envelopes[leaf].is_empty() => return Ok(None),
            None => prepare_envelope(&self.envelopes[leaf], self.setting, sender, before)?,
        };
        machine.world().declare(self.moves(leaf))?;
        run_guarded(machine, call).map(Some)
    }

    fn moves(&self, leaf: usize) -> Rows<'_> {
        let (start, stop) = (self.offsets[leaf] as usize, self.offsets[leaf + 1] as usize);
        self.rows.take(start, stop)
    }

    /// X2, X3, X4 in this order; X1 has stopped the execution already. What was not used is as it was.
    fn judge(&self, leaf: usize, ran: &Ran) -> Judged {
        let logs = encode_logs(&ran.logs);
        let rule = self.rule_broken(leaf, ran, &logs);
        Judged { rule, logs: if self.keep_logs && rule == 0 { logs } else { Vec::new() } }
    }

    fn rule_broken(&self, leaf: usize, ran: &Ran, logs: &[u8]) -> u8 {
        let start = self.offsets[leaf] as usize;
        let mut undue = false;
        for (row, (location, prev)) in (start..).zip(self.moves(leaf).iter()) {
            let next = U256::from_be_slice(&self.nexts[row * 32..row * 32 + 32]);
            let found = ran.uses.binary_search_by(|used| used.location.cmp(&location));
            let (before, after) = found.map_or((prev, prev), |at| (ran.uses[at].prev, ran.uses[at].next));
            if before != prev || after != next {
                return rules::X2;
            }
            undue |= found.is_err() && self.masks[row] & (GUARD | REFERENCE) != GUARD | REFERENCE;
        }
        if !self.outcome_is(leaf, ran, logs) {
            return rules::X3;
        }
        if undue { rules::X4 } else { 0 }
    }

    /// The leaf of a system call says success, no gas and no logs, whatever the call did.
    fn outcome_is(&self, leaf: usize, ran: &Ran, logs: &[u8]) -> bool {
        let (status, gas_used, logs_hash) = if self.system.contains_key(&leaf) {
            (1, 0, NO_LOGS_HASH)
        } else {
            (u8::from(ran.success), ran.gas_used, hash_encoded(logs))
        };
        self.statuses[leaf] == status
            && self.gas_used[leaf] == gas_used
            && self.logs_hashes[leaf * 32..leaf * 32 + 32] == logs_hash[..]
    }
}

/// A pool of its own: to start one takes longer than to execute a small block, so all threads are the shared pool's.
fn pool_of(threads: usize) -> Result<rayon::ThreadPool, (usize, Fault)> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|error| (0, Fault::Internal(error.to_string())))
}

/// Check the leaves of `order` in parallel; the fault of the first leaf that has one.
fn check_all(block: &Block<'_>, codes: &Codes, order: &[usize], threads: usize) -> Result<Vec<Judged>, (usize, Fault)> {
    let machine = || Machine::new(block.setting, World::isolated(codes.0.clone()));
    let verdicts: Vec<(usize, Result<Judged, Fault>)> = if threads == 1 {
        let mut machine = machine();
        order.iter().map(|leaf| (*leaf, block.check(&mut machine, *leaf))).collect()
    } else {
        let check = |machine: &mut Machine, leaf: &usize| (*leaf, block.check(machine, *leaf));
        let check_in_parallel = || order.par_iter().map_init(machine, check).collect();
        if threads == 0 { check_in_parallel() } else { pool_of(threads)?.install(check_in_parallel) }
    };
    let mut results: Vec<Judged> = block.envelopes.iter().map(|_| Judged::broken(NOT_EXECUTED)).collect();
    let mut failed: Option<(usize, Fault)> = None;
    for (leaf, verdict) in verdicts {
        match verdict {
            Ok(judged) => results[leaf] = judged,
            Err(fault) if failed.as_ref().is_none_or(|(first, _)| leaf < *first) => failed = Some((leaf, fault)),
            Err(_) => {}
        }
    }
    failed.map_or(Ok(results), Err)
}

/// Execute each leaf of a block alone and compare it with what it declares. `logs` is given the RLP of each one's logs.
#[pyfunction]
#[pyo3(signature = (environment, marks, addrs, slots, prevs, nexts, masks, offsets, envelopes, system, senders,
    statuses, gas_used, logs_hashes, gas_before, blob_gas_before, codes, order=None, threads=0, logs=None))]
#[allow(clippy::too_many_arguments)] // columns by name in Python
pub fn execute_block<'py>(
    py: Python<'py>,
    environment: &Environment,
    marks: Column,
    addrs: Column,
    slots: Column,
    prevs: Column,
    nexts: Column,
    masks: Column,
    offsets: Counts,
    envelopes: Vec<PyBackedBytes>,
    system: HashMap<usize, ([u8; 20], PyBackedBytes)>,
    senders: Column,
    statuses: Column,
    gas_used: Counts,
    logs_hashes: Column,
    gas_before: Counts,
    blob_gas_before: Counts,
    codes: &Codes,
    order: Option<Counts>,
    threads: usize,
    logs: Option<Bound<'py, PyList>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let rows = Rows::new(&marks, &addrs, &slots, &prevs).ok_or_else(|| misfit("columns of different lengths"))?;
    let block = Block {
        setting: &environment.0,
        rows,
        nexts: &nexts,
        masks: &masks,
        offsets: &offsets.0,
        envelopes: &envelopes,
        system: system.into_iter().map(|(leaf, (to, data))| (leaf, system_call(to, &data))).collect(),
        senders: &senders,
        statuses: &statuses,
        gas_used: &gas_used.0,
        logs_hashes: &logs_hashes,
        gas_before: &gas_before.0,
        blob_gas_before: &blob_gas_before.0,
        keep_logs: logs.is_some(),
    };
    if !block.fits() {
        return Err(misfit("columns of different lengths"));
    }
    let order = leaves_in_order(order, envelopes.len())?;
    let results = py.detach(|| check_all(&block, codes, &order, threads));
    let results = results.map_err(|(leaf, fault)| fault.raise(py, Some(leaf)))?;
    if let Some(logs) = logs {
        results.iter().try_for_each(|judged| logs.append(PyBytes::new(py, &judged.logs)))?;
    }
    Ok(PyBytes::new(py, &results.iter().map(|judged| judged.rule).collect::<Vec<u8>>()))
}

fn leaves_in_order(order: Option<Counts>, leaves: usize) -> PyResult<Vec<usize>> {
    let Some(Counts(order)) = order else { return Ok((0..leaves).collect()) };
    let in_range = |leaf| usize::try_from(leaf).ok().filter(|leaf| *leaf < leaves);
    let order: Option<Vec<usize>> = order.into_iter().map(in_range).collect();
    order.ok_or_else(|| misfit("the order names a leaf that is not there"))
}
