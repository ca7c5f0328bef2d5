//! The Redis protocol, both sides of it, and the text of Redis's numbers.
//!
//! **Owns** how bytes become commands ([`decode`]), how replies become bytes ([`encode`]), the same for a client
//! ([`client`]), and how Redis writes and reads numbers ([`number`], [`long_double`]), because replies, stored values and
//! command arguments must agree on it to the byte.
//!
//! **Must not know** sockets, threads, clocks, or what any command means. Bytes come in as slices and go out as slices.
//!
//! **Start** at [`decode::Decoder::next`], which every request passes, then [`encode::Reply`], which every reply passes.
//!
//! The behaviour is what a real Redis 8.2 was seen to do; where it is surprising, the comment says so and a test in
//! `tests/` holds it.

#![forbid(unsafe_code)]

pub mod client;
pub mod decode;
pub mod encode;
pub mod fuzz;
mod grisu;
pub mod long_double;
pub mod number;
mod plant;

pub use client::{ReplyParser, Value, encode_request};
pub use decode::{Decoder, Limits, Owned, ProtocolError, Step, recycle};
pub use encode::{Mark, Proto, Reply, SHARED_BYTES_MIN};
