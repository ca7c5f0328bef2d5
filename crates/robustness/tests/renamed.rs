//! Commands under other names (`rename-command`), and those that are taken away. Redis 8.2 proves the test.

use robustness::against_both;
use testkit::wait_until;

const ARGUMENTS: &[&str] = &[
    "--rename-command",
    "SET",
    "put",
    "--rename-command",
    "FLUSHALL",
    "",
    "--rename-command",
    "CONFIG",
    "cfg",
    "--rename-command",
    "SPOP",
    "draw",
    "--appendonly",
    "yes",
];

#[test]
fn commands_have_other_names_or_none() {
    against_both(ARGUMENTS, |server| {
        let mut client = server.client();
        assert_eq!(client.line("PUT k v").to_string(), "OK");
        assert_eq!(client.line("GET k").text(), Some("v"));
        for (line, name) in
            [("SET k w", "SET"), ("FLUSHALL", "FLUSHALL"), ("CONFIG GET port", "CONFIG"), ("SPOP s", "SPOP")]
        {
            let reply = client.line(line).to_string();
            assert!(reply.starts_with("(error) ERR unknown command") && reply.contains(name), "{reply}");
        }
        assert!(client.line("CFG GET port").to_string().contains(&server.port().to_string()));
        // What it is stays what it is: errors, COMMAND and INFO know its own name.
        assert!(client.line("PUT").to_string().contains("wrong number of arguments for"));
        assert!(client.line("CFG nonsense").to_string().contains("Try CFG HELP"));
        assert!(
            client.line("CFG HELP").elements().expect("lines")[0].text().expect("text").starts_with("CFG <subcommand>")
        );
        assert!(client.line("COMMAND INFO put").to_string().contains("\"set\""));
        assert!(client.line("COMMAND INFO cfg|get").to_string().contains("config|get"));
        assert_eq!(client.line("COMMAND INFO set").to_string(), client.line("COMMAND INFO nonsense").to_string());
        assert_eq!(client.line("COMMAND GETKEYS put a b").elements().expect("keys")[0].text(), Some("a"));
        let info = client.line("INFO commandstats");
        assert!(info.text().expect("text").contains("cmdstat_set:calls=1"), "{info}");

        // Everywhere.
        assert_eq!(
            client.command(&["EVAL", "return redis.call('put','s','1')", "0"]).expect("a reply").to_string(),
            "OK"
        );
        let reply = client.command(&["EVAL", "return redis.call('set','s','2')", "0"]).expect("a reply").to_string();
        assert!(reply.contains("Unknown Redis command called from script"), "{reply}");
        client.line("MULTI");
        assert_eq!(client.line("PUT t 1").to_string(), "QUEUED");
        client.line("EXEC");

        // The append-only file has the names that were sent, and the real ones where the server speaks for itself.
        client.line("SADD members a");
        client.line("DRAW members");
        let written = || {
            let folder = server.directory().join("appendonlydir");
            let files =
                std::fs::read_dir(folder).expect("the folder").filter_map(|file| std::fs::read(file.ok()?.path()).ok());
            String::from_utf8_lossy(&files.flatten().collect::<Vec<u8>>()).into_owned()
        };
        let has_all = || {
            let text = written();
            text.contains("SREM\r\n$7\r\nmembers") || text.contains("DEL\r\n$7\r\nmembers")
        };
        assert!(wait_until(std::time::Duration::from_secs(30), has_all), "{}", written());
        let text = written();
        assert!(text.contains("PUT\r\n$1\r\nk") && !text.contains("DRAW"), "{text}");
    });
}
