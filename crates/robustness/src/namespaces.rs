//! Two machines in one: this process in a network namespace of its own, a second namespace, and between them a cable that delays, loses and fails.
//!
//! The cable is a TUN device at either end; what the kernel sends into one is given to the other, packet by packet, by a thread that does what
//! `tc netem` does on kernels that have it. TCP on both sides is the kernel's, with its retransmissions, its timeouts and its packets in flight.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns, unshare};
use rand::Rng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use testkit::{Random, random_from};

/// The address of this side of the cable.
pub const HERE: &str = "10.77.0.1";
/// The address of the other side.
pub const THERE: &str = "10.77.0.2";

/// Says that this is the run inside of a namespace.
const INSIDE: &str = "SPINEL_TEST_NAMESPACE";
const DEVICE: &str = "cable";
const PACKET_BYTES_MAX: usize = 9000;
/// As many packets wait on their way; more are dropped, as in a router.
const PACKETS_WAITING_MAX: usize = 1000;
/// How often those who forward look whether they still should.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Runs the named test of this program again in namespaces of its own, where `prepare` (words of a shell) has worked. False: this is that run, and the test
/// goes on.
///
/// Without namespaces the test is skipped aloud.
pub fn run_inside(test: &str, prepare: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let script = format!("{prepare} && exec \"$0\" \"$@\"");
    let namespace = ["--net", "--map-root-user", "sh", "-c"];
    let probe = Command::new("unshare").args(namespace).arg(&script).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        testkit::skip_aloud(&format!("no network namespace of its own to be had here (unshare; {prepare})"));
        return true;
    }
    let output = Command::new("unshare")
        .args(namespace)
        .arg(&script)
        .arg(std::env::current_exe().expect("this program"))
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare runs");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "inside the namespace:\n{text}");
    // What it says is worth reading where somebody asks for it.
    eprintln!("{text}");
    true
}

/// What [`run_inside`] has to have tried for [`Elsewhere`] to work.
pub const PREPARE_CABLE: &str = "ip link set lo up && ip tuntap add dev probe mode tun && ip link del probe";

/// How bad the cable is.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// What every packet takes on its way, at most. None overtakes another.
    pub delay_max: Duration,
    /// One in so many packets is lost.
    pub lost_one_in: u32,
}

/// The second namespace, and the cable there.
pub struct Elsewhere {
    namespace: File,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    ends: AtomicBool,
    has_failed: AtomicBool,
    /// Bytes that have come from here to there since it last failed.
    delivered_bytes: AtomicU64,
    lost_packets: AtomicU64,
}

impl Elsewhere {
    /// # Panics
    /// Outside of [`run_inside`], and where that has not tried [`PREPARE_CABLE`].
    pub fn new(quality: Quality, seed: u64) -> Elsewhere {
        let here = plug_in(HERE, THERE);
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
            run("ip link set lo up");
            let namespace = File::open("/proc/thread-self/ns/net").expect("a thread's namespace");
            (namespace, plug_in(THERE, HERE))
        });
        let (namespace, there) = made.join().expect("the other side is made");
        let (here, there, state) = (Arc::new(here), Arc::new(there), Arc::new(State::default()));
        let ways = [(&here, &there, true), (&there, &here, false)];
        let threads = ways.map(|(from, to, goes_there)| {
            let (from, to, state) = (from.clone(), to.clone(), state.clone());
            let random = random_from(seed ^ u64::from(goes_there));
            std::thread::spawn(move || state.forward(&from, &to, goes_there, quality, random))
        });
        Elsewhere { namespace, state, threads: threads.into() }
    }

    /// Runs this there: what it starts is there, and so are the sockets that it makes.
    pub fn within<R: Send>(&self, run: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("the namespace is there");
                run()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Makes a port of 127.0.0.1 there reachable here under the same number, past the cable: what a test asks a server must not depend on the weather.
    pub fn open_door(&self, port: u16) {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free here too");
        let namespace = self.namespace.try_clone().expect("a descriptor");
        // It waits for callers until the process ends.
        std::thread::spawn(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).expect("the namespace is there");
            for caller in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for (from, to) in [(&caller, &server), (&server, &caller)] {
                    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { continue };
                    to.set_nodelay(true).expect("a socket");
                    std::thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
    }

    /// For so long everything is lost, and nobody is told.
    pub fn fail_for(&self, time: Duration) {
        self.state.has_failed.store(true, Relaxed);
        let ends = Instant::now() + time;
        while let Some(left) = ends.checked_duration_since(Instant::now()) {
            std::thread::park_timeout(left);
        }
        self.state.delivered_bytes.store(0, Relaxed);
        self.state.has_failed.store(false, Relaxed);
    }

    pub fn delivered_bytes(&self) -> u64 {
        self.state.delivered_bytes.load(Relaxed)
    }

    pub fn lost_packets(&self) -> u64 {
        self.state.lost_packets.load(Relaxed)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.state.ends.store(true, Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().expect("forwarding does not fail"));
    }
}

impl State {
    /// One direction.
    fn forward(&self, mut from: &File, mut to: &File, goes_there: bool, quality: Quality, mut random: Random) {
        let mut waiting: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
        let mut packet = vec![0; PACKET_BYTES_MAX];
        while !self.ends.load(Relaxed) {
            let now = Instant::now();
            while waiting.front().is_some_and(|(due, _)| *due <= now) {
                let (_, packet) = waiting.pop_front().expect("one is due");
                // Where the other end is gone there is nobody to miss it.
                if !self.has_failed.load(Relaxed) && to.write(&packet).is_ok() && goes_there {
                    self.delivered_bytes.fetch_add(packet.len() as u64, Relaxed);
                }
            }
            let wait = waiting.front().map_or(LOOK_EVERY, |(due, _)| due.saturating_duration_since(now));
            let timeout = Timespec::try_from(wait).expect("a short time");
            if poll(&mut [PollFd::new(from, PollFlags::IN)], Some(&timeout)).is_err() {
                continue;
            }
            while let Ok(count) = from.read(&mut packet) {
                let is_lost = random.random_ratio(1, quality.lost_one_in);
                if is_lost || self.has_failed.load(Relaxed) || waiting.len() >= PACKETS_WAITING_MAX {
                    self.lost_packets.fetch_add(1, Relaxed);
                    continue;
                }
                let arrives = Instant::now() + quality.delay_max.mul_f64(random.random());
                let due = waiting.back().map_or(arrives, |(last, _)| arrives.max(*last));
                waiting.push_back((due, packet[..count].to_vec()));
            }
        }
    }
}

/// One end of the cable, in this thread's namespace.
fn plug_in(own: &str, other: &str) -> File {
    let device = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun");
    let device = OwnedFd::from(device.expect("TUN devices can be made"));
    // SAFETY: an ifreq is plain data; the kernel reads the name and the flags, which are set.
    let done = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(DEVICE.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request)
    };
    assert_eq!(done, 0, "no TUN device: {}", io::Error::last_os_error());
    run(&format!("ip addr add {own} peer {other} dev {DEVICE}"));
    run(&format!("ip link set {DEVICE} mtu {PACKET_BYTES_MAX} up"));
    device.into()
}

fn run(command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().expect("iproute2 is there");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}
