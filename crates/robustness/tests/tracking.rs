//! Client-side caches over all threads: what a client holds is never older than what it could know, and who tracks too slowly, or goes,
//! is in nobody's way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::time::Duration;

use robustness::{against_both, info};
use testkit::{Client, Kind, Server, Value, wait_until};

const DEADLINE: Duration = Duration::from_secs(30);

/// With one event loop, and with several.
fn at_threads(arguments: &[&str], test: impl Fn(&Server)) {
    for threads in ["1", "4"] {
        println!("io-threads {threads}:");
        against_both(&[&["--io-threads", threads], arguments].concat(), &test);
    }
}

const KEYS: usize = 8;
/// Commands of each reader.
const ROUNDS: usize = 1500;

/// A client with a cache.
struct Cacher {
    client: Client,
    cache: HashMap<usize, i64>,
}

impl Cacher {
    fn new(server: &Server, options: &str) -> Cacher {
        let mut client = server.client().hello(3);
        assert_eq!(client.line(&format!("CLIENT TRACKING ON {options}")).text(), Some("OK"));
        Cacher { client, cache: HashMap::new() }
    }

    /// Sends a command, forgets what it is told to forget before the reply, and returns that.
    fn ask(&mut self, arguments: &[&str]) -> Value {
        self.client.queue(arguments);
        self.client.flush().expect("the server reads");
        loop {
            match self.client.receive().expect("a reply") {
                Value::Push(elements) => self.forget(&elements),
                reply => return reply,
            }
        }
    }

    fn forget(&mut self, elements: &[Value]) {
        assert_eq!(elements[0].text(), Some("invalidate"), "{elements:?}");
        match elements[1].elements() {
            None => self.cache.clear(),
            Some(keys) => {
                for key in keys {
                    let number = key.text().expect("a key").trim_start_matches("key");
                    self.cache.remove(&number.parse().expect("a number"));
                }
            }
        }
    }

    fn read(&mut self, key: usize) {
        let value = self.ask(&["GET", &format!("key{key}")]);
        // Told behind the reply, and before the next one: what was just read is newer than what was told before.
        self.cache.insert(key, value.text().map_or(0, |text| text.parse().expect("a number")));
    }
}

/// Some write and others cache. A write whose reply has come must be known to everybody who asks anything afterwards.
fn nobody_is_behind(server: &Server, options: &str) {
    let done: Vec<AtomicI64> = (0..KEYS).map(|_| AtomicI64::new(0)).collect();
    let stop = AtomicBool::new(false);
    let (done, stop) = (&done, &stop);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let mut client = server.client();
            scope.spawn(move || {
                let mut key = writer;
                while !stop.load(SeqCst) {
                    // Of each key there is one writer, so that what it was told last is the newest.
                    let written = client.command(&["INCR", &format!("key{key}")]).expect("a reply");
                    done[key].store(written.integer().expect("a number"), SeqCst);
                    key = (key + 2) % KEYS;
                }
            });
        }
        let readers: Vec<_> = (0..3)
            .map(|reader| {
                let mut cacher = Cacher::new(server, options);
                scope.spawn(move || {
                    let mut hits = 0;
                    for round in 0..ROUNDS {
                        let known: Vec<i64> = done.iter().map(|done| done.load(SeqCst)).collect();
                        assert_eq!(cacher.ask(&["PING"]).text(), Some("PONG"));
                        for (key, value) in &cacher.cache {
                            assert!(
                                *value >= known[*key],
                                "reader {reader} holds {value} of key{key}, which was {known:?} before"
                            );
                        }
                        hits += cacher.cache.len();
                        cacher.read((round + reader) % KEYS);
                    }
                    hits
                })
            })
            .collect();
        let hits: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
        stop.store(true, SeqCst);
        let hits: usize = hits.into_iter().map(|hits| hits.expect("nobody was behind")).sum();
        println!("{options}: {hits} times a cache held something");
    });
}

#[test]
fn no_cache_is_ever_behind() {
    at_threads(&[], |server| nobody_is_behind(server, "NOLOOP"));
}

#[test]
fn no_cache_of_prefixes_is_ever_behind() {
    at_threads(&[], |server| {
        // Redis tells of prefixes once a turn, and its I/O threads may send the writer's reply before.
        if server.kind() == Kind::Spinel {
            nobody_is_behind(server, "BCAST PREFIX key");
        }
    });
}

#[test]
fn no_cache_is_behind_where_the_table_is_small() {
    at_threads(&["--tracking-table-max-keys", "3"], |server| nobody_is_behind(server, ""));
}

#[test]
fn who_takes_its_invalidations_too_slowly_is_cut_off() {
    at_threads(&["--client-output-buffer-limit", "normal 1mb 0 0"], |server| {
        let mut slow = Cacher::new(server, "BCAST");
        let mut quick = Cacher::new(server, "BCAST");
        let mut writer = server.client();
        let key = "k".repeat(100_000);
        let cut_off = wait_until(DEADLINE, || {
            writer.command(&["SET", &key, "1"]).expect("a reply");
            let heard = quick.client.receive().expect("an invalidation");
            assert_eq!(heard.elements().expect("a push")[0].text(), Some("invalidate"));
            info(server, "tracking_clients") == 1
        });
        assert!(cut_off, "it is still there");
        assert_eq!(info(server, "client_output_buffer_limit_disconnections"), 1);
        // It still gets what was on its way, and then the end.
        while slow.client.receive().is_ok() {}
    });
}

#[test]
fn tracking_ends_with_the_connection() {
    at_threads(&[], |server| {
        let mut writer = server.client();
        let target = server.client();
        let mut asking = server.client();
        let id = asking.line("CLIENT ID").integer().expect("a number");
        let mut gone = Cacher::new(server, "BCAST PREFIX a PREFIX b");
        let mut stays = Cacher::new(server, &format!("REDIRECT {id}"));
        assert_eq!(gone.ask(&["PING"]).text(), Some("PONG"));
        assert_eq!([info(server, "tracking_clients"), info(server, "tracking_total_prefixes")], [2, 2]);
        drop((gone, target));
        assert!(wait_until(DEADLINE, || info(server, "tracking_clients") == 1));
        assert_eq!(info(server, "tracking_total_prefixes"), 0);
        // Who was to hear of it has gone.
        assert_eq!(stays.ask(&["GET", "a"]), Value::Null);
        assert_eq!([info(server, "tracking_total_keys"), info(server, "tracking_total_items")], [1, 1]);
        drop(asking);
        let is_gone = || writer.line(&format!("CLIENT LIST ID {id}")).text().is_some_and(str::is_empty);
        assert!(wait_until(DEADLINE, is_gone));
        writer.line("SET a 1");
        let broken = stays.client.receive().expect("a push");
        assert_eq!(broken, Value::Push(vec![Value::Bulk(b"tracking-redir-broken".to_vec()), Value::Integer(id)]));
        assert_eq!(info(server, "tracking_total_keys"), 0);
    });
}
