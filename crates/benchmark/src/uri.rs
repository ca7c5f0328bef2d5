//! `redis://user:password@host:port/database`, as `-u` takes it.

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Uri {
    pub tls: bool,
    pub user: Option<String>,
    pub password: Option<Vec<u8>>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub database: Option<u32>,
}

pub fn parse(text: &str) -> Result<Uri, String> {
    let schemes = [("redis://", false), ("valkey://", false), ("rediss://", true), ("valkeys://", true)];
    let (tls, rest) = schemes
        .iter()
        .find_map(|&(scheme, tls)| Some((tls, text.strip_prefix(scheme)?)))
        .ok_or("Invalid URI scheme")?;
    let mut uri = Uri { tls, ..Uri::default() };
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
    let host = match authority.rsplit_once('@') {
        None => authority,
        Some((userinfo, host)) => {
            match userinfo.split_once(':') {
                Some((user, password)) => {
                    let user = decode(user)?;
                    uri.user = (!user.is_empty()).then(|| String::from_utf8_lossy(&user).into_owned());
                    uri.password = Some(decode(password)?);
                }
                // One word alone is the password, as in redis-cli.
                None => uri.password = Some(decode(userinfo)?),
            }
            host
        }
    };
    // An IPv6 address has colons of its own, hence the brackets.
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address, port.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    uri.host = (!name.is_empty()).then(|| name.to_owned());
    uri.port = port
        .filter(|port| !port.is_empty())
        .map(|port| port.parse().map_err(|_| format!("Invalid port in URI: '{port}'")))
        .transpose()?;
    uri.database = path
        .filter(|path| !path.is_empty())
        .map(|path| path.parse().map_err(|_| format!("Invalid database in URI: '{path}'")))
        .transpose()?;
    Ok(uri)
}

/// Undoes `%41`.
fn decode(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
            let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
            bytes.push(byte.ok_or("Incomplete URI encoding")?);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        let uri = parse("rediss://jo%3Ae:p%40ss@example.org:7000/3").expect("valid");
        assert!(uri.tls);
        assert_eq!(uri.user.as_deref(), Some("jo:e"));
        assert_eq!(uri.password.as_deref(), Some(&b"p@ss"[..]));
        assert_eq!((uri.host.as_deref(), uri.port, uri.database), (Some("example.org"), Some(7000), Some(3)));
        assert_eq!(parse("valkey://secret@h").expect("valid").password.as_deref(), Some(&b"secret"[..]));
        let uri = parse("redis://[::1]:7000").expect("valid");
        assert_eq!((uri.host.as_deref(), uri.port), (Some("::1"), Some(7000)));
        assert_eq!(parse("redis://"), Ok(Uri::default()));
        for bad in ["http://x", "redis://h:x", "redis://a%4@h", "redis://h/x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
