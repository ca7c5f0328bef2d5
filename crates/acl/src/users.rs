//! All users of a server.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::user::User;

/// The user whom clients are before they say who they are. He is always there.
pub const DEFAULT_USER: &[u8] = b"default";

/// Whether a user may be called that: a blank would end the name in files, a zero byte in Redis.
pub fn name_is_valid(name: &[u8]) -> bool {
    !name.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b))
}

/// Users by name. A user never changes: another takes his place, and clients see that they have to look again.
#[derive(Clone, Debug)]
pub struct Users {
    by_name: BTreeMap<Box<[u8]>, Arc<User>>,
}

impl Users {
    /// Nobody but the default user, who may do everything.
    pub fn new(catalog: &dyn Catalog) -> Users {
        let mut users = Users { by_name: BTreeMap::new() };
        users.set(User::default_user(catalog));
        users
    }

    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// The user whom a name and a password prove. A name that nobody has takes as long as a wrong password.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<&Arc<User>> {
        let user = self.get(name);
        let is_right = user.unwrap_or(self.default_user()).accepts(password);
        user.filter(|_| is_right)
    }

    /// # Panics
    /// Never: nobody can remove him.
    pub fn default_user(&self) -> &Arc<User> {
        self.get(DEFAULT_USER).expect("the default user is always there")
    }

    /// Puts a user in his place.
    pub fn set(&mut self, user: User) {
        self.by_name.insert(user.name().into(), Arc::new(user));
    }

    /// Removes a user, unless it is the default one.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<User>> {
        if name == DEFAULT_USER { None } else { self.by_name.remove(name) }
    }

    /// By ascending name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.by_name.values()
    }
}
