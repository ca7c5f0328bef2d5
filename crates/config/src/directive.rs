//! One row of the table of directives, and the typed key that reads its value.

use std::marker::PhantomData;

use crate::value::{Setting, Value};

/// Place of a directive in the table; stable within one build only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirectiveId(pub(crate) u16);

impl DirectiveId {
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The row behind this id.
    pub fn directive(self) -> &'static Directive {
        crate::directives::by_id(self)
    }

    /// The name the directive goes by in files that are written today.
    pub fn name(self) -> &'static str {
        self.directive().name
    }
}

/// A directive whose value is read as `T`: `config.get(directives::PORT)` is an `i64`.
///
/// A test holds that every key's type agrees with its row's kind, so reading never fails.
pub struct Key<T: ?Sized> {
    id: DirectiveId,
    reads: PhantomData<fn() -> Box<T>>,
}

impl<T: ?Sized> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Key<T> {}

impl<T: ?Sized> Key<T> {
    pub(crate) const fn new(position: u16) -> Self {
        Key { id: DirectiveId(position), reads: PhantomData }
    }

    pub const fn id(self) -> DirectiveId {
        self.id
    }

    pub fn name(self) -> &'static str {
        self.id.name()
    }
}

impl<T: ?Sized + Setting> Key<T> {
    pub(crate) fn read(self, values: &[Value]) -> T::Read<'_> {
        match T::read(&values[self.id.index()]) {
            Some(read) => read,
            None => panic!("the key of '{}' has another type than its row", self.name()),
        }
    }
}

impl<T: ?Sized> From<Key<T>> for DirectiveId {
    fn from(key: Key<T>) -> Self {
        key.id
    }
}

/// What values a directive takes and how they are written.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `yes` or `no`.
    Bool,
    /// A decimal integer between two bounds, both included.
    Int { min: i64, max: i64 },
    /// An integer from 0 to 2^31 - 1 that is silently moved between two bounds.
    ClampedInt { min: i64, max: i64 },
    /// Like `Int`, but Redis keeps it unsigned: below zero it has an error text of its own.
    Unsigned { min: i64, max: i64 },
    /// Bytes, with the units `1k` (1000) and `1kb` (1024) up to `gb`.
    Memory { min: i64, max: i64 },
    /// Like `Memory`, but anything below the floor is silently raised to it.
    MemoryAtLeast { min: i64, floor: i64 },
    /// Like `Memory`, but unsigned in Redis (see `Unsigned`).
    UnsignedMemory { min: i64, max: i64 },
    /// Like `Memory`, but negative numbers without unit are understood too.
    SignedMemory { min: i64, max: i64 },
    /// Bytes, or a percentage such as `5%`.
    MemoryOrPercent,
    /// An octal number of file permissions.
    Octal,
    /// One of several names, in any case.
    Choice(&'static [&'static str]),
    /// Several of several names; the first means none of them.
    Flags(&'static [&'static str]),
    /// Any bytes.
    Text,
    /// A folder that must exist.
    Folder,
    /// A list of words.
    Words { max_count: usize },
    /// Pairs of seconds and changes after which a snapshot is saved.
    Save,
    /// Per client class: hard limit, soft limit, and seconds above the soft limit.
    OutputLimits,
    /// Letters that name classes of keyspace events.
    KeyspaceEvents,
    /// Three numbers between -2000 and 2000, in ascending order.
    OomScores,
    /// Numbers between 0 and 100.
    Percentiles,
    /// Host and port of a primary, or `no one`.
    ReplicaOf,
    /// A statement of the file that may stand several times and holds no value for CONFIG GET.
    Statement { min_args: usize, max_args: usize },
}

/// When a directive can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// At any time, by CONFIG SET.
    Mutable,
    /// Only by the file or the command line.
    FixedAtStart,
    /// By CONFIG SET where `enable-protected-configs` allows it.
    Protected,
}

/// What Spinel makes of a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does what Redis or Valkey documents.
    Acts,
    /// Understood and kept; the part of the server it steers is not written yet.
    LaterWork(&'static str),
    /// Accepted so that files load, and without meaning here, for this reason.
    NoEffect(&'static str),
}

/// Which real server knows the directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Redis, and Valkey too unless it has since dropped it.
    Redis,
    /// Valkey only.
    Valkey,
    /// Spinel's own.
    Spinel,
}

/// The value a directive has when nobody sets it.
#[derive(Clone, Copy, Debug)]
pub enum DefaultValue {
    /// As it would be written in the file; for lists, words parted by spaces.
    Text(&'static str),
    /// Depends on the machine. The text describes the rule for the documentation.
    OfMachine(fn() -> String, &'static str),
}

/// A further demand on a value that its kind cannot express. The error is the text for the user.
pub type Check = fn(&Value) -> Result<(), &'static str>;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    pub name: &'static str,
    /// Other names, old and new. All are settable and answer to CONFIG GET.
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    pub default: DefaultValue,
    pub change: Change,
    pub effect: Effect,
    pub origin: Origin,
    /// Answers CONFIG GET only under its full name, not to patterns.
    pub hidden: bool,
    /// The value is a secret: logs and reports must not show it.
    pub secret: bool,
    pub(crate) check: Option<Check>,
    /// One sentence for the documentation.
    pub about: &'static str,
}

/// Starts a row: mutable, acting, known to Redis, neither hidden nor secret.
pub(crate) const fn row(name: &'static str, kind: Kind, default: &'static str) -> Directive {
    Directive {
        name,
        aliases: &[],
        kind,
        default: DefaultValue::Text(default),
        change: Change::Mutable,
        effect: Effect::Acts,
        origin: Origin::Redis,
        hidden: false,
        secret: false,
        check: None,
        about: "",
    }
}

impl Directive {
    pub(crate) const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(crate) const fn fixed(mut self) -> Self {
        self.change = Change::FixedAtStart;
        self
    }

    pub(crate) const fn protected(mut self) -> Self {
        self.change = Change::Protected;
        self
    }

    pub(crate) const fn later(mut self, part: &'static str) -> Self {
        self.effect = Effect::LaterWork(part);
        self
    }

    pub(crate) const fn no_effect(mut self, reason: &'static str) -> Self {
        self.effect = Effect::NoEffect(reason);
        self
    }

    pub(crate) const fn valkey(mut self) -> Self {
        self.origin = Origin::Valkey;
        self
    }

    pub(crate) const fn own(mut self) -> Self {
        self.origin = Origin::Spinel;
        self
    }

    pub(crate) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    pub(crate) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(crate) const fn check(mut self, check: Check) -> Self {
        self.check = Some(check);
        self
    }

    pub(crate) const fn default_of_machine(mut self, default: fn() -> String, described: &'static str) -> Self {
        self.default = DefaultValue::OfMachine(default, described);
        self
    }

    pub(crate) const fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// Whether `name` is the directive's name or one of its aliases, in any case.
    pub fn answers_to(&self, name: &[u8]) -> bool {
        self.names().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The name, then the aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Whether the value is given as several words in the file, and as one string of words to CONFIG SET.
    pub(crate) fn takes_words(&self) -> bool {
        matches!(
            self.kind,
            Kind::Flags(_)
                | Kind::Words { .. }
                | Kind::Save
                | Kind::OutputLimits
                | Kind::OomScores
                | Kind::Percentiles
                | Kind::ReplicaOf
                | Kind::Statement { .. }
        )
    }
}

/// Defines the rows of one group, and for each a typed key under an upper-case name.
///
/// `$first` is the table position of the group's first row. The comment above a row is its documentation.
macro_rules! rows {
    ($first:expr; $( $(#[doc = $about:literal])+ $key:ident : $type:ty = $row:expr; )*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u16)]
        enum Position { $($key),* }
        const FIRST: u16 = $first;
        $( $(#[doc = $about])+ pub const $key: Key<$type> = Key::new(FIRST + Position::$key as u16); )*
        pub(super) const ROWS: &[Directive] = &[$( $row.about(concat!($($about),+)) ),*];
        /// Where the next group begins.
        pub(super) const END: u16 = FIRST + ROWS.len() as u16;
        #[cfg(test)]
        pub(super) fn check_every_key(values: &[crate::value::Value]) {
            $(
                let _ = $key.read(values);
                assert_eq!($key.name(), stringify!($key).to_lowercase().replace('_', "-"));
            )*
        }
    };
}
pub(crate) use rows;
