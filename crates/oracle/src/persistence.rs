//! What is done to the files of both servers, and to the servers themselves: snapshots, rewrites, reloads, restarts, crashes.
//!
//! Both do it at the same place between two commands, so a snapshot holds the same on both, whatever is written while it is made;
//! and what a server finds after its restart can be compared as anything else can.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use testkit::{Value, wait_for};

use crate::{
    dataset,
    pair::{CONTROL, Difference, Pair, Side},
};

/// How long a save, a rewrite or the end of a server may take.
const JOB_TIME_MAX: Duration = Duration::from_secs(60);

/// Where servers keep what they keep, in their directories, as configured by nobody.
const FILES: [&str; 2] = ["dump.rdb", "appendonlydir"];

/// One thing done. All of them first wait until the servers save and rewrite nothing any more: whether a second one is refused
/// must not hang on how fast the first was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Save,
    /// Begun only: the steps that follow write while it goes on.
    SnapshotBegins,
    /// Begun only, as above.
    RewriteBegins,
    /// CONFIG SET appendonly.
    AppendOnly(bool),
    /// A write, and WAITAOF for it, with this `appendfsync`.
    WaitUntilDurable(&'static str),
    /// DEBUG RELOAD with these options; data compared.
    Reload(&'static [&'static str]),
    /// DEBUG LOADAOF; data compared. Left out where there is no append-only file.
    LoadAof,
    /// Both servers end and start again; data compared. With an append-only file everything comes back, however they end; else what
    /// was saved at the end or, when they are killed, what the last snapshot holds.
    Restart {
        kill: bool,
        files: Files,
    },
}

/// Whose files a server finds when it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    Own,
    /// Each finds the other's.
    Exchanged,
}

/// As one would type it.
impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Save => write!(f, "SAVE"),
            Deed::SnapshotBegins => write!(f, "BGSAVE"),
            Deed::RewriteBegins => write!(f, "BGREWRITEAOF"),
            Deed::AppendOnly(on) => write!(f, "CONFIG SET appendonly {}", yes_or_no(*on)),
            Deed::WaitUntilDurable(fsync) => write!(f, "CONFIG SET appendfsync {fsync}; SET {MARK} 1; WAITAOF 1 0 0"),
            Deed::Reload(options) => write!(f, "{}", [&["DEBUG", "RELOAD"], *options].concat().join(" ")),
            Deed::LoadAof => write!(f, "DEBUG LOADAOF"),
            Deed::Restart { kill, files } => {
                let end = if *kill { "SIGKILL" } else { "SHUTDOWN SAVE" };
                let files = match files {
                    Files::Own => "",
                    Files::Exchanged => " with each other's files",
                };
                write!(f, "{end}, and start again{files}")
            }
        }
    }
}

/// A key that exists for a moment, so that there is something to wait for.
const MARK: &str = "oracle:mark";

fn yes_or_no(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

/// Does it on both, and compares what they say and, where data were loaded, what they hold.
pub fn play(pair: &mut Pair, deed: Deed, at: usize) -> Result<Option<Difference>> {
    if deed == Deed::LoadAof && !pair.append_only {
        return Ok(None);
    }
    for side in [&mut pair.subject, &mut pair.reference] {
        wait_until_idle(side)?;
    }
    let difference = match deed {
        Deed::Save => command(pair, &["SAVE"]),
        Deed::SnapshotBegins => command(pair, &["BGSAVE"]),
        Deed::RewriteBegins => command(pair, &["BGREWRITEAOF"]),
        Deed::AppendOnly(on) => {
            pair.append_only = on;
            let difference = command(pair, &["CONFIG", "SET", "appendonly", yes_or_no(on)]);
            // The first base need not hold the same on both: when it is begun is nobody's promise, and what it holds already is small again.
            for side in [&mut pair.subject, &mut pair.reference] {
                wait_until_idle(side)?;
            }
            difference
        }
        Deed::WaitUntilDurable(fsync) => both(pair, |side| until_durable(side, fsync).map(|reply| reply.to_string())),
        Deed::Reload(options) => command(pair, &[&["DEBUG", "RELOAD"], options].concat()),
        Deed::LoadAof => command(pair, &["DEBUG", "LOADAOF"]),
        Deed::Restart { kill, files } => restart(pair, kill, files)?,
    };
    if let Some([subject, reference]) = difference {
        return Ok(Some(Difference { at, what: deed.to_string(), subject, reference }));
    }
    match deed {
        Deed::Reload(_) | Deed::LoadAof | Deed::Restart { .. } => dataset::compare(pair, at, &format!("after {deed}")),
        _ => Ok(None),
    }
}

/// What the two say, if it differs. An error of one is what it says.
fn both(pair: &mut Pair, act: impl Fn(&mut Side) -> Result<String>) -> Option<[String; 2]> {
    let outcomes =
        [&mut pair.subject, &mut pair.reference].map(|side| act(side).unwrap_or_else(|error| format!("{error:#}")));
    (outcomes[0] != outcomes[1]).then_some(outcomes)
}

fn command(pair: &mut Pair, words: &[&str]) -> Option<[String; 2]> {
    both(pair, |side| Ok(side.command(CONTROL, words)?.to_string()))
}

fn restart(pair: &mut Pair, kill: bool, files: Files) -> Result<Option<[String; 2]>> {
    if pair.append_only && kill {
        for side in [&mut pair.subject, &mut pair.reference] {
            until_durable(side, "always")?;
        }
    }
    let ended = both(pair, |side| end(side, kill));
    if ended.is_some() {
        return Ok(ended);
    }
    let [ours, theirs] = [&pair.subject, &pair.reference].map(|side| side.server.directory());
    match files {
        Files::Own => {}
        Files::Exchanged => exchange(ours, theirs)?,
    }
    let append_only = ["--appendonly", yes_or_no(pair.append_only)];
    Ok(both(pair, |side| side.restart(&append_only).map(|()| "started".to_owned())))
}

/// Back to how servers begin: no append-only file, and nothing kept from what was before.
pub fn forget(pair: &mut Pair) -> Result<()> {
    for side in [&mut pair.subject, &mut pair.reference] {
        if pair.append_only {
            side.command(CONTROL, &["CONFIG", "SET", "appendonly", "no"])?;
        }
        wait_until_idle(side)?;
        remove(side.server.directory())?;
    }
    pair.append_only = false;
    Ok(())
}

fn until_durable(side: &mut Side, fsync: &str) -> Result<Value> {
    side.command(CONTROL, &["CONFIG", "SET", "appendfsync", fsync])?;
    side.command(CONTROL, &["SET", MARK, "1"])?;
    let reply = side.command(CONTROL, &["WAITAOF", "1", "0", "0"])?;
    side.command(CONTROL, &["DEL", MARK])?;
    Ok(reply)
}

/// Until nothing is being loaded, saved, rewritten, or scheduled to be.
pub fn wait_until_idle(side: &mut Side) -> Result<()> {
    const BUSY: [&str; 4] =
        ["rdb_bgsave_in_progress:1", "aof_rewrite_in_progress:1", "aof_rewrite_scheduled:1", "loading:1"];
    let idle = wait_for(JOB_TIME_MAX, || match side.command(CONTROL, &["INFO", "persistence"]) {
        Ok(info) => {
            let is_busy = info.text().unwrap_or_default().lines().any(|line| BUSY.contains(&line));
            (!is_busy).then_some(Ok(()))
        }
        Err(error) => Some(Err(error)),
    });
    idle.with_context(|| format!("{} goes on saving", side.kind()))?
}

fn end(side: &mut Side, kill: bool) -> Result<String> {
    if kill {
        side.server.kill();
        return Ok("killed".to_owned());
    }
    // The reply is the end of the connection, unless it is refused.
    if let Ok(refusal) = side.command(CONTROL, &["SHUTDOWN", "SAVE"]) {
        return Ok(refusal.to_string());
    }
    match wait_for(JOB_TIME_MAX, || side.server.exit_status()) {
        Some(status) => Ok(status.to_string()),
        None => bail!("does not end after SHUTDOWN"),
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    for path in FILES.map(|name| directory.join(name)) {
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}

fn exchange(ours: &Path, theirs: &Path) -> io::Result<()> {
    let aside = ours.join("aside");
    let rename = |from: PathBuf, to: PathBuf| if from.exists() { fs::rename(from, to) } else { Ok(()) };
    for name in FILES {
        rename(ours.join(name), aside.clone())?;
        rename(theirs.join(name), ours.join(name))?;
        rename(aside.clone(), theirs.join(name))?;
    }
    Ok(())
}
