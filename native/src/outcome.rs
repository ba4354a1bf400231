//! The outcome of a transaction: keccak-256 of the RLP of its logs (docs/SPEC.md, section 4).
use revm::primitives::{B256, Log, b256, keccak256};

/// keccak-256 of the RLP of no logs.
pub const NO_LOGS_HASH: B256 = b256!("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347");
/// The RLP of no logs.
const NO_LOGS: [u8; 1] = [0xc0];

/// RLP of a list of logs, each [address, topics, data].
pub fn encode_logs(logs: &[Log]) -> Vec<u8> {
    let payload = logs.iter().map(|log| listed(log_payload(log))).sum();
    let mut out = Vec::with_capacity(listed(payload));
    put_header(&mut out, 0xc0, payload);
    for log in logs {
        put_header(&mut out, 0xc0, log_payload(log));
        out.push(0x80 + 20);
        out.extend_from_slice(log.address.as_slice());
        put_header(&mut out, 0xc0, 33 * log.topics().len());
        for topic in log.topics() {
            out.push(0x80 + 32);
            out.extend_from_slice(topic.as_slice());
        }
        put_string(&mut out, &log.data.data);
    }
    out
}

/// keccak-256 of what [`encode_logs`] gives.
pub fn hash_encoded(encoded: &[u8]) -> B256 {
    if encoded == NO_LOGS { NO_LOGS_HASH } else { keccak256(encoded) }
}

fn log_payload(log: &Log) -> usize {
    21 + listed(33 * log.topics().len()) + string_length(&log.data.data)
}

/// Bytes of a list or a longer string, given its payload.
fn listed(payload: usize) -> usize {
    payload + if payload < 56 { 1 } else { 1 + length_bytes(payload) }
}

fn string_length(data: &[u8]) -> usize {
    if matches!(data, [byte] if *byte < 0x80) { 1 } else { listed(data.len()) }
}

fn length_bytes(length: usize) -> usize {
    8 - length.leading_zeros() as usize / 8
}

/// The header of a list (base 0xc0) or of a string (base 0x80).
fn put_header(out: &mut Vec<u8>, base: u8, payload: usize) {
    if payload < 56 {
        out.push(base + payload as u8);
    } else {
        let bytes = length_bytes(payload);
        out.push(base + 55 + bytes as u8);
        out.extend_from_slice(&payload.to_be_bytes()[8 - bytes..]);
    }
}

fn put_string(out: &mut Vec<u8>, data: &[u8]) {
    if !matches!(data, [byte] if *byte < 0x80) {
        put_header(out, 0x80, data.len());
    }
    out.extend_from_slice(data);
}
