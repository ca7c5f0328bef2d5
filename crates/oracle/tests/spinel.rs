//! Spinel against the real servers, briefly. `make oracle` and `make coverage` are the long ones.
//!
//! The Spinel that is examined is a program that was built before (`SPINEL_BIN`, or the newest in `target/`).

use std::process::Command;

use testkit::Kind;

/// Runs the oracle, and shows what it found when it is not content.
fn oracle(arguments: &[&str]) {
    for kind in [Kind::Spinel, Kind::Redis82, Kind::Valkey91] {
        if testkit::program(kind).is_none() {
            testkit::skip_aloud(&format!("no {kind} here (run tools/peers.sh, or build spinel)"));
            return;
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_oracle")).args(arguments).output().expect("the oracle starts");
    let [said, errors] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "oracle {}\n{said}\n{errors}", arguments.join(" "));
}

#[test]
fn says_of_its_commands_what_the_real_servers_say() {
    oracle(&["coverage", "--groups", "connection,generic,string,server"]);
}

#[test]
fn replies_what_the_real_servers_reply() {
    let seed = testkit::seed();
    oracle(&["run", "--commands", "10000", "--threads", "1,4", "--seed", &seed.to_string()]);
}
