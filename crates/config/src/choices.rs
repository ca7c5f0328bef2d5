//! The values of directives that take one of several names, as Rust enums.

/// A directive's value that is one of several names.
pub trait Choice: Sized + Copy {
    /// The names, in the order Redis lists them in its error text.
    const NAMES: &'static [&'static str];

    /// The choice whose name is `NAMES[index]`.
    fn from_index(index: usize) -> Option<Self>;

    fn name(self) -> &'static str;
}

macro_rules! choices {
    ($( $(#[$attribute:meta])* $name:ident { $($(#[$variant_attribute:meta])* $variant:ident = $text:literal),+ $(,)? } )*) => {$(
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_attribute])* $variant),+ }

        impl Choice for $name {
            const NAMES: &'static [&'static str] = &[$($text),+];

            fn from_index(index: usize) -> Option<Self> {
                [$($name::$variant),+].get(index).copied()
            }

            fn name(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl crate::value::Setting for $name {
            type Read<'a> = $name;
            fn read(value: &crate::value::Value) -> Option<$name> {
                match value {
                    crate::value::Value::Choice(index) => $name::from_index(*index),
                    _ => None,
                }
            }
        }
    )*};
}

choices! {
    /// How much is logged: each level includes those after it.
    LogLevel { Debug = "debug", Verbose = "verbose", Notice = "notice", Warning = "warning", Nothing = "nothing" }
    /// Shape of a log line.
    LogFormat { Legacy = "legacy", Logfmt = "logfmt", Json = "json" }
    /// How a log line writes the time.
    LogTimestampFormat { Legacy = "legacy", Iso8601 = "iso8601", Milliseconds = "milliseconds" }
    /// Whom syslog takes the messages from.
    SyslogFacility {
        User = "user", Local0 = "local0", Local1 = "local1", Local2 = "local2", Local3 = "local3",
        Local4 = "local4", Local5 = "local5", Local6 = "local6", Local7 = "local7",
    }
    /// The supervisor that is told about start and stop.
    Supervised { Upstart = "upstart", Systemd = "systemd", Auto = "auto", No = "no" }
    /// Who may use a dangerous command: nobody, everybody, or connections from this machine.
    Permitted { No = "no", Yes = "yes", Local = "local" }
    /// What goes when memory is full.
    MaxmemoryPolicy {
        VolatileLru = "volatile-lru", VolatileLfu = "volatile-lfu", VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl", AllkeysLru = "allkeys-lru", AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random", Noeviction = "noeviction",
    }
    /// Whether and how the kernel's out-of-memory score is set. `Relative` is kept as `Yes`.
    OomScoreAdj { No = "no", Yes = "yes", Relative = "relative", Absolute = "absolute" }
    /// When the append-only file reaches the disk.
    Appendfsync { Everysec = "everysec", Always = "always", No = "no" }
    /// What a replica does with its old data while it loads from a socket.
    ReplDisklessLoad {
        Disabled = "disabled", OnEmptyDb = "on-empty-db", Swapdb = "swapdb", FlushBeforeLoad = "flush-before-load",
    }
    /// What happens when a command from the primary or the append-only file fails.
    PropagationErrorBehavior { Ignore = "ignore", Panic = "panic", PanicOnReplicas = "panic-on-replicas" }
    /// Whether serialized values are checked in depth before they are trusted.
    SanitizeDumpPayload { No = "no", Yes = "yes", Clients = "clients" }
    /// Whether snapshot files from an unknown version are tried.
    RdbVersionCheck { Strict = "strict", Relaxed = "relaxed" }
    /// Whose form of hashes with expiring fields is written.
    RdbExpiringFields { Redis = "redis", Valkey = "valkey" }
    /// Which channels a new user may use.
    AclPubsubDefault { Allchannels = "allchannels", Resetchannels = "resetchannels" }
    /// How a node's address is told to cluster clients.
    ClusterPreferredEndpointType { Ip = "ip", Hostname = "hostname", UnknownEndpoint = "unknown-endpoint" }
    /// What a failure to save the cluster's state means.
    ClusterConfigSaveBehavior { Sync = "sync", BestEffort = "best-effort" }
    /// Whether TLS clients must show a certificate.
    TlsAuthClients { No = "no", Yes = "yes", Optional = "optional" }
    /// Which field of a TLS client's certificate names its user.
    TlsAuthClientsUser { Cn = "CN", Uri = "URI", Off = "off" }
}

bitflags::bitflags! {
    /// What a termination signal asks of the shutdown; empty means SHUTDOWN's own default.
    /// The bits follow the order of [`ShutdownOnSignal::NAMES`] after its first.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ShutdownOnSignal: u64 {
        const SAVE = 1;
        const NOSAVE = 1 << 1;
        const NOW = 1 << 2;
        const FORCE = 1 << 3;
        const SAFE = 1 << 4;
        const FAILOVER = 1 << 5;
    }
}

impl ShutdownOnSignal {
    pub(crate) const NAMES: &'static [&'static str] =
        &["default", "save", "nosave", "now", "force", "safe", "failover"];
}

impl crate::value::Setting for ShutdownOnSignal {
    type Read<'a> = ShutdownOnSignal;
    fn read(value: &crate::value::Value) -> Option<Self> {
        match value {
            crate::value::Value::Flags(bits) => Some(Self::from_bits_retain(*bits)),
            _ => None,
        }
    }
}
