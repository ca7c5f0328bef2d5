//! The load generator as a program of its own: what its tests run, without building the server. Users get it as a part of `spinel`.

use std::process::ExitCode;

fn main() -> ExitCode {
    benchmark::run(std::env::args_os().collect())
}
