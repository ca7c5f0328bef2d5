//! TLS on `tls-port`.
//!
//! ```text
//!  listener          handshakes                     event loop
//!  loop 0 accepts -> a thread of their own ------>  an established stream among the others
//!                    (failed, slow, not trusted:
//!                     closed, logged with measure)
//! ```
//!
//! A handshake with an RSA key is about a millisecond of arithmetic, so it never runs where clients are served: [`handshakes`] has
//! threads for it, and an event loop gets a connection only when requests can come. What a handshake goes by are [`Terms`], made
//! of the directives and the files that they name, all or nothing; connections that are established keep theirs.
//!
//! [`stream`] is the connection itself. A connection that is not encrypted pays one predictable branch for all this.

pub mod certificate;
mod ciphers;
pub mod handshakes;
mod keys;
pub mod stream;
mod terms;
mod tickets;

pub use stream::TlsStream;
pub use terms::{DIRECTIVES, Terms, TlsDirectives};
