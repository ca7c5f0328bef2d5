//! One value of every type and encoding, made by commands that all servers know, and what a client sees of it.

use testkit::{Client, Value};

/// The keys that [`fill`] makes.
pub const KEYS: &[&str] = &[
    "number",
    "short",
    "long",
    "sketch",
    "list",
    "list-large",
    "set-numbers",
    "set",
    "set-large",
    "hash",
    "hash-large",
    "sorted",
    "sorted-large",
    "places",
    "stream",
    "stream-large",
    "stream-read",
    "stream-empty",
];

/// Keys with fields that expire, which Redis 7.0 does not know and Valkey writes in a form of its own.
pub const EXPIRING_KEYS: &[&str] = &["hash-expiring", "hash-expiring-large"];

/// Creates all of [`KEYS`], some with an expiry.
pub fn fill(client: &mut Client) {
    let many = |prefix: &str, count: usize, width: usize| -> String {
        (0..count).map(|index| format!(" {prefix}{index}{}", " 7".repeat(width))).collect()
    };
    let numbered: String = (0..300).map(|index| format!(" {}.5 member{index}", index * 3)).collect();
    let lines = [
        "SET number -12345".to_owned(),
        "SET short hello".to_owned(),
        format!("SET long {}", "spinel and ruby ".repeat(9000).replace(' ', "_")),
        format!("PFADD sketch{}", many("m", 200, 0)),
        "RPUSH list a 12 -70000 hello".to_owned(),
        format!("RPUSH list-large{}", many("an-element-that-is-not-too-short-", 900, 0)),
        "SADD set-numbers 1 2 70000 -5000000000".to_owned(),
        "SADD set a 2 hello".to_owned(),
        format!("SADD set-large{}", many("member", 300, 0)),
        "HSET hash f v 7 8 g hello".to_owned(),
        format!("HSET hash-large{}", many("field", 300, 1)),
        "ZADD sorted 1.5 a -inf b inf c 3 7".to_owned(),
        format!("ZADD sorted-large{numbered}"),
        "GEOADD places 13.361389 38.115556 Palermo 15.087269 37.502669 Catania".to_owned(),
        "XADD stream 5-1 f v g w".to_owned(),
        "XADD stream 5-2 f v g x".to_owned(),
        "XADD stream 6-0 other 12".to_owned(),
        "XDEL stream 6-0".to_owned(),
        "XADD stream-read 1-1 f v".to_owned(),
        "XADD stream-read 1-2 f v".to_owned(),
        "XADD stream-read 1-3 f v".to_owned(),
        "XGROUP CREATE stream-read readers 0".to_owned(),
        "XGROUP CREATE stream-read others $".to_owned(),
        "XREADGROUP GROUP readers alice COUNT 1 STREAMS stream-read >".to_owned(),
        "XREADGROUP GROUP readers bob COUNT 1 STREAMS stream-read >".to_owned(),
        "XGROUP CREATECONSUMER stream-read others carol".to_owned(),
        "XADD stream-empty 9-9 f v".to_owned(),
        "XDEL stream-empty 9-9".to_owned(),
        "PEXPIREAT number 4102444800000".to_owned(),
        "PEXPIREAT list-large 4102444800001".to_owned(),
        "PEXPIREAT sorted-large 4102444800002".to_owned(),
        "PEXPIREAT stream 4102444800003".to_owned(),
    ];
    let entries =
        (0..400).map(|index| format!("XADD stream-large {}-{index} name value{index} n {index}", index / 7 + 1));
    must(client, lines.into_iter().chain(entries));
}

/// Creates all of [`EXPIRING_KEYS`].
pub fn fill_expiring(client: &mut Client) {
    let fields: String = (0..300).map(|index| format!(" field{index} {index}")).collect();
    must(
        client,
        [
            "HSET hash-expiring f v g w h x".to_owned(),
            "HPEXPIREAT hash-expiring 4102444800000 FIELDS 1 g".to_owned(),
            "HPEXPIREAT hash-expiring 4102444800009 FIELDS 1 h".to_owned(),
            format!("HSET hash-expiring-large{fields}"),
            "HPEXPIREAT hash-expiring-large 4102444800000 FIELDS 2 field7 field70".to_owned(),
        ],
    );
}

fn must(client: &mut Client, lines: impl IntoIterator<Item = String>) {
    for line in lines {
        let reply = client.line(&line);
        assert!(!reply.is_error(), "{line}: {reply}");
    }
}

/// What a client sees of a key, but for what servers are free to order and to call differently.
pub fn content(client: &mut Client, key: &str) -> String {
    let kind = client.line(&format!("TYPE {key}")).to_string();
    let lines: &[&str] = match kind.trim_matches('"') {
        "string" => &["GET {}"],
        "list" => &["LRANGE {} 0 -1"],
        "set" => &["SMEMBERS {}"],
        "hash" if EXPIRING_KEYS.contains(&key) => {
            &["HGETALL {}", "HPEXPIRETIME {} FIELDS 3 f g h", "HPEXPIRETIME {} FIELDS 3 field7 field70 field8"]
        }
        "hash" => &["HGETALL {}"],
        "zset" => &["ZRANGE {} 0 -1 WITHSCORES"],
        "stream" => &["XRANGE {} - +", "XLEN {}", "XINFO GROUPS {}"],
        _ => &[],
    };
    let mut shown = vec![kind, client.line(&format!("PEXPIRETIME {key}")).to_string()];
    for line in lines {
        let reply = client.line(&line.replace("{}", key));
        shown.push(match (line.split(' ').next(), reply.elements()) {
            (Some("SMEMBERS"), Some(members)) => sorted(members.iter().map(Value::to_string)),
            (Some("HGETALL"), Some(items)) => sorted(items.chunks(2).map(|pair| format!("{pair:?}"))),
            _ => reply.to_string(),
        });
    }
    for group in ["readers", "others"].iter().filter(|_| key == "stream-read") {
        let pending = client.line(&format!("XPENDING {key} {group} - + 10"));
        // Who, which entry and how often; not for how long.
        let rows = pending.elements().unwrap_or_default().iter().filter_map(Value::elements);
        shown.push(rows.map(|row| format!("{} {} {}", row[0], row[1], row[3])).collect::<Vec<_>>().join(", "));
    }
    shown.join("\n")
}

fn sorted(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    items.sort_unstable();
    items.join(" ")
}

/// The checksum at the end of a payload: CRC-64 with the polynomial of Jones, as Redis uses it.
pub fn checksum(bytes: &[u8]) -> u64 {
    const POLYNOMIAL: u64 = 0x95AC_9329_AC4B_C9B5;
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u64::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ POLYNOMIAL } else { sum >> 1 })
    })
}
