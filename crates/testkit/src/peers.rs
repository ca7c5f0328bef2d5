//! Which servers there are, and where their programs lie.

use std::{fmt, path::PathBuf, str::FromStr};

/// A server that tests and harnesses can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Ours.
    Spinel,
    /// Redis 8.2, which decides.
    Redis82,
    /// Valkey 9.1, which decides what only it has.
    Valkey91,
    /// Redis 7.0, the third opinion.
    Redis70,
}

impl Kind {
    /// The real servers, in the order in which they decide.
    pub const PEERS: [Kind; 3] = [Kind::Redis82, Kind::Valkey91, Kind::Redis70];

    /// The word for it on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Spinel => "spinel",
            Kind::Redis82 => "redis82",
            Kind::Valkey91 => "valkey91",
            Kind::Redis70 => "redis70",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Kind, String> {
        [Kind::Spinel, Kind::Redis82, Kind::Valkey91, Kind::Redis70]
            .into_iter()
            .find(|kind| kind.name() == word)
            .ok_or_else(|| format!("'{word}' is none of spinel, redis82, valkey91, redis70"))
    }
}

/// The checkout that this was built from.
pub fn workspace_directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where `tools/peers.sh` puts the real servers.
pub fn peers_directory() -> PathBuf {
    workspace_directory().join(".peers")
}

/// The program of a server, if it is there.
///
/// For Spinel: `$SPINEL_BIN`, else the newest of the builds under the target directory: whoever has just built a
/// profile means that one, and a stale release build beside it would only confuse.
pub fn program(kind: Kind) -> Option<PathBuf> {
    let path = match kind {
        Kind::Spinel => return spinel_program(),
        Kind::Redis82 => "redis-8.2/redis-server",
        Kind::Valkey91 => "valkey-9.1/valkey-server",
        Kind::Redis70 => "redis-7.0/redis-server",
    };
    Some(peers_directory().join(path)).filter(|program| program.exists())
}

fn spinel_program() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os("SPINEL_BIN") {
        return Some(PathBuf::from(program));
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(workspace_directory().join("target"), PathBuf::from);
    ["release", "fast", "debug"]
        .iter()
        .map(|profile| target.join(profile).join("spinel"))
        .filter_map(|program| Some((program.metadata().ok()?.modified().ok()?, program)))
        .max()
        .map(|(_, program)| program)
}
