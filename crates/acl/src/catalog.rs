//! The commands, as far as rules name them.

/// Ids of commands and subcommands, from 0, without gaps.
pub type CommandId = u16;

/// Implemented by whoever owns the commands.
pub trait Catalog {
    /// All ids lie below this.
    fn count(&self) -> usize;
    /// The command, or (`client|list`) subcommand, of this name in any case.
    fn find(&self, name: &[u8]) -> Option<CommandId>;
    /// The name in lower case, `client|list` of a subcommand.
    fn name(&self, id: CommandId) -> &str;
    /// The command that a subcommand belongs to.
    fn parent(&self, id: CommandId) -> Option<CommandId>;
    /// The members of a category (in any case, without the `@`). `None`: there is no such category.
    fn category(&self, name: &[u8]) -> Option<Vec<CommandId>>;

    /// The subcommands of a command.
    fn subcommands(&self, id: CommandId) -> Vec<CommandId> {
        (0..self.count() as CommandId).filter(|&sub| self.parent(sub) == Some(id)).collect()
    }
}
