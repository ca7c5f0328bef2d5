//! `CLIENT LIST`.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use keyspace::Millis;

use super::filter::{Dialect, Filter};
use crate::client::{Client, ClientFlags};
use crate::context::{Ctx, Outcome};
use crate::error::shown;
use crate::pubsub::Topic;
use crate::registry::Registry;
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "list",
    arity: -2,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS).union(Acl::CONNECTION),
    group: Group::Connection,
    since: "2.4.0",
    summary: "Lists the open connections.",
    complexity: "O(N), N being the number of connections",
    history: &[
        ("2.8.12", "Field `id`, unique to each client."),
        ("5.0.0", "Filter `TYPE`."),
        ("6.0.0", "Field `user`."),
        ("6.2.0", "Fields `argv-mem`, `tot-mem`, `laddr`, `redir`; filter `ID`."),
        ("7.0.0", "Fields `resp`, `multi-mem`, `rbs`, `rbp`."),
        ("7.0.3", "Field `ssub`."),
        ("7.2.0", "Fields `lib-name`, `lib-ver`."),
        ("7.4.0", "Field `watch`."),
        ("8.0.0", "Field `io-thread`; `TYPE` knows `primary`."),
        ("8.1.0", "Filters `USER`, `ADDR`, `LADDR`, `SKIPME`, `MAXAGE`."),
        (
            "9.0.0",
            "Filters by name, idle time, flags, library, database, capabilities and IP; most filters have a `NOT-` form.",
        ),
    ],
    tips: &["nondeterministic_output"],
    args: &[
        Arg::one_of(
            "client-type",
            &[
                Arg::word("normal", "NORMAL"),
                Arg::word("master", "MASTER"),
                Arg::word("replica", "REPLICA"),
                Arg::word("pubsub", "PUBSUB"),
            ],
        )
        .token("TYPE")
        .since("5.0.0")
        .optional(),
        Arg::integer("client-id").token("ID").since("6.2.0").optional().multiple(),
        Arg::string("username").token("USER").since("8.1.0").optional(),
        Arg::string("addr").display("ip:port").token("ADDR").since("8.1.0").optional(),
        Arg::string("laddr").display("ip:port").token("LADDR").since("8.1.0").optional(),
        Arg::one_of("skipme", &[Arg::word("yes", "YES"), Arg::word("no", "NO")])
            .token("SKIPME")
            .since("8.1.0")
            .optional(),
        Arg::integer("maxage").token("MAXAGE").since("8.1.0").optional(),
        Arg::string("name").token("NAME").since("9.0.0").optional(),
        Arg::integer("idle").token("IDLE").since("9.0.0").optional(),
        Arg::string("flags").token("FLAGS").since("9.0.0").optional(),
        Arg::string("lib-name").token("LIB-NAME").since("9.0.0").optional(),
        Arg::string("lib-ver").token("LIB-VER").since("9.0.0").optional(),
        Arg::integer("db").token("DB").since("9.0.0").optional(),
        Arg::string("capa").token("CAPA").since("9.0.0").optional(),
        Arg::string("ip").token("IP").since("9.0.0").optional(),
        Arg::one_of(
            "not-client-type",
            &[
                Arg::word("normal", "NORMAL"),
                Arg::word("master", "MASTER"),
                Arg::word("replica", "REPLICA"),
                Arg::word("pubsub", "PUBSUB"),
            ],
        )
        .token("NOT-TYPE")
        .since("9.0.0")
        .optional(),
        Arg::integer("not-client-id").token("NOT-ID").since("9.0.0").optional().multiple(),
        Arg::string("not-username").token("NOT-USER").since("9.0.0").optional(),
        Arg::string("not-addr").display("ip:port").token("NOT-ADDR").since("9.0.0").optional(),
        Arg::string("not-laddr").display("ip:port").token("NOT-LADDR").since("9.0.0").optional(),
        Arg::string("not-name").token("NOT-NAME").since("9.0.0").optional(),
        Arg::string("not-flags").token("NOT-FLAGS").since("9.0.0").optional(),
        Arg::string("not-lib-name").token("NOT-LIB-NAME").since("9.0.0").optional(),
        Arg::string("not-lib-ver").token("NOT-LIB-VER").since("9.0.0").optional(),
        Arg::integer("not-db").token("NOT-DB").since("9.0.0").optional(),
        Arg::string("not-capa").token("NOT-CAPA").since("9.0.0").optional(),
        Arg::string("not-ip").token("NOT-IP").since("9.0.0").optional(),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let filter = Filter::parse(cx, Dialect::List)?;
    note_command(cx);
    let (own, now) = (cx.session.client.id, cx.db.now);
    let registry = &cx.global().registry;
    let mut lines = String::new();
    for client in cx.host.clients().open() {
        if filter.matches(&client, own, now) {
            describe(&mut lines, &client, registry, now);
        }
    }
    cx.reply.verbatim("txt", lines.as_bytes());
    Ok(())
}

/// The record shows a client's last command only once its batch is done; a client that looks sees the one it sent, now.
pub(super) fn note_command(cx: &Ctx<'_>) {
    cx.session.client.last_command.store(cx.command.id, Relaxed);
    cx.session.client.last_interaction.store(cx.db.now.0, Relaxed);
}

/// The line of one client, in the order of Redis 8.2.
///
/// Some fields are constant because what they count does not exist: a thread's reply buffer belongs to no connection (`rbs`,
/// `rbp`, `obl`), and what is not yet written stands in `oll` and `omem`.
pub(super) fn describe(line: &mut String, client: &Client, registry: &Registry, now: Millis) {
    let text = client.text.lock();
    let command = match client.last_command.load(Relaxed) {
        u16::MAX => "NULL",
        id => &registry.by_id(id).full_name,
    };
    let output_bytes = client.output_bytes.load(Relaxed);
    let written = writeln!(
        line,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} watch={} \
         qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs=0 rbp=0 obl=0 oll={} omem={} tot-mem={} events={} cmd={} \
         user={} redir={} resp={} lib-name={} lib-ver={} io-thread={} tot-net-in={} tot-net-out={} tot-cmds={}",
        client.id,
        client.address,
        client.local_address,
        client.fd,
        String::from_utf8_lossy(shown(&text.name)),
        age_seconds(client, now),
        idle_seconds(client, now),
        letters(client),
        client.db.load(Relaxed),
        client.subscription_count(Topic::Channel),
        client.subscription_count(Topic::Pattern),
        client.subscription_count(Topic::Shard),
        if client.flags().contains(ClientFlags::MULTI) { client.queued_commands.load(Relaxed) as i64 } else { -1 },
        // As in Redis, who has lost already watches nothing any more.
        if client.flags().contains(ClientFlags::DIRTY_WATCH) { 0 } else { client.watched_keys.load(Relaxed) },
        client.query_buffer_bytes.load(Relaxed),
        client.query_buffer_free_bytes.load(Relaxed),
        client.argument_bytes.load(Relaxed),
        client.queued_bytes.load(Relaxed),
        client.output_segments.load(Relaxed),
        output_bytes,
        client.memory_bytes.load(Relaxed),
        if output_bytes > 0 { "rw" } else { "r" },
        command,
        String::from_utf8_lossy(&text.user),
        client.redirect.load(Relaxed),
        client.protocol.load(Relaxed),
        String::from_utf8_lossy(shown(&text.library_name)),
        String::from_utf8_lossy(shown(&text.library_version)),
        client.place().thread,
        client.net_input_bytes.get(),
        client.net_output_bytes.get(),
        client.commands.get(),
    );
    written.expect("a String takes whatever is written to it");
}

/// The line of one client as CLIENT INFO shows it, for the log of what users were refused.
pub(crate) fn describe_client(client: &Client, registry: &Registry, now: Millis) -> String {
    let mut line = String::new();
    describe(&mut line, client, registry, now);
    line.truncate(line.trim_end().len());
    line
}

pub(super) fn age_seconds(client: &Client, now: Millis) -> i64 {
    (now.0 - client.created.0).max(0) / 1000
}

pub(super) fn idle_seconds(client: &Client, now: Millis) -> i64 {
    (now.0 - client.last_interaction.load(Relaxed)).max(0) / 1000
}

/// The letters of `flags=`, in Redis's order; `N` if there is none.
pub(super) fn letters(client: &Client) -> String {
    const BEFORE_KILLED: &[(ClientFlags, char)] = &[
        (ClientFlags::MONITOR, 'O'),
        (ClientFlags::REPLICA, 'S'),
        (ClientFlags::PRIMARY, 'M'),
        (ClientFlags::PUBSUB, 'P'),
        (ClientFlags::MULTI, 'x'),
        (ClientFlags::PAUSED.union(ClientFlags::BLOCKED), 'b'),
        (ClientFlags::TRACKING, 't'),
        (ClientFlags::TRACKING_BROKEN, 'R'),
        (ClientFlags::TRACKING_BCAST, 'B'),
        (ClientFlags::DIRTY_WATCH, 'd'),
        (ClientFlags::CLOSE_AFTER_REPLY, 'c'),
    ];
    const BEHIND_KILLED: &[(ClientFlags, char)] = &[
        (ClientFlags::UNIX_SOCKET, 'U'),
        (ClientFlags::READONLY, 'r'),
        (ClientFlags::NO_EVICT, 'e'),
        (ClientFlags::NO_TOUCH, 'T'),
        (ClientFlags::IMPORT_SOURCE, 'I'),
    ];
    let flags = client.flags();
    let set = |table: &'static [(ClientFlags, char)]| {
        table.iter().filter(move |(flag, _)| flags.intersects(*flag)).map(|&(_, letter)| letter)
    };
    let killed = client.killed.load(Relaxed).then_some('A');
    let letters: String = set(BEFORE_KILLED).chain(killed).chain(set(BEHIND_KILLED)).collect();
    if letters.is_empty() { "N".to_owned() } else { letters }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Place;
    use crate::testing::script;

    #[test]
    fn the_line_of_redis_8_2() {
        let client = Client::new(
            7,
            Place { thread: 1, token: 0 },
            "127.0.0.1:5000".into(),
            "127.0.0.1:6379".into(),
            8,
            Millis(1000),
        );
        client.set_flag(ClientFlags::NO_EVICT, true);
        client.set_flag(ClientFlags::UNIX_SOCKET, true);
        client.text.lock().name = b"worker".to_vec();
        client.last_interaction.store(3000, Relaxed);
        let mut line = String::new();
        describe(&mut line, &client, &Registry::default(), Millis(5999));
        assert_eq!(
            line,
            "id=7 addr=127.0.0.1:5000 laddr=127.0.0.1:6379 fd=8 name=worker age=4 idle=2 flags=Ue db=0 sub=0 psub=0 ssub=0 \
             multi=-1 watch=0 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r \
             cmd=NULL user=default redir=-1 resp=2 lib-name= lib-ver= io-thread=1 tot-net-in=0 tot-net-out=0 tot-cmds=0\n"
        );
    }

    #[test]
    fn ids_behind_a_first_id_are_judged_in_redis_words() {
        script(&[
            ("CLIENT LIST ID", "-ERR syntax error"),
            ("CLIENT LIST ID x", "-ERR Invalid client ID"),
            ("CLIENT LIST ID 999 x", "-ERR Invalid client ID"),
            ("CLIENT LIST ID 0 -1 999", "$0"),
            ("CLIENT LIST ID 999 998 ADDR foo", "$0"),
            ("CLIENT LIST SKIPME yes", "$0"),
        ]);
    }
}
