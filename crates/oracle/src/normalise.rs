//! Replies that need not be equal byte for byte, and why. `docs/oracle.md` lists the same rows; a test holds the two together.

use testkit::Value;

use crate::step::upper;

/// One freedom.
pub struct Normaliser {
    pub name: &'static str,
    /// Commands, with the subcommand where only that is free.
    pub commands: &'static [&'static str],
    pub reason: &'static str,
    /// Whether two replies say the same. Both are known to differ.
    same: fn(arguments: &[Vec<u8>], subject: &Value, reference: &Value) -> bool,
}

/// All freedoms. Errors are never free: when either reply is an error, both must be equal.
pub const NORMALISERS: &[Normaliser] = &[
    Normaliser {
        name: "unordered",
        commands: &[
            "KEYS",
            "CONFIG GET",
            "PUBSUB CHANNELS",
            "PUBSUB SHARDCHANNELS",
            "SMEMBERS",
            "SINTER",
            "SUNION",
            "SDIFF",
            "HGETALL",
            "HKEYS",
            "HVALS",
            "SORT",
            "SORT_RO",
            "GEOSEARCH",
            "GEORADIUS",
            "GEORADIUS_RO",
            "GEORADIUSBYMEMBER",
            "GEORADIUSBYMEMBER_RO",
        ],
        reason: "the order is free; the elements are compared",
        same: same_unordered,
    },
    Normaliser {
        name: "any-member",
        commands: &["RANDOMKEY"],
        reason: "any element is right; whether there is one, and its type, are compared, and that it was there",
        same: |_, subject, reference| same_shape(subject, reference),
    },
    Normaliser {
        name: "clock",
        commands: &[
            "TTL",
            "PTTL",
            "EXPIRETIME",
            "PEXPIRETIME",
            "HTTL",
            "HPTTL",
            "HEXPIRETIME",
            "HPEXPIRETIME",
            "TIME",
            "LASTSAVE",
            "OBJECT IDLETIME",
            "XPENDING",
            "XINFO CONSUMERS",
            "XINFO STREAM",
        ],
        reason: "the two servers execute at different milliseconds; times may differ by 10 seconds",
        same: |arguments, subject, reference| match (subject.elements(), reference.elements()) {
            // The second element is the microseconds within the second of the first.
            (Some([ours, _]), Some([theirs, _])) if arguments[0].eq_ignore_ascii_case(b"TIME") => {
                near(ours, theirs, 10)
            }
            _ if arguments[0].eq_ignore_ascii_case(b"XPENDING") => same_pending(subject, reference),
            _ if arguments[0].eq_ignore_ascii_case(b"XINFO") => same_stream(subject, reference),
            _ => near(subject, reference, TIME_TOLERANCE_MS),
        },
    },
    Normaliser {
        name: "identity",
        commands: &["CLIENT ID", "CLIENT LIST", "CLIENT INFO", "HELLO", "ACL LOG"],
        reason: "ids, addresses, buffers, versions and ages are each server's own; the fields, their order, and the values \
                 that a client has chosen (name, db, user, resp, library, flags, cmd) are compared",
        same: same_identity,
    },
    Normaliser {
        name: "own-words",
        commands: &["* HELP", "LOLWUT", "LATENCY DOCTOR", "MEMORY DOCTOR"],
        reason: "help texts are in Spinel's own words; the reply's type is compared",
        same: |_, subject, reference| same_type(subject, reference),
    },
    Normaliser {
        name: "catalogue",
        commands: &["COMMAND ", "COMMAND COUNT", "COMMAND DOCS", "COMMAND INFO", "COMMAND LIST"],
        reason: "Spinel has the commands of both servers; `oracle coverage` compares them, here only the reply's type",
        same: |_, subject, reference| same_type(subject, reference),
    },
    Normaliser {
        name: "measurement",
        commands: &[
            "INFO",
            "MEMORY USAGE",
            "MEMORY STATS",
            "MEMORY MALLOC-STATS",
            "MEMORY PURGE",
            "LATENCY HISTOGRAM",
            "DEBUG OBJECT",
            "ROLE",
        ],
        reason: "figures of the server's own memory and work; the type, and of INFO the sections, are compared; and all of ROLE but the offset, \
                 by which Redis counts also what its append-only file gets without any replica",
        same: same_measurement,
    },
    Normaliser {
        name: "sign-of-zero",
        commands: &[
            "ZRANGE",
            "ZREVRANGE",
            "ZRANGEBYSCORE",
            "ZREVRANGEBYSCORE",
            "ZSCORE",
            "ZMSCORE",
            "ZRANK",
            "ZREVRANK",
            "ZPOPMIN",
            "ZPOPMAX",
            "ZMPOP",
            "BZPOPMIN",
            "BZPOPMAX",
            "BZMPOP",
            "ZUNION",
            "ZINTER",
            "ZDIFF",
            "ZINCRBY",
        ],
        reason: "Redis's listpack forgets the sign of a zero: which one a score has depends on the encodings that it has been in",
        same: |_, subject, reference| without_sign_of_zero(subject) == without_sign_of_zero(reference),
    },
    Normaliser {
        name: "oldest-form",
        commands: &["OBJECT ENCODING"],
        reason: "Spinel saves in the oldest form that holds the data: a hash without expiring fields, or a set of integers, that is a \
                 listpack of a newer kind comes back as what the older form is read as",
        same: same_but_for_saving,
    },
    Normaliser {
        name: "dump-payload",
        commands: &["DUMP"],
        reason: "compression and the RDB version of a payload are free; that each server reads the other's payload is a step of its own",
        same: |_, subject, reference| same_type(subject, reference),
    },
];

/// What became of comparing two replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Equal,
    /// They differ where they are free to; the name of the freedom.
    Free(&'static str),
    Different,
}

/// Compares the replies to one command.
pub fn compare(arguments: &[Vec<u8>], subject: &Value, reference: &Value) -> Verdict {
    if subject == reference {
        return Verdict::Equal;
    }
    if subject.is_error() || reference.is_error() {
        return Verdict::Different;
    }
    let name = upper(arguments.first().map_or(b"", Vec::as_slice));
    let subcommand = upper(arguments.get(1).map_or(b"", Vec::as_slice));
    NORMALISERS
        .iter()
        .find(|normaliser| normaliser.commands.iter().any(|pattern| matches(pattern, &name, &subcommand)))
        .filter(|normaliser| (normaliser.same)(arguments, subject, reference))
        .map_or(Verdict::Different, |normaliser| Verdict::Free(normaliser.name))
}

/// The reply of EXEC: those of all commands that were queued.
pub fn compare_all(queued: &[&[Vec<u8>]], subject: &Value, reference: &Value) -> Verdict {
    match (subject, reference) {
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() && ours.len() == queued.len() => {
            let mut pairs = queued.iter().zip(ours.iter().zip(theirs));
            match pairs.all(|(command, (ours, theirs))| compare(command, ours, theirs) != Verdict::Different) {
                true => Verdict::Equal,
                false => Verdict::Different,
            }
        }
        _ if subject == reference => Verdict::Equal,
        _ => Verdict::Different,
    }
}

/// `CONTAINER SUBCOMMAND`, `* SUBCOMMAND` of any container, `CONTAINER ` without a subcommand, or `COMMAND`.
fn matches(pattern: &str, name: &str, subcommand: &str) -> bool {
    match pattern.split_once(' ') {
        Some((container, sub)) => (container == "*" || container == name) && sub == subcommand,
        None => pattern == name,
    }
}

/// Scores that are zero as 0.
pub fn without_sign_of_zero(value: &Value) -> Value {
    match value {
        Value::Bulk(text) if text == b"-0" => Value::Bulk(b"0".to_vec()),
        Value::Double(text) if text == "-0" => Value::Double("0".to_owned()),
        Value::Array(elements) => Value::Array(elements.iter().map(without_sign_of_zero).collect()),
        other => other.clone(),
    }
}

/// How far apart two servers may be in milliseconds.
const TIME_TOLERANCE_MS: i64 = 10_000;

/// Reads of unordered values; of SORT and the searches of places what is not asked for in an order.
fn same_unordered(arguments: &[Vec<u8>], subject: &Value, reference: &Value) -> bool {
    let has = |option: &str| arguments.iter().skip(2).any(|word| word.eq_ignore_ascii_case(option.as_bytes()));
    let name = upper(&arguments[0]);
    if name.starts_with("SORT") {
        // Weights by ALPHA that are equal decide nothing, and a pattern without a star asks for no order.
        let by = arguments.iter().position(|word| word.eq_ignore_ascii_case(b"BY")).map(|at| arguments.get(at + 1));
        let is_free = by.flatten().is_some_and(|pattern| has("ALPHA") || !pattern.contains(&b'*'));
        let is_cut = has("LIMIT");
        return is_free
            && if is_cut { same_shape(subject, reference) } else { unordered(subject) == unordered(reference) };
    }
    if name.starts_with("GEO") {
        return same_places(arguments, subject, reference);
    }
    unordered(subject) == unordered(reference)
}

/// Searches of places. Members that are equally far are sorted by Redis in no particular order when there is a COUNT: a few in a row may have
/// changed places, whose distance, coordinates and hash are compared where they are shown.
fn same_places(arguments: &[Vec<u8>], subject: &Value, reference: &Value) -> bool {
    /// So many members may be equally far.
    const TIES_MAX: usize = 4;
    let has = |option: &str| arguments.iter().skip(2).any(|word| word.eq_ignore_ascii_case(option.as_bytes()));
    if has("ANY") {
        return same_shape(subject, reference);
    }
    if !has("COUNT") {
        return !has("ASC") && !has("DESC") && unordered(subject) == unordered(reference);
    }
    let (Some(ours), Some(theirs)) = (subject.elements(), reference.elements()) else { return false };
    /// All that is shown of a member but its name.
    fn place(member: &Value) -> &[Value] {
        member.elements().map_or(&[], |parts| &parts[1..])
    }
    let mut at = 0;
    if ours.len() != theirs.len() {
        return false;
    }
    while at < ours.len() {
        let ties = (at..ours.len()).take_while(|&at| ours[at] != theirs[at]).count();
        let (our_ties, their_ties) = (&ours[at..at + ties], &theirs[at..at + ties]);
        let is_last = at + ties == ours.len();
        // At the end, COUNT may have taken others.
        let same = our_ties.iter().zip(their_ties).all(|(ours, theirs)| place(ours) == place(theirs))
            && (is_last || sorted(our_ties) == sorted(their_ties));
        if ties > TIES_MAX || !same {
            return false;
        }
        at += ties + 1;
    }
    true
}

/// Entries of XPENDING: id, consumer, how long idle, how often delivered.
fn same_pending(subject: &Value, reference: &Value) -> bool {
    let (Some(ours), Some(theirs)) = (subject.elements(), reference.elements()) else { return false };
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(ours, theirs)| match (ours.elements(), theirs.elements()) {
            (Some([id, consumer, idle, count]), Some([their_id, their_consumer, their_idle, their_count])) => {
                (id, consumer, count) == (their_id, their_consumer, their_count)
                    && near(idle, their_idle, TIME_TOLERANCE_MS)
            }
            _ => ours == theirs,
        })
}

/// What XINFO says: times are near, and into how many pieces a stream is cut is each server's own.
fn same_stream(subject: &Value, reference: &Value) -> bool {
    /// Milliseconds; ids and counts of a run stay far below.
    const INSTANT_MIN: i64 = 1_000_000_000_000;
    let same_field = |name: &Value, ours: &Value, theirs: &Value| match name.text() {
        Some("idle" | "inactive") => near(ours, theirs, TIME_TOLERANCE_MS),
        Some("radix-tree-keys" | "radix-tree-nodes") => ours.integer().is_some() && theirs.integer().is_some(),
        _ => same_stream(ours, theirs),
    };
    match (subject, reference) {
        (Value::Integer(ours), Value::Integer(theirs)) => {
            ours == theirs
                || *ours > INSTANT_MIN
                    && *theirs > INSTANT_MIN
                    && ours.abs_diff(*theirs) <= TIME_TOLERANCE_MS.unsigned_abs()
        }
        (Value::Map(ours), Value::Map(theirs)) => {
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(theirs)
                    .all(|((name, ours), (their_name, theirs))| name == their_name && same_field(name, ours, theirs))
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            let nothing = Value::Null;
            ours.len() == theirs.len()
                && (0..ours.len()).all(|at| {
                    // In RESP2 a field's name is the element before.
                    let name = if at % 2 == 1 { &ours[at - 1] } else { &nothing };
                    same_field(name, &ours[at], &theirs[at])
                })
        }
        _ => subject == reference,
    }
}

/// What became of a set of integers, or of a hash whose fields have lost their times to live, in files of either server. The set may have
/// grown since: an intset is the last to leave the compact encodings.
fn same_but_for_saving(_: &[Vec<u8>], subject: &Value, reference: &Value) -> bool {
    let mut encodings = [subject, reference].map(|value| value.text().unwrap_or_default());
    encodings.sort_unstable();
    matches!(encodings, ["listpack", "listpackex"] | ["intset", "listpack"] | ["hashtable", "intset"])
}

/// Arrays and sets with sorted elements, maps (RESP2's flat ones too) with sorted pairs.
fn unordered(value: &Value) -> Value {
    match value {
        Value::Array(elements) => Value::Array(sorted(elements)),
        Value::Set(elements) => Value::Set(sorted(elements)),
        Value::Map(pairs) => {
            let mut pairs = pairs.clone();
            pairs.sort();
            Value::Map(pairs)
        }
        other => other.clone(),
    }
}

fn sorted(elements: &[Value]) -> Vec<Value> {
    let mut elements = elements.to_vec();
    elements.sort();
    elements
}

fn same_type(subject: &Value, reference: &Value) -> bool {
    std::mem::discriminant(subject) == std::mem::discriminant(reference)
}

fn same_shape(subject: &Value, reference: &Value) -> bool {
    same_type(subject, reference)
        && subject.elements().map(|elements| elements.len()) == reference.elements().map(|elements| elements.len())
}

/// Equal but for numbers (text or integer) that lie near each other; -1 and -2 are answers, not times.
fn near(subject: &Value, reference: &Value, tolerance: i64) -> bool {
    if let (Some(ours), Some(theirs)) = (subject.elements(), reference.elements()) {
        return same_type(subject, reference)
            && ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(|(ours, theirs)| near(ours, theirs, tolerance));
    }
    let number = |value: &Value| value.integer().or_else(|| value.text()?.parse().ok());
    match (number(subject), number(reference)) {
        (Some(ours), Some(theirs)) => {
            same_type(subject, reference)
                && (ours == theirs || ours >= 0 && theirs >= 0 && ours.abs_diff(theirs) <= tolerance.unsigned_abs())
        }
        _ => subject == reference,
    }
}

/// Fields of a line of CLIENT LIST whose value follows from what the client has done.
const CLIENT_FIELDS_COMPARED: [&str; 12] =
    ["name", "flags", "db", "sub", "psub", "ssub", "multi", "watch", "user", "resp", "lib-name", "cmd"];

/// Fields of HELLO that are not the server's identity.
const HELLO_FIELDS_COMPARED: [&str; 4] = ["server", "proto", "mode", "role"];

fn same_identity(arguments: &[Vec<u8>], subject: &Value, reference: &Value) -> bool {
    if !same_type(subject, reference) {
        return false;
    }
    if arguments[0].eq_ignore_ascii_case(b"ACL") {
        return same_refusals(subject, reference);
    }
    if let (Some(ours), Some(theirs)) = (subject.pairs(), reference.pairs()) {
        let names = |pairs: &[(&Value, &Value)]| pairs.iter().map(|(key, _)| (*key).clone()).collect::<Vec<_>>();
        return names(&ours) == names(&theirs)
            && HELLO_FIELDS_COMPARED.iter().all(|name| subject.field(name) == reference.field(name));
    }
    let (Some(ours), Some(theirs)) = (subject.text(), reference.text()) else {
        // CLIENT ID
        return subject.integer().is_some_and(|id| id > 0);
    };
    // Valkey's lines have other fields than Redis's, whose are Spinel's: of those only the values are compared.
    let with_all_names = !theirs.contains(" capa=");
    let lines = |text: &str| {
        let mut lines: Vec<Vec<String>> = text.lines().map(|line| client_line(line, with_all_names)).collect();
        lines.sort();
        lines
    };
    lines(ours) == lines(theirs)
}

/// A client as the log of refusals shows it. While EXEC executes, Redis's client is still in its transaction (`flags`, `multi`), and Spinel's is not.
fn tried_by(line: &str, with_all_names: bool) -> Vec<String> {
    let mut fields = client_line(line, with_all_names);
    if fields.iter().any(|field| field == "cmd=exec") {
        fields.retain(|field| !field.starts_with("flags=") && !field.starts_with("multi="));
    }
    fields
}

/// Entries of ACL LOG.
fn same_refusals(subject: &Value, reference: &Value) -> bool {
    let same_field = |ours: (&Value, &Value), theirs: (&Value, &Value)| {
        ours.0 == theirs.0
            && match ours.0.text() {
                Some("age-seconds" | "entry-id" | "timestamp-created" | "timestamp-last-updated") => {
                    same_type(ours.1, theirs.1)
                }
                Some("client-info") => match (ours.1.text(), theirs.1.text()) {
                    (Some(ours), Some(theirs)) => {
                        let with_all_names = !theirs.contains(" capa=");
                        tried_by(ours, with_all_names) == tried_by(theirs, with_all_names)
                    }
                    _ => false,
                },
                _ => ours.1 == theirs.1,
            }
    };
    let (Some(ours), Some(theirs)) = (subject.elements(), reference.elements()) else { return false };
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(ours, theirs)| match (ours.pairs(), theirs.pairs()) {
            (Some(ours), Some(theirs)) => {
                ours.len() == theirs.len()
                    && ours.into_iter().zip(theirs).all(|(ours, theirs)| same_field(ours, theirs))
            }
            _ => false,
        })
}

/// A line of CLIENT LIST as the fields whose values are compared, and the names of the others.
fn client_line(line: &str, with_all_names: bool) -> Vec<String> {
    // Once one of the keys was touched, Redis watches none any more, unless FLUSHALL or SWAPDB did it.
    let is_dirty = line.split(' ').any(|field| field.strip_prefix("flags=").is_some_and(|flags| flags.contains('d')));
    line.split(' ')
        .filter(|field| !is_dirty || !field.starts_with("watch="))
        .filter_map(|field| match field.split_once('=') {
            Some((name, value)) if CLIENT_FIELDS_COMPARED.contains(&name) => Some(format!("{name}={value}")),
            Some((name, _)) => with_all_names.then(|| name.to_owned()),
            None => Some(field.to_owned()),
        })
        .collect()
}

/// A section of INFO that the real servers do not have here: they are built without TLS.
const SECTION_OF_TLS: &str = "# TLS";

fn same_measurement(arguments: &[Vec<u8>], subject: &Value, reference: &Value) -> bool {
    if arguments[0].eq_ignore_ascii_case(b"ROLE") {
        let without_offset = |value: &Value| match value.elements() {
            Some([role, Value::Integer(_), replicas]) => Some((role.clone(), replicas.clone())),
            _ => None,
        };
        return without_offset(subject).is_some() && without_offset(subject) == without_offset(reference);
    }
    let sections = |value: &Value| {
        let text = value.text().unwrap_or_default();
        let titles = text.lines().filter(|line| line.starts_with('#') && *line != SECTION_OF_TLS);
        titles.map(str::to_owned).collect::<Vec<_>>()
    };
    same_type(subject, reference)
        && (!arguments[0].eq_ignore_ascii_case(b"INFO") || sections(subject) == sections(reference))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    fn same(arguments: &[Vec<u8>], subject: &Value, reference: &Value) -> bool {
        compare(arguments, subject, reference) != Verdict::Different
    }

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn freedoms_are_narrow() {
        let (ab, ba) = (Value::Array(vec![bulk("a"), bulk("b")]), Value::Array(vec![bulk("b"), bulk("a")]));
        assert!(same(&command("KEYS *"), &ab, &ba));
        assert!(!same(&command("MGET x y"), &ab, &ba));
        assert!(!same(&command("KEYS *"), &ab, &Value::Set(vec![bulk("a"), bulk("b")])));
        assert!(same(&command("pttl k"), &Value::Integer(100_000), &Value::Integer(100_400)));
        assert!(!same(&command("pttl k"), &Value::Integer(-1), &Value::Integer(100)));
        assert!(!same(&command("pttl k"), &Value::Integer(-1), &Value::Integer(-2)));
        assert!(!same(&command("object help"), &ab, &Value::Error(b"ERR no".to_vec())));
        let (ours, theirs) = (bulk("id=3 name=a db=1"), bulk("id=7 name=a db=1"));
        assert!(same(&command("CLIENT INFO"), &ours, &theirs));
        assert!(!same(&command("CLIENT INFO"), &ours, &bulk("id=7 name=b db=1")));
        assert!(!same(&command("CLIENT INFO"), &ours, &bulk("id=7 db=1 name=a")));
    }

    #[test]
    fn places_that_are_equally_far_are_in_any_order() {
        let at = |name: &str, distance: &str| Value::Array(vec![bulk(name), bulk(distance)]);
        let nearest = command("GEOSEARCH k FROMLONLAT 1 1 BYBOX 1 1 m ASC COUNT 3 WITHDIST");
        let ours = Value::Array(vec![at("a", "1"), at("b", "1"), at("c", "2")]);
        assert!(same(&nearest, &ours, &Value::Array(vec![at("b", "1"), at("a", "1"), at("c", "2")])));
        assert!(same(&nearest, &ours, &Value::Array(vec![at("a", "1"), at("b", "1"), at("d", "2")])));
        assert!(!same(&nearest, &ours, &Value::Array(vec![at("a", "1"), at("d", "1"), at("c", "2")])));
        assert!(!same(&nearest, &ours, &Value::Array(vec![at("a", "1"), at("c", "2"), at("b", "1")])));
        let all = command("GEOSEARCH k FROMLONLAT 1 1 BYBOX 1 1 m ASC");
        assert!(!same(&all, &ours, &Value::Array(vec![at("b", "1"), at("a", "1"), at("c", "2")])));
        let names = |names: &str| Value::Array(names.split(' ').map(bulk).collect());
        let nearest = command("GEORADIUS k 1 1 1 m COUNT 7");
        assert!(same(&nearest, &names("a b c d e f g"), &names("b a c d e g f")));
        assert!(!same(&nearest, &names("a b c d e f g"), &names("g f e d c b a")));
    }

    #[test]
    fn of_the_log_of_refusals_only_ages_and_identities_are_free() {
        let entry = |count, object: &str, age: &str, client: &str| {
            let fields =
                [bulk("count"), Value::Integer(count), bulk("object"), bulk(object), bulk("age-seconds"), bulk(age)];
            Value::Array(vec![Value::Array([&fields[..], &[bulk("client-info"), bulk(client)]].concat())])
        };
        let ours = entry(1, "get", "0.001", "id=3 addr=x cmd=get user=u");
        let log = command("ACL LOG");
        assert!(same(&log, &ours, &entry(1, "get", "0.2", "id=4 addr=y cmd=get user=u")));
        assert!(!same(&log, &ours, &entry(2, "get", "0.001", "id=3 addr=x cmd=get user=u")));
        assert!(!same(&log, &ours, &entry(1, "set", "0.001", "id=3 addr=x cmd=get user=u")));
        assert!(!same(&log, &ours, &entry(1, "get", "0.001", "id=3 addr=x cmd=get user=v")));
        assert!(!same(&log, &ours, &Value::Array(Vec::new())));
    }

    #[test]
    fn documentation_lists_each_and_no_other() {
        let page = std::fs::read_to_string(testkit::workspace_directory().join("docs/oracle.md")).unwrap();
        let rows: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
            .map(|(name, _)| name)
            .collect();
        let names: Vec<&str> = NORMALISERS.iter().map(|normaliser| normaliser.name).collect();
        assert_eq!(rows, names, "docs/oracle.md must list the normalisers, in order");
        assert!(names.len() <= 10);
    }
}
