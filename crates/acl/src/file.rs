//! ACL files: a line `user <name> <rule> …` for each user.
//!
//! Words are parted by single blanks, which is how Redis 8.2 reads them: two blanks in a row have an empty word between them. There are no
//! quotes and no comments; white space around a line does not count, and blank lines do not either.

use crate::catalog::Catalog;
use crate::error::RuleError;
use crate::user::{NewUsers, User};
use crate::users::{DEFAULT_USER, Users, name_is_valid};
use crate::words::join_selectors;

/// Everything that is wrong with a file. As a text for the client or the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileErrors(Vec<Vec<u8>>);

impl FileErrors {
    pub fn message(&self) -> Vec<u8> {
        let mut text = self.0.concat();
        text.extend_from_slice(
            b"WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
        );
        text
    }
}

/// The users of a file called `file`. Without a line of his own the default user is allowed everything.
///
/// # Errors
/// What is wrong with any of its lines.
pub fn decode_file(text: &[u8], file: &str, catalog: &dyn Catalog, new_users: NewUsers) -> Result<Users, FileErrors> {
    let mut users: Vec<User> = Vec::new();
    let mut errors = Vec::new();
    for (position, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match decode_line(line, catalog, new_users) {
            Err(reason) => errors.push([format!("{file}:{}", position + 1).as_bytes(), &reason, b". "].concat()),
            Ok(user) if users.iter().any(|other| other.name() == user.name()) => {
                let line = format!("' found on line {}. ", position + 1);
                errors.push([b"WARNING: Duplicate user '", user.name(), line.as_bytes()].concat());
            }
            Ok(user) => users.push(user),
        }
    }
    if !errors.is_empty() {
        return Err(FileErrors(errors));
    }
    let mut all = Users::new(catalog);
    users.into_iter().for_each(|user| all.set(user));
    Ok(all)
}

fn decode_line(line: &[u8], catalog: &dyn Catalog, new_users: NewUsers) -> Result<User, Vec<u8>> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(b"user"), Some(name)) = (words.next(), words.next()) else {
        return Err(b" should start with user keyword followed by the username".to_vec());
    };
    if !name_is_valid(name) {
        return Err([b": username '", name, b"' contains invalid characters"].concat());
    }
    let rules = join_selectors(words).map_err(|unmatched| [b": ", &unmatched.message()[..]].concat())?;
    // What the file says is all: it does not add to a user who is there.
    let mut user = User::new(name, catalog, new_users);
    for rule in rules {
        user.apply(&rule, catalog, new_users).map_err(|error| match error {
            RuleError::UnknownCommand => {
                [b": Error in applying operation '", &rule[..], format!("': {error}").as_bytes()].concat()
            }
            _ => format!(": {error}").into_bytes(),
        })?;
    }
    Ok(user)
}

/// The file from which [`decode_file`] makes these users.
pub fn encode_file(users: &Users, catalog: &dyn Catalog) -> Vec<u8> {
    let mut text = Vec::new();
    for user in users.iter() {
        text.extend_from_slice(b"user ");
        text.extend_from_slice(user.name());
        text.push(b' ');
        text.extend(user.describe(catalog));
        text.push(b'\n');
    }
    debug_assert!(users.get(DEFAULT_USER).is_some());
    text
}
