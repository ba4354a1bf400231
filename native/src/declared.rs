//! The declared envelope (rule S2): an EIP-1559 call whose signer also says its moves, signed as EIP-712 typed data.
//!
//! The twin of manaflow/moves/declared.py: the same bytes are accepted and refused, and mean the same.
use std::sync::LazyLock;

use revm::primitives::{Address, B256, U256, keccak256};

use crate::cells::{GUARD, REFERENCE};
use crate::envelope::rlp_reader::RlpReader;
use crate::envelope::{Envelope, Refused};

/// EIP-2718 type of the declared envelope.
pub const DECLARED_TYPE: u8 = 0x4d;
/// Gas of each guard: a cold read (X4).
const GAS_GUARD: u64 = 2_100;
/// Signed moves of one envelope: more at full width would not fit anyway, and short ones cost a reader as much each.
const MAX_SIGNED_MOVES: u32 = 1 << 13;
/// Open and must succeed (S3); other flags are refused.
const ALL_FLAGS: u8 = 3;

/// Bits of a mask: which fields a signer leaves to a filler.
const INTX: u8 = 1;
const PREV: u8 = 2;
const NEXT: u8 = 4;
const SLOT: u8 = 8;
const ADDR: u8 = 16;
const MARK: u8 = 32;
const UNSIGNED: u8 = INTX | PREV | NEXT | SLOT | ADDR | MARK;

const MOVE_TYPE: &str =
    "Move(uint8 mask,bytes1 mark,bytes32 intx,address account,bytes32 slot,bytes32 prev,bytes32 next)";
const ACCESS_TYPE: &str = "AccessEntry(address account,bytes32[] slots)";
const TRANSACTION_TYPE: &str = "Transaction(uint64 nonce,uint256 maxPriorityFeePerGas,uint256 maxFeePerGas,\
     uint64 gasLimit,bytes to,uint256 value,bytes data,AccessEntry[] accessList,uint64 validUntil,uint8 flags,\
     Move[] moves)";
const DOMAIN_TYPE: &str = "EIP712Domain(string name,string version,uint256 chainId)";

static MOVE_TYPE_HASH: LazyLock<B256> = LazyLock::new(|| keccak256(MOVE_TYPE));
static ACCESS_TYPE_HASH: LazyLock<B256> = LazyLock::new(|| keccak256(ACCESS_TYPE));
static TRANSACTION_TYPE_HASH: LazyLock<B256> =
    LazyLock::new(|| keccak256([TRANSACTION_TYPE, ACCESS_TYPE, MOVE_TYPE].concat()));
/// The hash of the domain's type, its name and its version, before the chain id.
static DOMAIN: LazyLock<[B256; 3]> = LazyLock::new(|| [keccak256(DOMAIN_TYPE), keccak256("Manaflow"), keccak256("1")]);

/// What a declared envelope says beyond a call.
#[derive(Debug, Clone)]
pub struct Declared {
    /// Last block number that may hold it; 0 for no limit (S4).
    pub valid_until: u64,
    pub flags: u8,
    /// How many of the signed moves are guards.
    pub guards: u32,
    pub signed_moves: u32,
    /// The RLP of the signed moves, read once and accepted: many are short, so they stay bytes.
    moves: Vec<u8>,
}

/// A signed move in its signed form, masked fields zero; moves ascend by the fields in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignedMove {
    pub mask: u8,
    pub mark: u8,
    pub intx: [u8; 32],
    pub addr: [u8; 20],
    pub slot: [u8; 32],
    pub prev: [u8; 32],
    pub next: [u8; 32],
}

impl Declared {
    /// Gas of the guards, due before the execution.
    pub fn guard_gas(&self) -> u64 {
        GAS_GUARD * u64::from(self.guards)
    }

    /// The signed moves, ascending.
    pub fn moves(&self) -> impl Iterator<Item = SignedMove> + '_ {
        let mut items = RlpReader::over(&self.moves);
        std::iter::from_fn(move || items.more().then(|| decode_move(&mut items).ok()).flatten())
    }

    /// EIP-712: keccak-256 of 0x1901, the domain's hash and the transaction's.
    pub fn signing_hash(&self, call: &Envelope) -> B256 {
        let [domain_type, name, version] = *DOMAIN;
        let chain_id = word(call.chain_id.unwrap_or(0));
        let domain = keccak256([domain_type, name, version, chain_id].concat());
        let to = call.to.to().map_or(&[][..], |to| to.as_slice());
        let access_list = call.access_list.iter().flat_map(|entry| {
            let slots = keccak256(entry.storage_keys.concat());
            keccak256([*ACCESS_TYPE_HASH, entry.address.into_word(), slots].concat()).0
        });
        let transaction = [
            *TRANSACTION_TYPE_HASH,
            word(call.nonce),
            call.max_priority_fee.into(),
            call.max_fee.into(),
            word(call.gas_limit),
            keccak256(to),
            call.value.into(),
            keccak256(&call.data),
            keccak256(access_list.collect::<Vec<u8>>()),
            word(self.valid_until),
            word(self.flags),
            keccak256(self.moves().flat_map(|one| one.hash().0).collect::<Vec<u8>>()),
        ];
        let transaction = keccak256(transaction.concat());
        keccak256([&[0x19, 0x01], &domain[..], &transaction[..]].concat())
    }
}

impl SignedMove {
    fn hash(&self) -> B256 {
        let mut mark = B256::ZERO;
        mark[0] = self.mark;
        let account = Address::from(self.addr).into_word();
        let [intx, slot, prev, next] = [self.intx, self.slot, self.prev, self.next].map(B256::from);
        keccak256([*MOVE_TYPE_HASH, word(self.mask), mark, intx, account, slot, prev, next].concat())
    }
}

fn word(value: impl Into<u64>) -> B256 {
    U256::from(value.into()).into()
}

/// Reads a declared envelope: one encoding, bounded fields, low s, nothing behind it.
pub fn decode(raw: &[u8]) -> Result<Envelope, Refused> {
    let fields = &mut RlpReader::whole(&raw[1..])?;
    let mut tx = Envelope::decode_call(fields, DECLARED_TYPE)?;
    tx.declared = Some(Declared::decode(fields)?);
    tx.decode_signature(fields)?;
    Ok(tx)
}

impl Declared {
    /// valid until, flags, moves.
    fn decode(fields: &mut RlpReader<'_>) -> Result<Self, Refused> {
        let valid_until = fields.integer64("valid until")?;
        let flags: u8 = fields.integer("flags", 1)?.to();
        if flags & !ALL_FLAGS != 0 {
            return Err(Refused { field: "flags", why: "bits that nobody knows" });
        }
        let mut items = fields.items("moves")?;
        let (mut guards, mut signed_moves) = (0, 0);
        let mut least: Option<SignedMove> = None;
        while items.more() {
            if signed_moves == MAX_SIGNED_MOVES {
                return Err(Refused { field: "moves", why: "too many" });
            }
            let one = decode_move(&mut items)?;
            if least.is_some_and(|least| one < least) {
                return Err(Refused { field: "moves", why: "not in ascending order" });
            }
            least = Some(one);
            guards += u32::from(one.mask & GUARD != 0);
            signed_moves += 1;
        }
        Ok(Self { valid_until, flags, guards, signed_moves, moves: items.consumed().to_vec() })
    }
}

/// [mask, mark, intx, addr, slot, prev, next].
fn decode_move(items: &mut RlpReader<'_>) -> Result<SignedMove, Refused> {
    let fields = &mut items.items("move")?;
    let [mask] = *fields.fixed::<1>("mask of a move")?;
    if mask & UNSIGNED == UNSIGNED {
        return Err(Refused { field: "mask of a move", why: "nothing of it is signed" });
    }
    if mask & GUARD != 0 && (mask & REFERENCE == 0 || mask & (MARK | ADDR | SLOT) != 0) {
        return Err(Refused { field: "mask of a move", why: "a guard is a reference whose location is signed" });
    }
    let [mark] = decode_field(fields, mask & MARK != 0, "mark of a move")?;
    let one = SignedMove {
        mask,
        mark,
        intx: decode_field(fields, mask & INTX != 0, "intx of a move")?,
        addr: decode_field(fields, mask & ADDR != 0, "addr of a move")?,
        slot: decode_field(fields, mask & SLOT != 0, "slot of a move")?,
        prev: decode_field(fields, mask & PREV != 0, "prev of a move")?,
        next: decode_field(fields, mask & NEXT != 0, "next of a move")?,
    };
    fields.finish("a move")?;
    Ok(one)
}

/// N bytes, or the empty string for the zeros of a masked field.
fn decode_field<const N: usize>(
    fields: &mut RlpReader<'_>,
    is_masked: bool,
    field: &'static str,
) -> Result<[u8; N], Refused> {
    if !is_masked {
        return fields.fixed::<N>(field).copied();
    }
    if !fields.string(field)?.is_empty() {
        return Err(Refused { field, why: "masked and not empty" });
    }
    Ok([0; N])
}
