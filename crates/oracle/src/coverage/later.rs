//! Commands that later work brings. `oracle coverage` reports them apart while they are missing, and compares them like
//! all others once they are there; a row is removed with the work that makes it true. It shrinks to nothing.

/// `(what, work)`: a command, `command|*` for all its subcommands too, or `group:NAME` for a whole group.
const LATER: &[(&str, &str)] = &[];

/// Commands that came to Redis or Valkey after the versions compared with, and are here as their documentation has them.
pub const NEWER: &[&str] = &["hotkeys"];

/// The later work that brings a command (by its name in lower case and its group), if it is any.
pub fn later_work(name: &str, group: &str) -> Option<&'static str> {
    work_among(LATER, name, group)
}

fn work_among(rows: &[(&'static str, &'static str)], name: &str, group: &str) -> Option<&'static str> {
    let container = name.split('|').next().unwrap_or(name);
    rows.iter()
        .find(|(what, _)| match (what.strip_prefix("group:"), what.strip_suffix("|*")) {
            (Some(of), _) => of == group,
            (_, Some(of)) => of == container,
            _ => *what == name,
        })
        .map(|(_, work)| *work)
}

#[cfg(test)]
mod tests {
    use super::work_among;

    #[test]
    fn commands_subcommands_and_groups() {
        let rows = [("group:cluster", "cluster"), ("failover", "replication"), ("script|*", "scripts")];
        assert_eq!(work_among(&rows, "cluster|info", "cluster"), Some("cluster"));
        assert_eq!(work_among(&rows, "failover", "server"), Some("replication"));
        assert_eq!(work_among(&rows, "script|load", "scripting"), Some("scripts"));
        assert_eq!(work_among(&rows, "client|list", "connection"), None);
        assert_eq!(work_among(&rows, "lpush", "list"), None);
    }
}
