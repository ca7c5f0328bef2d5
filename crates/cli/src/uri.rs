//! `redis://[user[:password]@]host[:port][/database]`, as of the registered scheme's public description.

/// What a URI says; what it does not say stays as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Uri {
    pub tls: bool,
    pub user: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub database: Option<i64>,
}

pub fn parse(text: &[u8]) -> Result<Uri, &'static str> {
    let mut uri = Uri::default();
    let schemes: [(&[u8], bool); 4] =
        [(b"redis://", false), (b"rediss://", true), (b"valkey://", false), (b"valkeys://", true)];
    let found = schemes
        .iter()
        .find(|(scheme, _)| text.len() >= scheme.len() && text[..scheme.len()].eq_ignore_ascii_case(scheme));
    let (scheme, tls) = found.ok_or("Invalid URI scheme")?;
    uri.tls = *tls;
    let mut rest = &text[scheme.len()..];
    if let Some(at) = rest.iter().position(|byte| *byte == b'@') {
        let who = &rest[..at];
        rest = &rest[at + 1..];
        match who.iter().position(|byte| *byte == b':') {
            Some(colon) => {
                uri.user = Some(decode(&who[..colon])?).filter(|user| !user.is_empty());
                uri.password = Some(decode(&who[colon + 1..])?);
            }
            // Without a colon it is the password, as it was before there were users.
            None => uri.password = Some(decode(who)?),
        }
    }
    let (address, path) = match rest.iter().position(|byte| *byte == b'/') {
        Some(slash) => (&rest[..slash], &rest[slash + 1..]),
        None => (rest, &rest[rest.len()..]),
    };
    let (host, port) = split_port(address);
    if !host.is_empty() {
        uri.host = Some(String::from_utf8_lossy(&decode(host)?).into_owned());
    }
    if let Some(port) = port {
        uri.port = Some(number(port) as u16);
    }
    if !path.is_empty() {
        uri.database = Some(number(path));
    }
    Ok(uri)
}

/// Host and port; an IPv6 address stands in brackets, since it has colons of its own.
fn split_port(address: &[u8]) -> (&[u8], Option<&[u8]>) {
    if let [b'[', rest @ ..] = address
        && let Some(end) = rest.iter().position(|byte| *byte == b']')
    {
        return (&rest[..end], rest[end + 1..].strip_prefix(b":"));
    }
    match address.iter().position(|byte| *byte == b':') {
        Some(colon) => (&address[..colon], Some(&address[colon + 1..])),
        None => (address, None),
    }
}

fn number(text: &[u8]) -> i64 {
    use std::os::unix::ffi::OsStrExt;
    crate::options::leading_integer(std::ffi::OsStr::from_bytes(text))
}

fn decode(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|byte| char::from(*byte).to_digit(16));
        match (digit(), digit()) {
            (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
            _ => return Err("Illegal character in URI encoding"),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_may_be_missing() {
        let uri = parse(b"redis://").unwrap();
        assert_eq!(uri, Uri::default());
        let uri = parse(b"rediss://me:p%40ss@example.org:7000/3").unwrap();
        assert!(uri.tls);
        assert_eq!(uri.user.as_deref(), Some(&b"me"[..]));
        assert_eq!(uri.password.as_deref(), Some(&b"p@ss"[..]));
        assert_eq!((uri.host.as_deref(), uri.port, uri.database), (Some("example.org"), Some(7000), Some(3)));
        assert_eq!(parse(b"redis://secret@h").unwrap().password.as_deref(), Some(&b"secret"[..]));
        assert_eq!(parse(b"redis://:secret@h").unwrap().user, None);
        let uri = parse(b"valkey://[::1]:7000").unwrap();
        assert_eq!((uri.host.as_deref(), uri.port), (Some("::1"), Some(7000)));
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        assert_eq!(parse(b"http://x"), Err("Invalid URI scheme"));
        assert_eq!(parse(b""), Err("Invalid URI scheme"));
        assert_eq!(parse(b"redis://a%2:b@x"), Err("Illegal character in URI encoding"));
    }
}
