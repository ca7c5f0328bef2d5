//! Demands on values that their kind cannot express, with the texts that Redis and Valkey give.

use crate::choices::ShutdownOnSignal;
use crate::value::{Setting, Value};

type Checked = Result<(), &'static str>;

fn text(value: &Value) -> &[u8] {
    <[u8] as Setting>::read(value).expect("only rows of kind Text name these checks")
}

/// As `basename` would leave it: without folders, and not empty.
fn is_plain_name(name: &[u8]) -> bool {
    !name.contains(&b'/')
}

pub(super) fn dbfilename(value: &Value) -> Checked {
    if is_plain_name(text(value)) { Ok(()) } else { Err("dbfilename can't be a path, just a filename") }
}

pub(super) fn appendfilename(value: &Value) -> Checked {
    if text(value).is_empty() {
        return Err("appendfilename can't be empty");
    }
    if is_plain_name(text(value)) { Ok(()) } else { Err("appendfilename can't be a path, just a filename") }
}

pub(super) fn appenddirname(value: &Value) -> Checked {
    if text(value).is_empty() {
        return Err("appenddirname can't be empty");
    }
    if is_plain_name(text(value)) { Ok(()) } else { Err("appenddirname can't be a path, just a dirname") }
}

pub(super) fn hostname(value: &Value) -> Checked {
    let name = text(value);
    if name.len() >= 256 {
        return Err("Hostnames must be less than 256 characters");
    }
    if name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
        Ok(())
    } else {
        Err("Hostnames may only contain alphanumeric characters, hyphens or dots")
    }
}

/// Letters of the cluster's own texts are left out (observed in Redis 8.2, byte by byte).
pub(super) fn human_nodename(value: &Value) -> Checked {
    if text(value).iter().any(|byte| b"!#$%&()*+:;<>?@[]^{|}~".contains(byte)) {
        return Err("Announced human node name contained invalid character");
    }
    Ok(())
}

fn is_empty_or<Address: std::str::FromStr>(value: &Value) -> bool {
    let text = text(value);
    text.is_empty() || std::str::from_utf8(text).is_ok_and(|text| text.parse::<Address>().is_ok())
}

pub(super) fn ipv4(value: &Value) -> Checked {
    if is_empty_or::<std::net::Ipv4Addr>(value) { Ok(()) } else { Err("Invalid IPv4 address") }
}

pub(super) fn ipv6(value: &Value) -> Checked {
    if is_empty_or::<std::net::Ipv6Addr>(value) { Ok(()) } else { Err("Invalid IPv6 address") }
}

/// Names that the process title may hold in braces.
pub const PROC_TITLE_VARIABLES: &[&str] =
    &["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];

/// Every brace must enclose a known variable. As in Redis 8.2, a template that would say nothing beside
/// the title is refused too.
pub(super) fn proc_title_template(value: &Value) -> Checked {
    const INVALID: Checked = Err("template format is invalid or contains unknown variables");
    let Ok(mut rest) = std::str::from_utf8(text(value)) else {
        return INVALID;
    };
    if rest.replace("{title}", "").trim().is_empty() {
        return INVALID;
    }
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}') else {
            return INVALID;
        };
        if !PROC_TITLE_VARIABLES.contains(&&rest[open + 1..open + close]) {
            return INVALID;
        }
        rest = &rest[open + close + 1..];
    }
    Ok(())
}

pub(super) fn shutdown_flags(value: &Value) -> Checked {
    let flags = ShutdownOnSignal::read(value).expect("only rows of kind Flags name this check");
    if flags.contains(ShutdownOnSignal::SAVE | ShutdownOnSignal::NOSAVE) {
        return Err("shutdown options SAVE and NOSAVE can't be used simultaneously");
    }
    Ok(())
}
