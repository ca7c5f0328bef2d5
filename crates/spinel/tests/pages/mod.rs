//! What tests of pages with examples have in common.

#![allow(dead_code, reason = "each test uses its part")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use testkit::{Client, Value, wait_for};

/// Makes `name` a program that runs `script`.
pub fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("made a program");
}

/// Whether redis-cli says how long it took, as it does of what took more than half a second.
pub fn is_time(line: &str) -> bool {
    line.strip_prefix('(').and_then(|line| line.strip_suffix("s)")).is_some_and(|time| time.parse::<f64>().is_ok())
}

/// Waits until it answers PING as is expected of it. False when it has ended instead: somebody else has the port.
pub fn comes_up(process: &mut Child, port: u16, is_expected: impl Fn(&Value) -> bool) -> bool {
    let is_up = wait_for(Duration::from_secs(30), || match process.try_wait().expect("own child") {
        Some(_) => Some(false),
        None => {
            let mut client = Client::connect(([127, 0, 0, 1], port).into()).ok()?;
            is_expected(&client.command(&["PING"]).ok()?).then_some(true)
        }
    });
    is_up == Some(true)
}
