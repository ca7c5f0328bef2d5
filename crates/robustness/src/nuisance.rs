//! Clients that behave badly, on purpose, each on a thread of its own until it is dropped.

use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rand::Rng;
use testkit::{Random, encode_command, random_from};

use crate::{Place, Wire};

/// A bad client.
pub struct Nuisance {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Nuisance {
    fn start(act: impl Fn(&mut Random) -> bool + Send + 'static, seed: u64) -> Nuisance {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let (stopped, counter) = (stop.clone(), done.clone());
        let thread = std::thread::spawn(move || {
            let mut random = random_from(seed);
            while !stopped.load(Ordering::Relaxed) && act(&mut random) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        Nuisance { stop, done, thread: Some(thread) }
    }

    /// How often it has done what it does.
    pub fn count(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Asks for `key` again and again and reads nothing; when it is thrown out, it comes back.
    pub fn never_reads(place: Place, key: &str) -> Nuisance {
        let mut request = Vec::new();
        for _ in 0..10 {
            encode_command(&["GET", key], &mut request);
        }
        let act = move |_: &mut Random| {
            let Ok(mut wire) = Wire::connect(&place) else { return true };
            let _ = wire.set_timeout(Duration::from_millis(20));
            // Until the server closes, or (its limit is larger than what it still takes) until the pipe is full.
            for _ in 0..500 {
                match wire.write(&request) {
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
                // It is a nuisance, not an attack that takes a core.
                std::thread::sleep(Duration::from_millis(1));
            }
            true
        };
        Nuisance::start(act, 0)
    }

    /// Garbage of all kinds, a connection each.
    pub fn garbage(place: Place, seed: u64) -> Nuisance {
        let act = move |random: &mut Random| {
            let Ok(mut wire) = Wire::connect(&place) else { return true };
            let _ = wire.set_timeout(Duration::from_millis(20));
            let _ = wire.write_all(&garbage(random));
            // Some wait for an answer, some just go.
            if random.random() {
                let _ = wire.read(&mut [0; 1024]);
            }
            std::thread::sleep(Duration::from_millis(1));
            true
        };
        Nuisance::start(act, seed)
    }

    /// Sends a command over and over, one byte a second. Counts bytes. Ends if it is thrown out.
    pub fn one_byte_a_second(place: &Place) -> Nuisance {
        let wire = std::sync::Mutex::new((Wire::connect(place).expect("a connection"), 0));
        let act = move |_: &mut Random| {
            let command = b"*1\r\n$4\r\nPING\r\n";
            let mut wire = wire.lock().expect("one user");
            let (wire, sent) = &mut *wire;
            let byte = command[*sent % command.len()];
            *sent += 1;
            let is_sent = wire.write_all(&[byte]).is_ok();
            std::thread::sleep(Duration::from_secs(1));
            is_sent
        };
        Nuisance::start(act, 0)
    }
}

impl Drop for Nuisance {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Bytes that a server should not get: from noise to nearly right.
pub fn garbage(random: &mut Random) -> Vec<u8> {
    let mut noise = |length_max: usize| -> Vec<u8> {
        let length = random.random_range(1..=length_max);
        (0..length).map(|_| random.random()).collect()
    };
    let some_noise = noise(5000);
    let mut bytes = match random.random_range(0..12) {
        0 => some_noise,
        1 => [b"*".to_vec(), some_noise].concat(),
        2 => [b"*3\r\n$3\r\nSET\r\n$".to_vec(), some_noise].concat(),
        3 => b"*1000000000\r\n".to_vec(),
        4 => b"*-5\r\n*2\r\n$-7\r\n".to_vec(),
        5 => b"*2\r\n$99999999999999999999\r\n".to_vec(),
        6 => b"*2\r\n$3\r\nGET\r\n:5\r\n".to_vec(),
        // A line without an end, over the limit for lines.
        7 => vec![b'x'; 70_000],
        8 => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        9 => b"SET \"unbalanced\r\n".to_vec(),
        // The hello of TLS.
        10 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        _ => b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nab\r\n".to_vec(),
    };
    if random.random_bool(0.3) {
        // Something good first, and a byte turned over.
        let mut before = Vec::new();
        encode_command(&["SET", "garbage", "v"], &mut before);
        before.append(&mut bytes);
        let place = random.random_range(0..before.len());
        before[place] ^= 1 << random.random_range(0..8);
        bytes = before;
    }
    bytes
}
