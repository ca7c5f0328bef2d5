//! The arguments of the server program: `[FILE] [-] [--DIRECTIVE WORD ...]...`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::value::Bytes;
use crate::words::quote;

/// What the arguments ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Serve(Invocation),
    Version,
    Help,
    /// Look for settings of the system that harm the server.
    CheckSystem,
    /// Test that many megabytes of memory; `None` when the number is missing or none.
    TestMemory(Option<u64>),
}

/// Where a server's configuration comes from. Handed to [`crate::load::load`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    pub file: Option<PathBuf>,
    pub standard_input: bool,
    /// Whether `--sentinel` was among the arguments.
    pub sentinel: bool,
    /// The options as lines of a configuration file.
    pub options: Bytes,
}

/// Help for the server program.
pub const USAGE: &str = "\
Usage: spinel server [FILE] [-] [--DIRECTIVE VALUE ...]

  FILE                  configuration file in the format of redis.conf
  -                     read more configuration from standard input (first or last argument)
  --DIRECTIVE VALUE     any directive of the file; wins over the file
  --sentinel            run as a sentinel
  --check-system        look for system settings that harm the server
  --test-memory MB      test that much memory
  -v, --version         print the version
  -h, --help            print this help

Examples:
  spinel server
  spinel server /etc/spinel.conf --port 7777
  spinel server --port 7777 --replicaof 127.0.0.1 6379
  spinel server --save \"\" --appendonly yes
  echo 'maxmemory 1gb' | spinel server -
";

/// Understands the arguments behind the program's name.
///
/// As observed in Redis 8.2: an argument that begins with `--` starts an option, unless the option before it has no
/// value yet and is not `save` (`--requirepass --x` sets a password). A `-` is standard input only as first or last
/// argument. Arguments that fit nowhere become a line of their own, so that reading it fails with its text.
pub fn parse<Argument: AsRef<OsStr>>(arguments: impl IntoIterator<Item = Argument>) -> Request {
    let arguments: Vec<OsString> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
    let mut arguments: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).collect();
    match arguments.as_slice() {
        [b"-v" | b"--version"] => return Request::Version,
        [b"-h" | b"--help"] => return Request::Help,
        [b"--check-system"] => return Request::CheckSystem,
        [b"--test-memory", rest @ ..] => {
            let megabytes = rest.first().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            return Request::TestMemory(megabytes);
        }
        _ => {}
    }

    let mut invocation = Invocation::default();
    if let [first, ..] = arguments.as_slice()
        && !first.starts_with(b"-")
    {
        invocation.file = Some(PathBuf::from(OsStr::from_bytes(first)));
        arguments.remove(0);
    } else if arguments.first() == Some(&&b"-"[..]) {
        invocation.standard_input = true;
        arguments.remove(0);
    }
    if arguments.last() == Some(&&b"-"[..]) {
        invocation.standard_input = true;
        arguments.pop();
    }
    invocation.sentinel = arguments.contains(&&b"--sentinel"[..]);
    arguments.retain(|argument| *argument != b"--sentinel");

    invocation.options = options_as_lines(&arguments);
    Request::Serve(invocation)
}

fn options_as_lines(arguments: &[&[u8]]) -> Bytes {
    let mut lines = Vec::new();
    // A `--name` was read and its value is still to come.
    let mut wants_value = false;
    for argument in arguments {
        match argument.strip_prefix(b"--") {
            Some(option) if !wants_value => {
                if !lines.is_empty() {
                    lines.push(b'\n');
                }
                // Not quoted: `"--port 0"` may come as one argument. A line break would make it two options.
                lines.extend(option.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
                wants_value = !option.is_empty() && !option.contains(&b' ') && !option.eq_ignore_ascii_case(b"save");
            }
            _ => {
                lines.push(b' ');
                lines.extend(quote(argument));
                wants_value = false;
            }
        }
    }
    // `--save` without a value means to save never; the bare word in a file means nothing.
    let without_times = |line: &[u8]| line.trim_ascii().eq_ignore_ascii_case(b"save");
    let lines: Vec<Bytes> = lines
        .split(|byte| *byte == b'\n')
        .map(|line| if without_times(line) { b"save \"\"".to_vec() } else { line.to_vec() })
        .collect();
    lines.join(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directives;
    use crate::load::load;

    fn serve(arguments: &[&str]) -> Invocation {
        match parse(arguments) {
            Request::Serve(invocation) => invocation,
            other => panic!("{other:?}"),
        }
    }

    fn lines(arguments: &[&str]) -> String {
        String::from_utf8(serve(arguments).options).unwrap()
    }

    #[test]
    fn options_become_lines() {
        assert_eq!(lines(&["--port", "0", "--save", "60", "1"]), "port \"0\"\nsave \"60\" \"1\"");
        assert_eq!(lines(&["--port 0", "--foo"]), "port 0\nfoo");
        assert_eq!(lines(&["--requirepass", "--x"]), "requirepass \"--x\"");
        assert_eq!(lines(&["--slowlog-log-slower-than", "-1"]), "slowlog-log-slower-than \"-1\"");
        assert_eq!(lines(&["--save", "--loglevel", "debug"]), "save \"\"\nloglevel \"debug\"");
        assert_eq!(lines(&["--loglevel", "debug", "--save"]), "loglevel \"debug\"\nsave \"\"");
        assert_eq!(lines(&["--port", "0", "-", "--foo"]), "port \"0\" \"-\"\nfoo");
        assert_eq!(lines(&["c.conf", "d.conf"]).trim(), "\"d.conf\"");
        assert_eq!(lines(&["-x"]).trim(), "\"-x\"");
    }

    #[test]
    fn files_and_standard_input() {
        assert_eq!(serve(&[]), Invocation::default());
        assert_eq!(serve(&["a.conf", "--port", "1"]).file, Some("a.conf".into()));
        assert!(serve(&["-", "--port", "1"]).standard_input);
        assert!(serve(&["--port", "1", "-"]).standard_input);
        let both = serve(&["a.conf", "-"]);
        assert!(both.standard_input && both.file.is_some());
        assert!(serve(&["a.conf", "--sentinel"]).sentinel);
    }

    #[test]
    fn other_requests() {
        assert_eq!(parse(["-v"]), Request::Version);
        assert_eq!(parse(["--help"]), Request::Help);
        assert_eq!(parse(["--check-system"]), Request::CheckSystem);
        assert_eq!(parse(["--test-memory"]), Request::TestMemory(None));
        assert_eq!(parse(["--test-memory", "12"]), Request::TestMemory(Some(12)));
    }

    #[test]
    fn options_are_read() {
        let read = |arguments: &[&str]| load(&serve(arguments), &mut std::io::empty());
        let config = read(&["--port", "0", "--save", "", "--bind", "127.0.0.1 -::1", "--replicaof", "no", "one"]);
        let config = config.unwrap().config;
        assert!(config.get(directives::SAVE).is_empty());
        assert_eq!(config.get(directives::BIND).len(), 2);
        assert!(read(&["--bind"]).unwrap().config.get(directives::BIND).is_empty());
        let config = read(&["--save", "60", "1", "--save", "300", "10"]).unwrap().config;
        assert_eq!(config.formatted(directives::SAVE), b"60 1 300 10");
        let config = read(&["--shutdown-on-sigint", "nosave force"]).unwrap().config;
        assert_eq!(config.formatted(directives::SHUTDOWN_ON_SIGINT), b"nosave force");

        let error = |arguments: &[&str]| read(arguments).unwrap_err().to_string();
        let shown = error(&["--port", "0", "--save", "60"]);
        assert!(shown.ends_with("at option 2\n>>> 'save \"60\"'\nInvalid save parameters"), "{shown}");
        let shown = error(&["--port=0"]);
        assert!(shown.ends_with(">>> 'port=0'\nBad directive or wrong number of arguments"), "{shown}");
        let shown = error(&["--port", "--loglevel", "debug"]);
        assert!(shown.ends_with(">>> 'port \"--loglevel\" \"debug\"'\nwrong number of arguments"), "{shown}");
    }
}
