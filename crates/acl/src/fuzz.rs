//! The body of the fuzz target, and a few commands to have rules about: `cargo fuzz` (`fuzz/`) and the bounded test on the stable
//! toolchain (`tests/mutated.rs`) drive the same checks.

use crate::{Catalog, ChannelUse, CommandId, KeyUse, NewUsers, Request, Touched, decode_file, encode_file};

/// Commands enough for every kind of rule.
#[derive(Debug, Default)]
pub struct FewCommands;

/// Name, categories.
const COMMANDS: &[(&str, &[&str])] = &[
    ("get", &["read", "string"]),
    ("set", &["write", "string"]),
    ("select", &["connection"]),
    ("client", &["slow"]),
    ("client|list", &["admin", "connection"]),
    ("client|id", &["connection"]),
    ("publish", &["pubsub"]),
];

impl Catalog for FewCommands {
    fn count(&self) -> usize {
        COMMANDS.len()
    }

    fn find(&self, name: &[u8]) -> Option<CommandId> {
        let position = COMMANDS.iter().position(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some(position as CommandId)
    }

    fn name(&self, id: CommandId) -> &str {
        COMMANDS[usize::from(id)].0
    }

    fn parent(&self, id: CommandId) -> Option<CommandId> {
        let (container, _) = self.name(id).split_once('|')?;
        self.find(container.as_bytes())
    }

    fn category(&self, name: &[u8]) -> Option<Vec<CommandId>> {
        let is_in = |categories: &[&str]| categories.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name));
        let members: Vec<CommandId> =
            (0..COMMANDS.len()).filter(|&id| is_in(COMMANDS[id].1)).map(|id| id as CommandId).collect();
        (!members.is_empty()).then_some(members)
    }
}

/// Whatever the bytes are, they are users or an error; users survive being written and read; and checks have an answer.
///
/// # Panics
/// On a finding.
pub fn acl_file(text: &[u8]) {
    let catalog = FewCommands;
    for all_channels in [false, true] {
        let new_users = NewUsers { all_channels };
        let Ok(users) = decode_file(text, "file", &catalog, new_users) else {
            continue;
        };
        let written = encode_file(&users, &catalog);
        let again = decode_file(&written, "again", &catalog, new_users)
            .unwrap_or_else(|errors| panic!("{}", String::from_utf8_lossy(&errors.message())));
        assert_eq!(encode_file(&again, &catalog), written, "what was written is read as something else");
        for (user, other) in users.iter().zip(again.iter()) {
            let keys = [KeyUse { index: 1, touched: Touched::READ | Touched::WRITE }];
            let channels = [ChannelUse { index: 2, is_pattern: false }];
            for command in 0..catalog.count() as CommandId {
                let request = Request {
                    command,
                    args: &[catalog.name(command).as_bytes(), b"a", b"b"],
                    keys: &keys,
                    channels: &channels,
                    database: Some(1),
                    databases_named: &[(1, 3)],
                    databases_all: Some(16),
                };
                assert_eq!(user.check(&request), other.check(&request), "what was written permits something else");
                assert!(!user.is_unrestricted() || user.check(&request).is_ok());
            }
        }
    }
}
