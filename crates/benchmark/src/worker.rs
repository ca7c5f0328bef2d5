//! One thread of the load: an event loop over its share of the connections.
//!
//! ```text
//!                 connected, TLS, replies to what each connection says first
//!   Opening ──────────────────────────────────────────────────────────────▶ idle
//!      ▲                                                                   │    ▲
//!      │ -k 0: closed and opened again                          a batch is sent │ all its replies are there
//!      └───────────────────────────────────────────────────────────────────▼────┘
//!                                                                          busy
//! ```
//!
//! Per request it costs the client one write, one read, and its part of an epoll_wait: sockets are registered once and
//! edge-triggered for both directions, a batch is written from a buffer that all connections share, and replies are not kept.
//!
//! What does a latency count from? In the closed loop from when the batch was written. In the open loop from when the request was due,
//! also if no connection was free then; a due request is never left out, so a server that stops for a second shows up in all the requests
//! that wanted something of it in that second.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::choose::Chooser;
use crate::pace::Pace;
use crate::record::{INTERVAL, Sample, histogram};
use crate::scan::{Malformed, Scanner};
use crate::setup::describe;
use crate::template::{Batch, Tag, Workload};
use crate::transport::{Endpoint, Transport};

/// A read takes so much at most; longer replies take several.
const READ_BYTES: usize = 128 * 1024;
/// Connections opened at a time: below the smallest usual backlog of a listener.
const OPENING_MAX: usize = 100;
/// Below this it is cheaper to look again at once than to arm the timer.
const SPIN_NANOS: u64 = 10_000;
const TIMER: Token = Token(usize::MAX);
const INTERVAL_NANOS: u64 = INTERVAL.as_nanos() as u64;

/// Where connections go.
pub struct Target {
    pub endpoint: Endpoint,
    /// What `{tag}` becomes; empty without a cluster.
    pub tags: Vec<Tag>,
    /// What each connection says first, and how many replies that gets.
    pub prefix: Vec<u8>,
    pub prefix_replies: u32,
}

/// What all workers of a test know.
pub struct Plan<'a> {
    pub targets: &'a [Target],
    pub workload: &'a Workload,
    pub pipeline: u32,
    pub keep_alive: bool,
    pub ignore_errors: bool,
    /// None: until `duration` has passed.
    pub requests: Option<u64>,
    pub duration: Option<Duration>,
    pub warmup: Duration,
    /// Requests sent, or about to be.
    pub issued: AtomicU64,
    pub stop: AtomicBool,
    /// Clock zero of all workers.
    pub origin: Instant,
}

pub enum Message {
    /// All connections of a worker are open.
    Ready,
    Sample(Sample),
    /// All replies are there; when the last one came, in nanoseconds since the measurement began.
    Done {
        last_reply_nanos: u64,
    },
    /// What to tell the user.
    Failed(String),
}

/// Why a worker ends early.
enum Failure {
    Message(String),
    /// Another worker failed.
    Stopped,
}

impl From<String> for Failure {
    fn from(text: String) -> Failure {
        Failure::Message(text)
    }
}

struct Connection {
    transport: Transport,
    target: usize,
    scanner: Scanner,
    opening: bool,
    prefix_sent: bool,
    /// Replies to the prefix that are still to come.
    prefix_missing: u32,
    /// Requests in flight: since when, how many.
    awaiting: VecDeque<(u64, u32)>,
    /// What the socket has not taken yet.
    unsent: Vec<u8>,
}

pub struct Worker<'a> {
    plan: &'a Plan<'a>,
    messages: Sender<Message>,
    poll: Poll,
    timer: OwnedFd,
    timer_due: u64,
    connections: Vec<Connection>,
    /// Connections that could send; only used with a pace.
    idle: VecDeque<usize>,
    pace: Option<Pace>,
    chooser: Chooser,
    batch: Batch,
    read_buffer: Vec<u8>,
    in_flight: u64,
    /// Nothing more will be sent.
    exhausted: bool,
    measure_from: u64,
    interval_index: i64,
    interval_end: u64,
    latencies_us: Histogram<u64>,
    errors: u64,
    last_reply: u64,
}

impl<'a> Worker<'a> {
    /// Opens its connections, waits for the start, sends, and tells how it ended. `start` gives the clock's time to begin at and
    /// the pace, or nothing if the test is off.
    pub fn run(
        plan: &'a Plan<'a>,
        connections: &[usize],
        chooser: Chooser,
        messages: Sender<Message>,
        start: &Receiver<(u64, Option<Pace>)>,
    ) {
        let failed = |messages: &Sender<Message>, failure: Failure| {
            if let Failure::Message(text) = failure {
                // Nobody listens any more when another worker has failed: just as well.
                let _ = messages.send(Message::Failed(text));
            }
        };
        let mut worker = match Worker::new(plan, chooser, messages.clone()) {
            Ok(worker) => worker,
            Err(error) => return failed(&messages, Failure::Message(describe(&error))),
        };
        if let Err(failure) = worker.open_all(connections) {
            return failed(&messages, failure);
        }
        let _ = messages.send(Message::Ready);
        let Ok((begin, pace)) = start.recv() else { return };
        worker.pace = pace;
        match worker.measure(begin) {
            Ok(()) => {
                let last_reply_nanos = worker.last_reply.saturating_sub(worker.measure_from);
                let _ = messages.send(Message::Done { last_reply_nanos });
            }
            Err(failure) => failed(&messages, failure),
        }
    }

    fn new(plan: &'a Plan<'a>, chooser: Chooser, messages: Sender<Message>) -> io::Result<Worker<'a>> {
        let poll = Poll::new()?;
        // epoll_wait counts in milliseconds, and the kernel may be 50 microseconds late unless told otherwise.
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        Ok(Worker {
            plan,
            messages,
            poll,
            timer,
            timer_due: 0,
            connections: Vec::new(),
            idle: VecDeque::new(),
            pace: None,
            chooser,
            batch: Batch::default(),
            read_buffer: vec![0; READ_BYTES],
            in_flight: 0,
            exhausted: false,
            measure_from: 0,
            interval_index: 0,
            interval_end: 0,
            latencies_us: histogram(),
            errors: 0,
            last_reply: 0,
        })
    }

    #[inline]
    fn now(&self) -> u64 {
        self.plan.origin.elapsed().as_nanos() as u64
    }

    fn open(&mut self, index: usize, target: usize) -> Result<(), Failure> {
        let connect = || -> io::Result<Transport> {
            let mut transport = self.plan.targets[target].endpoint.connect()?;
            transport.register(self.poll.registry(), Token(index))?;
            Ok(transport)
        };
        let transport = connect().map_err(|error| self.cannot_connect(target, &error))?;
        let connection = Connection {
            transport,
            target,
            scanner: Scanner::new(),
            opening: true,
            prefix_sent: false,
            prefix_missing: self.plan.targets[target].prefix_replies,
            awaiting: VecDeque::new(),
            unsent: Vec::new(),
        };
        if index < self.connections.len() {
            self.connections[index] = connection;
        } else {
            self.connections.push(connection);
        }
        Ok(())
    }

    fn cannot_connect(&self, target: usize, error: &io::Error) -> String {
        format!("Could not connect to Redis at {}: {}", self.plan.targets[target].endpoint, describe(error))
    }

    fn open_all(&mut self, targets: &[usize]) -> Result<(), Failure> {
        let mut events = Events::with_capacity(OPENING_MAX);
        for chunk in targets.chunks(OPENING_MAX) {
            let first = self.connections.len();
            for (offset, &target) in chunk.iter().enumerate() {
                self.open(first + offset, target)?;
            }
            while self.connections[first..].iter().any(|connection| connection.opening) {
                self.wait(&mut events, Some(INTERVAL))?;
                for event in &events {
                    if event.token() != TIMER {
                        self.advance_opening(event.token().0)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<(), Failure> {
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(describe(&error).into()),
            _ => {}
        }
        if self.plan.stop.load(Ordering::Relaxed) { Err(Failure::Stopped) } else { Ok(()) }
    }

    /// True when a connection has become ready for requests.
    fn advance_opening(&mut self, index: usize) -> Result<bool, Failure> {
        let target = self.connections[index].target;
        let plan = self.plan;
        let connection = &mut self.connections[index];
        if !connection.opening {
            return Ok(false);
        }
        match connection.transport.is_established() {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => return Err(self.cannot_connect(target, &error).into()),
        }
        if !std::mem::replace(&mut connection.prefix_sent, true) {
            connection.unsent.extend_from_slice(&plan.targets[target].prefix);
        }
        self.flush(index)?;
        if self.connections[index].prefix_missing > 0 {
            let (replies, _) = self.receive(index, true)?;
            let connection = &mut self.connections[index];
            connection.prefix_missing = connection.prefix_missing.saturating_sub(replies);
        }
        let connection = &mut self.connections[index];
        if connection.prefix_missing > 0 {
            return Ok(false);
        }
        connection.opening = false;
        Ok(true)
    }

    fn measure(&mut self, begin: u64) -> Result<(), Failure> {
        let warmup = self.plan.warmup.as_nanos() as u64;
        self.measure_from = begin + warmup;
        self.interval_index = -(warmup.div_ceil(INTERVAL_NANOS) as i64);
        self.interval_end = self.end_of(self.interval_index);
        let mut events = Events::with_capacity(1024);
        let now = self.now();
        for index in 0..self.connections.len() {
            self.next(index, now)?;
        }
        self.dispatch(now)?;
        while !(self.exhausted && self.in_flight == 0) {
            let timeout = self.arm(self.now());
            self.wait(&mut events, Some(timeout))?;
            for event in &events {
                if event.token() == TIMER {
                    self.timer_due = 0;
                    let _ = rustix::io::read(&self.timer, &mut [0_u8; 8]);
                    continue;
                }
                let index = event.token().0;
                if self.connections[index].opening {
                    if self.advance_opening(index)? {
                        let now = self.now();
                        self.next(index, now)?;
                    }
                    continue;
                }
                if event.is_writable() {
                    self.flush(index)?;
                }
                if event.is_readable() {
                    self.replies(index, event.is_read_closed())?;
                }
            }
            let now = self.now();
            self.dispatch(now)?;
            self.roll(now, false);
        }
        self.roll(self.now(), true);
        Ok(())
    }

    /// How long to wait for events; the timer is armed if the next request is due before that.
    fn arm(&mut self, now: u64) -> Duration {
        let until_interval = Duration::from_nanos(self.interval_end.saturating_sub(now));
        let Some(pace) = self.pace.as_ref().filter(|_| !self.exhausted && !self.idle.is_empty()) else {
            return until_interval;
        };
        let due = pace.due();
        if due < now + SPIN_NANOS {
            return Duration::ZERO;
        }
        if due >= self.interval_end {
            return until_interval;
        }
        if self.timer_due != due {
            let wait = Duration::from_nanos(due - now);
            let value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).expect("a timer of our own");
            self.timer_due = due;
        }
        until_interval
    }

    /// How many of so many units may be sent, for a request that counts from `since`.
    fn claim(&mut self, units: u32, since: u64) -> u32 {
        if since < self.measure_from {
            return units;
        }
        if self.plan.duration.is_some_and(|duration| since >= self.measure_from + duration.as_nanos() as u64) {
            self.exhausted = true;
            return 0;
        }
        let Some(requests) = self.plan.requests else { return units };
        let commands = u64::from(self.plan.workload.commands_per_unit());
        let wanted = u64::from(units) * commands;
        let before = self.plan.issued.fetch_add(wanted, Ordering::Relaxed);
        if before + wanted >= requests {
            self.exhausted = true;
        }
        requests.saturating_sub(before).min(wanted).div_ceil(commands) as u32
    }

    /// A connection has nothing in flight: the next batch, or the queue of those that wait for one to be due.
    #[inline]
    fn next(&mut self, index: usize, now: u64) -> Result<(), Failure> {
        if self.pace.is_some() {
            self.idle.push_back(index);
            return Ok(());
        }
        if self.exhausted {
            return Ok(());
        }
        let units = self.claim(self.plan.pipeline, now);
        if units > 0 {
            let commands = units * self.plan.workload.commands_per_unit();
            self.connections[index].awaiting.push_back((now, commands));
            self.send(index, units)?;
        }
        Ok(())
    }

    /// With a pace: what is due goes to connections that are free.
    fn dispatch(&mut self, now: u64) -> Result<(), Failure> {
        let Some(mut pace) = self.pace.take() else { return Ok(()) };
        let commands = self.plan.workload.commands_per_unit();
        let mut sent = Ok(());
        while !self.exhausted && sent.is_ok() && pace.due() <= now {
            let Some(index) = self.idle.pop_front() else { break };
            let mut units = 0;
            if pace.open {
                while units < self.plan.pipeline && pace.due() <= now && self.claim(1, pace.due()) > 0 {
                    self.connections[index].awaiting.push_back((pace.due(), commands));
                    pace.advance(commands, now, &mut self.chooser);
                    units += 1;
                }
            } else {
                units = self.claim(self.plan.pipeline, now);
                if units > 0 {
                    self.connections[index].awaiting.push_back((now, units * commands));
                    pace.advance(units * commands, now, &mut self.chooser);
                }
            }
            if units == 0 {
                self.idle.push_front(index);
                break;
            }
            sent = self.send(index, units);
        }
        // A duration may end while nothing is due.
        if let (Some(duration), false) = (self.plan.duration, self.exhausted) {
            let end = self.measure_from + duration.as_nanos() as u64;
            self.exhausted = if pace.open { pace.due() >= end } else { now >= end };
        }
        // Another worker may have sent the last request.
        if self.plan.requests.is_some_and(|requests| self.plan.issued.load(Ordering::Relaxed) >= requests) {
            self.exhausted = true;
        }
        self.pace = Some(pace);
        sent
    }

    #[inline]
    fn send(&mut self, index: usize, units: u32) -> Result<(), Failure> {
        let connection = &mut self.connections[index];
        let tags = &self.plan.targets[connection.target].tags;
        let tag = if tags.is_empty() { *b"tag" } else { tags[self.chooser.index(tags.len())] };
        let bytes = self.batch.fill(self.plan.workload, units, &mut self.chooser, &tag);
        self.in_flight += u64::from(units) * u64::from(self.plan.workload.commands_per_unit());
        match connection.transport.write(bytes) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(written) => {
                connection.unsent.extend_from_slice(&bytes[written..]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                connection.unsent.extend_from_slice(bytes);
                Ok(())
            }
            Err(error) => Err(format!("Writing to socket: {}", describe(&error)).into()),
        }
    }

    /// Sends what the socket did not take before.
    fn flush(&mut self, index: usize) -> Result<(), Failure> {
        let connection = &mut self.connections[index];
        let failed = |error: io::Error| Failure::Message(format!("Writing to socket: {}", describe(&error)));
        connection.transport.flush().map_err(failed)?;
        while !connection.unsent.is_empty() {
            match connection.transport.write(&connection.unsent) {
                Ok(written) => _ = connection.unsent.drain(..written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// Reads what is there: replies, and the time at which they were.
    #[inline]
    fn receive(&mut self, index: usize, to_the_end: bool) -> Result<(u32, u64), Failure> {
        let connection = &mut self.connections[index];
        let mut replies = 0;
        loop {
            let read = match connection.transport.read(&mut self.read_buffer) {
                Ok(0) => return Err("Error: Server closed the connection".to_owned().into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("Error: {}", describe(&error)).into()),
            };
            let scanned = connection.scanner.scan(&self.read_buffer[..read]).map_err(|Malformed(byte)| {
                format!("Error: Protocol error, got '{}' as reply type byte", byte.escape_ascii())
            })?;
            replies += scanned.replies;
            if scanned.errors > 0 {
                if !self.plan.ignore_errors || connection.opening {
                    let text = scanned.first_error.unwrap_or_default();
                    return Err(format!("Error from server: {}", String::from_utf8_lossy(&text)).into());
                }
                self.errors += u64::from(scanned.errors);
            }
            // Edge-triggered: the next bytes are another event, unless their arrival was part of this one.
            if read < self.read_buffer.len() && !to_the_end && connection.transport.short_read_is_last() {
                break;
            }
        }
        Ok((replies, self.plan.origin.elapsed().as_nanos() as u64))
    }

    #[inline]
    fn replies(&mut self, index: usize, closed: bool) -> Result<(), Failure> {
        let (mut replies, now) = self.receive(index, closed && self.plan.keep_alive)?;
        if replies == 0 {
            return Ok(());
        }
        // Before the first latency of a new interval.
        self.roll(now, false);
        let warming_up = now < self.measure_from;
        let connection = &mut self.connections[index];
        self.in_flight = self
            .in_flight
            .checked_sub(u64::from(replies))
            .ok_or_else(|| Failure::Message("Error: more replies than requests".to_owned()))?;
        while replies > 0 {
            let Some((since, missing)) = connection.awaiting.front_mut() else {
                return Err("Error: more replies than requests".to_owned().into());
            };
            let count = replies.min(*missing);
            if warming_up || *since >= self.measure_from {
                let latency_us = now.saturating_sub(*since) / 1000;
                self.latencies_us.record_n(latency_us, u64::from(count)).expect("the histogram grows");
                self.last_reply = now;
            }
            replies -= count;
            *missing -= count;
            if *missing == 0 {
                connection.awaiting.pop_front();
            }
        }
        if !connection.awaiting.is_empty() {
            return Ok(());
        }
        if !self.plan.keep_alive {
            let target = connection.target;
            if self.exhausted {
                return Ok(());
            }
            return self.open(index, target);
        }
        self.next(index, now)
    }

    fn end_of(&self, interval_index: i64) -> u64 {
        self.measure_from.saturating_add_signed((interval_index + 1) * INTERVAL_NANOS as i64)
    }

    /// Tells of the intervals that are over, and at the end of the one under way.
    #[inline]
    fn roll(&mut self, now: u64, end: bool) {
        let mut unfinished = end;
        while now >= self.interval_end || std::mem::take(&mut unfinished) {
            let sample = Sample {
                index: self.interval_index,
                cut_off: now < self.interval_end,
                latencies_us: self.latencies_us.clone(),
                errors: std::mem::take(&mut self.errors),
            };
            self.latencies_us.reset();
            // Nobody listens after a failure elsewhere; `stop` ends this worker soon.
            let _ = self.messages.send(Message::Sample(sample));
            self.interval_index += 1;
            self.interval_end = self.end_of(self.interval_index);
        }
    }

    /// Opens connections and keeps them, telling how many there are. Ends only by a failure.
    pub fn hold(plan: &'a Plan<'a>, connections: &[usize], chooser: Chooser, mut tell: impl FnMut(usize)) -> String {
        let (messages, _) = std::sync::mpsc::channel();
        let hold = || -> Result<std::convert::Infallible, Failure> {
            let mut worker = Worker::new(plan, chooser, messages).map_err(|error| describe(&error))?;
            worker.open_all(connections)?;
            let mut events = Events::with_capacity(1024);
            loop {
                tell(worker.connections.len());
                worker.wait(&mut events, Some(INTERVAL))?;
                for event in &events {
                    if event.is_readable() && event.token() != TIMER {
                        worker.receive(event.token().0, event.is_read_closed())?;
                    }
                }
            }
        };
        match hold() {
            Err(Failure::Message(text)) => text,
            Err(Failure::Stopped) => String::new(),
            Ok(never) => match never {},
        }
    }
}
