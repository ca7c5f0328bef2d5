//! `CLIENT TRACKING`, `CACHING`, `TRACKINGINFO` and `GETREDIR`: client-side caching. What it does is in [`tracking`](crate::tracking).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::client::{Client, ClientFlags};
use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, Spec};
use crate::tracking::{Mode, Track, Tracking};

/// What they have in common.
const NEW: Spec = Spec {
    flags: Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::SLOW.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "6.0.0",
    ..Spec::NEW
};

pub const TRACKING: Spec = Spec {
    name: "tracking",
    arity: -3,
    summary: "Says whether, and how, this connection hears when what it has read changes.",
    complexity: "O(1), and O(N) where N prefixes are given.",
    args: &[
        Arg::one_of("status", &[Arg::word("on", "ON"), Arg::word("off", "OFF")]),
        Arg::integer("client-id").token("REDIRECT").optional(),
        Arg::string("prefix").token("PREFIX").optional().multiple().multiple_token(),
        Arg::word("bcast", "BCAST").optional(),
        Arg::word("optin", "OPTIN").optional(),
        Arg::word("optout", "OPTOUT").optional(),
        Arg::word("noloop", "NOLOOP").optional(),
    ],
    run: Some(tracking),
    ..NEW
};

pub const CACHING: Spec = Spec {
    name: "caching",
    arity: 3,
    summary: "Says whether this connection will cache what its next command reads.",
    args: &[Arg::one_of("mode", &[Arg::word("yes", "YES"), Arg::word("no", "NO")])],
    run: Some(caching),
    ..NEW
};

pub const GETREDIR: Spec = Spec {
    name: "getredir",
    arity: 2,
    summary: "Returns the id of the client that receives this connection's invalidations.",
    run: Some(getredir),
    ..NEW
};

pub const TRACKINGINFO: Spec = Spec {
    name: "trackinginfo",
    arity: 2,
    since: "6.2.0",
    summary: "Tells how this connection tracks keys.",
    run: Some(trackinginfo),
    ..NEW
};

/// What CLIENT TRACKING asks for.
#[derive(Default)]
struct Asked<'a> {
    mode: Mode,
    redirect: Option<Arc<Client>>,
    prefixes: Vec<&'a [u8]>,
}

impl<'a> Asked<'a> {
    fn parse(cx: &Ctx<'a>) -> Result<Asked<'a>, Stop> {
        let mut asked = Asked::default();
        let mut index = 3;
        while index < cx.args.len() {
            let has_more = index + 1 < cx.args.len();
            if cx.word(index, "REDIRECT") && has_more {
                index += 1;
                if asked.redirect.is_some() {
                    return cx.fail("ERR A client can only redirect to a single other client");
                }
                let target = u64::try_from(cx.int(index)?).ok().and_then(|id| cx.host.clients().get(id));
                let Some(target) = target else {
                    return cx.fail("ERR The client ID you want redirect to does not exist");
                };
                asked.redirect = Some(target);
            } else if cx.word(index, "PREFIX") && has_more {
                index += 1;
                asked.prefixes.push(cx.args[index]);
            } else if cx.word(index, "BCAST") {
                asked.mode.bcast = true;
            } else if cx.word(index, "OPTIN") {
                asked.mode.optin = true;
            } else if cx.word(index, "OPTOUT") {
                asked.mode.optout = true;
            } else if cx.word(index, "NOLOOP") {
                asked.mode.noloop = true;
            } else {
                return Err(Error::Syntax.into());
            }
            index += 1;
        }
        Ok(asked)
    }

    /// Whether these options go together, and with those in force. In Redis's order.
    fn check(&self, track: Option<Track>, tracking: &Tracking, client_id: u64) -> Result<(), Error> {
        let Mode { bcast, optin, optout, .. } = self.mode;
        if !bcast && !self.prefixes.is_empty() {
            return Err(Error::text("ERR PREFIX option requires BCAST mode to be enabled"));
        }
        if track.is_some_and(|track| track.mode.bcast != bcast) {
            return Err(Error::text(
                "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with \
                 a different mode.",
            ));
        }
        if bcast && (optin || optout) {
            return Err(Error::text("ERR OPTIN and OPTOUT are not compatible with BCAST"));
        }
        if optin && optout {
            return Err(Error::text("ERR You can't specify both OPTIN mode and OPTOUT mode"));
        }
        if track.is_some_and(|Track { mode, .. }| optin && mode.optout || optout && mode.optin) {
            return Err(Error::text(
                "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with \
                 a different mode.",
            ));
        }
        let overlaps = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
        for (index, prefix) in self.prefixes.iter().enumerate() {
            let (kind, other) = match tracking.prefixes_of(client_id).find(|other| overlaps(prefix, other)) {
                Some(other) => ("an existing", other),
                None => match self.prefixes[index + 1..].iter().find(|other| overlaps(prefix, other)) {
                    Some(other) => ("another provided", *other),
                    None => continue,
                },
            };
            let text: [&[u8]; 7] = [
                b"ERR Prefix '",
                prefix,
                b"' overlaps with ",
                kind.as_bytes(),
                b" prefix '",
                other,
                b"'. Prefixes for a single client must not overlap.",
            ];
            return Err(Error::Bytes(text.concat()));
        }
        Ok(())
    }
}

fn tracking(cx: &mut Ctx<'_>) -> Outcome {
    let client = cx.session.client.clone();
    let track = cx.session.tracking;
    let asked = Asked::parse(cx)?;
    if cx.word(2, "ON") {
        asked.check(track, &cx.global().tracking, client.id)?;
        let everything: &[&[u8]] = if asked.mode.bcast && asked.prefixes.is_empty() { &[b""] } else { &[] };
        let prefixes = asked.prefixes.iter().chain(everything).map(|prefix| Box::from(*prefix));
        cx.global_mut()?.tracking.switch_on(&client, asked.mode, asked.redirect, prefixes);
        // What CLIENT CACHING has said before is still good, as in Redis.
        let caching = track.is_some_and(|track| track.caching);
        cx.session.tracking = Some(Track { mode: asked.mode, caching });
    } else if cx.word(2, "OFF") {
        cx.switch_tracking_off()?;
    } else {
        return Err(Error::Syntax.into());
    }
    cx.reply.ok();
    Ok(())
}

fn caching(cx: &mut Ctx<'_>) -> Outcome {
    let Some(track) = cx.session.tracking else {
        return cx.fail(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        );
    };
    if cx.word(2, "YES") {
        if !track.mode.optin {
            return cx.fail("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
        }
    } else if cx.word(2, "NO") {
        if !track.mode.optout {
            return cx.fail("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
        }
    } else {
        return Err(Error::Syntax.into());
    }
    cx.session.tracking = Some(Track { caching: true, ..track });
    cx.reply.ok();
    Ok(())
}

fn getredir(cx: &mut Ctx<'_>) -> Outcome {
    cx.reply.int(cx.session.client.redirect.load(Relaxed));
    Ok(())
}

fn trackinginfo(cx: &mut Ctx<'_>) -> Outcome {
    let Ctx { reply, session, reach, .. } = cx;
    let client = &session.client;
    let track = session.tracking;
    let Track { mode, caching } = track.unwrap_or_default();
    let words = [
        ("off", track.is_none()),
        ("on", track.is_some()),
        ("bcast", mode.bcast),
        ("optin", mode.optin),
        ("caching-yes", mode.optin && caching),
        ("optout", mode.optout),
        ("caching-no", mode.optout && caching),
        ("noloop", mode.noloop),
        ("broken_redirect", client.flags().contains(ClientFlags::TRACKING_BROKEN)),
    ];
    let words: Vec<&str> = words.into_iter().filter(|(_, holds)| *holds).map(|(word, _)| word).collect();
    reply.map(3);
    reply.bulk("flags");
    reply.set(words.len());
    words.iter().for_each(|word| reply.bulk(word));
    reply.bulk("redirect");
    reply.int(client.redirect.load(Relaxed));
    reply.bulk("prefixes");
    let prefixes = reach.global().tracking.prefixes_of(client.id);
    reply.array(prefixes.len());
    prefixes.for_each(|prefix| reply.bulk(prefix));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    const HELLO: &str = "HELLO 3";

    #[test]
    fn options_that_do_not_go_together() {
        script(&[
            ("CLIENT TRACKING", "-ERR wrong number of arguments for 'client|tracking' command"),
            ("CLIENT TRACKING foo", "-ERR syntax error"),
            ("CLIENT TRACKING on PREFIX", "-ERR syntax error"),
            ("CLIENT TRACKING on PREFIX x", "-ERR PREFIX option requires BCAST mode to be enabled"),
            ("CLIENT TRACKING on OPTIN PREFIX a", "-ERR PREFIX option requires BCAST mode to be enabled"),
            ("CLIENT TRACKING off BCAST PREFIX x", "+OK"),
            ("CLIENT TRACKING on REDIRECT x", "-ERR value is not an integer or out of range"),
            ("CLIENT TRACKING on REDIRECT 0", "-ERR The client ID you want redirect to does not exist"),
            ("CLIENT TRACKING off REDIRECT -1", "-ERR The client ID you want redirect to does not exist"),
            ("CLIENT TRACKING on REDIRECT 1 REDIRECT 1", "-ERR A client can only redirect to a single other client"),
            ("CLIENT TRACKING on OPTIN OPTOUT", "-ERR You can't specify both OPTIN mode and OPTOUT mode"),
            ("CLIENT TRACKING on OPTIN OPTOUT BCAST", "-ERR OPTIN and OPTOUT are not compatible with BCAST"),
            (
                "CLIENT TRACKING on BCAST PREFIX a PREFIX b PREFIX ab",
                "-ERR Prefix 'a' overlaps with another provided prefix 'ab'. Prefixes for a single client must not overlap.",
            ),
            ("CLIENT TRACKINGINFO", "*6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0"),
            ("CLIENT TRACKING on BCAST PREFIX foo PREFIX bar", "+OK"),
            (
                "CLIENT TRACKING on BCAST PREFIX fo",
                "-ERR Prefix 'fo' overlaps with an existing prefix 'foo'. Prefixes for a single client must not overlap.",
            ),
            (
                "CLIENT TRACKING on OPTIN",
                "-ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a \
                 different mode.",
            ),
            ("CLIENT TRACKING on BCAST NOLOOP", "+OK"),
            (
                "CLIENT TRACKINGINFO",
                "*6 $5 flags *3 $2 on $5 bcast $6 noloop $8 redirect :0 $8 prefixes *3 $0  $3 bar $3 foo",
            ),
            ("CLIENT TRACKING off", "+OK"),
            ("CLIENT GETREDIR", ":-1"),
            ("CLIENT TRACKING on REDIRECT 1", "+OK"),
            ("CLIENT GETREDIR", ":1"),
            ("CLIENT TRACKING on OPTIN", "+OK"),
            (
                "CLIENT TRACKING on OPTOUT",
                "-ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a \
                 different mode.",
            ),
            ("CLIENT GETREDIR", ":0"),
        ]);
    }

    #[test]
    fn caching_is_for_those_who_opt() {
        script(&[
            (
                "CLIENT CACHING foo",
                "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
            ),
            ("CLIENT TRACKING ON", "+OK"),
            ("CLIENT CACHING yes", "-ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."),
            ("CLIENT CACHING no", "-ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."),
            ("CLIENT CACHING foo", "-ERR syntax error"),
            ("CLIENT TRACKING ON OPTIN", "+OK"),
            ("CLIENT CACHING yes", "+OK"),
            ("CLIENT ID", ":1"),
            ("CLIENT TRACKINGINFO", "*6 $5 flags *3 $2 on $5 optin $11 caching-yes $8 redirect :0 $8 prefixes *0"),
            ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with:"),
            ("CLIENT TRACKINGINFO", "*6 $5 flags *2 $2 on $5 optin $8 redirect :0 $8 prefixes *0"),
            ("CLIENT TRACKING OFF", "+OK"),
            ("CLIENT TRACKING ON OPTOUT", "+OK"),
            ("CLIENT CACHING no", "+OK"),
            ("CLIENT TRACKINGINFO", "*6 $5 flags *3 $2 on $6 optout $10 caching-no $8 redirect :0 $8 prefixes *0"),
        ]);
    }

    /// A client 1 that speaks RESP3 and tracks, and a client 2 whose turn it is.
    fn rig(options: &str) -> Rig {
        let mut rig = Rig::new();
        rig.run(HELLO);
        assert_eq!(rig.run(&format!("CLIENT TRACKING ON {options}")), "+OK");
        rig.client(2);
        rig
    }

    #[test]
    fn what_was_read_is_told_once() {
        let mut rig = rig("");
        rig.client(1).script(&[
            ("MGET a b", "*2 _ _"),
            ("EXISTS c", ":0"),
            ("SORT_RO l BY w*", "*0"),
            ("GETEX d", "_"),
        ]);
        rig.client(2).script(&[("MSET a 1 b 2 c 3 d 4 w1 5", "+OK"), ("SET a 2", "+OK"), ("LPUSH l 1", ":1")]);
        let told = ["a", "b", "c", "l"].map(|key| format!(">2 $10 invalidate *1 $1 {key}")).join(" ");
        assert_eq!(rig.pushes(1), told);
        assert_eq!(rig.world.global.tracking.figures().keys, 0);
    }

    #[test]
    fn ones_own_come_behind_the_reply() {
        let mut rig = rig("");
        rig.client(1).script(&[
            ("GET a", "_"),
            ("SET a 1", "+OK"),
            ("GET a", ">2 $10 invalidate *1 $1 a $1 1"),
            ("MULTI", "+OK"),
            ("SET a 2", "+QUEUED"),
            ("GET a", "+QUEUED"),
            ("DEL a", "+QUEUED"),
            ("EXEC", "*3 +OK $1 2 :1"),
            ("PING", ">2 $10 invalidate *1 $1 a >2 $10 invalidate *1 $1 a +PONG"),
            ("GET a", "_"),
            ("FLUSHALL", ">2 $10 invalidate _ +OK"),
            ("FLUSHALL ASYNC", "+OK"),
            ("PING", ">2 $10 invalidate _ +PONG"),
            ("CLIENT TRACKING ON NOLOOP", "+OK"),
            ("GET a", "_"),
            ("SET a 1", "+OK"),
            ("PING", "+PONG"),
        ]);
    }

    #[test]
    fn only_what_was_chosen() {
        let mut rig = rig("OPTIN");
        rig.client(1).script(&[
            ("GET a", "_"),
            ("CLIENT CACHING YES", "+OK"),
            ("GET b", "_"),
            ("GET c", "_"),
            ("CLIENT CACHING YES", "+OK"),
            ("MULTI", "+OK"),
            ("GET d", "+QUEUED"),
            ("GET e", "+QUEUED"),
            ("EXEC", "*2 _ _"),
            ("GET f", "_"),
            ("CLIENT CACHING YES", "+OK"),
            ("EVAL \"redis.call('get', 'g')\" 1 h", "_"),
            ("GET i", "_"),
        ]);
        rig.client(2).run("MSET a 1 b 1 c 1 d 1 e 1 f 1 g 1 h 1 i 1");
        let told = ["b", "d", "e", "g"].map(|key| format!(">2 $10 invalidate *1 $1 {key}")).join(" ");
        assert_eq!(rig.pushes(1), told);
    }

    #[test]
    fn prefixes_are_told_of_all_at_once_in_order() {
        let mut rig = rig("BCAST PREFIX foo PREFIX b");
        rig.script(&[("MSET foo2 1 b 1 x 1 foo1 2 foo2 3 ba 1", "+OK"), ("DEL b nosuch", ":1"), ("FLUSHALL", "+OK")]);
        assert_eq!(
            rig.pushes(1),
            ">2 $10 invalidate *2 $1 b $2 ba >2 $10 invalidate *2 $4 foo1 $4 foo2 >2 $10 invalidate *1 $1 b >2 $10 invalidate _"
        );
        let figures = rig.world.global.tracking.figures();
        assert_eq!((figures.clients, figures.keys, figures.prefixes), (1, 0, 2));
        rig.client(1).run("RESET");
        assert_eq!(rig.world.global.tracking.figures(), Default::default());
    }

    #[test]
    fn another_client_can_hear_of_it() {
        let mut rig = Rig::new();
        rig.script(&[("PING", "+PONG")]);
        rig.client(2).run("CLIENT TRACKING ON REDIRECT 1");
        let change = |rig: &mut Rig| {
            rig.client(2).run("GET a");
            rig.client(3).run("SET a 1");
            rig.pushes(1)
        };
        // Without a subscription it would not understand.
        assert_eq!(change(&mut rig), "");
        rig.client(1).run("SUBSCRIBE any");
        assert_eq!(change(&mut rig), "*3 $7 message $20 __redis__:invalidate *1 $1 a");
        rig.client(3).run("FLUSHALL");
        assert_eq!(rig.pushes(1), "*3 $7 message $20 __redis__:invalidate $-1");
        rig.client(1).run("RESET");
        rig.client(1).run(HELLO);
        assert_eq!(change(&mut rig), ">2 $10 invalidate *1 $1 a");
        rig.client(3).script(&[("CLIENT KILL ID 1", ":1")]);
        rig.client(2).run(HELLO);
        rig.client(2).run("GET a");
        rig.client(3).run("SET a 1");
        assert_eq!(rig.pushes(2), ">2 $21 tracking-redir-broken :1");
        let line = rig.client(2).run("CLIENT INFO");
        assert!(line.contains(" flags=tR ") && line.contains(" redir=1 "), "{line}");
    }

    #[test]
    fn what_goes_by_itself_is_told_too() {
        let mut rig = rig("");
        rig.script(&[("SET a 1 PX 10", "+OK")]);
        rig.client(1).run("GET a");
        rig.now.0 += 20;
        rig.client(2).script(&[("EXISTS a", ":0")]);
        assert_eq!(rig.pushes(1), ">2 $10 invalidate *1 $1 a");
    }

    #[test]
    fn the_table_is_bounded() {
        let mut rig = rig("");
        rig.script(&[("CONFIG SET tracking-table-max-keys 3", "+OK")]);
        rig.client(1).script(&[("MGET a b c", "*3 _ _ _")]);
        assert_eq!(rig.pushes(1), "");
        rig.client(1).script(&[("MGET c d e", "*3 _ _ _")]);
        assert_eq!(rig.pushes(1).matches("invalidate").count(), 2);
        assert_eq!(rig.world.global.tracking.figures().keys, 3);
    }

    #[test]
    fn off_and_on_again_is_as_before() {
        let mut rig = rig("");
        rig.client(1).run("GET a");
        rig.client(1).run("CLIENT TRACKING OFF");
        rig.client(1).run("CLIENT TRACKING ON");
        rig.client(2).run("SET a 1");
        assert_eq!(rig.pushes(1), ">2 $10 invalidate *1 $1 a");
    }
}
