//! Connections that move between event loops while their clients work: nothing is lost, nothing comes twice, and nobody notices.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use rand::Rng;
use robustness::info;
use rustls::version::TLS13;
use testkit::tls::{Authority, TlsClient, TlsServer, client_config};
use testkit::{Client, Kind, Server, Value, wait_for, wait_until};

const DEADLINE: Duration = Duration::from_secs(90);
const LOOPS: &str = "3";
/// In the server's directory.
const UNIX_SOCKET: &str = "s";
/// So often connections move to all loops, to one, and to two.
const ROUNDS: usize = 8;
/// Requests of a pipeline.
const DEPTH: i64 = 40;
/// Orders that come one after the other, whether or not anybody has obeyed the last one.
const ORDERS: usize = 2_000;
/// Connections that work meanwhile, in so many threads.
const CROWD: usize = 96;
const CROWD_THREADS: usize = 6;
/// Bytes of a reply that no socket takes at once.
const LARGE_BYTES: usize = 4 << 20;

/// What a client does over and over.
type Work = fn(&Server, &Course, usize);

/// Whether clients go on.
#[derive(Default)]
struct Course {
    is_over: AtomicBool,
    rounds: AtomicUsize,
}

impl Course {
    /// A round is done.
    fn goes_on(&self) -> bool {
        self.rounds.fetch_add(1, Relaxed);
        !self.is_over.load(Relaxed)
    }
}

/// Also where an assertion fails: nobody waits for clients that go on.
struct End<'a>(&'a Course);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Relaxed);
    }
}

fn start(more: &[&str]) -> Option<Server> {
    if testkit::program(Kind::Spinel).is_none() {
        testkit::skip_aloud("no spinel is built");
        return None;
    }
    let arguments = ["--io-threads", LOOPS, "--io-threads-always-active", "no", "--enable-debug-command", "yes"];
    let arguments = [&arguments[..], &["--unixsocket", UNIX_SOCKET]].concat();
    Some(Server::start(Kind::Spinel, &[&arguments[..], more].concat()).expect("it starts"))
}

/// The event loops of the clients that have done something in the last second.
fn loops_of_the_active(client: &mut Client) -> BTreeSet<String> {
    let list = client.line("CLIENT LIST");
    let list = list.text().expect("text").to_owned();
    let ids: Vec<&str> = list.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "nobody is there twice:\n{list}");
    let field = |line: &str, name: &str| {
        let value = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        value.expect("CLIENT LIST has it").to_owned()
    };
    list.lines().filter(|line| field(line, "idle") == "0").map(|line| field(line, "io-thread")).collect()
}

/// The event loop that has read its request.
fn loop_of(client: &mut Client) -> u32 {
    let own = client.line("CLIENT INFO");
    let own = own.text().expect("text");
    own.split("io-thread=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a number")
}

/// Moves everybody to all loops, and back to one, while they work.
fn move_around(server: &Server, course: &Course, mut each_round: impl FnMut()) {
    let mut client = server.client();
    for round in 0..ROUNDS {
        for count in [3, 1, 2] {
            assert_eq!(client.line(&format!("DEBUG EVENT-LOOPS {count}")).text(), Some("OK"));
            let wanted = (0..count).map(|index: u32| index.to_string()).collect();
            let is_there = wait_until(DEADLINE, || loops_of_the_active(&mut client) == wanted);
            let list = client.line("CLIENT LIST");
            assert!(is_there, "round {round}: clients are not on {count} loops:\n{}", list.text().unwrap_or_default());
            assert_eq!(info(server, "io_threads_in_use"), u64::from(count));
            let rounds = course.rounds.load(Relaxed);
            assert!(wait_until(DEADLINE, || course.rounds.load(Relaxed) > rounds + 100), "they go on");
            each_round();
        }
    }
}

#[test]
fn nobody_notices() {
    nobody_notices_at(&[]);
}

/// Replies that wait for the disk stay where they are, and their connections move behind them.
#[test]
fn nobody_notices_while_replies_wait_for_the_disk() {
    nobody_notices_at(&["--appendonly", "yes", "--appendfsync", "always"]);
}

fn nobody_notices_at(arguments: &[&str]) {
    let Some(server) = start(arguments) else { return };
    let course = Course::default();
    let works: [Work; 11] = [
        pipelines,
        halves,
        transactions,
        watches,
        messages,
        caches,
        blocked,
        large_replies,
        pauses,
        unanswered,
        on_a_unix_socket,
    ];
    thread::scope(|scope| {
        let workers: Vec<_> = works
            .iter()
            .enumerate()
            .map(|(index, work)| {
                let (server, course) = (&server, &course);
                scope.spawn(move || work(server, course, index))
            })
            .collect();
        let _end = End(&course);
        move_around(&server, &course, || {
            assert!(workers.iter().all(|worker| !worker.is_finished()), "somebody has noticed");
            kill_one(&server);
        });
    });
    let mut client = server.client();
    // Each loop counts what it has.
    let gone = wait_until(DEADLINE, || info(&server, "connected_clients") <= 2);
    assert!(gone, "clients are left:\n{}", client.line("CLIENT LIST"));
    let threads = client.line("INFO threads");
    let clients: i64 = threads
        .text()
        .expect("text")
        .lines()
        .filter_map(|line| line.split_once(":clients=")?.1.split(',').next()?.parse::<i64>().ok())
        .sum();
    assert!((1..=2).contains(&clients), "{threads}");
}

/// Of many clients that work, one is killed by its id, wherever it is.
fn kill_one(server: &Server) {
    let mut killer = server.client();
    let mut victim = server.client();
    let id = victim.line("CLIENT ID").integer().expect("a number");
    victim.queue(&["INCR", "victim"]);
    victim.flush().expect("sent");
    assert_eq!(killer.line(&format!("CLIENT KILL ID {id}")).integer(), Some(1));
    // What was executed before is still answered.
    assert!(wait_until(DEADLINE, || victim.receive().is_err()), "it is closed");
    let is_gone = wait_until(DEADLINE, || {
        let list = killer.line("CLIENT LIST");
        !list.text().expect("text").lines().any(|line| line.starts_with(&format!("id={id} ")))
    });
    assert!(is_gone, "it is not shown any more");
}

/// Replies come in order, to each request one. What belongs to the connection stays with it.
fn pipelines(server: &Server, course: &Course, index: usize) {
    let mut client = server.client();
    let id = client.line("CLIENT ID").integer();
    client.line("CLIENT SETNAME mover");
    client.line("SELECT 3");
    let mut next = 1;
    loop {
        for _ in 0..DEPTH {
            client.queue(&["INCR", &format!("counter:{index}")]);
        }
        client.flush().expect("sent");
        for _ in 0..DEPTH {
            assert_eq!(client.receive().expect("a reply").integer(), Some(next));
            next += 1;
        }
        assert_eq!((client.line("CLIENT ID").integer(), client.line("CLIENT GETNAME").text()), (id, Some("mover")));
        let own = client.line("CLIENT INFO");
        assert!(own.text().expect("text").contains(" db=3 "), "{own}");
        if !course.goes_on() {
            return;
        }
    }
}

/// A request may come in pieces, and what has come of it moves with the connection.
fn halves(server: &Server, course: &Course, index: usize) {
    let mut client = server.client();
    let key = format!("half:{index}");
    for round in 0.. {
        let value = format!("{round}-{}", "x".repeat(50_000 * (round % 2)));
        let mut bytes = Vec::new();
        testkit::encode_command(&["SET", &key, &value], &mut bytes);
        testkit::encode_command(&["GET", &key], &mut bytes);
        for piece in bytes.chunks(bytes.len() / 3 + 1) {
            client.queue_raw(piece);
            client.flush().expect("sent");
        }
        assert_eq!(client.receive().expect("a reply").text(), Some("OK"));
        assert_eq!(client.receive().expect("a reply").text(), Some(&*value));
        if !course.goes_on() {
            return;
        }
    }
}

/// Between MULTI and EXEC a connection moves with what it has queued.
fn transactions(server: &Server, course: &Course, index: usize) {
    let mut client = server.client();
    let key = format!("transaction:{index}");
    for round in 1.. {
        assert_eq!(client.line("MULTI").text(), Some("OK"));
        for _ in 0..3 {
            assert_eq!(client.line(&format!("INCR {key}")).text(), Some("QUEUED"));
        }
        let reply = client.line("EXEC");
        let values: Vec<_> = reply.elements().expect("an array").iter().map(Value::integer).collect();
        assert_eq!(values, [Some(3 * round - 2), Some(3 * round - 1), Some(3 * round)]);
        if !course.goes_on() {
            return;
        }
    }
}

/// A watched key that is touched fails the transaction, and no other does.
fn watches(server: &Server, course: &Course, index: usize) {
    let (mut client, mut other) = (server.client(), server.client());
    let key = format!("watched:{index}");
    for round in 0.. {
        client.line(&format!("WATCH {key}"));
        let is_touched = round % 2 == 0;
        if is_touched {
            other.line(&format!("SET {key} {round}"));
        }
        client.line("MULTI");
        client.line("PING");
        assert_eq!(client.line("EXEC").is_null(), is_touched);
        if !course.goes_on() {
            return;
        }
    }
}

/// Each message reaches its subscriber once, in order.
fn messages(server: &Server, course: &Course, index: usize) {
    let (mut publisher, mut subscriber) = (server.client(), server.client().hello(3));
    subscriber.queue(&["SUBSCRIBE", &format!("channel:{index}")]);
    subscriber.flush().expect("sent");
    subscriber.receive().expect("a confirmation");
    let mut next = 0;
    loop {
        for number in next..next + DEPTH {
            publisher.queue(&["PUBLISH", &format!("channel:{index}"), &number.to_string()]);
        }
        publisher.flush().expect("sent");
        for number in next..next + DEPTH {
            assert_eq!(publisher.receive().expect("a reply").integer(), Some(1));
            let Value::Push(message) = subscriber.receive().expect("a message") else { panic!("no message") };
            assert_eq!(message[2].text(), Some(&*number.to_string()));
        }
        next += DEPTH;
        // So that it has a turn too.
        assert_eq!(subscriber.line("PING").text(), Some("PONG"));
        if !course.goes_on() {
            return;
        }
    }
}

/// What a client has read and somebody changes, it hears of.
fn caches(server: &Server, course: &Course, index: usize) {
    let (mut client, mut other) = (server.client().hello(3), server.client());
    assert_eq!(client.line("CLIENT TRACKING ON").text(), Some("OK"));
    let key = format!("cached:{index}");
    for round in 0.. {
        client.line(&format!("GET {key}"));
        other.line(&format!("SET {key} {round}"));
        let Value::Push(elements) = client.receive().expect("a push") else { panic!("no push") };
        assert_eq!(elements[0].text(), Some("invalidate"));
        if !course.goes_on() {
            return;
        }
    }
}

/// Whoever waits for an element gets it, and goes on where the others are.
fn blocked(server: &Server, course: &Course, index: usize) {
    let (mut client, mut other) = (server.client(), server.client());
    let id = client.line("CLIENT ID").integer().expect("a number");
    let key = format!("list:{index}");
    for round in 0.. {
        client.queue(&["BLPOP", &key, "0"]);
        client.queue(&["PING"]);
        client.flush().expect("sent");
        let is_blocked = wait_until(DEADLINE, || {
            let own = other.line(&format!("CLIENT LIST ID {id}"));
            own.text().expect("text").contains(" flags=b ")
        });
        assert!(is_blocked, "it waits");
        other.line(&format!("RPUSH {key} {round}"));
        let popped = client.receive().expect("an element");
        assert_eq!(popped.elements().expect("an array")[1].text(), Some(&*round.to_string()));
        assert_eq!(client.receive().expect("a reply").text(), Some("PONG"));
        if !course.goes_on() {
            return;
        }
    }
}

/// What waits behind a pause is executed once, in order, when it ends.
fn pauses(server: &Server, course: &Course, index: usize) {
    let (mut client, mut other) = (server.client(), server.client());
    let key = format!("paused:{index}");
    let mut next = 1;
    loop {
        assert_eq!(client.line("CLIENT PAUSE 90000 WRITE").text(), Some("OK"));
        for _ in 0..3 {
            other.queue(&["INCR", &key]);
        }
        other.flush().expect("sent");
        assert_eq!(client.line("PING").text(), Some("PONG"));
        assert_eq!(client.line("CLIENT UNPAUSE").text(), Some("OK"));
        for _ in 0..3 {
            assert_eq!(other.receive().expect("a reply").integer(), Some(next));
            next += 1;
        }
        if !course.goes_on() {
            return;
        }
    }
}

/// Who wants no replies gets none, and then those that are wanted.
fn unanswered(server: &Server, course: &Course, index: usize) {
    let mut client = server.client();
    let key = format!("unanswered:{index}");
    for round in 1.. {
        client.queue(&["CLIENT", "REPLY", "OFF"]);
        for _ in 0..DEPTH {
            client.queue(&["INCR", &key]);
            client.flush().expect("sent");
        }
        client.queue(&["CLIENT", "REPLY", "ON"]);
        client.queue(&["CLIENT", "REPLY", "SKIP"]);
        client.flush().expect("sent");
        client.queue(&["PING"]);
        client.queue(&["GET", &key]);
        client.flush().expect("sent");
        assert_eq!(client.receive().expect("a reply").text(), Some("OK"));
        assert_eq!(client.receive().expect("a reply").text(), Some(&*(round * DEPTH).to_string()));
        if !course.goes_on() {
            return;
        }
    }
}

fn on_a_unix_socket(server: &Server, course: &Course, index: usize) {
    let mut stream = UnixStream::connect(server.directory().join(UNIX_SOCKET)).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let mut requests = Vec::new();
    for _ in 0..DEPTH {
        testkit::encode_command(&["INCR", &format!("unix:{index}")], &mut requests);
    }
    let mut next = 1;
    loop {
        stream.write_all(&requests).expect("sent");
        let wanted: String = (next..next + DEPTH).map(|number| format!(":{number}\r\n")).collect();
        let mut replies = vec![0; wanted.len()];
        stream.read_exact(&mut replies).expect("replies");
        assert_eq!(String::from_utf8_lossy(&replies), wanted);
        next += DEPTH;
        if !course.goes_on() {
            return;
        }
    }
}

/// A reply that the client does not read for a while.
fn large_replies(server: &Server, course: &Course, index: usize) {
    let (mut client, mut other) = (server.client(), server.client());
    let key = format!("large:{index}");
    client.command(&["SET", &key, &"x".repeat(LARGE_BYTES)]).expect("OK");
    loop {
        client.queue(&["GET", &key]);
        client.queue(&["PING"]);
        client.flush().expect("sent");
        for _ in 0..20 {
            other.line("PING");
        }
        let reply = client.receive().expect("a reply");
        assert_eq!(reply.bytes().map(<[u8]>::len), Some(LARGE_BYTES));
        assert_eq!(client.receive().expect("a reply").text(), Some("PONG"));
        if !course.goes_on() {
            return;
        }
    }
}

/// Connections are on their way to one loop when the next order sends them to another.
#[test]
fn many_move_again_and_again() {
    let Some(server) = start(&[]) else { return };
    let seed = testkit::seed();
    let mut random = testkit::random_from(seed);
    let course = Course::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..CROWD_THREADS)
            .map(|thread| {
                let (server, course) = (&server, &course);
                scope.spawn(move || crowd(server, course, thread))
            })
            .collect();
        let _end = End(&course);
        let mut client = server.client();
        for _ in 0..ORDERS {
            let count = random.random_range(1..=3);
            assert_eq!(client.line(&format!("DEBUG EVENT-LOOPS {count}")).text(), Some("OK"));
            assert!(workers.iter().all(|worker| !worker.is_finished()), "somebody has noticed");
        }
    });
    assert!(course.rounds.load(Relaxed) > 0);
}

/// Many connections of one thread have pipelines in flight at the same time.
fn crowd(server: &Server, course: &Course, thread: usize) {
    let mut clients: Vec<Client> = (0..CROWD / CROWD_THREADS).map(|_| server.client()).collect();
    for round in 0.. {
        for (index, client) in clients.iter_mut().enumerate() {
            for _ in 0..DEPTH {
                client.queue(&["INCR", &format!("crowd:{thread}:{index}")]);
            }
            client.flush().expect("sent");
        }
        for client in &mut clients {
            for number in 1..=DEPTH {
                assert_eq!(client.receive().expect("a reply").integer(), Some(round * DEPTH + number));
            }
        }
        if !course.goes_on() {
            return;
        }
    }
}

/// An encrypted connection moves with its keys, and with what was decrypted.
#[test]
fn encrypted_ones_move_too() {
    let authority = Authority::new("the test's authority");
    let arguments = ["--io-threads", LOOPS, "--enable-debug-command", "yes", "--tls-auth-clients", "no"];
    let Some(tls) = TlsServer::start(Kind::Spinel, &authority, &arguments) else {
        return testkit::skip_aloud("no spinel is built");
    };
    let config = client_config(&authority, None, &[&TLS13]);
    let course = Course::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|index| {
                let (tls, course, config) = (&tls, &course, &config);
                scope.spawn(move || {
                    let mut client = TlsClient::connect(tls.address, config).expect("a connection");
                    let (key, filling) = (format!("counter:{index}"), "x".repeat(3_000));
                    let mut next = 1;
                    loop {
                        // More than one record, and more than one read.
                        let (set, incr) = (["SET", "filling", &filling], ["INCR", &key]);
                        let both = [&set[..], &incr[..]];
                        client.send(&both.repeat(DEPTH as usize)).expect("sent");
                        for _ in 0..DEPTH {
                            assert_eq!(client.receive().expect("a reply").text(), Some("OK"));
                            assert_eq!(client.receive().expect("a reply").integer(), Some(next));
                            next += 1;
                        }
                        if !course.goes_on() {
                            return;
                        }
                    }
                })
            })
            .collect();
        let _end = End(&course);
        move_around(&tls.server, &course, || {
            assert!(workers.iter().all(|worker| !worker.is_finished()), "somebody has noticed");
        });
    });
}

/// Connections whose every command waits move too, between two of them.
#[test]
fn blocked_ones_go_when_they_have_been_served() {
    let Some(server) = start(&[]) else { return };
    let mut client = server.client();
    let mut waiting: Vec<Client> = (0..12).map(|_| server.client()).collect();
    for count in [3, 1, 2] {
        assert_eq!(client.line(&format!("DEBUG EVENT-LOOPS {count}")).text(), Some("OK"));
        for _ in 0..2 {
            for waiting in &mut waiting {
                waiting.queue(&["BLPOP", "list", "0"]);
                waiting.flush().expect("sent");
            }
            assert!(wait_until(DEADLINE, || info(&server, "blocked_clients") == 12), "they wait");
            client.command(&[&["RPUSH", "list"][..], &["x"; 12]].concat()).expect("a reply");
            for waiting in &mut waiting {
                waiting.receive().expect("an element");
            }
        }
        let loops: BTreeSet<u32> = waiting.iter_mut().map(loop_of).collect();
        assert_eq!(loops, (0..count).collect(), "they are on {count} loops");
    }
}

/// A connection that had nothing to do while others moved comes with its first request.
#[test]
fn idle_ones_come_later() {
    let Some(server) = start(&[]) else { return };
    let mut client = server.client();
    client.line("CONFIG SET io-threads-always-active yes");
    let mut idle: Vec<Client> = (0..12).map(|_| server.client()).collect();
    let loops: BTreeSet<u32> = idle.iter_mut().map(loop_of).collect();
    assert_eq!(loops, BTreeSet::from([0, 1, 2]), "connections are on all loops");
    client.line("CONFIG SET io-threads-always-active no");
    assert!(wait_until(DEADLINE, || info(&server, "io_threads_in_use") == 1), "one loop can serve them all");
    for client in &mut idle {
        // The reply to this one tells of the loop that it has had its turn on.
        client.line("PING");
        assert_eq!(wait_for(DEADLINE, || (loop_of(client) == 0).then_some(0)), Some(0), "it has come");
    }
}
