//! The threads where handshakes run, so that no event loop waits for their arithmetic.
//!
//! ```text
//!  begin --> mail --> shaking ---- done ----> an event loop
//!                       |  |
//!                 failed|  |10 seconds
//!                       v  v
//!                      closed, and logged with measure
//! ```
//!
//! A connection counts for `maxclients` from its acceptance on: whoever opens connections without ever shaking hands takes places, as
//! one who never sends a request does, but for ten seconds each.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use anyhow::Context;
use config::LogLevel;
use mio::{Events, Interest, Poll, Token, Waker};
use parking_lot::Mutex;
use slab::Slab;

use super::{Terms, TlsStream};
use crate::listener::{Accepted, Stream};
use crate::mailbox::Mail;
use crate::operation::crash;
use crate::shared::Shared;

/// Who has not shaken hands by then is not going to.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// More threads than this are of no use but to whoever floods the server with handshakes.
const THREADS_MAX: usize = 4;
/// So many lines about failed handshakes are logged a minute: whoever scans ports is not to fill the disk.
const LOG_LINES_A_MINUTE: u32 = 30;

const WAKER: Token = Token(0);
const FIRST_CONNECTION: usize = 1;

/// Where connections to `tls-port` go first. Its threads start when there is first a use for them.
#[derive(Default)]
pub struct Handshakes {
    /// What new handshakes go by; `None` while there is no `tls-port`.
    terms: Mutex<Option<Arc<Terms>>>,
    threads: OnceLock<Vec<Arc<Inbox>>>,
    /// What the threads share with the event loops.
    shared: OnceLock<Weak<Shared>>,
    next: AtomicUsize,
    failures: Mutex<Failures>,
}

/// What waits for one thread.
struct Inbox {
    arrivals: Mutex<Vec<Arrival>>,
    waker: Waker,
}

struct Arrival {
    accepted: Accepted,
    /// It is told this, and nothing else, once it can be told anything.
    refusal: Option<&'static str>,
}

/// Failed handshakes of the current minute.
#[derive(Default)]
struct Failures {
    since: Option<Instant>,
    count: u32,
}

impl Handshakes {
    pub fn terms(&self) -> Option<Arc<Terms>> {
        self.terms.lock().clone()
    }

    /// New handshakes go by these from now on.
    pub fn set_terms(&self, terms: Option<Terms>) {
        *self.terms.lock() = terms.map(Arc::new);
    }

    /// To be told before anything listens.
    pub fn belong_to(&self, shared: &Arc<Shared>) {
        let _ = self.shared.set(Arc::downgrade(shared));
    }

    /// Starts the threads, unless they run.
    ///
    /// # Errors
    /// The system has no thread or no descriptors for it.
    pub fn start(&self) -> anyhow::Result<()> {
        if self.threads.get().is_some() {
            return Ok(());
        }
        let shared = self.shared.get().and_then(Weak::upgrade).expect("told before anything listens");
        let mut inboxes = Vec::new();
        for index in 0..shared.loops().min(THREADS_MAX) {
            let poll = Poll::new().context("Cannot watch sockets")?;
            let waker = Waker::new(poll.registry(), WAKER).context("Cannot watch a mailbox")?;
            let inbox = Arc::new(Inbox { arrivals: Mutex::default(), waker });
            inboxes.push(inbox.clone());
            let porter =
                Porter { index, shared: shared.clone(), inbox, poll, shaking: Slab::new(), deadlines: VecDeque::new() };
            std::thread::Builder::new()
                .name(format!("tls-{index}"))
                .spawn(move || {
                    crash::prepare_thread();
                    porter.run();
                })
                .context("Cannot start a thread")?;
        }
        let _ = self.threads.set(inboxes);
        Ok(())
    }

    /// Takes a connection over that was accepted on `tls-port`.
    pub fn begin(&self, accepted: Accepted, refusal: Option<&'static str>) {
        let threads = self.threads.get().expect("nothing listens on tls-port before the threads have started");
        let inbox = &threads[self.next.fetch_add(1, Relaxed) % threads.len()];
        inbox.arrivals.lock().push(Arrival { accepted, refusal });
        // It fails only while the process ends.
        let _ = inbox.waker.wake();
    }

    /// Logs why a handshake has failed, with measure.
    fn note_failure(&self, shared: &Shared, address: &str, error: &io::Error) {
        let mut failures = self.failures.lock();
        let now = Instant::now();
        if failures.since.is_none_or(|since| now - since >= Duration::from_secs(60)) {
            let untold = failures.count.saturating_sub(LOG_LINES_A_MINUTE);
            *failures = Failures { since: Some(now), count: 0 };
            if untold > 0 {
                shared.log(LogLevel::Warning, &format!("{untold} more TLS handshakes have failed"));
            }
        }
        failures.count += 1;
        if failures.count <= LOG_LINES_A_MINUTE {
            shared.log(LogLevel::Warning, &format!("Error accepting a client connection: {error} (addr={address})"));
        }
    }
}

/// One of the threads.
struct Porter {
    index: usize,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    poll: Poll,
    shaking: Slab<Shaking>,
    /// Until when, and who, in order: everybody has the same time. Who is done stays in here until then.
    deadlines: VecDeque<(Instant, usize, u64)>,
}

/// A connection that shakes hands.
struct Shaking {
    /// The client's, by which it is known: slots are used again.
    id: u64,
    stream: Box<TlsStream>,
    terms: Arc<Terms>,
    address: String,
    local_address: String,
    is_local: bool,
    refusal: Option<&'static str>,
}

impl Porter {
    fn run(mut self) {
        let mut events = Events::with_capacity(256);
        let mut next_look = None;
        let mut last_failure = String::new();
        loop {
            // The first thread looks after the files.
            let interval = (self.index == 0).then(|| self.shared.handshakes.terms()?.reload_interval()).flatten();
            next_look = interval.map(|interval| next_look.unwrap_or_else(|| Instant::now() + interval));
            let next = self.deadlines.front().map(|(deadline, ..)| *deadline).into_iter().chain(next_look).min();
            let timeout = next.map(|next| next.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("the system's poll failed: {error}"),
                Ok(()) => {}
            }
            for event in &events {
                match event.token() {
                    WAKER => {
                        let arrivals = std::mem::take(&mut *self.inbox.arrivals.lock());
                        arrivals.into_iter().for_each(|arrival| self.welcome(arrival));
                    }
                    Token(token) => self.go_on(token - FIRST_CONNECTION),
                }
            }
            self.end_slow_ones();
            if next_look.is_some_and(|look| look <= Instant::now()) {
                next_look = None;
                self.look_at_files(&mut last_failure);
            }
        }
    }

    fn welcome(&mut self, arrival: Arrival) {
        let Arrival { accepted: Accepted { id, stream, address, local_address, is_local, .. }, refusal } = arrival;
        let Stream::Tcp(socket) = stream else { unreachable!("tls-port is a port") };
        // It may have been closed since.
        let Some(terms) = self.shared.handshakes.terms() else {
            return self.forget();
        };
        let stream = match TlsStream::new(socket, terms.config.clone()) {
            Ok(stream) => Box::new(stream),
            Err(error) => return self.fail(&address, &io::Error::other(error)),
        };
        let entry = self.shaking.vacant_entry();
        let token = entry.key();
        let shaking = entry.insert(Shaking { id, stream, terms, address, local_address, is_local, refusal });
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered =
            self.poll.registry().register(shaking.stream.socket_mut(), Token(FIRST_CONNECTION + token), interest);
        if let Err(error) = registered {
            let shaking = self.shaking.remove(token);
            return self.fail(&shaking.address, &error);
        }
        self.deadlines.push_back((Instant::now() + HANDSHAKE_TIME_MAX, token, id));
        // What has come is an event by itself.
    }

    /// Goes on as far as what has come allows.
    fn go_on(&mut self, token: usize) {
        let Some(shaking) = self.shaking.get_mut(token) else {
            return;
        };
        match shaking.stream.shake_hands() {
            Ok(false) => {}
            Ok(true) => self.hand_over(token),
            Err(error) => {
                let shaking = self.shaking.remove(token);
                self.fail(&shaking.address, &error);
            }
        }
    }

    /// Gives an established connection to an event loop.
    fn hand_over(&mut self, token: usize) {
        let Shaking { id, mut stream, terms, address, local_address, is_local, refusal, .. } =
            self.shaking.remove(token);
        if let Err(error) = self.poll.registry().deregister(stream.socket_mut()) {
            return self.fail(&address, &error);
        }
        if let Some(text) = refusal {
            // One attempt, as for others who are turned away.
            let mut reply = resp::Reply::default();
            reply.raw(text.as_bytes());
            let _ = stream.write_reply(&mut reply);
            stream.say_goodbye();
            return self.forget();
        }
        let users = stream.peer_certificate().map(|certificate| terms.users_of(certificate)).unwrap_or_default();
        let accepted = Accepted { id, stream: Stream::Tls(stream), address, local_address, is_local, users };
        let thread = self.shared.least_busy_thread();
        self.shared.stats[thread].clients.fetch_add(1, Relaxed);
        self.shared.mailboxes[thread].send(Mail::Connection(accepted));
    }

    fn end_slow_ones(&mut self) {
        let now = Instant::now();
        while let Some(&(deadline, token, id)) = self.deadlines.front()
            && deadline <= now
        {
            self.deadlines.pop_front();
            if self.shaking.get(token).is_some_and(|shaking| shaking.id == id) {
                let shaking = self.shaking.remove(token);
                self.fail(&shaking.address, &io::Error::other("the handshake has taken too long"));
            }
        }
    }

    fn fail(&self, address: &str, error: &io::Error) {
        self.shared.handshakes.note_failure(&self.shared, address, error);
        self.forget();
    }

    /// A connection is gone that no event loop has had.
    fn forget(&self) {
        self.shared.connected.fetch_sub(1, Relaxed);
    }

    /// Takes over certificates that have been renewed.
    fn look_at_files(&self, last_failure: &mut String) {
        let Some(terms) = self.shared.handshakes.terms().filter(|terms| terms.files_have_changed()) else {
            return;
        };
        match terms.reload() {
            Ok(renewed) => {
                last_failure.clear();
                let mut current = self.shared.handshakes.terms.lock();
                // CONFIG SET may have come in between.
                if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &terms)) {
                    *current = Some(Arc::new(renewed));
                    self.shared.log(LogLevel::Notice, "TLS certificates reloaded: their files have changed");
                }
            }
            // Files of a pair are rarely replaced at the same instant: the next look may find them whole.
            Err(reason) => {
                if *last_failure != reason {
                    let line = format!("TLS certificates not reloaded, the old ones stay: {reason}");
                    self.shared.log(LogLevel::Warning, &line);
                    *last_failure = reason;
                }
            }
        }
    }
}
