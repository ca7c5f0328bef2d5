//! The state of the whole server that commands rely on. It is read on the narrow side and changed only on the wide one.

use std::path::PathBuf;
use std::sync::Arc;

use config::Config;
use keyspace::{Keyspace, Millis};

use crate::access::AccessControl;
use crate::blocking::Waiters;
use crate::generic::migrate::Departing;
use crate::observation::hot_keys::HotKeys;
use crate::observation::monitor::Monitors;
use crate::registry::Registry;
use crate::scripting::Scripts;
use crate::settings::Settings;
use crate::tracking::Tracking;
use crate::transaction::Watches;

/// Everything behind the gate.
pub struct World {
    pub global: Global,
    pub keyspace: Keyspace,
}

/// What commands rely on besides the keys.
pub struct Global {
    pub config: Config,
    /// The directives that hot paths read, as plain fields. Follows `config`.
    pub settings: Settings,
    pub registry: Arc<Registry>,
    /// The users, and what they may do.
    pub access: AccessControl,
    pub role: Role,
    pub pauses: Pauses,
    /// The clients that are blocked in a command.
    pub waiters: Waiters,
    /// Keys that MIGRATE has sent and not yet deleted.
    pub departing: Departing,
    /// Who watches keys for EXEC.
    pub watches: Watches,
    /// Who has read which keys, and wants to hear when they change (CLIENT TRACKING).
    pub tracking: Tracking,
    /// The clients that listen to all commands.
    pub monitors: Monitors,
    /// The session of HOTKEYS that goes on, or was stopped last.
    pub hot_keys: Option<HotKeys>,
    /// The scripts that EVALSHA finds, and their interpreter.
    pub scripts: Scripts,
    pub debug: DebugSettings,
    pub run_id: String,
    pub started: Millis,
    pub executable: PathBuf,
    pub arguments: Vec<String>,
    /// When the data was last saved, or the server started: LASTSAVE.
    pub last_save: Millis,
    /// The data set is being read from disk: nearly nothing else can be done.
    pub loading: bool,
    /// A replica loads a full synchronisation beside its data, which are served meanwhile.
    pub async_loading: bool,
    /// Effects have a reader: an append-only file.
    pub journal_kept: bool,
}

/// The part this server plays in replication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Primary,
    /// Refuses writes of clients with READONLY where `replica-read-only` says so.
    Replica,
}

/// For how long clients wait, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    pub until: Millis,
    /// Reads go on.
    pub writes_only: bool,
}

impl Pause {
    /// Until whoever began it ends it.
    pub fn endless(writes_only: bool) -> Pause {
        Pause { until: Millis(i64::MAX), writes_only }
    }
}

/// Who makes clients wait. Each ends the own pause and no other: CLIENT UNPAUSE does not let writes into a server that is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseReason {
    /// CLIENT PAUSE.
    Client,
    /// FAILOVER, until the replica has everything.
    Failover,
    /// SHUTDOWN, until the replicas have everything.
    Shutdown,
    /// A job that everybody waits for.
    Job,
}

/// The pauses there are, one a reason.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pauses {
    by_reason: [Option<Pause>; 4],
    is_any: bool,
}

impl Pauses {
    /// Begins a reason's pause in the place of the one before, or ends it.
    pub fn set(&mut self, reason: PauseReason, pause: Option<Pause>) {
        self.by_reason[reason as usize] = pause;
        self.is_any = self.by_reason.iter().any(Option::is_some);
    }

    /// A reason's pause, if it is in force at this time.
    pub fn of(&self, reason: PauseReason, now: Millis) -> Option<Pause> {
        self.by_reason[reason as usize].filter(|pause| pause.until > now)
    }

    /// What all that are in force at this time come to: the longest, and the strictest.
    #[inline]
    pub fn at(&self, now: Millis) -> Option<Pause> {
        if !self.is_any {
            return None;
        }
        let in_force = self.by_reason.iter().flatten().filter(|pause| pause.until > now);
        in_force.copied().reduce(|one, other| Pause {
            until: one.until.max(other.until),
            writes_only: one.writes_only && other.writes_only,
        })
    }
}

/// What DEBUG switches.
#[derive(Clone, Copy, Debug)]
pub struct DebugSettings {
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: bool,
}

impl Default for DebugSettings {
    fn default() -> DebugSettings {
        DebugSettings { active_expire: true }
    }
}

impl Global {
    /// The pause that is in force at this time, whoever asked for it.
    #[inline]
    pub fn pause_at(&self, now: Millis) -> Option<Pause> {
        self.pauses.at(now)
    }

    /// Whether keys are removed to make room for others.
    ///
    /// Not while files are loaded: what they hold was there before, whatever the limit is now.
    pub fn may_evict(&self, now: Millis) -> bool {
        let leaves_it_to_primary = self.role == Role::Replica && self.settings.replica_ignore_maxmemory;
        !leaves_it_to_primary && !self.loading && !self.settings.import_mode && self.pause_at(now).is_none()
    }

    /// Whether keys whose time has come are removed without being asked for.
    ///
    /// Not while files are loaded: a later command in them may still say that the key stays.
    pub fn may_expire_actively(&self, now: Millis) -> bool {
        self.role == Role::Primary
            && !self.loading
            && !self.settings.import_mode
            && self.debug.active_expire
            && self.pause_at(now).is_none()
    }

    /// Whether a replica removes keys that clients have written to it: its primary does not know them.
    pub fn may_expire_own(&self, now: Millis) -> bool {
        self.role == Role::Replica && !self.loading && self.debug.active_expire && self.pause_at(now).is_none()
    }
}
