//! Sessions that clients can take up again, kept by the clients: `tls-session-caching` and `tls-session-cache-timeout`.
//!
//! A ticket is the session, encrypted with a key that lives in this process, so ten thousand clients that might come back cost
//! no memory. New [`Terms`](super::Terms) have new keys: who was let in by a certificate that is not trusted any more has to show one that is.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::server::ProducesTickets;

/// Tickets that are good for so many seconds. rustls's own are so for hours, whatever is configured.
#[derive(Debug)]
pub struct Tickets {
    sealer: Arc<dyn ProducesTickets>,
    lifetime_seconds: u32,
    clock: fn() -> u64,
}

impl Tickets {
    /// # Errors
    /// There is no randomness for keys.
    pub fn new(lifetime_seconds: u32) -> Result<Tickets, rustls::Error> {
        Ok(Tickets { sealer: rustls::crypto::ring::Ticketer::new()?, lifetime_seconds, clock: seconds_since_1970 })
    }
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// In front of the session: when the ticket was written, in seconds since 1970.
const DATE_BYTES: usize = size_of::<u64>();

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime_seconds
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.sealer.encrypt(&[&(self.clock)().to_be_bytes(), session].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let mut dated = self.sealer.decrypt(ticket)?;
        let (date, _) = dated.split_first_chunk::<DATE_BYTES>()?;
        let age_seconds = (self.clock)().checked_sub(u64::from_be_bytes(*date))?;
        (age_seconds <= u64::from(self.lifetime_seconds)).then(|| dated.split_off(DATE_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    static NOW: AtomicU64 = AtomicU64::new(1000);

    #[test]
    fn tickets_end() {
        let tickets = Tickets { clock: || NOW.load(Relaxed), ..Tickets::new(300).expect("keys") };
        let ticket = tickets.encrypt(b"session").expect("sealed");
        NOW.store(1300, Relaxed);
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(b"session".as_slice()));
        NOW.store(1301, Relaxed);
        assert_eq!(tickets.decrypt(&ticket), None);
        // A clock that was set back makes no ticket older than it is, nor good for longer.
        NOW.store(999, Relaxed);
        assert_eq!(tickets.decrypt(&ticket), None);
        assert_eq!(tickets.decrypt(b"nonsense"), None);
        assert_eq!(Tickets::new(300).expect("keys").decrypt(&ticket), None, "another server's");
    }
}
