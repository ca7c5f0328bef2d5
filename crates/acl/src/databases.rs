//! Rules about databases, as Valkey 9.1 has them: `db=0,3`, `alldbs`, `resetdbs`.

use std::collections::BTreeSet;

use crate::error::RuleError;

/// The databases of one selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Databases {
    All,
    Some(BTreeSet<u32>),
}

impl Databases {
    pub fn permit(&self, database: u32) -> bool {
        match self {
            Databases::All => true,
            Databases::Some(permitted) => permitted.contains(&database),
        }
    }

    /// Adds the numbers behind `db=`. Behind `alldbs` they are the only ones; otherwise, as observed in Valkey 9.1, they take the place of
    /// those that were there.
    ///
    /// # Errors
    /// `Syntax`, `DatabaseOutOfRange`; nothing has changed then.
    pub fn set(&mut self, list: &[u8]) -> Result<(), RuleError> {
        let numbers = list.split(|&byte| byte == b',').map(number).collect::<Result<BTreeSet<u32>, RuleError>>()?;
        *self = Databases::Some(numbers);
        Ok(())
    }

    /// As ACL LIST shows them, where it must.
    pub fn describe(&self, text: &mut Vec<u8>) {
        match self {
            Databases::All => text.extend_from_slice(b"alldbs"),
            Databases::Some(permitted) if permitted.is_empty() => text.extend_from_slice(b"resetdbs"),
            Databases::Some(permitted) => {
                let numbers: Vec<String> = permitted.iter().map(u32::to_string).collect();
                text.extend_from_slice(b"db=");
                text.extend_from_slice(numbers.join(",").as_bytes());
            }
        }
    }
}

/// A number as C's `strtol` takes it: behind white space, with a sign.
fn number(text: &[u8]) -> Result<u32, RuleError> {
    let text = std::str::from_utf8(text.trim_ascii_start()).map_err(|_| RuleError::Syntax)?;
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(RuleError::Syntax);
    }
    match text.parse::<i32>() {
        Ok(number @ 0..) => Ok(number as u32),
        _ => Err(RuleError::DatabaseOutOfRange),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_valkey_takes_them() {
        let set = |list: &str| {
            let mut databases = Databases::All;
            databases.set(list.as_bytes()).map(|()| {
                let mut text = Vec::new();
                databases.describe(&mut text);
                String::from_utf8(text).unwrap()
            })
        };
        assert_eq!(set("3,1,1,2").unwrap(), "db=1,2,3");
        assert_eq!(set("1, 02,+3").unwrap(), "db=1,2,3");
        assert_eq!(set("2147483647").unwrap(), "db=2147483647");
        for wrong in ["", "x", "1,", ",1", "1,,2", "*", "1 ", "-"] {
            assert_eq!(set(wrong), Err(RuleError::Syntax), "{wrong:?}");
        }
        for wrong in ["-1", "2147483648", "99999999999999999999999"] {
            assert_eq!(set(wrong), Err(RuleError::DatabaseOutOfRange), "{wrong:?}");
        }
    }
}
