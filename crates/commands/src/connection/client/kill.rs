//! `CLIENT KILL`.

use std::sync::Arc;

use super::filter::{Dialect, Filter};
use crate::client::Client;
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "kill",
    arity: -3,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS).union(Acl::CONNECTION),
    group: Group::Connection,
    since: "2.4.0",
    summary: "Closes the connections that match an address or filters.",
    complexity: "O(N), N being the number of connections",
    history: &[
        ("2.8.12", "New form with filters."),
        ("2.8.12", "Filter `ID`."),
        ("3.2.0", "`TYPE` knows `master`."),
        ("5.0.0", "`TYPE` calls a `slave` a `replica`; the old word is still understood."),
        ("6.2.0", "Filter `LADDR`."),
        ("7.4.0", "Filter `MAXAGE`."),
        ("8.0.0", "`TYPE` knows `primary`, the newer word for `master`."),
        ("8.1.0", "`ID` takes several ids."),
        (
            "9.0.0",
            "Filters by name, idle time, flags, library, database, capabilities and IP; most filters have a `NOT-` form.",
        ),
    ],
    args: &[Arg::one_of(
        "filter",
        &[
            Arg::string("old-format").display("ip:port").deprecated_since("2.8.12"),
            Arg::one_of(
                "new-format",
                &[
                    Arg::integer("client-id").token("ID").since("2.8.12").optional(),
                    Arg::one_of(
                        "client-type",
                        &[
                            Arg::word("normal", "NORMAL"),
                            Arg::word("master", "MASTER").since("3.2.0"),
                            Arg::word("primary", "PRIMARY").since("8.0.0"),
                            Arg::word("slave", "SLAVE"),
                            Arg::word("replica", "REPLICA").since("5.0.0"),
                            Arg::word("pubsub", "PUBSUB"),
                        ],
                    )
                    .token("TYPE")
                    .since("2.8.12")
                    .optional(),
                    Arg::string("username").token("USER").optional(),
                    Arg::string("addr").display("ip:port").token("ADDR").optional(),
                    Arg::string("laddr").display("ip:port").token("LADDR").since("6.2.0").optional(),
                    Arg::one_of("skipme", &[Arg::word("yes", "YES"), Arg::word("no", "NO")]).token("SKIPME").optional(),
                    Arg::integer("maxage").token("MAXAGE").since("7.4.0").optional(),
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
                            Arg::word("primary", "PRIMARY"),
                            Arg::word("slave", "SLAVE"),
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
            )
            .multiple(),
        ],
    )],
    // Alone in the world: what a killed client has sent is not executed any more once this has replied.
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    if let [_, _, address] = *cx.args {
        return by_address(cx, address);
    }
    let filter = Filter::parse(cx, Dialect::Kill)?;
    let (own, now) = (cx.session.client.id, cx.db.now);
    let mut killed = 0;
    for client in cx.host.clients().open() {
        if filter.matches(&client, own, now) {
            kill(cx, &client)?;
            killed += 1;
        }
    }
    cx.reply.int(killed);
    Ok(())
}

/// The old form, which spares nobody.
fn by_address(cx: &mut Ctx<'_>, address: &[u8]) -> Outcome {
    let Some(client) = cx.host.clients().open().into_iter().find(|client| client.address.as_bytes() == address) else {
        return cx.fail("ERR No such client");
    };
    kill(cx, &client)?;
    cx.reply.ok();
    Ok(())
}

/// Closes a connection. What it has waited for is not waited for any more.
pub(crate) fn kill(cx: &mut Ctx<'_>, client: &Arc<Client>) -> Outcome {
    cx.global_mut()?.waiters.remove(client.id);
    if client.id == cx.session.client.id {
        // It still gets this reply, and nothing behind it.
        cx.session.close_after_reply = true;
    } else {
        cx.host.kill(client);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Place;
    use crate::testing::Rig;

    fn rig_with_another() -> Rig {
        let rig = Rig::new();
        let place = Place { thread: 0, token: 1 };
        let id = rig.host.clients.next_id();
        let other = Client::new(id, place, "127.0.0.1:50001".into(), "127.0.0.1:6379".into(), 9, rig.now);
        rig.host.clients.insert(Arc::new(other));
        rig
    }

    #[test]
    fn the_new_form_spares_the_caller_unless_told_otherwise() {
        let mut rig = rig_with_another();
        rig.script(&[("CLIENT KILL ID 1", ":0"), ("CLIENT KILL TYPE normal", ":1"), ("CLIENT KILL TYPE normal", ":0")]);
        assert!(!rig.session.close_after_reply);
        assert!(
            !rig.run("CLIENT LIST").contains("127.0.0.1:50001"),
            "a killed client is not listed, whether or not it has gone"
        );
        rig.script(&[("CLIENT KILL ID 1 SKIPME no", ":1")]);
        assert!(rig.session.close_after_reply);
    }

    #[test]
    fn the_old_form_spares_nobody() {
        let mut rig = rig_with_another();
        rig.script(&[
            ("CLIENT KILL ID", "-ERR No such client"),
            ("CLIENT KILL 127.0.0.1:50001", "+OK"),
            ("CLIENT KILL 127.0.0.1:50001", "-ERR No such client"),
            ("CLIENT KILL 127.0.0.1:50000", "+OK"),
        ]);
        assert!(rig.session.close_after_reply);
    }
}
