//! How threads tell an event loop something: a queue, and one wake-up for a loop that sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use commands::client::Place;
use commands::generic::migrate::Arrival;
use mio::Waker;
use parking_lot::Mutex;
use resp::Reply;

use crate::connection::Connection;
use crate::listener::Accepted;

/// A message to an event loop.
pub enum Mail {
    /// A connection that belongs to this loop from now on.
    Connection(Accepted),
    /// The same of one that another loop has had until now.
    Moved(Box<Connection>),
    /// Close this client.
    Kill { token: usize, id: u64 },
    /// The reply that a blocked client has waited for; `close` ends the connection behind it.
    Unblocked { token: usize, id: u64, reply: Box<Reply>, changed: bool, close: bool },
    /// Pushes wait in this client's inbox.
    Pushes { token: usize, id: u64 },
    /// Look again: a pause has ended, a setting has changed, the server ends.
    Look,
    /// The journal is safe on disk further than it was.
    Durable,
    /// What the journal holds cannot be written: replies that wait for it are replaced by this error.
    NotDurable(Arc<str>),
    /// Keys have arrived at another server, or not.
    Migrated(Box<Arrival>),
    /// Go on accepting connections.
    Accept,
}

impl Mail {
    /// The connection that it is for, and its client.
    pub fn addressee(&self) -> Option<(usize, u64)> {
        match self {
            Mail::Kill { token, id } | Mail::Unblocked { token, id, .. } | Mail::Pushes { token, id } => {
                Some((*token, *id))
            }
            _ => None,
        }
    }

    /// The same mail to where its client is now.
    pub fn readdress(&mut self, to: usize) {
        if let Mail::Kill { token, .. } | Mail::Unblocked { token, .. } | Mail::Pushes { token, .. } = self {
            *token = to;
        }
    }
}

/// The queue of one event loop.
pub struct Mailbox {
    queue: Mutex<Vec<Mail>>,
    /// Whether a wake-up is on its way, so that a burst of mail costs one.
    woken: AtomicBool,
    /// There is mail besides what the loop's own thread has left.
    urgent: AtomicBool,
    waker: Waker,
    /// The loop has replies that wait for the journal.
    waits_for_durable: AtomicBool,
}

impl Mailbox {
    pub fn new(waker: Waker) -> Arc<Mailbox> {
        Arc::new(Mailbox {
            queue: Mutex::default(),
            woken: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            waker,
            waits_for_durable: AtomicBool::new(false),
        })
    }

    /// Enqueues, and wakes the loop if it has not been woken since it last looked.
    pub fn send(&self, mail: Mail) {
        self.queue.lock().push(mail);
        self.urgent.store(true, Ordering::Release);
        if !self.woken.swap(true, Ordering::AcqRel) {
            // It fails only when the loop's poll is gone, that is while the server ends.
            let _ = self.waker.wake();
        }
    }

    /// Gives a connection to this mailbox's loop, `thread`. Whoever reads from now on that its client lives there enqueues behind it.
    pub fn send_connection(&self, connection: Box<Connection>, thread: usize) {
        let mut queue = self.queue.lock();
        connection.session.client.set_place(Place { thread, token: Place::ON_THE_WAY });
        queue.push(Mail::Moved(connection));
        drop(queue);
        self.urgent.store(true, Ordering::Release);
        if !self.woken.swap(true, Ordering::AcqRel) {
            let _ = self.waker.wake();
        }
    }

    /// Enqueues several at once, as [`send`](Mailbox::send) does.
    pub fn send_all(&self, mail: impl Iterator<Item = Mail>) {
        if self.leave_all(mail) && !self.woken.swap(true, Ordering::AcqRel) {
            let _ = self.waker.wake();
        }
    }

    /// Enqueues what the loop's own thread has to say, without waking it: it [looks](Mailbox::is_empty) before it sleeps. False if that was nothing.
    pub fn leave_all(&self, mail: impl Iterator<Item = Mail>) -> bool {
        let mut mail = mail.peekable();
        let is_some = mail.peek().is_some();
        if is_some {
            self.queue.lock().extend(mail);
        }
        is_some
    }

    /// The loop wants to hear when the journal is durable further. Whoever sets this looks again then, since that may just have happened.
    pub fn wait_for_durable(&self) {
        self.waits_for_durable.store(true, Ordering::SeqCst);
    }

    /// Whether it does; once.
    pub fn wants_durable(&self) -> bool {
        self.waits_for_durable.swap(false, Ordering::SeqCst)
    }

    pub fn is_empty(&self) -> bool {
        self.queue.lock().is_empty()
    }

    /// Whether there is any that should not wait.
    pub fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Acquire)
    }

    /// Everything sent so far.
    pub fn take(&self) -> Vec<Mail> {
        self.urgent.store(false, Ordering::Release);
        // Before the queue is read: mail that comes behind it wakes the loop again. A swap, and no store, which the reading could overtake:
        // whoever finds `woken` set has set it before this, and so is heard here.
        self.woken.swap(false, Ordering::AcqRel);
        std::mem::take(&mut *self.queue.lock())
    }
}
