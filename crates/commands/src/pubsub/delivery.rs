//! Leaving pushes with clients: messages, keyspace events, invalidations.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use config::{LogLevel, OutputLimits};
use resp::{Reply, SHARED_BYTES_MIN};
use smallvec::SmallVec;

use super::Topic;
use super::subscriptions::{Pending, Pushed};
use crate::client::{Client, ClientFlags};
use crate::context::Host;
use crate::global::Global;
use crate::stats::ThreadStats;

/// Pushes on their way into the inboxes of clients. [`finish`](Delivery::finish) it before the access ends.
pub struct Delivery<'a> {
    host: &'a dyn Host,
    stats: &'a ThreadStats,
    /// The thread that delivers.
    thread: usize,
    limits: OutputLimits,
    /// Clients whose event loops have to be told.
    pending: SmallVec<[Pending; 16]>,
    /// Clients for whom more waits than is allowed.
    slow: Vec<Arc<Client>>,
}

impl<'a> Delivery<'a> {
    /// For the thread of this number. `stats` are its own.
    pub fn of(global: &Global, host: &'a dyn Host, stats: &'a ThreadStats, thread: usize) -> Delivery<'a> {
        let limits = global.settings.output_limits;
        Delivery { host, stats, thread, limits, pending: SmallVec::new(), slow: Vec::new() }
    }

    /// Delivers a message to all who listen to a channel, and says to how many. A client that listens in several ways gets
    /// it, and counts, several times.
    pub fn publish(&mut self, topic: Topic, channel: &[u8], payload: &[u8]) -> usize {
        self.publish_shared(topic, channel, payload, None)
    }

    /// The same with a payload that may lie in a buffer of its own.
    pub(super) fn publish_shared(
        &mut self,
        topic: Topic,
        channel: &[u8],
        payload: &[u8],
        shared: Option<&Arc<Vec<u8>>>,
    ) -> usize {
        let mut shared = shared.cloned();
        let mut receivers = 0;
        self.host.subscriptions().for_receivers(topic, channel, |pattern, clients| {
            // Encoded once: the protocols differ in the first byte only.
            let mut elements = Reply::default();
            let count = match pattern {
                None => {
                    elements.bulk(if topic == Topic::Shard { "smessage" } else { "message" });
                    3
                }
                Some(pattern) => {
                    elements.bulk("pmessage");
                    elements.bulk(pattern);
                    4
                }
            };
            elements.bulk(channel);
            if payload.len() < SHARED_BYTES_MIN {
                elements.bulk(payload);
            } else {
                elements.shared(shared.get_or_insert_with(|| Arc::new(payload.to_vec())));
            }
            for client in clients {
                if client.killed.load(Relaxed) {
                    continue;
                }
                receivers += 1;
                self.leave(client, |inbox| {
                    inbox.push(count);
                    inbox.append_copy(&elements);
                });
            }
        });
        receivers
    }

    /// Leaves a push with a client, in its protocol, unless too much waits for it already.
    pub(crate) fn leave(&mut self, client: &Arc<Client>, encode: impl FnOnce(&mut Reply)) {
        let is_subscriber = client.flags().contains(ClientFlags::PUBSUB);
        let limit = if is_subscriber { self.limits.pubsub } else { self.limits.normal };
        match client.leave_push(limit.hard_bytes, encode) {
            Pushed::First => {
                self.pending.push(Pending { thread: client.thread, token: client.token, client_id: client.id });
            }
            Pushed::Behind => {}
            Pushed::TooMuch => self.slow.push(client.clone()),
        }
    }

    /// Tells the event loops of those who have got something, and cuts off who takes it too slowly. Holds no lock: who is closed loses
    /// its subscriptions.
    pub fn finish(self) {
        if !self.pending.is_empty() {
            self.host.announce(self.thread, &self.pending);
        }
        self.slow.iter().for_each(|client| self.cut_off(client));
    }

    #[cold]
    fn cut_off(&self, client: &Arc<Client>) {
        if client.killed.load(Relaxed) {
            // By the push before this one.
            return;
        }
        self.stats.output_limit_disconnections.add(1);
        self.host.log(
            LogLevel::Warning,
            &format!(
                "Client id={} addr={} closed: it takes its messages too slowly, and more wait for it than \
                 client-output-buffer-limit allows.",
                client.id, client.address
            ),
        );
        self.host.kill(client);
    }
}
