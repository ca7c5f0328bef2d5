//! The first words of a start: what runs, where, and the gem.

use config::directive::{Directive, Effect};
use config::{Config, directives};

/// Lines for the log: program, version, process.
pub fn starting() -> [String; 2] {
    let bits = usize::BITS;
    let version = env!("CARGO_PKG_VERSION");
    [
        "oO0OoO0OoO0Oo Spinel is starting oO0OoO0OoO0Oo".to_owned(),
        format!("Spinel version={version}, bits={bits}, pid={}, just started", std::process::id()),
    ]
}

/// A word of warning where the configuration asks for what is not there yet: files of real servers load, and whoever relies on
/// one of their lines should not find out by its absence.
pub fn without_effect_yet(config: &Config) -> Option<String> {
    let is_later = |directive: &Directive| matches!(directive.effect, Effect::LaterWork(_));
    let names: Vec<_> = directives::all()
        .filter(|(id, directive)| is_later(directive) && !config.is_default(*id))
        .map(|(_, directive)| directive.name)
        .collect();
    (!names.is_empty())
        .then(|| format!("WARNING: These directives are set, and do nothing in this version: {}", names.join(", ")))
}

/// The logo, shown on a terminal, or always if `always-show-logo` says so. `mode` is `standalone`, `cluster` or
/// `sentinel`.
pub fn logo(mode: &str, port: i64) -> String {
    let (version, bits, process) = (env!("CARGO_PKG_VERSION"), usize::BITS, std::process::id());
    format!(
        "
        ________
       /\\  /\\  /\\
      /__\\/__\\/__\\      Spinel {version}, {bits} bit
      \\  /\\  /\\  /
       \\/  \\/  \\/       Running in {mode} mode
        \\  /\\  /        Port: {port}
         \\/__\\/         PID: {process}
          \\  /
           \\/

"
    )
}

/// The line that stands for the logo where it is not shown.
pub fn running(mode: &str, port: i64) -> String {
    format!("Running mode={mode}, port={port}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logo_tells_what_runs() {
        let logo = logo("standalone", 6379);
        assert!(logo.contains("Port: 6379") && logo.contains("standalone"));
        assert_eq!(running("standalone", 1), "Running mode=standalone, port=1.");
    }

    #[test]
    fn what_does_nothing_yet_is_said() {
        assert_eq!(without_effect_yet(&Config::default()), None);
        let loaded = config::load::load_text(b"port 1\nloadmodule /x.so\ncluster-enabled yes\n").expect("valid");
        let line = without_effect_yet(&loaded.config).expect("a warning");
        assert!(
            line.ends_with(": cluster-enabled, loadmodule") || line.ends_with(": loadmodule, cluster-enabled"),
            "{line}"
        );
    }
}
