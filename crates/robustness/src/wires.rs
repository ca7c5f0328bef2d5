//! A proxy between a replica and its primary that knows their connections apart: each can be cut, and one that is in the midst of a snapshot stands still.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

/// A proxy in front of one server.
pub struct Wires {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    server: SocketAddr,
    wires: Mutex<Inner>,
    released: Condvar,
}

struct Inner {
    /// A connection with a snapshot stands still when so many bytes have come over it from the server.
    holds_after: Option<u64>,
    /// Both ends of each connection, in the order in which they came, and what came from the server.
    ends: Vec<[TcpStream; 2]>,
    forwarded: Vec<u64>,
    has_snapshot: Vec<bool>,
    is_over: bool,
}

impl Wires {
    /// `holds_after` bytes from the server a connection with a snapshot stands still, until all are released.
    pub fn new(server: SocketAddr, holds_after: u64) -> Wires {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let inner = Inner {
            holds_after: Some(holds_after),
            ends: Vec::new(),
            forwarded: Vec::new(),
            has_snapshot: Vec::new(),
            is_over: false,
        };
        let state = Arc::new(State { server, wires: Mutex::new(inner), released: Condvar::new() });
        let of_thread = state.clone();
        let thread = std::thread::spawn(move || of_thread.accept(&listener));
        Wires { address, state, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.state.lock().ends.len()
    }

    /// What has come from the server over this one.
    pub fn forwarded_bytes(&self, number: usize) -> u64 {
        self.state.lock().forwarded.get(number).copied().unwrap_or(0)
    }

    /// Which of the connections from this one on has been the first to stand still.
    pub fn held_from(&self, number: usize) -> Option<usize> {
        let wires = self.state.lock();
        (number..wires.forwarded.len()).find(|number| wires.holds(*number))
    }

    /// Ends a connection.
    pub fn cut(&self, number: usize) {
        for end in &self.state.lock().ends[number] {
            let _ = end.shutdown(Shutdown::Both);
        }
        self.state.released.notify_all();
    }

    /// Nothing stands still any more.
    pub fn release(&self) {
        self.state.lock().holds_after = None;
        self.state.released.notify_all();
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.release();
        self.state.lock().is_over = true;
        (0..self.connections()).for_each(|number| self.cut(number));
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().expect("it runs until now").join();
    }
}

impl Inner {
    fn holds(&self, number: usize) -> bool {
        self.has_snapshot[number] && self.holds_after.is_some_and(|most| self.forwarded[number] >= most)
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.wires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<State>, listener: &TcpListener) {
        while let Ok((client, _)) = listener.accept() {
            if self.lock().is_over {
                return;
            }
            let Ok(server) = TcpStream::connect(self.server) else { continue };
            let clone = |stream: &TcpStream| stream.try_clone().expect("another handle");
            let number = {
                let mut wires = self.lock();
                wires.ends.push([clone(&client), clone(&server)]);
                wires.forwarded.push(0);
                wires.has_snapshot.push(false);
                wires.ends.len() - 1
            };
            for (from_server, from, to) in [(false, &client, &server), (true, &server, &client)] {
                let (state, from, to) = (self.clone(), clone(from), clone(to));
                std::thread::spawn(move || state.forward(number, from_server, from, to));
            }
        }
    }

    /// One direction of a connection. That one end stops sending is handed on; the other direction goes on.
    fn forward(&self, number: usize, from_server: bool, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            if from_server {
                let mut wires = self.lock();
                while wires.holds(number)
                    && matches!(to.take_error(), Ok(None))
                    && to.peer_addr().is_ok()
                    && !wires.is_over
                {
                    wires = self.released.wait(wires).unwrap_or_else(PoisonError::into_inner);
                }
            }
            let count = from.read(&mut buffer).unwrap_or(0);
            if count == 0 || to.write_all(&buffer[..count]).is_err() {
                let _ = to.shutdown(Shutdown::Write);
                let _ = from.shutdown(Shutdown::Read);
                return;
            }
            if from_server {
                let mut wires = self.lock();
                wires.forwarded[number] += count as u64;
                // The mark's announcement, or where there is none, the file's first word.
                let begins = |word: &[u8]| word.starts_with(b"$EOF:") || word == b"REDIS0";
                wires.has_snapshot[number] |= buffer[..count].windows(6).any(begins);
            }
        }
    }
}
