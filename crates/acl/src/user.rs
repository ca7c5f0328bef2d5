//! A user.

use crate::catalog::{Catalog, CommandId};
use crate::denial::{Denial, Request, Touched};
use crate::error::RuleError;
use crate::password::Password;
use crate::selector::Selector;

/// What new users and selectors are given besides the rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewUsers {
    /// `acl-pubsub-default` says `allchannels`.
    pub all_channels: bool,
}

/// A user: who he is, and what he may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: Box<[u8]>,
    enabled: bool,
    /// Any password is right.
    no_password: bool,
    /// Payloads of RESTORE are believed without a look.
    skip_sanitize_payload: bool,
    passwords: Vec<Password>,
    root: Selector,
    selectors: Vec<Selector>,
    /// Everything is permitted by the root selector: nothing needs to be looked at.
    is_unrestricted: bool,
}

impl User {
    /// A user who can do nothing, and is off.
    pub fn new(name: &[u8], catalog: &dyn Catalog, new_users: NewUsers) -> User {
        let root = Selector::nothing(catalog, new_users.all_channels);
        User {
            name: name.into(),
            enabled: false,
            no_password: false,
            skip_sanitize_payload: false,
            passwords: Vec::new(),
            is_unrestricted: root.is_everything(catalog),
            root,
            selectors: Vec::new(),
        }
    }

    /// The user whom clients are before they say who they are: on, without a password, and allowed everything.
    pub fn default_user(catalog: &dyn Catalog) -> User {
        User {
            enabled: true,
            no_password: true,
            root: Selector::everything(catalog),
            is_unrestricted: true,
            ..User::new(crate::users::DEFAULT_USER, catalog, NewUsers::default())
        }
    }

    /// Applies one rule. Selectors are joined before: see [`join_selectors`](crate::join_selectors).
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed then.
    pub fn apply(&mut self, rule: &[u8], catalog: &dyn Catalog, new_users: NewUsers) -> Result<(), RuleError> {
        match rule {
            [b'>', password @ ..] => self.add_password(Password::of(password)),
            [b'#', hash @ ..] => self.add_password(Password::from_hex(hash)?),
            [b'<', password @ ..] => self.remove_password(Password::of(password))?,
            [b'!', hash @ ..] => self.remove_password(Password::from_hex(hash)?)?,
            [b'(', .., b')'] => self.selectors.push(Selector::of_rule(rule, new_users.all_channels, catalog)?),
            _ => match rule.to_ascii_lowercase().as_slice() {
                b"on" => self.enabled = true,
                b"off" => self.enabled = false,
                b"nopass" => {
                    self.no_password = true;
                    self.passwords.clear();
                }
                b"resetpass" => {
                    self.no_password = false;
                    self.passwords.clear();
                }
                b"skip-sanitize-payload" => self.skip_sanitize_payload = true,
                b"sanitize-payload" => self.skip_sanitize_payload = false,
                b"clearselectors" => self.selectors.clear(),
                b"reset" => *self = User::new(&self.name, catalog, new_users),
                _ => self.root.apply(rule, catalog)?,
            },
        }
        self.is_unrestricted = self.root.is_everything(catalog);
        Ok(())
    }

    fn add_password(&mut self, password: Password) {
        self.no_password = false;
        if !self.passwords.contains(&password) {
            self.passwords.push(password);
        }
    }

    fn remove_password(&mut self, password: Password) -> Result<(), RuleError> {
        let known = self.passwords.len();
        self.passwords.retain(|other| *other != password);
        if self.passwords.len() < known { Ok(()) } else { Err(RuleError::UnknownPassword) }
    }

    pub fn name(&self) -> &[u8] {
        &self.name
    }

    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Any password is right.
    pub fn needs_no_password(&self) -> bool {
        self.no_password
    }

    pub fn passwords(&self) -> &[Password] {
        &self.passwords
    }

    /// Whether everything is permitted, so that no request needs a look.
    #[inline]
    pub fn is_unrestricted(&self) -> bool {
        self.is_unrestricted
    }

    pub fn root(&self) -> &Selector {
        &self.root
    }

    /// The selectors beside the root.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    fn all_selectors(&self) -> impl Iterator<Item = &Selector> + Clone {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// Whether somebody who says this password may become this user.
    pub fn accepts(&self, password: &[u8]) -> bool {
        // The hash is made in any case: how long it takes must not tell whether the user is off, or has a password.
        let is_right = Password::of(password).is_among(&self.passwords);
        self.enabled && (self.no_password || is_right)
    }

    /// Whether it is enough to know the command: its keys, channels and databases need not be found, whatever they are.
    #[inline]
    pub fn permits_at_once(&self, command: CommandId, args: &[&[u8]]) -> bool {
        self.root.permits_at_once(command, args)
    }

    /// Whether one of the selectors lets the request pass.
    ///
    /// # Errors
    /// The denial of the selector that came closest.
    #[inline]
    pub fn check(&self, request: &Request<'_>) -> Result<(), Denial> {
        if self.is_unrestricted {
            return Ok(());
        }
        let mut closest = match self.root.check(request) {
            Ok(()) => return Ok(()),
            Err(denial) => denial,
        };
        for selector in &self.selectors {
            match selector.check(request) {
                Ok(()) => return Ok(()),
                Err(denial) => closest = closest.max(denial),
            }
        }
        Err(closest)
    }

    /// Whether one of the selectors lets the request pass and permits to read every key.
    pub fn may_read_every_key(&self, request: &Request<'_>) -> bool {
        self.all_selectors().any(|selector| selector.permits_with_every_key(request, Touched::READ))
    }

    /// Whether any selector permits to receive from this channel, or from what this pattern matches.
    pub fn may_receive(&self, name: &[u8], is_pattern: bool) -> bool {
        self.all_selectors().any(|selector| selector.permits_channel(name, is_pattern))
    }

    /// Whether any selector permits any channel.
    pub fn has_channels(&self) -> bool {
        self.all_selectors().any(|selector| !selector.channels().is_empty())
    }

    /// The flags, as ACL GETUSER shows them.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.enabled { "on" } else { "off" }];
        if self.no_password {
            flags.push("nopass");
        }
        flags.push(if self.skip_sanitize_payload { "skip-sanitize-payload" } else { "sanitize-payload" });
        flags
    }

    /// The rules in one line, from which the same user can be made: what ACL LIST shows behind the name.
    pub fn describe(&self, catalog: &dyn Catalog) -> Vec<u8> {
        let mut text = self.flags().join(" ").into_bytes();
        for password in &self.passwords {
            text.extend_from_slice(format!(" #{password}").as_bytes());
        }
        text.push(b' ');
        self.root.describe(catalog, &mut text);
        for selector in &self.selectors {
            text.extend_from_slice(b" (");
            selector.describe(catalog, &mut text);
            text.push(b')');
        }
        text
    }
}
