//! Twice as much is written as memory may hold, by a crowd of which every tenth hardly reads: memory stays where it was told to, everybody is served, and nobody
//! waits for those who are not.
//!
//! `make full-memory` runs it with ten thousand clients and 512 MiB.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use rand::Rng;
use robustness::{info, meter::measure, raise_open_files_max};
use testkit::{Client, Kind, Process, Server, ServerOptions, random_from, wait_until};

const CLIENTS: u64 = 400;
const LIMIT_BYTES: u64 = 96 << 20;
/// What may wait for each client: the buffers that come on top of the limit.
const BUFFER_BYTES: u64 = 512 << 10;
/// What a slow reader asks for at a time.
const LARGE_BYTES: usize = 20_000;
/// What a slow reader lets the kernel keep for it, roughly: everything else waits in the server.
const RECEIVE_BUFFER_BYTES: usize = 4096;
const RESIDENT_FACTOR_MAX: f64 = 1.1;
/// What a server and the code it runs take with nothing in it.
const PROGRAM_BYTES: u64 = 24 << 20;
const LATENCY_FACTOR_MAX: f64 = 10.0;
/// A request that meets a busy core waits for the scheduler, whoever serves it. Less than this is not told apart.
const NOISE: Duration = Duration::from_millis(2);
const REQUESTS: usize = 5_000;
const WRITERS_AT_ONCE: usize = 8;
/// The machine is shared: a bad moment may spoil a round, not all of them.
const ROUNDS_MAX: usize = 4;

/// A number from the environment, for the full size.
fn size(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn memory_stays_within_its_limit_and_clients_are_served() {
    let clients = size("SPINEL_CLIENTS", CLIENTS);
    let limit_bytes = size("SPINEL_LIMIT_MIB", LIMIT_BYTES >> 20) << 20;
    let open_files = raise_open_files_max();
    if open_files < clients + 500 {
        testkit::skip_aloud(&format!("only {open_files} files may be open, and {} are needed", clients + 500));
        return;
    }
    if testkit::program(Kind::Spinel).is_none() {
        testkit::skip_aloud("no spinel is built");
        return;
    }
    let seed = testkit::seed();
    let mut server = ServerOptions::new(Kind::Spinel)
        .arguments(["--maxclients", &(clients + 400).to_string(), "--io-threads", "2"])
        .arguments(["--maxmemory", &limit_bytes.to_string(), "--maxmemory-policy", "allkeys-lru"])
        .arguments(["--client-output-buffer-limit", "normal", &BUFFER_BYTES.to_string(), "0", "0"])
        .start()
        .expect("a server that is there starts");
    let idle = measure(server.address(), REQUESTS).quantile(0.999);
    let (slow_count, writer_count) = (clients / 10, clients - clients / 10);
    server.client().command(&["SET", "slow:value", &"x".repeat(LARGE_BYTES)]).expect("SET");
    let slow = Slow::start(server.address(), slow_count as usize);
    let mut writers: Vec<Client> = (0..writer_count).map(|_| server.client()).collect();
    let resident = Resident::watch(&server);

    let mut ratios = Vec::new();
    for round in 1..=ROUNDS_MAX {
        let written = AtomicU64::new(0);
        let busy = std::thread::scope(|scope| {
            let (server, written) = (&server, &written);
            let meter = scope.spawn(move || measure(server.address(), REQUESTS).quantile(0.999));
            write(&mut writers, 2 * limit_bytes, seed + round as u64, written);
            meter.join().expect("the meter is served")
        });
        let ratio = busy.as_secs_f64() / idle.max(NOISE).as_secs_f64();
        println!(
            "round {round}: {} MiB written; 99.9 % of the requests within {idle:?} before, {busy:?} meanwhile: {ratio:.2}",
            written.load(Relaxed) >> 20
        );
        ratios.push(ratio);
        if ratio <= LATENCY_FACTOR_MAX {
            break;
        }
    }
    let resident_max = resident.stop();
    let connected = info(&server, "connected_clients");
    let (asked, read) = slow.stop();
    let may = ((limit_bytes + slow_count * BUFFER_BYTES) as f64 * RESIDENT_FACTOR_MAX) as u64 + PROGRAM_BYTES;
    println!(
        "resident at most {} MiB of {} MiB; slow readers asked {asked} times and read {} MiB",
        resident_max >> 20,
        may >> 20,
        read >> 20
    );
    assert!(server.exit_status().is_none(), "the server has ended:\n{}", server.log());
    assert!(info(&server, "evicted_keys") > 0, "twice the limit was written");
    assert!(connected >= clients, "of {clients} clients {connected} are left:\n{}", server.log());
    assert!(wait_until(Duration::from_secs(20), || info(&server, "used_memory") <= limit_bytes));
    assert!(resident_max <= may, "{resident_max} bytes were resident, {may} may be");
    let best = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(best <= LATENCY_FACTOR_MAX, "in every round, clients were slowed down: {ratios:?}");
}

/// Has the clients write so many bytes, a few at a time, in values of all sizes up to 4 KiB.
fn write(clients: &mut [Client], bytes: u64, seed: u64, written: &AtomicU64) {
    let mut random = random_from(seed);
    let value = "v".repeat(4096);
    'all: loop {
        for several in clients.chunks_mut(WRITERS_AT_ONCE) {
            for client in several.iter_mut() {
                for _ in 0..4 {
                    let key = format!("key:{:016x}", random.random::<u64>());
                    let length = random.random_range(16..value.len());
                    client.queue(&["SET", &key, &value[..length]]);
                    written.fetch_add(length as u64, Relaxed);
                }
                client.flush().expect("a writer stays connected");
            }
            for client in several.iter_mut() {
                for _ in 0..4 {
                    let reply = client.receive().expect("a writer is answered");
                    assert!(!reply.is_error(), "{reply}");
                }
            }
            if written.load(Relaxed) >= bytes {
                break 'all;
            }
        }
    }
}

/// Clients that ask for more than they read.
struct Slow {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, u64)>,
}

impl Slow {
    fn start(address: SocketAddr, count: usize) -> Slow {
        use std::io::{ErrorKind, Read, Write};
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let mut streams: Vec<_> = (0..count)
            .map(|_| {
                let stream = std::net::TcpStream::connect(address).expect("a slow connection");
                stream.set_nonblocking(true).expect("a socket");
                rustix::net::sockopt::set_socket_recv_buffer_size(&stream, RECEIVE_BUFFER_BYTES).expect("a socket");
                (stream, 0usize)
            })
            .collect();
        let thread = std::thread::spawn(move || {
            let (mut asked, mut read) = (0, 0);
            let ask = format!("GETRANGE slow:value 0 {}\r\n", LARGE_BYTES - 1);
            let mut buffer = [0; 512];
            while !stopped.load(Relaxed) {
                for (stream, owed) in &mut streams {
                    // As much is asked for as fits its buffer, with some to spare; a little of it is read.
                    if *owed + LARGE_BYTES < BUFFER_BYTES as usize * 3 / 4 {
                        match stream.write(ask.as_bytes()) {
                            Ok(sent) => assert_eq!(sent, ask.len(), "a small request is taken as a whole"),
                            Err(error) => panic!("a slow reader was closed: {error}"),
                        }
                        *owed += LARGE_BYTES;
                        asked += 1;
                    }
                    match stream.read(&mut buffer) {
                        Ok(0) => panic!("a slow reader was closed"),
                        Ok(count) => {
                            *owed = owed.saturating_sub(count);
                            read += count as u64;
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                        Err(error) => panic!("a slow reader was closed: {error}"),
                    }
                }
                std::thread::park_timeout(Duration::from_millis(10));
            }
            (asked, read)
        });
        Slow { stop, thread }
    }

    /// Ends them; how often they asked, and how many bytes they read.
    fn stop(self) -> (u64, u64) {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("slow readers stay connected")
    }
}

/// Watches how much of the server is in memory.
struct Resident {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Resident {
    fn watch(server: &Server) -> Resident {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, process) = (stop.clone(), Process(server.process().0));
        let thread = std::thread::spawn(move || {
            let mut most = 0;
            while !stopped.load(Relaxed) {
                most = most.max(process.resident_bytes().unwrap_or(0));
                std::thread::park_timeout(Duration::from_millis(10));
            }
            most
        });
        Resident { stop, thread }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.thread.thread().unpark();
        self.thread.join().expect("it only looks")
    }
}
