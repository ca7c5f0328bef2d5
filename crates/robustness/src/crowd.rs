//! Very many clients that behave well.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use rand::Rng;
use testkit::{Client, random_from};

use crate::{Place, Wire};

/// Connections that say nothing.
pub struct Idle(Vec<Wire>);

impl Idle {
    pub fn connect(address: SocketAddr, count: usize) -> Idle {
        let connect = |number| {
            Wire::connect(&Place::Tcp(address)).unwrap_or_else(|error| panic!("idle connection {number}: {error}"))
        };
        Idle((0..count).map(connect).collect())
    }

    /// Whether each of them is still served.
    pub fn assert_alive(&mut self) {
        for wire in &mut self.0 {
            wire.write_all(b"PING\r\n").expect("an idle connection is open");
        }
        for wire in &mut self.0 {
            wire.expect(b"+PONG\r\n");
        }
    }
}

/// Connections that send small commands all the time, at a rate that leaves the machine air.
pub struct Busy {
    /// Dropping it ends the threads.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    replies: Arc<AtomicU64>,
}

impl Busy {
    /// `count` connections, each sending about `per_second` commands.
    pub fn start(address: SocketAddr, count: usize, per_second: u32, seed: u64) -> Busy {
        let replies = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = channel::<()>();
        let counter = replies.clone();
        let mut clients: Vec<Client> =
            (0..count).map(|_| Client::connect(address).expect("a busy connection")).collect();
        let thread = std::thread::spawn(move || {
            let mut random = random_from(seed);
            // Not all at once, which would be a burst that no real crowd makes: a few at a time, round and round.
            let at_once = 10.min(count);
            let pause = Duration::from_secs(1) * at_once as u32 / (count as u32 * per_second);
            let mut first = 0;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let several = &mut clients[first..(first + at_once).min(count)];
                for client in several.iter_mut() {
                    let key = format!("busy:{}", random.random_range(0..10_000));
                    match random.random_range(0..4) {
                        0 => client.queue(&["SET", &key, "some value"]),
                        1 => client.queue(&["INCR", "busy:counter"]),
                        _ => client.queue(&["GET", &key]),
                    }
                    client.flush().expect("a busy connection stays open");
                }
                for client in several.iter_mut() {
                    let reply = client.receive().expect("a busy connection is answered");
                    assert!(!reply.is_error(), "{reply}");
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                first = if first + at_once >= count { 0 } else { first + at_once };
            }
        });
        Busy { stop: Some(stop), threads: vec![thread], replies }
    }

    /// Ends them, and returns how many replies they got. Panics when one of them was not served.
    pub fn stop(mut self) -> u64 {
        self.stop = None;
        for thread in self.threads.drain(..) {
            thread.join().expect("busy clients are served");
        }
        self.replies.load(Ordering::Relaxed)
    }
}

/// A socket whose owner reads nothing and gives the kernel little room to do it for them.
pub fn connect_deaf(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    stream
}
