//! The commands, as rules name them.

use acl::{Catalog, CommandId};

use crate::registry::Registry;
use crate::spec;

/// Rules know commands by their own names, whatever `rename-command` has made of them.
impl Catalog for Registry {
    fn count(&self) -> usize {
        self.all().len()
    }

    fn find(&self, name: &[u8]) -> Option<CommandId> {
        let is_called = |command: &&crate::Command| command.full_name.as_bytes().eq_ignore_ascii_case(name);
        self.all().iter().find(is_called).map(|command| command.id)
    }

    fn name(&self, id: CommandId) -> &str {
        &self.by_id(id).full_name
    }

    fn parent(&self, id: CommandId) -> Option<CommandId> {
        self.by_id(id).parent
    }

    fn category(&self, name: &[u8]) -> Option<Vec<CommandId>> {
        let category = category(name)?;
        Some(
            self.all().iter().filter(|command| command.spec.acl.contains(category)).map(|command| command.id).collect(),
        )
    }
}

/// The category of this name, in any case.
pub fn category(name: &[u8]) -> Option<spec::Acl> {
    let is_called = |(_, known): &&(spec::Acl, &str)| known.as_bytes().eq_ignore_ascii_case(name);
    spec::Acl::NAMES.iter().find(is_called).map(|(category, _)| *category)
}
