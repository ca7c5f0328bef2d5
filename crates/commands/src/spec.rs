//! The metadata of a command. Everything that is known about a command without running it is here once: COMMAND
//! and its subcommands, arity checks, key extraction, ACL categories, INFO commandstats and help are all read from it.

use bitflags::bitflags;

use crate::context::{Ctx, Outcome};
use crate::keys::KeyAt;

/// Runs one command. It receives access to the keys it declared and never locks anything itself.
pub type Handler = fn(&mut Ctx<'_>) -> Outcome;

bitflags! {
    /// What a command is allowed to do and when, with the names that COMMAND INFO prints.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u32 {
        const WRITE = 1 << 0;
        const READONLY = 1 << 1;
        const DENYOOM = 1 << 2;
        const ADMIN = 1 << 3;
        const PUBSUB = 1 << 4;
        const NOSCRIPT = 1 << 5;
        const BLOCKING = 1 << 6;
        const LOADING = 1 << 7;
        const STALE = 1 << 8;
        const SKIP_MONITOR = 1 << 9;
        const SKIP_SLOWLOG = 1 << 10;
        const ASKING = 1 << 11;
        const FAST = 1 << 12;
        const NO_AUTH = 1 << 13;
        /// Replicas may hear of it although it writes nothing; not shown by COMMAND INFO.
        const MAY_REPLICATE = 1 << 14;
        const NO_MANDATORY_KEYS = 1 << 15;
        const NO_ASYNC_LOADING = 1 << 16;
        const NO_MULTI = 1 << 17;
        const MOVABLEKEYS = 1 << 18;
        const ALLOW_BUSY = 1 << 19;
        /// Needs `enable-debug-command` or `enable-module-command`; not shown by COMMAND INFO.
        const PROTECTED = 1 << 20;
    }
}

impl Flags {
    /// The names shown to clients, in the order of COMMAND INFO.
    pub const SHOWN: &'static [(Flags, &'static str)] = &[
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::NOSCRIPT, "noscript"),
        (Flags::BLOCKING, "blocking"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::SKIP_MONITOR, "skip_monitor"),
        (Flags::SKIP_SLOWLOG, "skip_slowlog"),
        (Flags::ASKING, "asking"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Flags::NO_ASYNC_LOADING, "no_async_loading"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::MOVABLEKEYS, "movablekeys"),
        (Flags::ALLOW_BUSY, "allow_busy"),
    ];
}

bitflags! {
    /// ACL categories. A spec lists all of them, also those that its flags imply.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Acl: u32 {
        const KEYSPACE = 1 << 0;
        const READ = 1 << 1;
        const WRITE = 1 << 2;
        const SET = 1 << 3;
        const SORTEDSET = 1 << 4;
        const LIST = 1 << 5;
        const HASH = 1 << 6;
        const STRING = 1 << 7;
        const BITMAP = 1 << 8;
        const HYPERLOGLOG = 1 << 9;
        const GEO = 1 << 10;
        const STREAM = 1 << 11;
        const PUBSUB = 1 << 12;
        const ADMIN = 1 << 13;
        const FAST = 1 << 14;
        const SLOW = 1 << 15;
        const BLOCKING = 1 << 16;
        const DANGEROUS = 1 << 17;
        const CONNECTION = 1 << 18;
        const TRANSACTION = 1 << 19;
        const SCRIPTING = 1 << 20;
    }
}

impl Acl {
    /// Category names without the `@`.
    pub const NAMES: &'static [(Acl, &'static str)] = &[
        (Acl::KEYSPACE, "keyspace"),
        (Acl::READ, "read"),
        (Acl::WRITE, "write"),
        (Acl::SET, "set"),
        (Acl::SORTEDSET, "sortedset"),
        (Acl::LIST, "list"),
        (Acl::HASH, "hash"),
        (Acl::STRING, "string"),
        (Acl::BITMAP, "bitmap"),
        (Acl::HYPERLOGLOG, "hyperloglog"),
        (Acl::GEO, "geo"),
        (Acl::STREAM, "stream"),
        (Acl::PUBSUB, "pubsub"),
        (Acl::ADMIN, "admin"),
        (Acl::FAST, "fast"),
        (Acl::SLOW, "slow"),
        (Acl::BLOCKING, "blocking"),
        (Acl::DANGEROUS, "dangerous"),
        (Acl::CONNECTION, "connection"),
        (Acl::TRANSACTION, "transaction"),
        (Acl::SCRIPTING, "scripting"),
    ];
}

bitflags! {
    /// What happens to the keys of a key specification.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct KeyFlags: u16 {
        const RO = 1 << 0;
        const RW = 1 << 1;
        const OW = 1 << 2;
        const RM = 1 << 3;
        const ACCESS = 1 << 4;
        const UPDATE = 1 << 5;
        const INSERT = 1 << 6;
        const DELETE = 1 << 7;
        const NOT_KEY = 1 << 8;
        const INCOMPLETE = 1 << 9;
        const VARIABLE_FLAGS = 1 << 10;
    }
}

impl KeyFlags {
    /// The names shown by COMMAND INFO, in its order.
    pub const NAMES: &'static [(KeyFlags, &'static str)] = &[
        (KeyFlags::RO, "RO"),
        (KeyFlags::RW, "RW"),
        (KeyFlags::OW, "OW"),
        (KeyFlags::RM, "RM"),
        (KeyFlags::ACCESS, "access"),
        (KeyFlags::UPDATE, "update"),
        (KeyFlags::INSERT, "insert"),
        (KeyFlags::DELETE, "delete"),
        (KeyFlags::NOT_KEY, "not_key"),
        (KeyFlags::INCOMPLETE, "incomplete"),
        (KeyFlags::VARIABLE_FLAGS, "variable_flags"),
    ];
}

/// Where the keys of a specification begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this argument (the command's name is 0).
    Index(i32),
    /// Behind this word, looked for from `start_from` (negative: backwards from the end).
    Keyword {
        keyword: &'static str,
        start_from: i32,
    },
    Unknown,
}

/// How to find the keys once their beginning is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Up to `last`, relative to the beginning (negative: from the end); `limit` n > 1 means only the first 1/n of the rest.
    Range {
        last: i32,
        step: i32,
        limit: i32,
    },
    /// A count stands at `keynum_index`, the first key at `first_key`, both relative to the beginning.
    KeyNum {
        keynum_index: i32,
        first_key: i32,
        step: i32,
    },
    Unknown,
}

/// One way in which a command names keys.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    pub notes: Option<&'static str>,
    pub flags: KeyFlags,
    pub begin: Begin,
    pub find: Find,
}

impl KeySpec {
    /// Keys from argument `first` to `last` (relative to `first`; negative: from the end), every `step`.
    pub const fn range(flags: KeyFlags, first: i32, last: i32, step: i32) -> KeySpec {
        KeySpec { notes: None, flags, begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 } }
    }

    /// One key at argument `index`.
    pub const fn one(flags: KeyFlags, index: i32) -> KeySpec {
        KeySpec::range(flags, index, 0, 1)
    }

    pub const fn notes(mut self, notes: &'static str) -> KeySpec {
        self.notes = Some(notes);
        self
    }
}

/// The groups of COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Bitmap,
    Cluster,
    Connection,
    Generic,
    Geo,
    Hash,
    Hyperloglog,
    List,
    Pubsub,
    Scripting,
    Sentinel,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
    Transactions,
}

impl Group {
    pub const fn name(self) -> &'static str {
        match self {
            Group::Bitmap => "bitmap",
            Group::Cluster => "cluster",
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::Geo => "geo",
            Group::Hash => "hash",
            Group::Hyperloglog => "hyperloglog",
            Group::List => "list",
            Group::Pubsub => "pubsub",
            Group::Scripting => "scripting",
            Group::Sentinel => "sentinel",
            Group::Server => "server",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Stream => "stream",
            Group::String => "string",
            Group::Transactions => "transactions",
        }
    }
}

/// The types of documented arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgType {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    /// One of `args`.
    OneOf,
    /// All of `args`, in order.
    Block,
}

impl ArgType {
    pub const fn name(self) -> &'static str {
        match self {
            ArgType::String => "string",
            ArgType::Integer => "integer",
            ArgType::Double => "double",
            ArgType::Key => "key",
            ArgType::Pattern => "pattern",
            ArgType::UnixTime => "unix-time",
            ArgType::PureToken => "pure-token",
            ArgType::OneOf => "oneof",
            ArgType::Block => "block",
        }
    }
}

/// One documented argument, as COMMAND DOCS shows it.
#[derive(Clone, Copy, Debug)]
pub struct Arg {
    pub name: &'static str,
    /// Shown name, where it differs from `name`.
    pub display: Option<&'static str>,
    pub kind: ArgType,
    pub token: Option<&'static str>,
    pub key_spec_index: Option<u8>,
    pub summary: Option<&'static str>,
    pub since: Option<&'static str>,
    pub deprecated_since: Option<&'static str>,
    pub optional: bool,
    pub multiple: bool,
    pub multiple_token: bool,
    pub args: &'static [Arg],
}

impl Arg {
    pub const fn new(name: &'static str, kind: ArgType) -> Arg {
        Arg {
            name,
            display: None,
            kind,
            token: None,
            key_spec_index: None,
            summary: None,
            since: None,
            deprecated_since: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            args: &[],
        }
    }
    pub const fn string(name: &'static str) -> Arg {
        Arg::new(name, ArgType::String)
    }
    pub const fn integer(name: &'static str) -> Arg {
        Arg::new(name, ArgType::Integer)
    }
    pub const fn double(name: &'static str) -> Arg {
        Arg::new(name, ArgType::Double)
    }
    pub const fn pattern(name: &'static str) -> Arg {
        Arg::new(name, ArgType::Pattern)
    }
    pub const fn unix_time(name: &'static str) -> Arg {
        Arg::new(name, ArgType::UnixTime)
    }
    /// A key, declared by the key specification of this index.
    pub const fn key(name: &'static str, key_spec_index: u8) -> Arg {
        let mut arg = Arg::new(name, ArgType::Key);
        arg.key_spec_index = Some(key_spec_index);
        arg
    }
    /// A word that stands for itself.
    pub const fn word(name: &'static str, token: &'static str) -> Arg {
        Arg::new(name, ArgType::PureToken).token(token)
    }
    pub const fn one_of(name: &'static str, args: &'static [Arg]) -> Arg {
        let mut arg = Arg::new(name, ArgType::OneOf);
        arg.args = args;
        arg
    }
    pub const fn block(name: &'static str, args: &'static [Arg]) -> Arg {
        let mut arg = Arg::new(name, ArgType::Block);
        arg.args = args;
        arg
    }
    pub const fn token(mut self, token: &'static str) -> Arg {
        self.token = Some(token);
        self
    }
    pub const fn display(mut self, display: &'static str) -> Arg {
        self.display = Some(display);
        self
    }
    pub const fn since(mut self, since: &'static str) -> Arg {
        self.since = Some(since);
        self
    }
    pub const fn deprecated_since(mut self, since: &'static str) -> Arg {
        self.deprecated_since = Some(since);
        self
    }
    pub const fn summary(mut self, summary: &'static str) -> Arg {
        self.summary = Some(summary);
        self
    }
    pub const fn optional(mut self) -> Arg {
        self.optional = true;
        self
    }
    pub const fn multiple(mut self) -> Arg {
        self.multiple = true;
        self
    }
    pub const fn multiple_token(mut self) -> Arg {
        self.multiple = true;
        self.multiple_token = true;
        self
    }
}

/// Which side of the gate a command runs on (docs/design.md, section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// On its own thread, with the shards of its declared keys. It may still ask for the wide side by `Stop::Wide`.
    Narrow,
    /// Alone in the world.
    Wide,
}

/// What a command does to its keys when it is called with these arguments.
pub type KeyFlagsOf = fn(args: &[&[u8]]) -> KeyFlags;

/// Finds a key in the arguments of one call.
pub type KeyElsewhere = fn(args: &[&[u8]]) -> Option<KeyAt>;

/// Finds the keys in the arguments of one call.
pub type KeysOfCall = fn(args: &[&[u8]]) -> Option<Vec<KeyAt>>;

/// Whether this argument of one call is a secret: logs and MONITOR show `(redacted)` in its place.
pub type IsSecret = fn(args: &[&[u8]], index: usize) -> bool;

/// Everything known about a command. See [`Spec::NEW`] for the defaults.
#[derive(Clone, Copy)]
pub struct Spec {
    /// Lower case; of a subcommand only its own word.
    pub name: &'static str,
    /// Number of arguments with the name; negative: at least so many.
    pub arity: i32,
    pub flags: Flags,
    pub acl: Acl,
    pub keys: &'static [KeySpec],
    /// What a key specification with `VARIABLE_FLAGS` comes to in the arguments of one call.
    pub key_flags: Option<KeyFlagsOf>,
    /// A key where no key specification finds it (SORT's STORE).
    pub key_elsewhere: Option<KeyElsewhere>,
    /// Where the key specifications cannot say it: they are for COMMAND INFO only (MIGRATE).
    pub keys_of_call: Option<KeysOfCall>,
    /// Which arguments must not be shown to others.
    pub is_secret: Option<IsSecret>,
    pub group: Group,
    pub since: &'static str,
    /// One line, in our own words.
    pub summary: &'static str,
    pub complexity: &'static str,
    /// `deprecated`, `syscmd`.
    pub doc_flags: &'static [&'static str],
    pub deprecated_since: Option<&'static str>,
    pub replaced_by: Option<&'static str>,
    /// (version, what changed, in our own words).
    pub history: &'static [(&'static str, &'static str)],
    /// Command tips such as `nondeterministic_output` or `request_policy:all_shards`.
    pub tips: &'static [&'static str],
    pub args: &'static [Arg],
    pub subcommands: &'static [Spec],
    pub side: Side,
    /// Which argument names an element of the first key's collection: the dispatcher asks for its memory ahead. 0: none does.
    pub element_arg: usize,
    /// `None` only for a command that is nothing but its subcommands.
    pub run: Option<Handler>,
}

impl Spec {
    /// What a spec says unless it says otherwise.
    pub const NEW: Spec = Spec {
        name: "",
        arity: 1,
        flags: Flags::empty(),
        acl: Acl::empty(),
        keys: &[],
        key_flags: None,
        key_elsewhere: None,
        keys_of_call: None,
        is_secret: None,
        group: Group::Generic,
        since: "1.0.0",
        summary: "",
        complexity: "O(1)",
        doc_flags: &[],
        deprecated_since: None,
        replaced_by: None,
        history: &[],
        tips: &[],
        args: &[],
        subcommands: &[],
        side: Side::Narrow,
        element_arg: 0,
        run: None,
    };

    /// Whether this many arguments (with the name) fit.
    pub const fn accepts(&self, argc: usize) -> bool {
        if self.arity >= 0 { argc == self.arity as usize } else { argc >= self.arity.unsigned_abs() as usize }
    }
}
