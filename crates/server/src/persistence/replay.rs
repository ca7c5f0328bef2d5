//! Commands from a file are executed again.

use std::sync::Arc;

use commands::client::Place;
use commands::{Client, Session, ThreadStats};
use journal::aof::Unit;
use resp::Reply;

use crate::dispatch::{Dispatcher, Job, Progress, Requests, Scratch};
use crate::shared::{Shared, now};

/// Whoever executes them: not a client, but with a session of its own.
pub struct Replayer<'a> {
    shared: &'a Shared,
    /// The gate.
    thread: usize,
    stats: ThreadStats,
    scratch: Scratch,
    session: Session,
    reply: Reply,
    requests: Requests<'static>,
}

impl<'a> Replayer<'a> {
    pub fn new(shared: &'a Shared, thread: usize) -> Replayer<'a> {
        let place = Place { thread, token: 0 };
        let client = Client::new(0, place, String::new(), String::new(), -1, now());
        let mut session = Session::new(Arc::new(client), true, true);
        session.replays = true;
        Replayer {
            shared,
            thread,
            stats: ThreadStats::new(shared.registry.all().len()),
            scratch: Scratch::default(),
            session,
            reply: Reply::default(),
            requests: Requests::default(),
        }
    }

    pub fn shared(&self) -> &'a Shared {
        self.shared
    }

    /// Executes the commands of a unit in order, and forgets what they reply: an error here was one then.
    ///
    /// # Errors
    /// The name of a command that does not exist.
    pub fn execute(&mut self, unit: &Unit<'_>) -> Result<(), String> {
        let mut requests = std::mem::take(&mut self.requests).recycle();
        for command in unit.commands() {
            let first = requests.args.len();
            requests.args.extend(command.iter());
            requests.close(0);
            let args = &requests.args[first..];
            // One that exists and is called wrongly fails as it did then.
            if self.shared.registry.called(args).is_none() {
                return Err(String::from_utf8_lossy(args[0]).into_owned());
            }
        }
        let mut next = 0;
        while next < requests.len() {
            self.reply.clear();
            let mut jobs = [Job::new(&requests, next, &[], &mut self.session, &mut self.reply)];
            let mut dispatcher =
                Dispatcher { shared: self.shared, thread: self.thread, stats: &self.stats, scratch: &mut self.scratch };
            dispatcher.run(&mut jobs);
            let [job] = jobs;
            match job.progress() {
                Progress::Done => break,
                Progress::Full { at } => next = at,
                progress => unreachable!("a command from a file ended with {progress:?}"),
            }
        }
        self.requests = requests.recycle();
        Ok(())
    }
}
