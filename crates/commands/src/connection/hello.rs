//! `HELLO`.

use config::directives;
use resp::Proto;

use super::auth::authenticate;
use super::client::check_name;
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::global::Role;
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "hello",
    arity: -1,
    flags: Flags::NOSCRIPT
        .union(Flags::LOADING)
        .union(Flags::STALE)
        .union(Flags::FAST)
        .union(Flags::NO_AUTH)
        .union(Flags::ALLOW_BUSY),
    acl: Acl::FAST.union(Acl::CONNECTION),
    group: Group::Connection,
    since: "6.0.0",
    summary: "Chooses the protocol version and introduces client and server to each other.",
    history: &[
        ("6.2.0", "`protover` may be left out, to ask without changing anything."),
        ("8.1.0", "The reply names the availability zone, where `availability-zone` is set."),
    ],
    args: &[Arg::block(
        "arguments",
        &[
            Arg::integer("protover"),
            Arg::block("auth", &[Arg::string("username"), Arg::string("password")]).token("AUTH").optional(),
            Arg::string("clientname").token("SETNAME").optional(),
        ],
    )
    .optional()],
    // User and password, wherever AUTH stands.
    is_secret: Some(|args, index| (1..=2).any(|back| index > back && args[index - back].eq_ignore_ascii_case(b"AUTH"))),
    run: Some(run),
    ..Spec::NEW
};

/// What clients are told to expect: the version whose behaviour this is, to the patch release that the tests compare with. Client
/// libraries look at the third number too: 8.2.2 bounded what XGROUP takes as ENTRIESREAD.
pub const REDIS_VERSION: &str = "8.2.3";

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let asked = Asked::parse(cx.args)?;
    if let Some((user, password)) = asked.credentials {
        authenticate(cx, user, password)?;
    }
    if !cx.session.authenticated {
        return cx.fail(concat!(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> ",
            "option can be used to authenticate the client and select the RESP protocol version at the same time"
        ));
    }
    if let Some(name) = asked.name {
        cx.session.client.text.lock().name = name.to_vec();
    }
    if let Some(proto) = asked.proto {
        cx.session.client.set_proto(proto, cx.reply);
    }
    introduce(cx);
    Ok(())
}

fn introduce(cx: &mut Ctx<'_>) {
    let role = match cx.global().role {
        Role::Primary => "master",
        Role::Replica => "replica",
    };
    let proto = cx.reply.proto().version();
    let zone = cx.global().config.get(directives::AVAILABILITY_ZONE);
    let zone = (!zone.is_empty()).then(|| zone.to_vec());
    let reply = &mut *cx.reply;
    reply.map(7 + usize::from(zone.is_some()));
    reply.bulk("server");
    reply.bulk("redis");
    reply.bulk("version");
    reply.bulk(REDIS_VERSION);
    reply.bulk("proto");
    reply.int(proto.into());
    reply.bulk("id");
    reply.int(cx.session.client.id as i64);
    reply.bulk("mode");
    reply.bulk("standalone");
    reply.bulk("role");
    reply.bulk(role);
    reply.bulk("modules");
    reply.array(0);
    if let Some(zone) = zone {
        reply.bulk("availability_zone");
        reply.bulk(zone);
    }
}

/// The arguments. All of them are checked before any of them acts.
#[derive(Default)]
struct Asked<'a> {
    proto: Option<Proto>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    fn parse(args: &[&'a [u8]]) -> Result<Asked<'a>, Error> {
        let mut asked = Asked::default();
        let Some((&version, mut options)) = args[1..].split_first() else {
            return Ok(asked);
        };
        asked.proto = Some(match resp::number::parse_i64(version) {
            Some(2) => Proto::Resp2,
            Some(3) => Proto::Resp3,
            Some(_) => return Err(Error::text("NOPROTO unsupported protocol version")),
            None => return Err(Error::text("ERR Protocol version is not an integer or out of range")),
        });
        while let [option, rest @ ..] = options {
            options = match rest {
                [user, password, rest @ ..] if option.eq_ignore_ascii_case(b"AUTH") => {
                    asked.credentials = Some((user, password));
                    rest
                }
                [name, rest @ ..] if option.eq_ignore_ascii_case(b"SETNAME") => {
                    check_name(name)?;
                    asked.name = Some(name);
                    rest
                }
                _ => return Err(Error::quoting("ERR Syntax error in HELLO option '", option, "'")),
            };
        }
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    const INTRODUCTION: &str = "$6 server $5 redis $7 version $5 8.2.3 $5 proto :2 $2 id :1 $4 mode $10 standalone $4 role $6 master \
        $7 modules *0";

    #[test]
    fn the_protocol_is_chosen_before_the_reply() {
        let two = format!("*14 {INTRODUCTION}");
        let three = format!("%7 {}", INTRODUCTION.replace(":2", ":3"));
        script(&[
            ("HELLO", &two),
            ("HELLO 3", &three),
            ("GET zz", "_"),
            ("HELLO", &three),
            ("HELLO 2", &two),
            ("GET zz", "$-1"),
        ]);
    }

    #[test]
    fn the_availability_zone_is_told_where_there_is_one() {
        let zone = format!("*16 {INTRODUCTION} $17 availability_zone $5 here1");
        script(&[("CONFIG SET availability-zone here1", "+OK"), ("HELLO 2", &zone)]);
    }

    #[test]
    fn all_arguments_are_checked_before_any_acts() {
        let two = format!("*14 {INTRODUCTION}");
        script(&[
            ("HELLO 4", "-NOPROTO unsupported protocol version"),
            ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
            ("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'"),
            ("HELLO 3 AUTH default", "-ERR Syntax error in HELLO option 'AUTH'"),
            ("HELLO 3 setname", "-ERR Syntax error in HELLO option 'setname'"),
            ("HELLO 3 SETNAME \"a b\"", "-ERR Client names cannot contain spaces, newlines or special characters."),
            ("HELLO 3 SETNAME me AUTH nobody x", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("CLIENT GETNAME", "$-1"),
            ("HELLO 2 AUTH default x SETNAME me", &two),
            ("CLIENT GETNAME", "$2 me"),
        ]);
    }

    #[test]
    fn a_stranger_must_say_the_password() {
        let mut rig = Rig::new();
        rig.script(&[("CONFIG SET requirepass secret", "+OK")]);
        rig.session.authenticated = false;
        assert!(rig.run("HELLO 3").starts_with("-NOAUTH HELLO must be called with the client already authenticated, "));
        assert_eq!(rig.run("HELLO 5"), "-NOPROTO unsupported protocol version");
        assert!(rig.run("HELLO 3 AUTH default secret").starts_with("%7 "));
    }
}
