//! What becomes of a replica's old data while it loads others, with `repl-diskless-load swapdb`. Redis 8.2 and Valkey 9.1 prove the tests.
//!
//! The primary takes its time over every key, so that what is looked at is in the middle of a snapshot however fast the machine is.

use robustness::replicas::{
    PATIENCE, assert_equal, follow, replication, start, wait_equal_offsets, wait_for_replicas, wait_linked,
};
use testkit::{Client, Kind, Server, wait_for};

const KEYS: u32 = 1500;
const LIBRARY: &str = "#!lua name=old\nredis.register_function('old_function', function() return 1 end)";

/// A primary with a few keys, a small backlog and slow snapshots, and a server that is to follow it.
fn pair(kinds: [Kind; 2]) -> Option<[Server; 2]> {
    let at_primary = ["--repl-backlog-size", "16kb", "--rdbcompression", "no", "--repl-timeout", "10"];
    let primary = start(kinds[0], &at_primary)?;
    let mut at_replica = vec!["--repl-diskless-load", "swapdb", "--appendonly", "yes"];
    if kinds[1] != Kind::Spinel {
        // They attend to clients so often.
        at_replica.extend(["--loading-process-events-interval-bytes", "1024"]);
    }
    let replica = start(kinds[1], &at_replica)?;
    println!("{} follows {}:", kinds[1], kinds[0]);
    let mut client = primary.client();
    client.line("CONFIG SET rdb-key-save-delay 2000");
    client.line("SET old 1");
    Some([primary, replica])
}

const KINDS: [[Kind; 2]; 4] = [
    [Kind::Redis82, Kind::Redis82],
    [Kind::Valkey91, Kind::Valkey91],
    [Kind::Redis82, Kind::Spinel],
    [Kind::Spinel, Kind::Spinel],
];

fn fill(client: &mut Client) {
    let value = "x".repeat(1000);
    (0..KEYS).for_each(|number| client.queue(&["SET", &format!("new:{number}"), &value]));
    client.flush().expect("it is sent");
    (0..KEYS).for_each(|_| drop(client.receive().expect("an answer")));
}

/// A field of `INFO persistence`.
fn persistence(client: &mut Client, name: &str) -> String {
    let text = client.line("INFO persistence").text().expect("INFO is a text").to_owned();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    value.unwrap_or_else(|| panic!("no {name}"))
}

#[track_caller]
fn wait_until_it_loads(replica: &Server, field: &str) {
    let mut client = replica.client();
    let loads = wait_for(PATIENCE, || (persistence(&mut client, field) == "1").then_some(()));
    assert!(loads.is_some(), "{}", replica.log());
}

/// The replica has an earlier state, and its primary has not what it misses any more: it is about to load everything anew.
fn fall_behind(primary: &Server, replica: &Server) {
    follow(replica, primary);
    wait_linked(replica);
    wait_for_replicas(primary, 1);
    wait_equal_offsets(primary, replica);
    let mut client = primary.client();
    // At once: it comes back only behind that.
    for line in ["MULTI", "CLIENT KILL TYPE replica", "DEL old"] {
        client.line(line);
    }
    fill(&mut client);
    let done = client.line("EXEC");
    assert_eq!(done.elements().map(<[_]>::len), Some(KEYS as usize + 2), "{done}");
}

#[test]
fn an_earlier_state_is_served_until_the_new_one_is_whole() {
    for kinds in KINDS {
        let Some([primary, mut replica]) = pair(kinds) else { continue };
        fall_behind(&primary, &replica);
        wait_until_it_loads(&replica, "async_loading");
        let mut client = replica.client();
        assert_eq!(persistence(&mut client, "loading"), "0");
        assert_eq!(client.line("GET old").text(), Some("1"));
        assert!(client.line("GET new:1").is_null());
        assert!(client.line("SET a 1").is_error_of("READONLY"));
        for line in ["SAVE", "BGREWRITEAOF", "REPLICAOF NO ONE"] {
            assert!(client.line(line).is_error_of("LOADING"), "{line}");
        }
        let mut watching = replica.client();
        for line in ["WATCH new:1", "MULTI", "GET new:1"] {
            watching.line(line);
        }
        assert_eq!(persistence(&mut client, "async_loading"), "1", "{} was not served", replica.kind());
        wait_linked(&replica);
        assert!(client.line("GET old").is_null());
        assert!(watching.line("EXEC").is_null(), "it was seen to change");
        assert_equal(&primary, &replica);
        // And its file holds what it has now.
        let rewritten = wait_for(PATIENCE, || {
            let mut idle = |name| persistence(&mut client, name) == "0";
            (idle("aof_rewrite_in_progress") && idle("aof_rewrite_scheduled")).then_some(())
        });
        assert!(rewritten.is_some(), "{}", replica.log());
        let keys = client.line("DBSIZE");
        drop(primary);
        replica.terminate(PATIENCE).expect("it ends");
        replica.restart(&[]).expect("it starts again");
        assert_eq!(replica.client().line("DBSIZE"), keys);
    }
}

#[test]
fn an_earlier_state_stays_when_the_new_one_breaks_off() {
    for kinds in KINDS {
        let Some([primary, replica]) = pair(kinds) else { continue };
        fall_behind(&primary, &replica);
        let known = replication(&mut replica.client())["master_replid"].clone();
        wait_until_it_loads(&replica, "async_loading");
        drop(primary);
        let mut client = replica.client();
        let over = wait_for(PATIENCE, || (persistence(&mut client, "async_loading") == "0").then_some(()));
        assert!(over.is_some(), "{}", replica.log());
        assert_eq!(client.line("GET old").text(), Some("1"));
        assert_eq!(client.line("DBSIZE").integer(), Some(1));
        assert_eq!(replication(&mut client)["master_replid"], known, "it can still go on where it was");
    }
}

#[test]
fn data_of_its_own_are_not_served_and_stay_when_the_new_ones_break_off() {
    for kinds in KINDS {
        let Some([primary, replica]) = pair(kinds) else { continue };
        fill(&mut primary.client());
        let mut client = replica.client();
        client.line("SET mine 1");
        client.command(&["FUNCTION", "LOAD", LIBRARY]).expect("an answer");
        follow(&replica, &primary);
        wait_until_it_loads(&replica, "loading");
        assert!(client.line("GET mine").is_error_of("LOADING"));
        assert_eq!(persistence(&mut client, "async_loading"), "0");
        drop(primary);
        let over = wait_for(PATIENCE, || (persistence(&mut client, "loading") == "0").then_some(()));
        assert!(over.is_some(), "{}", replica.log());
        client.line("REPLICAOF NO ONE");
        assert_eq!(client.line("GET mine").text(), Some("1"));
        assert_eq!(client.line("DBSIZE").integer(), Some(1));
        assert_eq!(client.line("FCALL old_function 0").integer(), Some(1));
    }
}
