//! Plays windows against a server, on connections that all begin at once, and writes down when what happened.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Barrier,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use testkit::{Client, Server};

use crate::{
    collection::{Act, Collections, Name, begun},
    generate::{CONNECTIONS, Lane, Window, databases},
    history::{Event, History},
    model::State,
    operation::{Deadline, Key, Operation, Reply},
};

/// One clock for all connections: steady like [`Instant`], counted like Unix time (keys expire by that).
#[derive(Clone, Copy, Debug)]
struct Clock {
    began: Instant,
    began_unix_ns: u64,
}

impl Clock {
    fn start() -> Clock {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        Clock { began: Instant::now(), began_unix_ns: unix.as_nanos() as u64 }
    }

    fn now_ns(self) -> u64 {
        self.began_unix_ns + self.began.elapsed().as_nanos() as u64
    }
}

/// Connections to one server, each with a thread of its own.
pub struct Recorder {
    control: Client,
    workers: Vec<Worker>,
    /// The worker of the next window's first lane: each part is played by each connection, and so on each of the
    /// server's threads.
    first_worker: usize,
}

struct Worker {
    jobs: Sender<Job>,
    results: Receiver<io::Result<Vec<Event>>>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    lane: Lane,
    clock: Clock,
    start: Arc<Barrier>,
}

impl Recorder {
    pub fn new(server: &Server) -> io::Result<Recorder> {
        let control = Client::connect(server.address())?;
        let workers = (0..CONNECTIONS).map(|_| Worker::new(server.address())).collect::<io::Result<_>>()?;
        Ok(Recorder { control, workers, first_worker: 0 })
    }

    /// Plays a window. An error means that the server has gone, hangs, or says what is no reply.
    pub fn record(&mut self, window: &Window) -> io::Result<History> {
        self.set_state(&window.initial)?;
        // Read anew for each window: the system's clock may have been set.
        let clock = Clock::start();
        let start = Arc::new(Barrier::new(window.lanes.len()));
        self.first_worker = (self.first_worker + 1) % CONNECTIONS;
        let workers = || self.workers.iter().cycle().skip(self.first_worker).zip(&window.lanes);
        for (worker, lane) in workers() {
            worker.jobs.send(Job { lane: lane.clone(), clock, start: start.clone() }).expect("the worker lives");
        }
        let lanes: Vec<io::Result<Vec<Event>>> =
            workers().map(|(worker, _)| worker.results.recv().expect("the worker lives")).collect();
        let mut history = History { lanes: lanes.into_iter().collect::<io::Result<_>>()? };
        for (number, lane) in history.lanes.iter_mut().enumerate() {
            *lane = std::mem::take(lane).into_iter().flat_map(|event| in_two(event, number)).collect();
        }
        // What is there in the end belongs to the history: a lost write shows even if nobody happened to look.
        history.lanes.push(self.read_state(clock, window.initial.collections.is_some())?);
        Ok(history)
    }

    /// Fills database 0 with keys that the model does not know.
    pub fn add_ballast(&mut self, keys: usize) -> io::Result<()> {
        self.expect_ok(&["SELECT", "0"])?;
        for first in (0..keys).step_by(1000) {
            let mut words = vec!["MSET".to_owned()];
            for number in first..keys.min(first + 1000) {
                words.push(format!("filler:{number}"));
                words.push("x".to_owned());
            }
            self.expect_ok(&words)?;
        }
        Ok(())
    }

    /// Removes everything.
    pub fn clear(&mut self) -> io::Result<()> {
        self.expect_ok(&["FLUSHALL"])
    }

    fn expect_ok<A: AsRef<[u8]>>(&mut self, words: &[A]) -> io::Result<()> {
        let reply = self.control.command(words)?;
        if reply.is_error() { Err(io::Error::other(reply.to_string())) } else { Ok(()) }
    }

    fn set_state(&mut self, state: &State) -> io::Result<()> {
        let mut commands = vec![vec!["CLIENT".to_owned(), "UNPAUSE".to_owned()]];
        for database in databases() {
            commands.push(vec!["SELECT".to_owned(), database.to_string()]);
            let mut delete = vec!["DEL".to_owned()];
            delete.extend(Key::all().map(|key| key.name().to_owned()));
            delete.extend(Name::all().map(|name| name.to_string()));
            commands.push(delete);
            for key in Key::all() {
                if let Some(entry) = state.databases[database][usize::from(key.0)] {
                    commands.push(vec!["SET".to_owned(), key.name().to_owned(), entry.datum.to_string()]);
                }
            }
        }
        if let Some(collections) = &state.collections {
            commands.push(vec!["SELECT".to_owned(), "0".to_owned()]);
            commands.extend(collections.making().iter().map(Act::words));
        }
        match self.control.pipeline(&commands)?.into_iter().find(testkit::Value::is_error) {
            Some(error) => Err(io::Error::other(error.to_string())),
            None => Ok(()),
        }
    }

    fn read_state(&mut self, clock: Clock, has_collections: bool) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        for database in databases() {
            self.expect_ok(&["SELECT", &database.to_string()])?;
            let mut batch = vec![Operation::MGet { keys: Key::all().collect(), repeats: 1 }];
            batch.extend(Key::all().map(Operation::Ttl));
            if has_collections && database == 0 {
                batch.extend(Collections::showing().map(Operation::Collection));
            }
            play_batch(&mut self.control, database, batch, clock, &mut events)?;
        }
        Ok(events)
    }
}

/// A command that waits takes effect twice. Whom nobody serves is told so when the time is over, and no sooner: until then it is in
/// line, and whoever gives something must not forget it.
pub fn in_two(event: Event, lane: usize) -> Vec<Event> {
    let Operation::Collection(Act::Wait { wait, timeout_ms }) = &event.operation else { return vec![event] };
    // Rounded in favour of the server, which counts whole milliseconds.
    let waited_ms = (event.completed_ns - event.invoked_ns).div_ceil(1_000_000) + 1;
    let begins = Operation::Collection(Act::WaitBegins { wait: wait.clone(), lane });
    let ends = Operation::Collection(Act::WaitEnds { lane, timeout_ms: *timeout_ms, waited_ms });
    let mut invoked_ns = event.invoked_ns;
    if event.reply == Reply::Said(testkit::Value::Null) {
        // A millisecond less: both sides count whole ones.
        invoked_ns += u64::from(timeout_ms.saturating_sub(1)) * 1_000_000;
    }
    vec![
        Event { operation: begins, reply: Reply::Said(begun()), ..event.clone() },
        Event { operation: ends, invoked_ns: invoked_ns.min(event.completed_ns), ..event },
    ]
}

impl Worker {
    fn new(address: SocketAddr) -> io::Result<Worker> {
        let client = Client::connect(address)?;
        let (jobs, inbox) = channel();
        let (outbox, results) = channel();
        let thread = std::thread::spawn(move || work(client, &inbox, &outbox));
        Ok(Worker { jobs, results, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Hanging up the channel ends the thread.
        self.jobs = channel().0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(mut client: Client, inbox: &Receiver<Job>, outbox: &Sender<io::Result<Vec<Event>>>) {
    let mut selected = 0;
    while let Ok(Job { lane, clock, start }) = inbox.recv() {
        let prepared = if lane.database == selected {
            Ok(())
        } else {
            selected = lane.database;
            client.command(&["SELECT", &selected.to_string()]).map(|_| ())
        };
        start.wait();
        let result = prepared.and_then(|()| {
            let mut events = Vec::new();
            for batch in lane.batches {
                play_batch(&mut client, lane.database, batch, clock, &mut events)?;
            }
            Ok(events)
        });
        if outbox.send(result).is_err() {
            return;
        }
    }
}

/// Sends a batch at once and waits for its replies.
fn play_batch(
    client: &mut Client,
    database: usize,
    mut batch: Vec<Operation>,
    clock: Clock,
    events: &mut Vec<Event>,
) -> io::Result<()> {
    for operation in &mut batch {
        if let Operation::Expire { deadline: deadline @ Deadline::Soon(_), .. } = operation {
            let Deadline::Soon(milliseconds) = *deadline else { unreachable!() };
            *deadline = Deadline::At(clock.now_ns() / 1_000_000 + u64::from(milliseconds));
        }
        operation.commands_in(database).iter().for_each(|words| client.queue(words));
    }
    let invoked_ns = clock.now_ns();
    client.flush()?;
    for operation in batch {
        let mut value = client.receive()?;
        for _ in 1..operation.commands_in(database).len() {
            // MULTI's, and those of what is queued: EXEC tells whether something was wrong with them.
            value = client.receive()?;
        }
        let completed_ns = clock.now_ns();
        let reply = Reply::observed(&operation, &value);
        events.push(Event { database, operation, reply, invoked_ns, completed_ns });
    }
    Ok(())
}
