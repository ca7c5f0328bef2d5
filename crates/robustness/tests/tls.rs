//! TLS against real processes: who is let in, that everything works encrypted that works plain, what a bad peer can do.
//!
//! Redis 7.0, the one real server here that is built with TLS, proves the tests that it can pass.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rand::{Rng, RngCore};
use robustness::info;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};
use testkit::tls::{Authority, Files, TlsClient, TlsServer, client_config};
use testkit::{Kind, Value, wait_for, wait_until};

const VERSIONS: [&[&SupportedProtocolVersion]; 2] = [&[&TLS12], &[&TLS13]];
const PATIENCE: Duration = Duration::from_secs(60);

fn against(kinds: &[Kind], arguments: &[&str], test: impl Fn(&Authority, &TlsServer)) {
    for &kind in kinds {
        let authority = Authority::new("the test's authority");
        let Some(mut server) = TlsServer::start(kind, &authority, arguments) else {
            testkit::skip_aloud(&format!("no {kind} here (run tools/peers.sh, or build spinel)"));
            continue;
        };
        println!("against {kind}:");
        test(&authority, &server);
        assert!(server.server.exit_status().is_none(), "{kind} has ended:\n{}", server.server.log());
    }
}

fn against_both(arguments: &[&str], test: impl Fn(&Authority, &TlsServer)) {
    against(&[Kind::Redis70, Kind::Spinel], arguments, test);
}

fn against_spinel(arguments: &[&str], test: impl Fn(&Authority, &TlsServer)) {
    against(&[Kind::Spinel], arguments, test);
}

fn newest(authority: &Authority) -> Arc<ClientConfig> {
    client_config(authority, None, &[&TLS13])
}

fn set(server: &TlsServer, words: &[&str]) -> String {
    let words = [&["CONFIG", "SET"], words].concat();
    server.server.client().command(&words).expect("CONFIG SET").to_string()
}

fn text(reply: &Value) -> String {
    reply.text().expect("text").to_owned()
}

fn path(server: &TlsServer, file: &str) -> String {
    server.files.path(file).to_str().expect("UTF-8").to_owned()
}

#[test]
fn everything_works_encrypted() {
    against_both(&["--tls-auth-clients", "no"], |authority, server| {
        for versions in VERSIONS {
            let config = client_config(authority, None, versions);
            let mut client = TlsClient::connect(server.address, &config).expect("a connection");
            assert_eq!(client.line("SET k v").to_string(), "OK");
            assert_eq!(client.line("GET k").text(), Some("v"));
            // Other clients see the same data, and it is a client like others.
            assert_eq!(server.server.client().line("GET k").text(), Some("v"));
            let list = text(&client.line("CLIENT LIST"));
            assert!(list.contains(&format!("laddr={}", server.address)), "{list}");

            // Blocked, and served by another.
            client.send(&[&["BLPOP", "list", "0"]]).expect("sent");
            let mut other = server.server.client();
            let is_blocked =
                || other.line("INFO clients").text().is_some_and(|text| text.contains("blocked_clients:1"));
            assert!(wait_until(PATIENCE, is_blocked));
            other.line("RPUSH list element");
            assert!(client.receive().expect("a reply").to_string().contains("element"));

            // Messages that nobody has asked for.
            client.line("SUBSCRIBE channel");
            other.line("PUBLISH channel message");
            assert!(client.receive().expect("a message").to_string().contains("message"));

            // The end is said, not only done.
            let mut client = TlsClient::connect(server.address, &config).expect("a connection");
            assert_eq!(client.line("QUIT").to_string(), "OK");
            assert_eq!(client.stream.read(&mut [0; 16]).expect("a word of goodbye"), 0);
        }
    });
}

/// Long pipelines, and values that span thousands of records, both ways, through a socket that is full most of the time.
#[test]
fn much_goes_through() {
    let seed = testkit::seed();
    against_both(&["--tls-auth-clients", "no"], |authority, server| {
        let mut random = testkit::random_from(seed);
        for versions in VERSIONS {
            let config = client_config(authority, None, versions);
            let mut client = TlsClient::connect(server.address, &config).expect("a connection");
            let numbers: Vec<[String; 2]> = (0..20_000).map(|n| ["PING".to_owned(), n.to_string()]).collect();
            let commands: Vec<&[String]> = numbers.iter().map(|words| words.as_slice()).collect();
            client.send(&commands).expect("sent");
            for words in &numbers {
                assert_eq!(client.receive().expect("a reply").text(), Some(words[1].as_str()));
            }

            let mut value = vec![0; 64 * 1024 * 1024 + random.random_range(0..100_000)];
            random.fill_bytes(&mut value);
            assert_eq!(client.command(&[b"SET".as_slice(), b"big", &value]).expect("a reply").to_string(), "OK");
            // Small replies between large ones: pieces of several kinds go into one record.
            client.send(&[["PING", "a"].as_slice(), &["GET", "big"], &["PING", "b"]]).expect("sent");
            assert_eq!(client.receive().expect("a reply").text(), Some("a"));
            assert!(client.receive().expect("a reply") == Value::Bulk(value), "the value has changed on its way");
            assert_eq!(client.receive().expect("a reply").text(), Some("b"));

            // Values of every size around that of a record.
            for length in (0..40).chain(16_300..16_420).chain(32_740..32_790) {
                let mut value = vec![0; length];
                random.fill_bytes(&mut value);
                client.command(&[b"SET".as_slice(), b"some", &value]).expect("a reply");
                assert!(client.command(&["GET", "some"]).expect("a reply") == Value::Bulk(value), "{length}");
            }
        }
    });
}

/// A client that does not read is disconnected at its limit, one that reads late gets everything.
#[test]
fn output_waits_within_limits() {
    against_both(&["--tls-auth-clients", "no"], |authority, server| {
        let config = newest(authority);
        let mut client = TlsClient::connect(server.address, &config).expect("a connection");
        let value = "x".repeat(1024 * 1024);
        client.command(&["SET", "k", &value]).expect("a reply");
        for _ in 0..50 {
            client.send(&[&["GET", "k"]]).expect("sent");
        }
        let waits = || {
            let list = text(&server.server.client().line("CLIENT LIST"));
            let omem = list.lines().find(|line| line.contains(&format!("laddr={}", server.address)));
            omem.is_some_and(|line| line.contains("cmd=get") && !line.contains("omem=0 "))
        };
        assert!(wait_until(PATIENCE, waits), "nothing waits");
        for _ in 0..50 {
            assert_eq!(client.receive().expect("a reply").text().map(str::len), Some(value.len()));
        }

        assert_eq!(set(server, &["client-output-buffer-limit", "normal 2000000 0 0"]), "OK");
        for _ in 0..50 {
            // It may be gone before the last.
            let _ = client.send(&[&["GET", "k"]]);
        }
        let is_gone = || !text(&server.server.client().line("CLIENT LIST")).contains("cmd=get");
        assert!(wait_until(PATIENCE, is_gone), "still there");
    });
}

#[test]
fn clients_show_who_they_are() {
    against_both(&[], |authority, server| {
        let stranger = Authority::new("another authority").issue("mallory");
        let friend = authority.issue("alice");
        for versions in VERSIONS {
            let connect = |identity| {
                TlsClient::connect_and_ping(server.address, &client_config(authority, identity, versions)).is_ok()
            };
            for (asked, [nobody, known, unknown]) in
                [("yes", [false, true, false]), ("optional", [true, true, false]), ("no", [true, true, true])]
            {
                assert_eq!(set(server, &["tls-auth-clients", asked]), "OK");
                assert_eq!(connect(None), nobody, "tls-auth-clients {asked}, no certificate");
                assert_eq!(connect(Some(&friend)), known, "tls-auth-clients {asked}, a certificate");
                assert_eq!(connect(Some(&stranger)), unknown, "tls-auth-clients {asked}, a stranger's certificate");
            }
            // And the client knows whom it talks to.
            let mistaken = client_config(&Authority::new("another"), None, versions);
            assert!(TlsClient::connect(server.address, &mistaken).is_err());
        }
    });
}

/// A certificate can name the user that its client is.
#[test]
fn certificates_name_users() {
    against_spinel(&["--tls-auth-clients-user", "CN", "--requirepass", "secret"], |authority, server| {
        let mut admin = server.server.client();
        admin.line("AUTH secret");
        for user in ["alice on +@all ~*", "urn:user:bob on +@all ~*", "eve off +@all ~*"] {
            assert_eq!(admin.line(&format!("ACL SETUSER {user}")).to_string(), "OK");
        }
        for versions in VERSIONS {
            let who = |name: &str| {
                let config = client_config(authority, Some(&authority.issue(name)), versions);
                let mut client = TlsClient::connect(server.address, &config).expect("a connection");
                client.line("ACL WHOAMI")
            };
            admin.line("CONFIG SET tls-auth-clients-user CN");
            assert_eq!(who("alice").text(), Some("alice"));
            // A user who is off, and nobody's name.
            for name in ["eve", "bob", "default."] {
                assert!(who(name).is_error_of("NOAUTH"), "{name}");
            }
            admin.line("CONFIG SET tls-auth-clients-user URI");
            assert_eq!(who("bob").text(), Some("urn:user:bob"));
            assert!(who("alice").is_error_of("NOAUTH"));
            admin.line("CONFIG SET tls-auth-clients-user off");
            assert!(who("alice").is_error_of("NOAUTH"));
        }
        let info = text(&admin.line("INFO stats"));
        assert!(info.contains("acl_access_denied_tls_cert:8"), "{info}");
    });
}

/// Everything or nothing is taken over; who is connected stays; who comes meets what is new.
#[test]
fn certificates_are_renewed_under_clients() {
    against_both(&["--tls-auth-clients", "no"], |authority, server| {
        let config = newest(authority);
        let mut old = TlsClient::connect(server.address, &config).expect("a connection");
        let shown = |client: &TlsClient| client.stream.conn.peer_certificates().expect("shown")[0].clone();
        let first = shown(&old);

        server.files.write("server", &authority.issue("renewed"));
        let file = path(server, "server.crt");
        assert_eq!(set(server, &["tls-cert-file", &file]), "OK");
        let second = shown(&TlsClient::connect_and_ping(server.address, &config).expect("a connection"));
        assert!(first != second, "the old certificate is still shown");
        assert_eq!(old.line("PING").to_string(), "PONG");

        std::fs::write(server.files.path("bad"), "nonsense").expect("written");
        server.files.write("other", &authority.issue("other"));
        let bad = path(server, "bad");
        let other = path(server, "other.key");
        for words in [
            ["tls-cert-file", "/nowhere/x"],
            ["tls-cert-file", &bad],
            ["tls-cert-file", ""],
            ["tls-key-file", &other],
            ["tls-key-file", &bad],
            ["tls-ca-cert-file", &bad],
            ["tls-protocols", "TLSv1.9"],
            ["tls-ciphers", "nonsense"],
            ["tls-ciphersuites", "nonsense"],
            ["tls-dh-params-file", "/nowhere/x"],
        ] {
            let before = server.server.client().line(&format!("CONFIG GET {}", words[0])).to_string();
            let reply = set(server, &words);
            assert!(
                reply.contains("Unable to update TLS configuration") && reply.contains(words[0]),
                "{words:?}: {reply}"
            );
            assert_eq!(server.server.client().line(&format!("CONFIG GET {}", words[0])).to_string(), before);
            let client = TlsClient::connect_and_ping(server.address, &config).expect("a connection");
            assert!(shown(&client) == second, "after {words:?}");
        }
        // Both at once, where one alone would not do.
        let certificate = path(server, "other.crt");
        assert_eq!(set(server, &["tls-key-file", &other, "tls-cert-file", &certificate]), "OK");
        let third = shown(&TlsClient::connect_and_ping(server.address, &config).expect("a connection"));
        assert!(third != second);
        // An authority less: what would be asked for could not be checked.
        assert!(set(server, &["tls-ca-cert-file", "", "tls-auth-clients", "yes"]).contains("Unable to update TLS"));
        assert_eq!(old.line("PING").to_string(), "PONG");
    });
}

#[test]
fn renewed_files_are_found() {
    against_spinel(&["--tls-auth-clients", "no", "--tls-auto-reload-interval", "1"], |authority, server| {
        let config = newest(authority);
        let serial = || {
            let text = text(&server.server.client().line("INFO tls"));
            let line = text.lines().find_map(|line| line.strip_prefix("tls_server_cert_serial:"));
            line.expect("a serial number").trim().to_owned()
        };
        let mut old = TlsClient::connect(server.address, &config).expect("a connection");
        let first = serial();
        // A half of a pair is no renewal, and is said once.
        let renewed = authority.issue("renewed");
        std::fs::write(server.files.path("server.key"), &renewed.key).expect("written");
        assert!(wait_until(PATIENCE, || server.server.log().contains("it is not the key of tls-cert-file")));
        assert_eq!(serial(), first);
        TlsClient::connect_and_ping(server.address, &config).expect("a connection");
        server.files.write("server", &renewed);
        assert!(wait_until(PATIENCE, || serial() != first), "{}", server.server.log());
        assert!(info(&server.server, "tls_server_cert_expires_in_seconds") > 0);
        assert_eq!(old.line("PING").to_string(), "PONG");
        assert_eq!(server.server.log().matches("it is not the key of").count(), 1);
    });
}

#[test]
fn ports_come_and_go() {
    against_both(&["--tls-auth-clients", "no"], |authority, server| {
        let config = newest(authority);
        let mut client = TlsClient::connect(server.address, &config).expect("a connection");
        // Only encrypted.
        assert_eq!(client.line("CONFIG SET port 0").to_string(), "OK");
        TcpStream::connect(server.server.address()).expect_err("nobody listens there any more");
        let text = text(&client.line("INFO server"));
        assert!(text.contains(&format!("tcp_port:{}", server.address.port())), "{text}");
        assert_eq!(client.line(&format!("CONFIG SET port {}", server.server.port())).to_string(), "OK");
        assert_eq!(set(server, &["tls-port", "0"]), "OK");
        TcpStream::connect(server.address).expect_err("nobody listens there any more");
        // Files may be named that are not there yet, but nothing listens before they are.
        assert_eq!(set(server, &["tls-cert-file", "/nowhere"]), "OK");
        let port = server.address.port().to_string();
        if server.server.kind() == Kind::Spinel {
            // Redis 7.0 goes on with what it has read before.
            let refused = set(server, &["tls-port", &port]);
            assert!(refused.contains("Unable to update TLS configuration"), "{refused}");
        }
        let file = path(server, "server.crt");
        assert_eq!(set(server, &["tls-port", &port, "tls-cert-file", &file]), "OK");
        TlsClient::connect_and_ping(server.address, &config).expect("a connection");
    });
}

/// A session taken up again needs no key of the certificate, and is good only as long as what it was made with.
#[test]
fn sessions_are_taken_up_again() {
    against_spinel(&["--tls-auth-clients", "no"], |authority, server| {
        for versions in VERSIONS {
            let config = client_config(authority, None, versions);
            let kind = |config| {
                let client = TlsClient::connect_and_ping(server.address, config).expect("a connection");
                client.stream.conn.handshake_kind().expect("done")
            };
            assert_eq!(kind(&config), HandshakeKind::Full);
            assert_eq!(kind(&config), HandshakeKind::Resumed);
            // New certificates, new sessions.
            assert_eq!(set(server, &["tls-session-cache-timeout", "100"]), "OK");
            assert_eq!(kind(&config), HandshakeKind::Full);
            assert_eq!(kind(&config), HandshakeKind::Resumed);
            assert_eq!(set(server, &["tls-session-caching", "no"]), "OK");
            assert_eq!(kind(&config), HandshakeKind::Full);
            assert_eq!(kind(&config), HandshakeKind::Full);
            assert_eq!(set(server, &["tls-session-caching", "yes"]), "OK");
        }
    });
}

#[test]
fn keys_are_changed_on_the_way() {
    against_both(&["--tls-auth-clients", "no"], |authority, server| {
        let mut client = TlsClient::connect(server.address, &newest(authority)).expect("a connection");
        for round in 0..20 {
            client.stream.conn.refresh_traffic_keys().expect("TLS 1.3");
            assert_eq!(client.line(&format!("PING {round}")).text(), Some(round.to_string().as_str()));
        }
    });
}

/// Versions that are broken are refused in words; so are handshakes amid a connection.
#[test]
fn old_protocols_are_refused() {
    against_both(&["--tls-auth-clients", "no"], |_, server| {
        // The hello of a client that knows TLS 1.1 at most: one cipher, no extensions.
        let mut hello = vec![3, 2];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
        let mut socket = TcpStream::connect(server.address).expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let length = hello.len() as u8;
        socket.write_all(&[&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length], hello.as_slice()].concat()).expect("sent");
        let mut said = Vec::new();
        let _ = socket.read_to_end(&mut said);
        // A fatal alert: protocol version, or handshake failure.
        assert!(said.len() == 7 && said[0] == 0x15 && said[5] == 2 && [40, 70].contains(&said[6]), "{said:02x?}");

        let address = server.address.to_string();
        let openssl = Command::new("openssl")
            .args(["s_client", "-tls1_2", "-connect", &address])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut openssl) = openssl else {
            return testkit::skip_aloud("no openssl here, which could ask for a handshake amid a connection");
        };
        let mut input = openssl.stdin.take().expect("a pipe");
        input.write_all(b"R\n").expect("asked");
        let output = openssl.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("no renegotiation"), "{text}");
    });
}

/// Who begins a handshake and does not end it holds up nobody, and is gone after a while.
#[test]
fn half_handshakes_hold_up_nobody() {
    against_spinel(&["--tls-auth-clients", "no", "--maxclients", "150"], |authority, server| {
        let config = newest(authority);
        let mut halves: Vec<_> = (0..100)
            .map(|n| {
                let mut socket = TcpStream::connect(server.address).expect("a connection");
                socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                // Nothing, the head of a record, the begin of a hello.
                let hello = [0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
                socket.write_all(&hello[..[0, 3, 11][n % 3]]).expect("sent");
                socket
            })
            .collect();
        for _ in 0..20 {
            TlsClient::connect_and_ping(server.address, &config).expect("a connection");
        }
        // They count: places are taken before hands are shaken.
        let crowd: Vec<_> = (0..80).filter_map(|_| TlsClient::connect_and_ping(server.address, &config).ok()).collect();
        assert!((30..=50).contains(&crowd.len()), "{} of 80 were admitted", crowd.len());
        for half in &mut halves {
            assert!(matches!(half.read(&mut [0; 64]), Ok(0) | Err(_)), "it is closed");
        }
        drop(crowd);
        let log = server.server.log();
        assert!(log.contains("the handshake has taken too long"), "{log}");
        // Their places are free again.
        let again = wait_for(PATIENCE, || {
            let crowd: Result<Vec<_>, _> =
                (0..140).map(|_| TlsClient::connect_and_ping(server.address, &config)).collect();
            crowd.ok()
        });
        assert!(again.is_some(), "places are lost");
    });
}

#[test]
fn garbage_does_no_harm() {
    let seed = testkit::seed();
    against_both(&["--tls-auth-clients", "optional"], |authority, server| {
        let mut random = testkit::random_from(seed);
        let config = newest(authority);
        for round in 0..300 {
            let mut bytes = vec![0; random.random_range(1..3000)];
            random.fill_bytes(&mut bytes);
            match round % 4 {
                // Requests that are not encrypted.
                0 => bytes = b"*1\r\n$4\r\nPING\r\n".repeat(random.random_range(1..50)),
                // Records of every kind, of which the first is whole.
                1 => {
                    let length = random.random_range(1..bytes.len().min(500) + 1) as u16;
                    let [high, low] = length.to_be_bytes();
                    let head = [random.random_range(0x14..0x19), 3, random.random_range(0..4), high, low];
                    bytes.splice(0..0, head);
                }
                // A hello with lengths of its own.
                2 => {
                    let head = [0x16, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3];
                    bytes.splice(0..0, head);
                }
                _ => {}
            }
            send_and_forget(server.address, &bytes);
        }
        // Amid a connection, where the record is not authentic.
        for _ in 0..50 {
            let mut client = TlsClient::connect_and_ping(server.address, &config).expect("a connection");
            let mut bytes = vec![0; random.random_range(1..3000)];
            random.fill_bytes(&mut bytes);
            let length = (bytes.len() as u16).to_be_bytes();
            bytes.splice(0..0, [0x17, 3, 3, length[0], length[1]]);
            client.stream.sock.write_all(&bytes).expect("sent");
            assert!(client.receive().is_err(), "it is closed");
        }
        TlsClient::connect_and_ping(server.address, &config).expect("a connection");
        assert!(wait_until(PATIENCE, || info(&server.server, "connected_clients") == 1), "some are left");
        if server.server.kind() == Kind::Spinel {
            // Thirty lines a minute, and one that counts the rest.
            let lines = server.server.log().matches("Error accepting a client connection").count();
            assert!((1..=90).contains(&lines), "{lines} lines of log");
        }
    });
}

fn send_and_forget(address: SocketAddr, bytes: &[u8]) {
    let mut socket = TcpStream::connect(address).expect("a connection");
    // It may be closed amid of it.
    let _ = socket.write_all(bytes);
}

/// What idle clients cost is what CLIENT LIST says they cost.
#[test]
fn idle_clients_are_small() {
    const CLIENTS: usize = 1000;
    robustness::raise_open_files_max();
    against_spinel(&["--tls-auth-clients", "no", "--io-threads", "1"], |authority, server| {
        let config = newest(authority);
        let connect = || {
            let client = TlsClient::connect_and_ping(server.address, &config).expect("a connection");
            (client.stream.sock, client.stream.conn)
        };
        let _warm: Vec<_> = (0..CLIENTS).map(|_| connect()).collect();
        let allocated = || info(&server.server, "allocator_allocated");
        let before = allocated();
        let _crowd: Vec<_> = (0..CLIENTS).map(|_| connect()).collect();
        let each = (allocated() - before) / CLIENTS as u64;
        let list = text(&server.server.client().line("CLIENT LIST"));
        let last = list.lines().find(|line| line.contains(&format!("laddr={}", server.address))).expect("one of them");
        let said: u64 =
            last.split("tot-mem=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a number");
        println!("an idle TLS client: {each} bytes; CLIENT LIST says {said}");
        assert!(each * 2 > said && said * 2 > each, "{each} bytes each, and CLIENT LIST says {said}");
        assert!(each < 16 * 1024, "{each} bytes each");
    });
}

/// A server that cannot do what it is told does not start, and says why.
#[test]
fn bad_files_prevent_a_start() {
    let Some(program) = testkit::program(Kind::Spinel) else {
        return testkit::skip_aloud("no spinel is built");
    };
    let authority = Authority::new("the test's authority");
    let files = Files::new(&authority);
    files.write("other", &authority.issue("other"));
    let other = files.path("other.key");
    let other = other.to_str().expect("UTF-8");
    for (words, reason) in [
        (vec!["--tls-cert-file", "/nowhere"], "tls-cert-file '/nowhere': No such file or directory"),
        (vec!["--tls-key-file", other], "it is not the key of tls-cert-file"),
        (vec!["--tls-protocols", "TLSv1.1"], "tls-protocols: only TLSv1.2 and TLSv1.3 are spoken here"),
        (vec!["--tls-ca-cert-file", ""], "tls-auth-clients asks for certificates"),
    ] {
        let output = Command::new(&program)
            .args(["server", "--port", "0", "--tls-port", "1", "--save", ""])
            .args(files.arguments())
            .args(words)
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && text.contains(reason), "{reason}: {text}");
    }
}
