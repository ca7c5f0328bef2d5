//! Who may do what. Users and rules are the crate [`acl`]; here is what connects them with clients and commands.
//!
//! ```text
//!  Session ── user, clearance ──> is the clearance the present generation?  ── yes: everything is permitted, nothing to ask
//!                                      │ no (cold)
//!                                      ▼
//!                          refusal(): looks the user up again if anything has changed since, then asks his selectors
//! ```
//!
//! *Why a generation?* Users change alone in the world, and rarely; clients ask with every command. So a user is never changed but replaced,
//! and the number that is raised then makes every client look again. Who may do everything, nearly everybody, pays one comparison,
//! which also stands for whether he has said his password.

mod catalog;
mod check;
mod start;

use std::sync::Arc;

use acl::{DEFAULT_USER, Log, NewUsers, User, Users};
use config::{AclPubsubDefault, Config, directives};
use parking_lot::Mutex;

pub(crate) use catalog::category;
pub(crate) use check::{Attempt, may_read_every_key, note_failed_login};
pub use check::{Where, permissions, refusal};
pub use start::StartError;

use crate::client::Session;
use crate::registry::Registry;

/// The users of this server. Part of [`Global`](crate::Global).
pub struct AccessControl {
    registry: Arc<Registry>,
    users: Users,
    /// Raised whenever anything here changes. 0 is nobody's.
    generation: u64,
    /// What was refused. Also written on the narrow side.
    pub log: Mutex<Log>,
}

impl AccessControl {
    /// Nobody but the default user, who may do everything and needs no password.
    pub fn new(registry: Arc<Registry>) -> AccessControl {
        AccessControl { users: Users::new(&*registry), registry, generation: 1, log: Mutex::default() }
    }

    pub fn users(&self) -> &Users {
        &self.users
    }

    /// Puts a user in the place of the one of his name, or adds him.
    pub fn set_user(&mut self, user: User) {
        self.users.set(user);
        self.generation += 1;
    }

    /// Removes a user, unless it is the default one. Whoever calls this ends the user's connections.
    pub fn remove_user(&mut self, name: &[u8]) -> Option<Arc<User>> {
        self.generation += 1;
        self.users.remove(name)
    }

    /// Puts other users in the place of all. Whoever calls this ends the connections of users who are gone.
    pub fn replace_users(&mut self, users: Users) -> Users {
        self.generation += 1;
        std::mem::replace(&mut self.users, users)
    }

    /// `requirepass`: the one password of the default user, or, empty, none.
    pub fn set_default_password(&mut self, password: &[u8]) {
        let mut user = User::clone(self.users.default_user());
        let rules: &[&[u8]] =
            if password.is_empty() { &[b"nopass"] } else { &[b"resetpass", &[b">", password].concat()] };
        for rule in rules {
            user.apply(rule, &*self.registry, NewUsers::default()).expect("these rules are always right");
        }
        self.set_user(user);
    }

    /// A client has to say who it is before it may do anything.
    pub fn password_needed(&self) -> bool {
        let user = self.users.default_user();
        !user.needs_no_password() || !user.is_enabled()
    }

    /// Whether a new client is let in as the default user without a word.
    pub fn lets_in(&self) -> bool {
        !self.password_needed()
    }

    /// The users, in the words of `user` directives.
    pub fn directives(&self) -> Vec<Vec<Vec<u8>>> {
        let words = |user: &Arc<User>| {
            let rules = user.describe(&*self.registry);
            std::iter::once(user.name().to_vec()).chain(rules.split(|&byte| byte == b' ').map(<[u8]>::to_vec)).collect()
        };
        self.users.iter().map(words).collect()
    }

    /// Whether there is nobody but the default user, as `requirepass` alone makes him.
    pub fn is_said_by_requirepass(&self, config: &Config) -> bool {
        let mut alone = AccessControl::new(self.registry.clone());
        alone.set_default_password(config.get(directives::REQUIREPASS));
        self.users.iter().len() == 1 && self.users.default_user() == alone.users.default_user()
    }
}

/// What new users and selectors are given, by `acl-pubsub-default`.
pub fn new_users(config: &Config) -> NewUsers {
    NewUsers { all_channels: config.get(directives::ACL_PUBSUB_DEFAULT) == AclPubsubDefault::Allchannels }
}

/// Whom a session acts for.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// `None`: the default user, whom nobody has looked up yet.
    user: Option<Arc<User>>,
    /// The generation at which that user was looked up.
    looked_up: u64,
    /// The same, if there is nothing more to ask about him.
    clearance: u64,
    /// He was deleted: the client may do nothing until its connection is closed.
    is_gone: bool,
}

impl Session {
    /// Whether this client may do everything, by what is true now.
    #[inline]
    pub fn is_cleared(&self, access: &AccessControl) -> bool {
        self.identity.clearance == access.generation
    }

    /// The name of the client's user.
    pub fn user_name(&self) -> &[u8] {
        self.identity.user.as_ref().map_or(DEFAULT_USER, |user| user.name())
    }

    /// The client has proved to be this user.
    pub fn become_user(&mut self, user: &Arc<User>) {
        self.authenticated = true;
        self.set_user(user.clone());
    }

    /// The client is nobody in particular any more, as when it came.
    pub fn become_stranger(&mut self, access: &AccessControl) {
        self.authenticated = access.lets_in();
        self.set_user(access.users.default_user().clone());
    }

    fn set_user(&mut self, user: Arc<User>) {
        self.client.text.lock().user = user.name().to_vec();
        self.identity = Identity { user: Some(user), ..Identity::default() };
    }

    /// Looks the client's user up again if anything has changed.
    fn look_up(&mut self, access: &AccessControl) {
        if self.identity.looked_up == access.generation {
            return;
        }
        self.identity.looked_up = access.generation;
        match access.users.get(self.user_name()) {
            Some(user) => {
                let is_cleared = (self.authenticated || access.lets_in()) && user.is_unrestricted();
                self.identity.clearance = if is_cleared { access.generation } else { 0 };
                self.identity.user = Some(user.clone());
            }
            None => self.identity.is_gone = true,
        }
    }

    /// The client's user, as he was looked up. Not by count: several threads would have to agree on it with every command.
    fn user(&self) -> Option<&Arc<User>> {
        self.identity.user.as_ref().filter(|_| !self.identity.is_gone)
    }
}
