//! The first words of a start: what runs, where, and the gem.

/// Lines for the log: program, version, process.
pub fn starting() -> [String; 2] {
    let bits = usize::BITS;
    let version = env!("CARGO_PKG_VERSION");
    [
        "oO0OoO0OoO0Oo Spinel is starting oO0OoO0OoO0Oo".to_owned(),
        format!("Spinel version={version}, bits={bits}, pid={}, just started", std::process::id()),
    ]
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
}
