//! Ranges that many rows share.

use crate::directive::Kind;

pub(super) const KIB: i64 = 1 << 10;
pub(super) const MIB: i64 = 1 << 20;
pub(super) const I32_MIN: i64 = i32::MIN as i64;
pub(super) const I32_MAX: i64 = i32::MAX as i64;
pub(super) const U32_MAX: i64 = u32::MAX as i64;

pub(super) const PORT_NUMBER: Kind = Kind::Int { min: 0, max: 65535 };
pub(super) const COUNT: Kind = Kind::Int { min: 0, max: i64::MAX };
pub(super) const COUNT_I32: Kind = Kind::Int { min: 0, max: I32_MAX };
pub(super) const POSITIVE_I32: Kind = Kind::Int { min: 1, max: I32_MAX };
pub(super) const UNSIGNED: Kind = Kind::Unsigned { min: 0, max: i64::MAX };
/// For directives that are read and ignored, as Redis 8.2 ignores them: whatever follows the name.
pub(super) const ANY_WORDS: Kind = Kind::Statement { min_args: 1, max_args: usize::MAX };
