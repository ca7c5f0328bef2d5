//! Leaving pushes with clients: messages, keyspace events, invalidations.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use config::{LogLevel, OutputLimits};
use resp::{Proto, Reply, SHARED_BYTES_MIN};
use smallvec::SmallVec;

use super::Topic;
use super::subscriptions::{Pending, Pushed};
use crate::client::{Client, ClientFlags, Place};
use crate::context::Host;
use crate::global::Global;
use crate::stats::ThreadStats;

/// Messages of one channel, one behind the other, that one access has published and not delivered yet: a pipeline of PUBLISH is one delivery,
/// encoded once, and what is long enough lies in memory once for all who listen.
#[derive(Debug)]
pub struct Run {
    topic: Topic,
    channel: Vec<u8>,
    /// In RESP2.
    bytes: Vec<u8>,
    /// Where in these each message begins: in RESP3 that byte is another.
    starts: SmallVec<[u32; 32]>,
}

/// Less is copied: that is cheaper than a segment of its own.
const SHARED_RUN_BYTES_MIN: usize = 512;

impl Default for Run {
    fn default() -> Run {
        Run { topic: Topic::Channel, channel: Vec::new(), bytes: Vec::new(), starts: SmallVec::new() }
    }
}

impl Run {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Whether a message to this channel goes on with what was gathered.
    pub(super) fn is_of(&self, topic: Topic, channel: &[u8]) -> bool {
        self.is_empty() || self.topic == topic && self.channel == channel
    }

    pub(super) fn add(&mut self, topic: Topic, channel: &[u8], payload: &[u8]) {
        if self.is_empty() {
            self.topic = topic;
            self.channel.extend_from_slice(channel);
        }
        self.starts.push(self.bytes.len() as u32);
        let mut push = Reply::default();
        push.push(3);
        push.bulk(if topic == Topic::Shard { "smessage" } else { "message" });
        push.bulk(channel);
        push.bulk(payload);
        self.bytes.extend_from_slice(push.as_slice().expect("nothing of it is shared"));
    }

    fn encoded(&self, proto: Proto) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if proto == Proto::Resp3 {
            self.starts.iter().for_each(|&start| bytes[start as usize] = b'>');
        }
        bytes
    }

    fn clear(&mut self) {
        self.channel.clear();
        self.bytes.clear();
        self.starts.clear();
    }
}

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
        let subscriptions = self.host.subscriptions();
        subscriptions.for_receivers(topic, channel, |pattern, clients| {
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

    /// Delivers what was gathered.
    pub(crate) fn deliver(&mut self, run: &mut Run) {
        if run.is_empty() {
            return;
        }
        let mut encoded: [Option<Arc<Vec<u8>>>; 2] = [None, None];
        let subscriptions = self.host.subscriptions();
        subscriptions.for_receivers(run.topic, &run.channel, |pattern, clients| {
            if pattern.is_some() {
                // It came when all of these messages had been sent.
                return;
            }
            for client in clients.filter(|client| !client.killed.load(Relaxed)) {
                self.leave(client, |inbox| {
                    let bytes = encoded[(inbox.proto() == Proto::Resp3) as usize]
                        .get_or_insert_with(|| Arc::new(run.encoded(inbox.proto())));
                    if bytes.len() < SHARED_RUN_BYTES_MIN { inbox.raw(bytes) } else { inbox.raw_shared(bytes) }
                });
            }
        });
        run.clear();
    }

    /// Leaves a push with a client, in its protocol, unless too much waits for it already.
    pub(crate) fn leave(&mut self, client: &Arc<Client>, encode: impl FnOnce(&mut Reply)) {
        let is_subscriber = client.flags().contains(ClientFlags::PUBSUB);
        let limit = if is_subscriber { self.limits.pubsub } else { self.limits.normal };
        match client.leave_push(limit.hard_bytes, encode) {
            Pushed::First => {
                let Place { thread, token } = client.place();
                self.pending.push(Pending { thread, token, client_id: client.id });
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
