//! A bad network between a replica and its primary: a proxy that delays, throttles, loses, falls silent and breaks off.
//!
//! It stands in for `tc netem`, which not every kernel has: a packet that is lost is one that comes late, as TCP shows it, and a link that fails
//! either breaks at once or swallows everything for a while, half messages included.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rand::Rng;
use testkit::{Random, random_from};

/// How bad it is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// What every piece takes on its way, at most.
    pub delay_max: Duration,
    /// So many bytes travel at once: with the delay, the bandwidth.
    pub piece_bytes_max: usize,
    /// One in so many pieces is lost, and comes when TCP has noticed.
    pub lost_one_in: u32,
}

/// When TCP sends again what was lost: its least, on Linux.
const RESENT_AFTER: Duration = Duration::from_millis(200);
/// How often those who forward look whether they still should.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A proxy in front of one server.
pub struct Network {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    server: SocketAddr,
    weather: Weather,
    seed: u64,
    /// Raised with every break: what belongs to an earlier one ends.
    era: AtomicU64,
    swallows: AtomicBool,
    ends: AtomicBool,
    /// From the server, in this era.
    forwarded_bytes: AtomicU64,
    connections: AtomicU64,
}

impl Network {
    pub fn new(server: SocketAddr, weather: Weather, seed: u64) -> Network {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            server,
            weather,
            seed,
            era: AtomicU64::new(0),
            swallows: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            forwarded_bytes: AtomicU64::new(0),
            connections: AtomicU64::new(0),
        });
        let of_thread = state.clone();
        let thread = std::thread::spawn(move || of_thread.accept(&listener));
        Network { address, state, thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many bytes have come from the server since the last break.
    pub fn forwarded_bytes(&self) -> u64 {
        self.state.forwarded_bytes.load(Relaxed)
    }

    /// How many connections there have been.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Relaxed)
    }

    /// From now on everything is swallowed, until it breaks.
    pub fn fall_silent(&self) {
        self.state.swallows.store(true, Relaxed);
    }

    /// Ends all connections, in the midst of what they forward. New ones are fine.
    pub fn break_off(&self) {
        self.state.era.fetch_add(1, Relaxed);
        self.state.forwarded_bytes.store(0, Relaxed);
        self.state.swallows.store(false, Relaxed);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.state.ends.store(true, Relaxed);
        self.break_off();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().expect("it runs until now").join();
    }
}

impl State {
    fn accept(self: &Arc<State>, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            if self.ends.load(Relaxed) {
                return;
            }
            let era = self.era.load(Relaxed);
            let number = self.connections.fetch_add(1, Relaxed);
            let Ok(server) = TcpStream::connect(self.server) else { continue };
            for (from_server, from, to) in [(false, &client, &server), (true, &server, &client)] {
                let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                let random = random_from(self.seed ^ (2 * number + u64::from(from_server)));
                let state = self.clone();
                std::thread::spawn(move || state.forward(era, from_server, from, to, random));
            }
        }
    }

    /// One direction of a connection.
    fn forward(&self, era: u64, from_server: bool, mut from: TcpStream, mut to: TcpStream, mut random: Random) {
        from.set_read_timeout(Some(LOOK_EVERY)).expect("a socket");
        let mut buffer = vec![0; self.weather.piece_bytes_max];
        let is_over = || self.era.load(Relaxed) != era;
        let mut is_silent = false;
        while !is_over() {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    continue;
                }
                Err(_) => break,
            };
            let mut delay = self.weather.delay_max.mul_f64(random.random());
            if random.random_ratio(1, self.weather.lost_one_in) {
                delay += RESENT_AFTER;
            }
            travel(delay);
            // Of what is on its way when the link breaks, some part arrives.
            let arriving = if is_over() { random.random_range(0..=count) } else { count };
            // Nothing arrives behind what did not.
            is_silent |= self.swallows.load(Relaxed);
            if !is_silent {
                if to.write_all(&buffer[..arriving]).is_err() {
                    break;
                }
                if from_server && arriving == count {
                    self.forwarded_bytes.fetch_add(count as u64, Relaxed);
                }
            }
        }
        for stream in [&from, &to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The time that a piece takes is what this network is about.
fn travel(time: Duration) {
    let arrives = Instant::now() + time;
    while let Some(left) = arrives.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}
