//! The users that a server begins with.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use acl::{DEFAULT_USER, User, Users, decode_file, join_selectors, name_is_valid};
use config::{Config, directives};

use super::{AccessControl, new_users};
use crate::registry::Registry;

/// Why there are no users.
#[derive(Debug)]
pub enum StartError {
    /// The `user` directive at this place, from 0, is wrong.
    Directive { position: usize, reason: String },
    /// The ACL file cannot be read, or is wrong; or there are both.
    Fatal(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Directive { reason, .. } | StartError::Fatal(reason) => formatter.write_str(reason),
        }
    }
}

impl std::error::Error for StartError {}

impl AccessControl {
    /// The users of `requirepass` and the `user` directives, or of the ACL file. Paths are looked up from the present directory.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of_config(registry: Arc<Registry>, config: &Config) -> Result<AccessControl, StartError> {
        let mut access = AccessControl::new(registry);
        access.set_default_password(config.get(directives::REQUIREPASS));
        let statements = config.get(directives::USER);
        if let Some(path) = config.path(directives::ACLFILE) {
            if !statements.is_empty() {
                return Err(StartError::Fatal(
                    "Users are declared both by 'user' directives and in an ACL file: one of the two would silently lose. Please \
                     keep all of them in one place."
                        .into(),
                ));
            }
            access.users = access.read_file(path, config).map_err(|text| {
                StartError::Fatal(format!("Aborting startup because of ACL errors: {}", String::from_utf8_lossy(&text)))
            })?;
            return Ok(access);
        }
        for (position, words) in statements.iter().enumerate() {
            let declared = access.declare(words, &statements[..position], config);
            declared.map_err(|reason| StartError::Directive {
                position,
                reason: format!("Error in user declaration '{}': {reason}", String::from_utf8_lossy(&words[0])),
            })?;
        }
        Ok(access)
    }

    fn declare(&mut self, words: &[Vec<u8>], earlier: &[Vec<Vec<u8>>], config: &Config) -> Result<(), String> {
        let (name, rules) = words.split_first().expect("the table demands a name");
        if earlier.iter().any(|other| other[0] == *name) {
            return Err("Duplicate user found. A user can only be defined once in config files".into());
        }
        if !name_is_valid(name) {
            return Err("Spaces not allowed in ACL usernames".into());
        }
        let rules = join_selectors(rules.iter().map(Vec::as_slice))
            .map_err(|unmatched| String::from_utf8_lossy(&unmatched.message()).into_owned())?;
        let registry = self.registry.clone();
        let mut user = User::new(name, &*registry, new_users(config));
        for rule in rules {
            user.apply(&rule, &*registry, new_users(config))
                .map_err(|error| format!("{}: {error}", String::from_utf8_lossy(&rule)))?;
        }
        self.set_user(user);
        Ok(())
    }

    /// The users of an ACL file.
    ///
    /// # Errors
    /// The text for the client or the log: the file cannot be read, or what is wrong in it.
    pub fn read_file(&self, path: &Path, config: &Config) -> Result<Users, Vec<u8>> {
        let shown = path.display();
        let text = std::fs::read(path).map_err(|error| {
            format!("Error loading ACLs, opening file '{shown}': {}", config::os_error_text(&error)).into_bytes()
        })?;
        let users = decode_file(&text, &shown.to_string(), &*self.registry, new_users(config));
        let users = users.map_err(|errors| errors.message())?;
        debug_assert!(users.get(DEFAULT_USER).is_some());
        Ok(users)
    }
}
