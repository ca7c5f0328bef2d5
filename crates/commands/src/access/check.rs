//! Whether a client's user may run a command.

use acl::{ChannelUse, Context, Denial, Incident, KeyUse, Reason, Request, Touched, User};
use config::directives;
use smallvec::SmallVec;

use crate::client::Session;
use crate::connection::client::describe_client;
use crate::context::Ctx;
use crate::error::Error;
use crate::global::Global;
use crate::keys::{self, KeyPlan};
use crate::registry::Command;
use crate::spec::{Acl, Flags, KeyFlags};
use keyspace::DbIndex;

/// Where a command is tried: the same denial is told in different words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    TopLevel,
    /// Behind MULTI, to be queued.
    Queued,
    /// By EXEC.
    Executed,
    Script,
}

impl Where {
    fn context(self) -> Context {
        match self {
            Where::TopLevel => Context::TopLevel,
            Where::Queued | Where::Executed => Context::Multi,
            Where::Script => Context::Lua,
        }
    }
}

/// A command with all that rules ask about, taken from its arguments.
pub(crate) struct Attempt<'a> {
    command: &'a Command,
    args: &'a [&'a [u8]],
    keys: SmallVec<[KeyUse; 8]>,
    channels: SmallVec<[ChannelUse; 4]>,
    database: Option<u32>,
    databases_named: SmallVec<[(usize, u32); 2]>,
    databases_all: Option<u32>,
}

impl<'a> Attempt<'a> {
    /// `args` with the command's name; `selected` is the database that the client has selected.
    pub fn new(command: &'a Command, args: &'a [&'a [u8]], selected: DbIndex, databases: u32) -> Attempt<'a> {
        let (database, databases_all) = databases_touched(command, selected, databases);
        Attempt {
            command,
            args,
            keys: keys_touched(command, args),
            channels: channels_used(command, args),
            database,
            databases_named: databases_named(command, args),
            databases_all,
        }
    }

    fn request(&self) -> Request<'_> {
        Request {
            command: self.command.id,
            args: self.args,
            keys: &self.keys,
            channels: &self.channels,
            database: self.database,
            databases_named: &self.databases_named,
            databases_all: self.databases_all,
        }
    }

    /// Whether the user may do it. What a client needs in order to say who it is, everybody may.
    pub fn check(&self, user: &User) -> Result<(), Denial> {
        if self.command.spec.flags.contains(Flags::NO_AUTH) { Ok(()) } else { user.check(&self.request()) }
    }

    /// What ACL LOG and ACL DRYRUN name: the command, or the argument that was refused.
    pub fn object(&self, denial: Denial) -> Vec<u8> {
        match denial {
            // No argument names the database that a connection is in.
            Denial::Command | Denial::Database(0) => self.command.full_name.clone().into_bytes(),
            _ => self.args[denial.index()].to_vec(),
        }
    }
}

fn keys_touched(command: &Command, args: &[&[u8]]) -> SmallVec<[KeyUse; 8]> {
    let spec = command.spec;
    match (command.plan, spec.keys) {
        (KeyPlan::None, _) => SmallVec::new(),
        // The usual case, without memory.
        (KeyPlan::One(index), [key]) if spec.key_flags.is_none() => {
            // Who only asks (`redis.acl_check_cmd`) may leave arguments out.
            let is_there = usize::from(index) < args.len();
            is_there.then_some(KeyUse { index: index.into(), touched: touched(key.flags) }).into_iter().collect()
        }
        // Where the arguments contradict themselves nothing is found, and the handler will refuse them.
        _ => keys::find(spec, args)
            .unwrap_or_default()
            .into_iter()
            .map(|key| KeyUse { index: key.index, touched: touched(key.flags) })
            .collect(),
    }
}

/// What rules call reading and writing: data that comes out of the key, and data that changes.
fn touched(flags: KeyFlags) -> Touched {
    let reads = if flags.contains(KeyFlags::ACCESS) { Touched::READ } else { Touched::HEARD_OF };
    let changes = KeyFlags::UPDATE.union(KeyFlags::INSERT).union(KeyFlags::DELETE);
    if flags.intersects(changes) { reads | Touched::WRITE } else { reads }
}

/// Channels that messages go to or come from. Ending a subscription needs no permission.
fn channels_used(command: &Command, args: &[&[u8]]) -> SmallVec<[ChannelUse; 4]> {
    if !command.spec.flags.contains(Flags::PUBSUB) {
        return SmallVec::new();
    }
    let (places, is_pattern) = match command.full_name.as_str() {
        "subscribe" | "ssubscribe" => (1..args.len(), false),
        "psubscribe" => (1..args.len(), true),
        "publish" | "spublish" => (1..args.len().min(2), false),
        _ => (0..0, false),
    };
    places.map(|index| ChannelUse { index, is_pattern }).collect()
}

/// The selected database if the command looks at data there, and the number of all if it touches all. As observed in Valkey 9.1, which
/// goes by categories: LOLWUT counts as reading, PUBLISH does not.
fn databases_touched(command: &Command, selected: DbIndex, databases: u32) -> (Option<u32>, Option<u32>) {
    let categories = Acl::KEYSPACE.union(Acl::READ).union(Acl::WRITE);
    match command.full_name.as_str() {
        "swapdb" => (None, None),
        "flushall" => (Some(selected.0), Some(databases)),
        _ if command.plan != KeyPlan::None || command.spec.acl.intersects(categories) => (Some(selected.0), None),
        _ => (None, None),
    }
}

/// Databases that arguments name. An argument that is no number is left to the handler.
fn databases_named(command: &Command, args: &[&[u8]]) -> SmallVec<[(usize, u32); 2]> {
    let number = |index: usize| {
        let number = resp::number::parse_i64(args.get(index)?)?;
        Some((index, u32::try_from(number).ok()?))
    };
    match command.full_name.as_str() {
        "select" => number(1).into_iter().collect(),
        "move" => number(2).into_iter().collect(),
        "swapdb" => match (number(1), number(2)) {
            (Some(first), Some(second)) => smallvec::smallvec![first, second],
            _ => SmallVec::new(),
        },
        "copy" => {
            (3..args.len()).filter(|&at| args[at].eq_ignore_ascii_case(b"db")).filter_map(|at| number(at + 1)).collect()
        }
        _ => SmallVec::new(),
    }
}

/// Why this client may not run this command: it has not said who it is, or its user is not permitted to. What is denied is counted and
/// logged.
#[cold]
pub fn refusal(cx: &mut Ctx<'_>, command: &Command, args: &[&[u8]], place: Where) -> Option<Error> {
    let global = match &cx.reach {
        crate::Reach::Narrow(global) => global,
        crate::Reach::Wide(global) => &**global,
    };
    cx.session.look_up(&global.access);
    if command.spec.flags.contains(Flags::NO_AUTH) {
        return None;
    }
    if !cx.session.authenticated && global.access.password_needed() {
        return Some(Error::NoAuth);
    }
    let user = cx.session.user();
    if user.is_some_and(|user| user.permits_at_once(command.id, args)) {
        return None;
    }
    let attempt = Attempt::new(command, args, cx.session.db, global.settings.databases);
    let denial = user.map_or(Err(Denial::Command), |user| attempt.check(user)).err()?;
    let object = attempt.object(denial);
    note_denial(cx, command, denial, object, place);
    Some(error(cx.session.user_name(), command, denial, place))
}

fn note_denial(cx: &Ctx<'_>, command: &Command, denial: Denial, object: Vec<u8>, place: Where) {
    let (reason, counter) = match denial {
        Denial::Command => (Reason::Command, &cx.db.stats.acl_denied_command),
        Denial::Key(_) => (Reason::Key, &cx.db.stats.acl_denied_key),
        Denial::Channel(_) => (Reason::Channel, &cx.db.stats.acl_denied_channel),
        Denial::Database(_) => (Reason::Database, &cx.db.stats.acl_denied_database),
    };
    counter.add(1);
    if place == Where::TopLevel || place == Where::Queued {
        note_tried(cx, command);
    }
    let username = cx.session.user_name().to_vec();
    note(cx, reason, place.context(), object, username);
}

/// The log shows what the client has tried; of a script and of EXEC it shows these.
fn note_tried(cx: &Ctx<'_>, command: &Command) {
    cx.session.client.last_command.store(command.id, std::sync::atomic::Ordering::Relaxed);
}

fn note(cx: &Ctx<'_>, reason: Reason, context: Context, object: Vec<u8>, username: Vec<u8>) {
    let global = cx.global();
    let client_info = describe_client(&cx.session.client, &global.registry, cx.db.now);
    let entries_max = usize::try_from(global.config.get(directives::ACLLOG_MAX_LEN)).unwrap_or(0);
    let incident = Incident { reason, context, object, username, client_info };
    global.access.log.lock().add(incident, cx.db.now.0, entries_max);
}

/// Counts and logs that somebody has not proved to be `user`.
pub(crate) fn note_failed_login(cx: &Ctx<'_>, user: &[u8]) {
    cx.db.stats.acl_denied_auth.add(1);
    let context = if cx.may_block { Context::TopLevel } else { Context::Multi };
    if cx.may_block {
        note_tried(cx, cx.command);
    }
    note(cx, Reason::Auth, context, cx.args[0].to_vec(), user.to_vec());
}

fn error(user: &[u8], command: &Command, denial: Denial, place: Where) -> Error {
    if place == Where::Executed {
        let reason = match denial {
            Denial::Command => "no permission to execute the command or subcommand",
            Denial::Key(_) => "no permission to touch the specified keys",
            Denial::Channel(_) => "no permission to access one of the channels used as arguments",
            Denial::Database(_) => "no permission",
        };
        return Error::string(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer \
             allowed for the following reason: {reason}"
        ));
    }
    let code = if place == Where::Script { "ERR ACL failure in script: " } else { "NOPERM " };
    match denial {
        Denial::Command => {
            let after = format!(" has no permissions to run the '{}' command", command.full_name);
            Error::quoting(&format!("{code}User "), user, &after)
        }
        Denial::Key(_) => Error::string(format!("{code}No permissions to access a key")),
        Denial::Channel(_) => Error::string(format!("{code}No permissions to access a channel")),
        Denial::Database(_) => Error::string(format!("{code}No permissions to access database")),
    }
}

/// Whether the client's user may read every key there is, with this command: SORT looks up keys that its arguments do not name.
pub(crate) fn may_read_every_key(cx: &mut Ctx<'_>) -> bool {
    let global = match &cx.reach {
        crate::Reach::Narrow(global) => global,
        crate::Reach::Wide(global) => &**global,
    };
    if cx.session.replays || cx.session.is_cleared(&global.access) {
        return true;
    }
    cx.session.look_up(&global.access);
    let attempt = Attempt::new(cx.command, cx.args, cx.session.db, global.settings.databases);
    cx.session.user().is_some_and(|user| user.may_read_every_key(&attempt.request()))
}

/// Whether the client's user, as he is now, may run commands: for scripts that want to know before they try.
pub fn permissions(session: &mut Session, global: &Global) -> impl Fn(&Command, &[&[u8]]) -> bool + use<> {
    session.look_up(&global.access);
    let user = session.user().cloned();
    let (selected, databases) = (session.db, global.settings.databases);
    move |command, args| {
        let attempt = Attempt::new(command, args, selected, databases);
        user.as_ref().is_some_and(|user| attempt.check(user).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;
    use crate::testing::Rig;

    fn rig(rules: &str) -> Rig {
        let mut rig = Rig::new();
        rig.script(&[(&format!("ACL SETUSER u on nopass {rules}"), "+OK")]);
        rig.client(2).script(&[("AUTH u x", "+OK")]);
        rig
    }

    const KEY: &str = "-NOPERM No permissions to access a key";

    #[test]
    fn the_same_denial_in_other_words() {
        let mut rig = rig("+@all ~a* &c -incr");
        rig.script(&[
            ("GET b", KEY),
            ("INCR a", "-NOPERM User u has no permissions to run the 'incr' command"),
            ("PUBLISH d x", "-NOPERM No permissions to access a channel"),
            ("MULTI", "+OK"),
            ("GET b", KEY),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
            ("MULTI", "+OK"),
            ("GET a", "+QUEUED"),
            ("PUBLISH c x", "+QUEUED"),
            ("EVAL \"return redis.pcall('get', 'a')\" 0", "+QUEUED"),
            ("PING", "+QUEUED"),
        ]);
        rig.client(1).script(&[("ACL SETUSER u resetkeys ~b resetchannels -ping", "+OK")]);
        let changed = "-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command \
                       is no longer allowed for the following reason: no permission to ";
        let expected = format!(
            "*4 {changed}touch the specified keys {changed}access one of the channels used as arguments -ERR ACL failure in script: No \
             permissions to access a key {changed}execute the command or subcommand"
        );
        rig.client(2).script(&[("EXEC", &expected), ("GET b", "$-1"), ("GET a", KEY)]);
    }

    #[test]
    fn what_changes_counts_at_once() {
        let mut rig = rig("+@all ~* &*");
        rig.script(&[("GET b", "$-1")]);
        rig.client(1).script(&[("ACL SETUSER u resetkeys", "+OK")]);
        rig.client(2).script(&[("GET b", KEY)]);
        rig.client(1).script(&[("ACL SETUSER u ~b", "+OK")]);
        rig.client(2).script(&[("GET b", "$-1"), ("RESET", "+RESET"), ("GET a", "$-1")]);
        rig.client(1).script(&[("CONFIG SET requirepass x", "+OK"), ("PING", "+PONG")]);
        rig.client(3).session.authenticated = false;
        rig.script(&[("GET a", "-NOAUTH Authentication required."), ("AUTH x", "+OK"), ("GET a", "$-1")]);
    }

    #[test]
    fn functions_run_as_their_caller() {
        let mut rig = rig("+@all ~a* &*");
        let library =
            "#!lua name=l\nredis.register_function('f', function(keys, args) return redis.call('get', args[1]) end)";
        assert_eq!(rig.client(1).run_args(&[b"FUNCTION", b"LOAD", library.as_bytes()]), b"$1\r\nl\r\n");
        rig.client(2).script(&[("FCALL f 0 a", "$-1"), ("FCALL f 1 b a", KEY)]);
        let reply = rig.run("FCALL f 0 b");
        assert!(reply.starts_with("-ERR ACL failure in script: No permissions to access a key"), "{reply}");
        rig.client(1).script(&[("FCALL f 0 b", "$-1")]);
    }

    #[test]
    fn scripts_can_ask() {
        let mut rig = rig("+eval +get +object|freq ~a");
        for (call, expected) in [
            ("'get', 'a'", "$4 true"),
            ("'get', 'b'", "$5 false"),
            ("'set', 'a', 1", "$5 false"),
            ("'object', 'freq', 'a'", "$4 true"),
            ("'object', 'encoding', 'a'", "$5 false"),
            ("'auth', 'x'", "$4 true"),
            // Arguments may be left out.
            ("'get'", "$4 true"),
        ] {
            let line = format!("EVAL \"return tostring(redis.acl_check_cmd({call}))\" 0");
            assert_eq!(rig.run(&line), expected, "{call}");
        }
        for (call, expected) in [
            ("'nosuch'", "-ERR Invalid command passed to redis.acl_check_cmd() "),
            ("'object', 'nosuch'", "-ERR Invalid command passed to redis.acl_check_cmd() "),
            ("{}", "-ERR Lua redis lib command arguments must be strings or integers "),
            ("", "-ERR Please specify at least one argument for this redis lib call "),
        ] {
            let reply = rig.run(&format!("EVAL \"return redis.acl_check_cmd({call})\" 0"));
            assert!(reply.starts_with(expected), "{call}: {reply}");
        }
    }

    #[test]
    fn every_command_can_be_asked_about_with_any_number_of_arguments() {
        let registry = Registry::default();
        let words: [&[u8]; 8] = [b"x", b"2", b"store", b"keys", b"", b"streams", b"db", b"1"];
        for command in registry.all() {
            for count in 1..=words.len() {
                let attempt = Attempt::new(command, &words[..count], DbIndex(0), 16);
                assert!(attempt.keys.iter().all(|key| key.index < count), "{} {count}", command.full_name);
                assert!(attempt.channels.iter().all(|channel| channel.index < count), "{} {count}", command.full_name);
            }
        }
    }

    #[test]
    fn channels_are_those_of_the_commands_that_have_some() {
        let registry = Registry::default();
        let args: [&[u8]; 3] = [b"command", b"a", b"b"];
        for (name, channels) in [
            ("subscribe", 2),
            ("ssubscribe", 2),
            ("psubscribe", 2),
            ("publish", 1),
            ("spublish", 1),
            ("unsubscribe", 0),
        ] {
            let command = registry.find(name.as_bytes()).expect("a command");
            assert_eq!(channels_used(command, &args).len(), channels, "{name}");
        }
    }
}
