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

    /// Executes the commands in order, and forgets what they reply: an error here was one then.
    ///
    /// # Errors
    /// A command that does not exist, or that no data set is made with. Those before it were executed.
    pub fn execute(&mut self, gathered: &Gathered) -> Result<(), String> {
        let mut requests = std::mem::take(&mut self.requests).recycle();
        let mut unknown = None;
        for command in gathered.commands() {
            let first = requests.args.len();
            requests.args.extend(command);
            let args = &requests.args[first..];
            // One that exists and is called wrongly fails as it did then.
            if self.shared.registry.called(args).is_none() {
                let name = args[0].escape_ascii();
                unknown = Some(format!("it has the command '{name}', which this server does not know"));
                requests.args.truncate(first);
                break;
            }
            requests.close(0);
        }
        let mut next = 0;
        while next < requests.len() {
            self.reply.clear();
            let mut jobs = [Job::new(&requests, next, &[], &mut self.session, &mut self.reply)];
            let mut dispatcher = Dispatcher {
                shared: self.shared,
                thread: self.thread,
                stats: &self.stats,
                scratch: &mut self.scratch,
                front: None,
                runs_scripts: true,
                relay: None,
            };
            dispatcher.run(&mut jobs);
            let [job] = jobs;
            match job.progress() {
                Progress::Done => break,
                Progress::Full { at } => next = at,
                Progress::Script { .. } => unreachable!("the replayer is alone"),
                // QUIT, for example.
                Progress::Closed | Progress::Gone | Progress::Paused { .. } | Progress::Blocked { .. } => {
                    return Err("it has a command that ends a connection".to_owned());
                }
            }
        }
        self.requests = requests.recycle();
        unknown.map_or(Ok(()), Err)
    }
}

/// So many bytes or arguments are on their way together: enough that passing them on costs nothing, and little enough to stay in the cache between
/// whoever reads and whoever executes them.
const GATHERED_BYTES: usize = 64 << 10;
const GATHERED_ARGS: usize = 4096;

/// Commands on their way from the thread that reads them to the one that executes them. Many at once, because the dispatcher fetches the keys
/// of all commands that it is given before it executes the first: one by one they would wait for memory.
#[derive(Default)]
pub struct Gathered {
    bytes: Vec<u8>,
    /// Where each argument ends in `bytes`.
    arg_ends: Vec<usize>,
    /// Where each command ends in `arg_ends`.
    command_ends: Vec<usize>,
    /// Where the last one ends in the file.
    pub valid_bytes: u64,
}

impl Gathered {
    pub fn push(&mut self, unit: &Unit<'_>) {
        for command in unit.commands() {
            for arg in command.iter() {
                self.bytes.extend_from_slice(arg);
                self.arg_ends.push(self.bytes.len());
            }
            self.command_ends.push(self.arg_ends.len());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.command_ends.is_empty()
    }

    pub fn is_enough(&self) -> bool {
        self.bytes.len() >= GATHERED_BYTES || self.arg_ends.len() >= GATHERED_ARGS
    }

    fn commands(&self) -> impl Iterator<Item = impl Iterator<Item = &[u8]>> {
        let (mut arg, mut byte) = (0, 0);
        self.command_ends.iter().map(move |&end| {
            let ends = &self.arg_ends[std::mem::replace(&mut arg, end)..end];
            let first = std::mem::replace(&mut byte, *ends.last().expect("a command has a name"));
            ends.iter().scan(first, |byte, &end| Some(&self.bytes[std::mem::replace(byte, end)..end]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::aof::Commands;

    #[test]
    fn what_is_gathered_comes_out_as_it_was() {
        let file = b"*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\nab\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n\
                     *1\r\n$7\r\nFLUSHDB\r\n*1\r\n$4\r\nEXEC\r\n";
        let mut commands = Commands::new(&file[..], 0);
        let mut gathered = Gathered::default();
        while let Some(unit) = commands.next_unit().unwrap() {
            gathered.push(&unit);
        }
        let words: Vec<Vec<&[u8]>> = gathered.commands().map(Iterator::collect).collect();
        let expected: [&[&[u8]]; 4] = [&[b"PING"], &[b"SET", b"", b"ab"], &[b"DEL", b"a"], &[b"FLUSHDB"]];
        assert_eq!(words, expected);
    }
}
