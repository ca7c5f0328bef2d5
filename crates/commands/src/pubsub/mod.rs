//! Publish and subscribe: channels, patterns of channels, and shard channels.
//!
//! Who is subscribed to what is shared memory ([`Subscriptions`]), and so is what each subscriber has still to get (its [`Subscriber`]):
//! PUBLISH asks no other thread. It leaves its message with every receiver before its access ends, and the receivers' event loops are
//! woken to send it. Keyspace events go the same way ([`notify`]).

mod delivery;
mod inspect;
pub mod notify;
mod publish;
mod subscribe;
mod subscriptions;
mod unsubscribe;

pub use delivery::{Delivery, Run};
pub use subscriptions::{Pending, Subscriber, Subscriptions};
pub(crate) use unsubscribe::unsubscribe_from_all;

use resp::{Proto, Reply};

use crate::client::{Client, Session};
use crate::error::Error;
use crate::registry::Command;
use crate::spec::Spec;

/// All commands of the group.
pub const SPECS: &[&Spec] = &[
    &subscribe::PSUBSCRIBE,
    &publish::PUBLISH,
    &inspect::SPEC,
    &unsubscribe::PUNSUBSCRIBE,
    &publish::SPUBLISH,
    &subscribe::SSUBSCRIBE,
    &subscribe::SUBSCRIBE,
    &unsubscribe::SUNSUBSCRIBE,
    &unsubscribe::UNSUBSCRIBE,
];

/// What a client can subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    Channel,
    /// All channels whose names match.
    Pattern,
    /// A channel that lives where a key of its name would.
    Shard,
}

impl Topic {
    /// The number that confirmations show: shard channels are counted by themselves.
    fn confirmed_count(self, client: &Client) -> usize {
        match self {
            Topic::Shard => client.subscription_count(Topic::Shard),
            _ => client.subscription_count(Topic::Channel) + client.subscription_count(Topic::Pattern),
        }
    }
}

/// Commands that a subscriber of RESP2 may send: it could not tell other replies from messages.
const WHILE_SUBSCRIBED: &[&str] =
    &["ping", "psubscribe", "punsubscribe", "quit", "reset", "ssubscribe", "subscribe", "sunsubscribe", "unsubscribe"];

/// Commands that reply by pushes: CLIENT REPLY OFF and SKIP do not silence them (observed in Redis 8.2, in both protocols).
const PUSHING: &[&str] = &["psubscribe", "punsubscribe", "ssubscribe", "subscribe", "sunsubscribe", "unsubscribe"];

/// Why a subscriber may not send this command.
#[cold]
pub fn refusal(session: &Session, proto: Proto, command: &Command) -> Option<Error> {
    if !session.is_subscriber || proto != Proto::Resp2 || WHILE_SUBSCRIBED.contains(&command.full_name.as_str()) {
        return None;
    }
    Some(Error::string(format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
        command.full_name
    )))
}

/// Whether this command only adds to what its access has published: see [`Run`].
#[cold]
pub fn publishes(command: &Command) -> bool {
    matches!(command.spec.name, "publish" | "spublish")
}

/// Whether the replies of this command are pushes.
#[cold]
pub fn replies_by_push(command: &Command) -> bool {
    PUSHING.contains(&command.full_name.as_str())
}

/// Says that a subscription has begun or ended, and how many there are now.
fn confirm(reply: &mut Reply, what: &str, name: Option<&[u8]>, count: usize) {
    reply.push(3);
    reply.bulk(what);
    reply.bulk_or_null(name);
    reply.count(count);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rig;

    #[test]
    fn what_a_subscriber_may_send() {
        let mut rig = Rig::new();
        let registry = rig.world.global.registry.clone();
        let refused = |rig: &Rig, proto, name: &str| {
            refusal(&rig.session, proto, registry.find_full(name.as_bytes()).expect("a command"))
                .map(|error| String::from_utf8_lossy(&error.render()).into_owned())
        };
        assert_eq!(refused(&rig, Proto::Resp2, "get"), None);
        rig.run("SSUBSCRIBE s");
        assert_eq!(
            refused(&rig, Proto::Resp2, "client|list").as_deref(),
            Some(
                "ERR Can't execute 'client|list': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed \
                 in this context"
            )
        );
        assert_eq!(refused(&rig, Proto::Resp3, "get"), None);
        for name in WHILE_SUBSCRIBED {
            assert_eq!(refused(&rig, Proto::Resp2, name), None, "{name}");
        }
        rig.run("SUNSUBSCRIBE");
        assert_eq!(refused(&rig, Proto::Resp2, "get"), None);
    }

    #[test]
    fn every_word_is_a_command() {
        let rig = Rig::new();
        for name in WHILE_SUBSCRIBED.iter().chain(PUSHING) {
            assert!(rig.world.global.registry.find(name.as_bytes()).is_some(), "{name}");
        }
    }
}
