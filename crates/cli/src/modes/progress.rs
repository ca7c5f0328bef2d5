//! A progress bar on the last line of a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::session::Session;
use crate::terminal;

/// How far a walk over the keys has come. It goes to the error output, so that the results stay clean, and only if both are terminals.
pub struct Progress {
    total: u64,
    drawn: bool,
    last: Option<Instant>,
}

const EVERY: Duration = Duration::from_millis(100);

impl Progress {
    pub fn start(session: &Session, total: u64) -> Option<Progress> {
        let wanted = session.options.progress && io::stderr().is_terminal() && io::stdout().is_terminal();
        wanted.then_some(Progress { total, drawn: false, last: None })
    }

    /// Redraws it, at most ten times a second.
    fn draw(&mut self, done: u64) {
        if self.last.is_some_and(|last| last.elapsed() < EVERY) {
            return;
        }
        // A walk that is over before one would look up needs none.
        if self.last.replace(Instant::now()).is_none() {
            return;
        }
        let share = if self.total == 0 { 1.0 } else { (done as f64 / self.total as f64).min(1.0) };
        let line = bar(share, &format!("{done} keys"), terminal::size().0.saturating_sub(1));
        eprint!("\r\x1b[K{line}");
        let _ = io::stderr().flush();
        self.drawn = true;
    }

    fn erase(&mut self) {
        if std::mem::take(&mut self.drawn) {
            eprint!("\r\x1b[K");
        }
    }
}

/// So that whoever walks need not ask whether there is a bar.
pub trait Shown {
    fn show(&mut self, done: u64);
    fn clear(&mut self);
}

impl Shown for Option<Progress> {
    fn show(&mut self, done: u64) {
        if let Some(progress) = self {
            progress.draw(done);
        }
    }

    fn clear(&mut self) {
        if let Some(progress) = self {
            progress.erase();
        }
    }
}

/// `[=====>    ]  42.0%  1234 keys`, within so many columns.
pub fn bar(share: f64, note: &str, columns: usize) -> String {
    let tail = format!("] {:5.1}%  {note}", share * 100.0);
    let room = columns.saturating_sub(tail.len() + 1).min(60);
    let full = (share * room as f64) as usize;
    let mut bar = "=".repeat(full);
    if full < room {
        bar.push('>');
    }
    format!("[{bar:<room$}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fits_into_its_columns() {
        for columns in [30, 80, 200] {
            for share in [0.0, 0.42, 1.0] {
                assert!(bar(share, "123 keys", columns).len() <= columns, "{columns} {share}");
            }
        }
        assert_eq!(bar(0.5, "x", 20), "[====>   ]  50.0%  x");
    }
}
