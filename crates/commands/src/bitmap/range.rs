//! The range of BITCOUNT and BITPOS: from start to end, both included, in bytes or in bits, from either end.

use std::ops::Range;

use crate::context::Ctx;
use crate::error::{Error, Stop};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Byte,
    Bit,
}

/// A range as the client wrote it.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub start: i64,
    pub end: i64,
    pub unit: Unit,
}

impl Written {
    pub const WHOLE: Written = Written { start: 0, end: -1, unit: Unit::Byte };

    /// `start end [BYTE|BIT]` from argument `at` on; nothing may follow. `unit_first` says in which order mistakes are found: BITPOS looks at
    /// the unit before the end, BITCOUNT after it.
    ///
    /// # Errors
    /// `NotInteger`, `Syntax`.
    pub fn parse(cx: &Ctx<'_>, at: usize, unit_first: bool) -> Result<Written, Stop> {
        let count = cx.args.len() - at;
        if count > 3 {
            return Err(Error::Syntax.into());
        }
        let unit = || match count {
            2 => Ok(Unit::Byte),
            _ if cx.word(at + 2, "BYTE") => Ok(Unit::Byte),
            _ if cx.word(at + 2, "BIT") => Ok(Unit::Bit),
            _ => Err(Stop::from(Error::Syntax)),
        };
        let start = cx.int(at)?;
        if unit_first {
            let unit = unit()?;
            return Ok(Written { start, end: cx.int(at + 1)?, unit });
        }
        let end = cx.int(at + 1)?;
        Ok(Written { start, end, unit: unit()? })
    }

    /// The bits it means of a string of `len` bytes.
    pub fn bits(&self, len: usize) -> Option<Range<u64>> {
        let (units, unit_bits) = match self.unit {
            Unit::Byte => (len as i64, 8),
            Unit::Bit => (len as i64 * 8, 1),
        };
        let from_end = |index: i64| if index < 0 { (units + index.max(-units)).max(0) } else { index };
        let (start, end) = (from_end(self.start), from_end(self.end).min(units - 1));
        (start <= end).then(|| start as u64 * unit_bits..(end as u64 + 1) * unit_bits)
    }
}

/// The whole bytes of a range of bits, and the bits before and behind them.
pub struct Split {
    /// The index of a byte that is in only in part, and the mask of its bits that are in.
    pub head: Option<(usize, u8)>,
    pub body: Range<usize>,
    pub tail: Option<(usize, u8)>,
}

impl Split {
    pub fn of(bits: Range<u64>) -> Split {
        let (first, last) = ((bits.start / 8) as usize, (bits.end / 8) as usize);
        let head_mask = 0xFF >> (bits.start % 8);
        let tail_mask = !(0xFF_u8.checked_shr((bits.end % 8) as u32).unwrap_or(0));
        if first == last {
            return Split { head: Some((first, head_mask & tail_mask)), body: first..first, tail: None };
        }
        let head = (head_mask != 0xFF).then_some((first, head_mask));
        let tail = (tail_mask != 0).then_some((last, tail_mask));
        Split { head, body: first + usize::from(head.is_some())..last, tail }
    }
}
