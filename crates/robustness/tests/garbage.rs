//! Bytes that are no commands, on the port and on the unix socket.

use std::{io::Write, time::Duration};

use robustness::{Place, Wire, against_both, info, nuisance::garbage};
use testkit::{random_from, wait_until};

/// So many connections for each place.
const CONNECTIONS: usize = 600;

#[test]
fn garbage_is_refused_and_leaves_nothing_behind() {
    let seed = testkit::seed();
    against_both(&[], |server| {
        let mut random = random_from(seed);
        let mut witness = server.client();
        let memory_before = info(server, "used_memory");
        for place in Place::of(server) {
            for number in 0..CONNECTIONS {
                let mut wire = Wire::connect(&place).expect("a connection");
                let bytes = garbage(&mut random);
                // It may be refused before all of it is sent.
                let _ = wire.write_all(&bytes);
                if number % 50 == 0 {
                    witness.line("SET witness alive");
                    assert_eq!(witness.line("GET witness").to_string(), "\"alive\"");
                }
            }
        }
        let gone = wait_until(Duration::from_secs(20), || info(server, "connected_clients") <= 2);
        assert!(gone, "clients are left:\n{}", witness.line("CLIENT LIST").text().expect("text"));
        let memory_after = info(server, "used_memory");
        assert!(memory_after < memory_before + (8 << 20), "memory went from {memory_before} to {memory_after}");
    });
}

#[test]
fn a_protocol_error_is_said_before_the_connection_is_closed() {
    against_both(&[], |server| {
        for place in Place::of(server) {
            for (sent, said) in [
                ("*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"),
                ("*9999999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
                ("*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
                ("SET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
                ("PING\r\n*1\r\n:1\r\nPING\r\n", "+PONG\r\n-ERR Protocol error: expected '$', got ':'\r\n"),
            ] {
                let mut wire = Wire::connect(&place).expect("a connection");
                wire.write_all(sent.as_bytes()).expect("sent");
                let received = wire.read_to_close().expect("it closes");
                assert_eq!(String::from_utf8_lossy(&received), said, "to {sent:?}");
            }
        }
    });
}

#[test]
fn a_command_that_comes_byte_by_byte_is_a_command() {
    against_both(&[], |server| {
        for place in Place::of(server) {
            let mut wire = Wire::connect(&place).expect("a connection");
            if let Wire::Tcp(stream) = &wire {
                stream.set_nodelay(true).expect("no delay");
            }
            for _ in 0..3 {
                for byte in b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n\r\nGET k\r\n" {
                    wire.write_all(&[*byte]).expect("sent");
                }
                wire.expect(b"+OK\r\n$2\r\n\r\n\r\n");
            }
        }
    });
}
