//! The end waits for replicas, and for nobody else. Redis 8.2 proves the tests.
//!
//! A replica lags while its process is stopped.

use std::time::Duration;

use robustness::replicas::{follow, start, wait_equal_offsets, wait_for_replicas, wait_linked};
use rustix::process::{Pid, Signal, kill_process};
use testkit::{Client, Kind, Server, Value, wait_for, wait_until};

const DEADLINE: Duration = Duration::from_secs(30);

/// A primary with its replica, of either kind.
fn against_both(arguments: &[&str], test: impl Fn(&mut Server, &Server)) {
    for kind in [Kind::Redis82, Kind::Spinel] {
        let arguments: Vec<&str> = ["--save", ""].iter().chain(arguments).copied().collect();
        let (Some(mut primary), Some(replica)) = (start(kind, &arguments), start(kind, &["--save", ""])) else {
            continue;
        };
        println!("against {kind}:");
        follow(&replica, &primary);
        wait_linked(&replica);
        wait_for_replicas(&primary, 1);
        wait_equal_offsets(&primary, &replica);
        let _goes_on = GoesOn(replica.process().0);
        test(&mut primary, &replica);
    }
}

/// A stopped process would not end by itself.
struct GoesOn(u32);

impl Drop for GoesOn {
    fn drop(&mut self) {
        signal(self.0, Signal::CONT);
    }
}

fn signal(process: u32, signal: Signal) {
    let pid = Pid::from_raw(process as i32).expect("a process");
    kill_process(pid, signal).expect("it is there");
}

/// Writes what the replica will not have: it is stopped.
fn leave_behind(primary: &Server, replica: &Server) {
    signal(replica.process().0, Signal::STOP);
    let tasks = format!("/proc/{}/task", replica.process().0);
    let has_stopped = || {
        std::fs::read_dir(&tasks).expect("its threads").all(|task| {
            let stat = std::fs::read_to_string(task.expect("a thread").path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" T"))
        })
    };
    assert!(wait_until(DEADLINE, has_stopped), "it does not stop");
    assert_eq!(primary.client().line("SET a 1").to_string(), "OK");
}

/// Asks, and does not wait for a reply.
fn ask(server: &Server, line: &str) -> Client {
    let mut client = server.client();
    client.set_timeout(DEADLINE).expect("set");
    client.queue(&line.split(' ').collect::<Vec<_>>());
    client.flush().expect("sent");
    client
}

fn is_waiting(server: &Server) -> bool {
    let info = server.client().line("INFO server");
    info.text().is_some_and(|text| text.contains("shutdown_in_milliseconds:"))
}

#[track_caller]
fn wait_until_it_waits(server: &Server) {
    assert!(wait_until(DEADLINE, || is_waiting(server)), "it does not wait:\n{}", server.log());
}

#[track_caller]
fn wait_for_the_end(server: &mut Server) {
    let status = wait_for(DEADLINE, || server.exit_status());
    assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", server.log());
}

#[track_caller]
fn assert_logged(server: &Server, line: &str) {
    assert!(server.log().contains(line), "no {line:?} in\n{}", server.log());
}

const FAILED: &str = "(error) ERR Errors trying to SHUTDOWN. Check logs.";

#[test]
fn a_replica_gets_everything_before_the_end() {
    against_both(&["--shutdown-timeout", "1000"], |primary, replica| {
        leave_behind(primary, replica);
        let mut asked = ask(primary, "SHUTDOWN");
        wait_until_it_waits(primary);
        signal(replica.process().0, Signal::CONT);
        wait_for_the_end(primary);
        assert!(asked.receive().is_err(), "nobody is left to reply");
        assert_logged(primary, "Waiting for replicas before shutting down.");
        assert_logged(primary, "1 of 1 replicas are in sync when shutting down.");
        assert_eq!(replica.client().line("GET a").to_string(), "\"1\"");
    });
}

#[test]
fn writes_wait_until_it_is_called_off() {
    against_both(&["--shutdown-timeout", "1000"], |primary, replica| {
        leave_behind(primary, replica);
        let mut asked = ask(primary, "SHUTDOWN");
        wait_until_it_waits(primary);
        // Who comes later waits too, and changes nothing about it.
        let mut later = ask(primary, "SHUTDOWN NOSAVE NOW");
        let mut client = primary.client();
        assert!(wait_until(DEADLINE, || robustness::info(primary, "blocked_clients") >= 2));
        assert_eq!(client.line("CLIENT UNPAUSE").to_string(), "OK");
        let mut written = ask(primary, "SET a 2");
        written.set_timeout(Duration::from_millis(50)).expect("set");
        assert!(written.receive().is_err(), "a write has to wait");
        assert_eq!(client.line("GET a").to_string(), "\"1\"");
        assert_eq!(client.line("SHUTDOWN ABORT").to_string(), "OK");
        written.set_timeout(DEADLINE).expect("set");
        assert_eq!(written.receive().expect("a reply").to_string(), "OK");
        for client in [&mut asked, &mut later] {
            assert_eq!(client.receive().expect("a reply").to_string(), FAILED);
        }
        assert_eq!(client.line("SHUTDOWN ABORT").to_string(), "(error) ERR No shutdown in progress.");
        assert!(!is_waiting(primary));
        assert_logged(primary, "Shutdown manually aborted.");
    });
}

#[test]
fn who_waits_behind_the_pause_counts_as_blocked() {
    against_both(&["--shutdown-timeout", "1000"], |primary, replica| {
        leave_behind(primary, replica);
        let blocked = |count| wait_until(DEADLINE, || robustness::info(primary, "blocked_clients") == count);
        let _asked = ask(primary, "SHUTDOWN");
        assert!(blocked(1));
        let _popping = ask(primary, "BLPOP nothing 0");
        assert!(blocked(2));
        let _writing = ask(primary, "SET a 2");
        assert!(blocked(3));
        assert_eq!(primary.client().line("SHUTDOWN ABORT").to_string(), "OK");
        assert!(blocked(1), "who waits for a key goes on waiting");
    });
}

#[test]
fn who_has_asked_is_told_when_it_becomes_a_replica_and_it_ends_all_the_same() {
    against_both(&["--shutdown-timeout", "3"], |primary, replica| {
        leave_behind(primary, replica);
        let mut clients = [ask(primary, "SHUTDOWN"), ask(primary, "SHUTDOWN NOSAVE")];
        assert!(wait_until(DEADLINE, || robustness::info(primary, "blocked_clients") == 2));
        // Nobody answers there: nothing else changes meanwhile.
        assert_eq!(primary.client().line("REPLICAOF 127.0.0.1 1").to_string(), "OK");
        for client in &mut clients {
            let reply = client.receive().expect("a reply");
            assert!(reply.is_error_of("UNBLOCKED"), "{reply}");
        }
        wait_for_the_end(primary);
    });
}

#[test]
fn who_does_not_want_to_wait_need_not() {
    type End = fn(&mut Server) -> Client;
    let now: End = |server| ask(server, "SHUTDOWN NOW");
    let never: End = |server| {
        assert_eq!(server.client().line("CONFIG SET shutdown-timeout 0").to_string(), "OK");
        ask(server, "SHUTDOWN NOSAVE FORCE")
    };
    let short: End = |server| {
        assert_eq!(server.client().line("CONFIG SET shutdown-timeout 1").to_string(), "OK");
        ask(server, "SHUTDOWN")
    };
    for end in [now, never, short] {
        against_both(&["--shutdown-timeout", "1000"], |primary, replica| {
            leave_behind(primary, replica);
            let _asked = end(primary);
            wait_for_the_end(primary);
            let lagging = format!("Lagging replica 127.0.0.1:{} reported offset ", replica.port());
            assert_logged(primary, &lagging);
            assert_logged(primary, "0 of 1 replicas are in sync when shutting down.");
        });
    }
}

#[test]
fn a_signal_waits_too_until_an_interrupt_comes() {
    against_both(&["--shutdown-timeout", "1000"], |primary, replica| {
        leave_behind(primary, replica);
        signal(primary.process().0, Signal::TERM);
        wait_until_it_waits(primary);
        signal(primary.process().0, Signal::TERM);
        let is_heard = |log: &str| log.matches("Received SIGTERM scheduling shutdown...").count() == 2;
        assert!(wait_until(DEADLINE, || is_heard(&primary.log())));
        assert!(is_waiting(primary));
        signal(primary.process().0, Signal::INT);
        let status = wait_for(DEADLINE, || primary.exit_status());
        assert_eq!(status.and_then(|status| status.code()), Some(1), "{}", primary.log());
    });
}

#[test]
fn a_save_that_fails_lets_the_server_go_on() {
    against_both(&["--shutdown-timeout", "1000"], |primary, replica| {
        leave_behind(primary, replica);
        std::fs::create_dir(primary.directory().join("dump.rdb")).expect("made");
        let mut asked = ask(primary, "SHUTDOWN SAVE");
        wait_until_it_waits(primary);
        signal(replica.process().0, Signal::CONT);
        assert_eq!(asked.receive().expect("a reply").to_string(), FAILED);
        assert_eq!(primary.client().line("SET a 2").to_string(), "OK");
        assert!(!is_waiting(primary));
        let _asked = ask(primary, "SHUTDOWN SAVE FORCE");
        wait_for_the_end(primary);
        assert_logged(primary, "Error trying to save the DB. Exit anyway.");
    });
}

/// Whoever waits for a replica that has gone waits for nobody.
#[test]
fn a_replica_that_goes_is_not_waited_for() {
    against_both(&["--shutdown-timeout", "1000"], |primary, replica| {
        leave_behind(primary, replica);
        let _asked = ask(primary, "SHUTDOWN");
        wait_until_it_waits(primary);
        signal(replica.process().0, Signal::KILL);
        wait_for_the_end(primary);
    });
}

#[test]
fn words_that_do_not_go_together() {
    for kind in [Kind::Redis82, Kind::Spinel] {
        let Some(server) = start(kind, &[]) else { continue };
        let reply = |line: &str| -> Value { server.client().line(line) };
        for line in ["SHUTDOWN ABORT NOW", "SHUTDOWN NOSAVE ABORT", "SHUTDOWN SAVE NOSAVE", "SHUTDOWN x"] {
            assert_eq!(reply(line).to_string(), "(error) ERR syntax error", "{line}");
        }
        assert_eq!(reply("SHUTDOWN ABORT ABORT").to_string(), "(error) ERR No shutdown in progress.");
    }
}
