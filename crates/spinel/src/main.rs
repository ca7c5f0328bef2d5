//! The one program. It plays the part whose name it was started under (`redis-server`, `spinel-server`, …) or whose name is
//! its first word (`spinel server`); without either it is the server.
//!
//! Owns that choice and the allocator. Must not know what a part does: each is a library with a `run`.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

mod part;

use part::Part;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    let program = arguments.first().map_or(OsStr::new("spinel"), OsString::as_os_str);
    let (part, by_word) = Part::choose(program, arguments.get(1).map(OsString::as_os_str));
    if by_word {
        arguments.remove(1);
    }
    match part {
        Part::Server => server::run(arguments),
        Part::Benchmark => benchmark::run(arguments),
        Part::CheckRdb => check::rdb::run(arguments),
        Part::CheckAof => check::aof::run(arguments),
        Part::Cli => cli::run(arguments),
        missing => {
            eprintln!(
                "spinel: {missing} is not part of this version yet; so far there are the server, cli, benchmark, check-rdb and check-aof."
            );
            ExitCode::FAILURE
        }
    }
}
