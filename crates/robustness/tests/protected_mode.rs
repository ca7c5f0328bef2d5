//! Protected mode refuses strangers: clients from another address than this machine's own loopback, on a server
//! without a password.
//!
//! A stranger needs an address that is not loopback's. The test makes one for itself: it runs again in a network
//! namespace of its own, where `lo` has a documentation address too. Nothing leaves the machine.

use robustness::namespaces::run_inside;
use robustness::{Place, Wire, against_both};
use testkit::{Client, Server};

const STRANGER: &str = "198.51.100.7";
/// Whether the named test has run again in a namespace, or was skipped.
fn has_run_inside(test: &str) -> bool {
    run_inside(test, &format!("ip link set lo up && ip addr add {STRANGER}/32 dev lo"))
}

fn stranger(server: &Server) -> Place {
    Place::Tcp(format!("{STRANGER}:{}", server.port()).parse().expect("an address"))
}

#[test]
fn strangers_are_refused_and_told_why() {
    if has_run_inside("strangers_are_refused_and_told_why") {
        return;
    }
    against_both(&["--bind", "127.0.0.1", STRANGER], |server| {
        let mut wire = Wire::connect(&stranger(server)).expect("a connection");
        let said = wire.read_to_close().expect("it is closed");
        let said = String::from_utf8_lossy(&said);
        // One error reply, which names all the ways out.
        assert!(said.starts_with("-DENIED ") && said.ends_with("\r\n") && said.matches('\n').count() == 1, "{said}");
        for word in
            ["protected mode", "CONFIG SET protected-mode no", "CONFIG REWRITE", "--protected-mode no", "password"]
        {
            assert!(said.contains(word), "no {word} in {said}");
        }
        // Loopback and the unix socket are no strangers.
        assert_eq!(server.client().line("PING").to_string(), "PONG");
        for place in Place::of(server) {
            Wire::connect(&place).expect("a connection");
        }
        assert_eq!(server.client().line("CONFIG SET protected-mode no").to_string(), "OK");
        let Place::Tcp(address) = stranger(server) else { unreachable!() };
        assert_eq!(Client::connect(address).expect("admitted").line("PING").to_string(), "PONG");
    });
}

#[test]
fn strangers_are_welcome_where_there_is_a_password() {
    if has_run_inside("strangers_are_welcome_where_there_is_a_password") {
        return;
    }
    against_both(&["--bind", "127.0.0.1", STRANGER, "--requirepass", "secret"], |server| {
        let Place::Tcp(address) = stranger(server) else { unreachable!() };
        let mut client = Client::connect(address).expect("admitted");
        assert_eq!(client.line("PING").to_string(), "(error) NOAUTH Authentication required.");
        assert_eq!(client.line("AUTH secret").to_string(), "OK");
        assert_eq!(client.line("PING").to_string(), "PONG");
    });
}
