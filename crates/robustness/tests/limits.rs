//! Each limit acts as configured, and on nobody but the one it is meant for.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use robustness::{Place, Wire, against_both, crowd::connect_deaf, info};
use testkit::{Client, Server, encode_command, wait_until};

/// For what the server does by itself, looking at its clients from time to time.
const DEADLINE: Duration = Duration::from_secs(20);

fn tcp(server: &Server) -> Wire {
    Wire::connect(&Place::Tcp(server.address())).expect("a connection")
}

/// Asks for so many copies of the key `large`, and reads none.
fn ask_and_do_not_read(server: &Server, name: &str, copies: usize) -> TcpStream {
    let mut stream = connect_deaf(server.address());
    let mut request = Vec::new();
    encode_command(&["CLIENT", "SETNAME", name], &mut request);
    for _ in 0..copies {
        encode_command(&["GET", "large"], &mut request);
    }
    // The server may close in the middle of it.
    let _ = stream.write_all(&request);
    stream
}

/// Waits for a counter that says that the limit has acted. That somebody is not in the list of clients says nothing by
/// itself: who was never heard of is not there either.
fn wait_for_count(server: &Server, field: &str, count: u64) {
    let reached = wait_until(DEADLINE, || info(server, field) >= count);
    assert!(
        reached,
        "{field} did not become {count}:\n{}",
        server.client().line("CLIENT LIST").text().expect("a list")
    );
}

fn is_connected(server: &Server, name: &str) -> bool {
    let list = server.client().line("CLIENT LIST");
    list.text().expect("a list").contains(&format!(" name={name} "))
}

fn store_large(server: &Server, bytes: usize) {
    server.client().command(&["SET", "large", &"x".repeat(bytes)]).expect("SET");
}

#[test]
fn maxclients() {
    against_both(&["--maxclients", "20"], |server| {
        let mut clients = vec![server.client()];
        // The connection that asked whether the server is up must have gone, and been noticed.
        assert!(wait_until(DEADLINE, || {
            clients[0].line("INFO clients").text().expect("text").contains("connected_clients:1\r\n")
        }));
        clients.extend((1..20).map(|_| server.client()));
        assert_eq!(clients[19].line("PING").to_string(), "PONG");
        for place in Place::of(server) {
            let mut one_too_many = Wire::connect(&place).expect("a connection");
            let said = one_too_many.read_to_close().expect("it is closed");
            assert_eq!(String::from_utf8_lossy(&said), "-ERR max number of clients reached\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.line("PING").to_string(), "PONG");
        }
        assert!(clients[0].line("INFO stats").text().expect("text").contains("rejected_connections:2\r\n"));
        clients.pop();
        let admitted = wait_until(DEADLINE, || {
            Client::connect(server.address())
                .and_then(|mut client| client.command(&["PING"]))
                .is_ok_and(|reply| !reply.is_error())
        });
        assert!(admitted, "the place that became free was not given away");
        // More at run time.
        clients[0].line("CONFIG SET maxclients 40");
        let more: Vec<Client> = (0..10).map(|_| server.client()).collect();
        for mut client in more {
            assert_eq!(client.line("PING").to_string(), "PONG");
        }
    });
}

#[test]
fn timeout() {
    // Long enough that whoever asks all the time is never taken for idle because the machine was busy elsewhere.
    against_both(&["--timeout", "3"], |server| {
        let mut lazy = [tcp(server), Wire::connect(&Place::of(server)[1]).expect("a connection")];
        let mut active = server.client();
        lazy[0].write_all(b"PING\r\n").expect("sent");
        lazy[0].expect(b"+PONG\r\n");
        for lazy in &mut lazy {
            lazy.set_timeout(Duration::from_millis(20)).expect("a timeout");
            let mut byte = [0];
            let closed = wait_until(DEADLINE, || {
                assert_eq!(active.line("PING").to_string(), "PONG", "who is active stays");
                matches!(lazy.read(&mut byte), Ok(0))
            });
            assert!(closed, "who is idle is closed");
        }
    });
}

#[test]
fn output_buffer_hard_limit() {
    against_both(&["--client-output-buffer-limit", "normal", "1mb", "0", "0"], |server| {
        store_large(server, 100_000);
        let stream = ask_and_do_not_read(server, "deaf", 1000);
        wait_for_count(server, "client_output_buffer_limit_disconnections", 1);
        assert!(wait_until(DEADLINE, || !is_connected(server, "deaf")), "who does not read is closed");
        drop(stream);
        assert_eq!(info(server, "client_output_buffer_limit_disconnections"), 1);
        // Who reads may have as much as they like.
        let mut client = server.client();
        for _ in 0..100 {
            assert_eq!(client.line("GET large").bytes().map(<[u8]>::len), Some(100_000));
        }
        assert_eq!(info(server, "client_output_buffer_limit_disconnections"), 1);
    });
}

#[test]
fn output_buffer_soft_limit() {
    // Seconds enough for the one who reads in time, also on a machine that has much else to do.
    against_both(&["--client-output-buffer-limit", "normal", "0", "256kb", "5"], |server| {
        store_large(server, 100_000);
        // What the kernel takes for itself never counts, so it is a lot more than the limit.
        let deaf = ask_and_do_not_read(server, "deaf", 300);
        let mut late = ask_and_do_not_read(server, "late", 300);
        // One of them reads after all, before its seconds are over.
        late.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let mut left = "+OK\r\n".len() + 300 * ("$100000\r\n".len() + 100_000 + "\r\n".len());
        let mut chunk = vec![0; 1 << 20];
        while left > 0 {
            let length = late.read(&mut chunk).expect("who reads in time stays");
            assert!(length > 0, "who reads in time stays");
            left -= length;
        }
        wait_for_count(server, "client_output_buffer_limit_disconnections", 1);
        assert!(wait_until(DEADLINE, || !is_connected(server, "deaf")), "who stays over the soft limit is closed");
        assert!(is_connected(server, "late"));
        drop(deaf);
    });
}

#[test]
fn query_buffer_limit() {
    against_both(&["--client-query-buffer-limit", "1mb"], |server| {
        let mut wire = tcp(server);
        wire.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$50000000\r\n").expect("sent");
        let chunk = vec![b'x'; 100_000];
        let closed = (0..500).any(|_| wire.write_all(&chunk).is_err()) || wire.read_to_close().is_ok();
        assert!(closed, "an endless argument is cut off");
        let noted = wait_until(DEADLINE, || info(server, "client_query_buffer_limit_disconnections") == 1);
        assert!(noted);
        // Less than the limit passes, again and again.
        let mut client = server.client();
        for _ in 0..20 {
            let reply = client.command(&["SET", "k", &"x".repeat(900_000)]).expect("it is admitted");
            assert_eq!(reply.to_string(), "OK");
        }
    });
}

#[test]
fn memory_of_all_clients() {
    against_both(&["--maxmemory-clients", "8mb"], |server| {
        store_large(server, 100_000);
        let mut small = server.client();
        let mut protected = server.client();
        protected.line("CLIENT NO-EVICT ON");
        let greedy = ask_and_do_not_read(server, "greedy", 400);
        wait_for_count(server, "evicted_clients", 1);
        assert!(wait_until(DEADLINE, || !is_connected(server, "greedy")), "the client with the most memory goes");
        drop(greedy);
        assert_eq!(small.line("PING").to_string(), "PONG");
        assert_eq!(protected.line("PING").to_string(), "PONG");
        assert_eq!(info(server, "evicted_clients"), 1);
    });
}

#[test]
fn largest_argument() {
    against_both(&["--proto-max-bulk-len", "1mb"], |server| {
        let mut wire = tcp(server);
        wire.write_all(b"*2\r\n$3\r\nGET\r\n$1048577\r\n").expect("sent");
        let said = wire.read_to_close().expect("it is closed");
        assert_eq!(String::from_utf8_lossy(&said), "-ERR Protocol error: invalid bulk length\r\n");

        let mut client = server.client();
        let just_right = "x".repeat(1 << 20);
        assert_eq!(client.command(&["SET", "k", &just_right]).expect("a reply").to_string(), "OK");
        let reply = client.line("APPEND k x");
        assert_eq!(reply.to_string(), "(error) ERR string exceeds maximum allowed size (proto-max-bulk-len)");
        let reply = client.line("SETRANGE k 1048576 x");
        assert_eq!(reply.to_string(), "(error) ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    });
}

#[test]
fn longest_line() {
    against_both(&[], |server| {
        let mut wire = tcp(server);
        // It may be refused before all of it is sent.
        let _ = wire.write_all(&vec![b'x'; 65_536 + 1000]);
        let said = wire.read_to_close().expect("it is closed");
        assert_eq!(String::from_utf8_lossy(&said), "-ERR Protocol error: too big inline request\r\n");
        let mut wire = tcp(server);
        let _ = wire.write_all(&[b"*".to_vec(), vec![b'1'; 70_000]].concat());
        let said = wire.read_to_close().expect("it is closed");
        assert_eq!(String::from_utf8_lossy(&said), "-ERR Protocol error: too big mbulk count string\r\n");
    });
}

#[test]
fn before_authentication() {
    against_both(&["--requirepass", "secret"], |server| {
        for (sent, said) in [
            ("*11\r\n", "-ERR Protocol error: unauthenticated multibulk length\r\n"),
            ("*2\r\n$4\r\nAUTH\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"),
        ] {
            let mut wire = tcp(server);
            wire.write_all(sent.as_bytes()).expect("sent");
            let received = wire.read_to_close().expect("it is closed");
            assert_eq!(String::from_utf8_lossy(&received), said);
        }
        let mut client = server.client();
        assert_eq!(client.line("GET k").to_string(), "(error) NOAUTH Authentication required.");
        assert_eq!(client.line("AUTH secret").to_string(), "OK");
        // From now on the usual limits hold.
        let large = "x".repeat(1 << 20);
        let keys: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
        let words: Vec<&str> =
            std::iter::once("MSET").chain(keys.iter().flat_map(|key| [key.as_str(), &large])).collect();
        assert_eq!(client.command(&words).expect("a reply").to_string(), "OK");
    });
}
