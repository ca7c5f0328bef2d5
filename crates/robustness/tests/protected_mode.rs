//! Protected mode refuses strangers: clients from another address than this machine's own loopback, on a server
//! without a password.
//!
//! A stranger needs an address that is not loopback's. The test makes one for itself: it runs again in a network
//! namespace of its own, where `lo` has a documentation address too. Nothing leaves the machine.

use std::process::Command;

use robustness::{Place, Wire, against_both};
use testkit::{Client, Server};

const STRANGER: &str = "198.51.100.7";
/// Says that this is the run inside of the namespace.
const INSIDE: &str = "SPINEL_TEST_NAMESPACE";

/// Runs the named test of this program again in a namespace, or says why not.
fn run_inside(test: &str) {
    let script = format!("ip link set lo up && ip addr add {STRANGER}/32 dev lo && exec \"$0\" \"$@\"");
    let namespace = ["--net", "--map-root-user", "sh", "-c"];
    let probe = Command::new("unshare").args(namespace).arg(&script).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        testkit::skip_aloud("no network namespace of its own to be had here (unshare, ip)");
        return;
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
}

fn stranger(server: &Server) -> Place {
    Place::Tcp(format!("{STRANGER}:{}", server.port()).parse().expect("an address"))
}

#[test]
fn strangers_are_refused_and_told_why() {
    if std::env::var_os(INSIDE).is_none() {
        return run_inside("strangers_are_refused_and_told_why");
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
    if std::env::var_os(INSIDE).is_none() {
        return run_inside("strangers_are_welcome_where_there_is_a_password");
    }
    against_both(&["--bind", "127.0.0.1", STRANGER, "--requirepass", "secret"], |server| {
        let Place::Tcp(address) = stranger(server) else { unreachable!() };
        let mut client = Client::connect(address).expect("admitted");
        assert_eq!(client.line("PING").to_string(), "(error) NOAUTH Authentication required.");
        assert_eq!(client.line("AUTH secret").to_string(), "OK");
        assert_eq!(client.line("PING").to_string(), "PONG");
    });
}
