//! The options: one table, from which come the help text, the manual page and the shell completions; what they mean is read
//! in [`crate::settings`].

/// One option.
pub struct Opt {
    pub name: &'static str,
    /// What its argument is, if it has one.
    pub value: Option<&'static str>,
    /// Words the argument can be, for completion.
    pub choices: &'static [&'static str],
    pub help: &'static str,
    pub group: Group,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Server,
    Tls,
    Load,
    Requests,
    Output,
    Cluster,
    Other,
}

impl Group {
    pub const ALL: [Group; 7] =
        [Group::Server, Group::Load, Group::Requests, Group::Output, Group::Cluster, Group::Tls, Group::Other];

    pub fn title(self) -> &'static str {
        match self {
            Group::Server => "Which server",
            Group::Tls => "TLS",
            Group::Load => "How much load",
            Group::Requests => "Which requests",
            Group::Output => "What to show",
            Group::Cluster => "Cluster",
            Group::Other => "Other",
        }
    }
}

const fn flag(group: Group, name: &'static str, help: &'static str) -> Opt {
    Opt { name, value: None, choices: &[], help, group }
}

const fn with(group: Group, name: &'static str, value: &'static str, help: &'static str) -> Opt {
    Opt { name, value: Some(value), choices: &[], help, group }
}

const fn one_of(
    group: Group,
    name: &'static str,
    value: &'static str,
    choices: &'static [&'static str],
    help: &'static str,
) -> Opt {
    Opt { name, value: Some(value), choices, help, group }
}

/// Names of `-t`, in the order in which the tests run.
pub const TESTS: &[&str] = &[
    "ping",
    "ping_inline",
    "ping_mbulk",
    "set",
    "get",
    "incr",
    "lpush",
    "rpush",
    "lpop",
    "rpop",
    "sadd",
    "hset",
    "spop",
    "zadd",
    "zpopmin",
    "lrange",
    "lrange_100",
    "lrange_300",
    "lrange_500",
    "lrange_600",
    "mset",
    "mget",
    "xadd",
    "function_load",
    "fcall",
];

pub const OPTIONS: &[Opt] = &[
    with(Group::Server, "-h", "host", "Name or address of the server (127.0.0.1)"),
    with(Group::Server, "-p", "port", "Its port (6379)"),
    with(Group::Server, "-s", "path", "Its unix socket, instead of host and port"),
    with(Group::Server, "-u", "uri", "All of it as redis://user:password@host:port/database; rediss:// means TLS"),
    with(Group::Server, "-a", "password", "Password to authenticate with"),
    with(Group::Server, "--user", "name", "User the password belongs to; needs -a"),
    with(Group::Server, "--dbnum", "number", "Database to select (0)"),
    flag(Group::Server, "-3", "Speak RESP3"),
    flag(Group::Server, "--enable-tracking", "Switch client-side caching on (CLIENT TRACKING on) in each connection"),
    flag(Group::Server, "--mptcp", "Connect by Multipath TCP"),
    with(Group::Load, "-c", "number", "Connections (50)"),
    with(Group::Load, "-n", "number", "Requests of each test (100000)"),
    with(Group::Load, "--duration", "seconds", "Run each test for so long, instead of -n requests"),
    with(Group::Load, "--warmup", "seconds", "Run for so long before anything is counted"),
    with(Group::Load, "-P", "number", "Requests that a connection sends before it waits for their replies (1)"),
    with(Group::Load, "--threads", "number", "Threads that share the connections"),
    with(Group::Load, "-k", "0|1", "1 keeps connections (default), 0 opens a new one for each batch of -P requests"),
    with(
        Group::Load,
        "--rps",
        "number",
        "No more requests a second than this. Each connection still waits for its replies, so a slow server lowers the load",
    ),
    with(
        Group::Load,
        "--rate",
        "number",
        "Open loop: so many requests a second fall due whatever the server does, and latency counts from when a request \
         was due. A server that pauses is shown as its users see it",
    ),
    one_of(
        Group::Load,
        "--arrivals",
        "kind",
        &["even", "poisson"],
        "With --rate: requests fall due in even steps (default), or at random as from many users (poisson)",
    ),
    flag(Group::Load, "-l", "Repeat the tests until interrupted"),
    flag(Group::Load, "-I", "Idle: open -c connections and wait"),
    one_of(Group::Requests, "-t", "tests", TESTS, "Only these tests, separated by commas"),
    with(Group::Requests, "-d", "bytes", "Size of values (3)"),
    with(
        Group::Requests,
        "--data-sizes",
        "sizes",
        "Sizes of values by distribution: 10-1000 (even), 64:9,4096:1 (size:weight), lognormal:300:1.2 (median:sigma)",
    ),
    with(
        Group::Requests,
        "-r",
        "number",
        "Size of the key space: __rand_int__ in arguments becomes a number of 12 digits below it, another one each time; \
         __rand_1st__ to __rand_9th__ are the same within a command. The built-in tests use it for keys and members",
    ),
    flag(Group::Requests, "--sequential", "With -r: numbers in order instead of at random"),
    with(
        Group::Requests,
        "--zipf",
        "exponent",
        "With -r: low numbers more often, by Zipf's law; 0.99 is usual, 0 is even",
    ),
    with(
        Group::Requests,
        "--ratio",
        "reads:writes",
        "Instead of the tests: GET and SET of the keys of -r in this ratio, as 9:1",
    ),
    flag(
        Group::Requests,
        "--mix",
        "Of a command sequence send one command at a time, drawn at random; the numbers before commands are weights",
    ),
    flag(Group::Requests, "-x", "Read the last argument from standard input"),
    with(Group::Requests, "--seed", "number", "Seed of all random choices (the time)"),
    with(Group::Requests, "--num-functions", "number", "Functions in the library that test function_load loads (10)"),
    with(Group::Requests, "--num-keys-in-fcall", "number", "Keys that test fcall passes (1)"),
    with(
        Group::Requests,
        "--dataset",
        "file",
        "CSV or TSV file; __field:name__ in arguments becomes that field of its records, one after the other",
    ),
    with(Group::Requests, "--maxdocs", "number", "Records to read of it at most (all)"),
    flag(Group::Requests, "--ignore-errors", "Count error replies and go on; otherwise the first one ends the run"),
    flag(Group::Output, "-q", "One line a test"),
    flag(Group::Output, "--csv", "One line of comma-separated values a test"),
    flag(Group::Output, "--json", "One JSON document with options, percentiles and the course of each test"),
    with(
        Group::Output,
        "--report",
        "file",
        "Also write a page (HTML) with latency distribution and throughput over time",
    ),
    with(
        Group::Output,
        "--precision",
        "number",
        "Known for compatibility; latencies have three decimals in milliseconds",
    ),
    flag(Group::Cluster, "--cluster", "Send to all primaries of a cluster; keys of own commands must contain {tag}"),
    one_of(
        Group::Cluster,
        "--rfr",
        "mode",
        &["no", "yes", "all"],
        "With --cluster, read from replicas: no (primaries only), yes (replicas only), all",
    ),
    flag(Group::Tls, "--tls", "Encrypt"),
    with(Group::Tls, "--sni", "name", "Server name to ask for and to expect in its certificate"),
    with(Group::Tls, "--cacert", "file", "Certificates (PEM) to trust; otherwise the system's"),
    with(Group::Tls, "--cacertdir", "directory", "The same, all files of a directory"),
    flag(Group::Tls, "--insecure", "Trust any certificate"),
    with(Group::Tls, "--cert", "file", "Certificate (PEM) to show to the server"),
    with(Group::Tls, "--key", "file", "Its private key (PEM)"),
    with(
        Group::Tls,
        "--tls-ciphers",
        "list",
        "TLS 1.2 cipher suites to allow, by OpenSSL's names, separated by colons",
    ),
    with(Group::Tls, "--tls-ciphersuites", "list", "TLS 1.3 cipher suites to allow, separated by colons"),
    flag(Group::Other, "--help", "Show this text"),
    flag(Group::Other, "--version", "Show the version"),
];

/// Options of the other tools that are refused by name, and why.
pub const REFUSED: &[(&str, &str)] = &[
    ("--rdma", "there is no RDMA in this program"),
    ("--fuzz", "sending random commands is what Spinel's oracle does (make oracle), not its benchmark"),
    ("--fuzz-mode", "see --fuzz"),
    ("--fuzz-loglevel", "see --fuzz"),
];

/// Examples: what for, and the arguments.
pub const EXAMPLES: &[(&str, &str)] = &[
    ("The usual tests against a local server", ""),
    ("Two tests with 16 requests in flight on each connection, one line each", "-t set,get -P 16 -q"),
    ("A million keys of 100 bytes", "-t set -n 1000000 -r 1000000 --sequential -d 100 -P 16 -q"),
    ("A transaction of one's own", "-- multi ';' set key:__rand_int__ __data__ ';' incr counter ';' exec"),
    (
        "What users feel at 20000 requests a second, with hot keys and a page to look at",
        "--rate 20000 --arrivals poisson --duration 60 --ratio 9:1 -r 1000000 --zipf 0.99 --report load.html",
    ),
];
