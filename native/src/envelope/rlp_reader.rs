//! A strict RLP reader: one encoding per value, no recursion, nothing read beyond its list.
//!
//! The twin of manaflow/moves/rlp_reader.py: the same inputs are accepted and refused.
use revm::primitives::U256;

use super::Refused;

/// Reads the items of one list from front to back.
pub struct RlpReader<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> RlpReader<'a> {
    /// A reader over the list that is all of `data`.
    pub fn whole(data: &'a [u8]) -> Result<Self, Refused> {
        let mut outer = Self { payload: data, at: 0 };
        let inner = outer.items("the outermost list")?;
        outer.finish("the outermost list")?;
        Ok(inner)
    }

    /// A reader over the items whose encodings `payload` is.
    pub fn over(payload: &'a [u8]) -> Self {
        Self { payload, at: 0 }
    }

    /// True if items are left.
    pub fn more(&self) -> bool {
        self.at < self.payload.len()
    }

    /// The encodings of all items read so far.
    pub fn consumed(&self) -> &'a [u8] {
        &self.payload[..self.at]
    }

    /// The next item, which must be a byte string.
    pub fn string(&mut self, field: &'static str) -> Result<&'a [u8], Refused> {
        match self.next(field)? {
            (false, payload) => Ok(payload),
            (true, _) => Err(Refused { field, why: "a list where bytes belong" }),
        }
    }

    /// The next item, a byte string of exactly `N` bytes.
    pub fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8; N], Refused> {
        self.string(field)?.try_into().map_err(|_| Refused { field, why: "another length" })
    }

    /// The next item, a big-endian integer of at most `width` bytes (at most 32) without leading zeros.
    pub fn integer(&mut self, field: &'static str, width: usize) -> Result<U256, Refused> {
        let value = self.string(field)?;
        if value.len() > width {
            return Err(Refused { field, why: "an integer of too many bytes" });
        }
        if value.first() == Some(&0) {
            return Err(Refused { field, why: "an integer with a leading zero" });
        }
        Ok(U256::from_be_slice(value))
    }

    /// The next item, an integer of at most 8 bytes.
    pub fn integer64(&mut self, field: &'static str) -> Result<u64, Refused> {
        Ok(self.integer(field, 8)?.to())
    }

    /// The next item, which must be a list, as a reader over its items.
    pub fn items(&mut self, field: &'static str) -> Result<Self, Refused> {
        match self.next(field)? {
            (true, payload) => Ok(Self { payload, at: 0 }),
            (false, _) => Err(Refused { field, why: "bytes where a list belongs" }),
        }
    }

    /// An error if items are left.
    pub fn finish(&self, field: &'static str) -> Result<(), Refused> {
        if self.more() {
            return Err(Refused { field, why: "something follows its last item" });
        }
        Ok(())
    }

    /// (is it a list, its payload); moves behind it.
    fn next(&mut self, field: &'static str) -> Result<(bool, &'a [u8]), Refused> {
        let rest = &self.payload[self.at..];
        let &first = rest.first().ok_or(Refused { field, why: "missing" })?;
        let (is_list, base) = if first >= 0xc0 { (true, 0xc0) } else { (false, 0x80) };
        let (start, length) = match first.checked_sub(base) {
            None => (0, 1),
            Some(short @ 0..56) => (1, usize::from(short)),
            Some(long) => long_length(field, rest, usize::from(long - 55))?,
        };
        if length > rest.len() - start {
            return Err(Refused { field, why: "longer than what holds it" });
        }
        if first == 0x81 && rest[1] < 0x80 {
            return Err(Refused { field, why: "a single byte with a prefix" });
        }
        self.at += start + length;
        Ok((is_list, &rest[start..start + length]))
    }
}

/// (where the payload starts in `rest`, its length) where the length itself takes `width` bytes, at most 8.
fn long_length(field: &'static str, rest: &[u8], width: usize) -> Result<(usize, usize), Refused> {
    let bytes = rest.get(1..=width).ok_or(Refused { field, why: "longer than what holds it" })?;
    let length = bytes.iter().fold(0u64, |length, &byte| length << 8 | u64::from(byte));
    if bytes[0] == 0 || length < 56 {
        return Err(Refused { field, why: "a length that fits a shorter form" });
    }
    let length = usize::try_from(length).map_err(|_| Refused { field, why: "longer than what holds it" })?;
    Ok((1 + width, length))
}

/// The bytes that stand before a list's payload of `length` bytes.
pub fn list_prefix(length: usize) -> Vec<u8> {
    let short = u8::try_from(length).ok().filter(|&short| short < 56);
    if let Some(short) = short {
        return vec![0xc0 + short];
    }
    let bytes = length.to_be_bytes();
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    let size = &bytes[zeros..];
    let mut prefix = vec![0xf7 + size.len() as u8];
    prefix.extend_from_slice(size);
    prefix
}
