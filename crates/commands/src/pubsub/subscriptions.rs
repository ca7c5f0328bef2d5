//! Who is subscribed to what, and what subscribers have still to get.
//!
//! ```text
//! Subscriptions: channel ─▶ subscribers     Client ─▶ Subscriber: its own subscriptions (to end them with the connection)
//!                pattern ─▶ subscribers                           its inbox (pushes that its event loop has not taken yet)
//! ```
//!
//! Locks are taken in this order: a subscriber's own list, the part of a table (or the patterns), an inbox. Nothing waits while it
//! holds one.
//!
//! *Why an inbox for each client, and not one queue for each event loop?* A client that sends commands while it gets messages must see
//! both in one order: what was published before its command began comes before the reply, and nothing of a channel comes behind the
//! reply to UNSUBSCRIBE. So the thread that executes the command takes the inbox first, under the command's own access.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use config::glob_match;
use parking_lot::{Mutex, MutexGuard, RwLock};
use resp::{Proto, Reply};

use super::Topic;
use crate::client::{Client, ClientFlags};

/// So many locks share the channels of a kind.
const PARTS: usize = 16;
/// An empty inbox keeps at most this much room: there may be many, and most are empty most of the time.
const IDLE_INBOX_BYTES_MAX: usize = 512;

type Hasher = foldhash::quality::RandomState;
/// By client id, so that the order of delivery is the same in every run.
type Subscribers = BTreeMap<u64, Arc<Client>>;
type Channels = HashMap<Box<[u8]>, Subscribers, Hasher>;

/// A client whose inbox was empty until now: its event loop does not know yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub thread: usize,
    pub token: usize,
    pub client_id: u64,
}

/// All subscriptions of a server.
#[derive(Default)]
pub struct Subscriptions {
    channels: Table,
    shard_channels: Table,
    patterns: RwLock<BTreeMap<Box<[u8]>, Subscribers>>,
    /// How many patterns there are, for who wants to know without the lock.
    pattern_count: AtomicUsize,
}

/// Channels with their subscribers. Messages of one channel reach all its subscribers in one order, for they are delivered under
/// the lock of its part.
struct Table {
    parts: [Mutex<Channels>; PARTS],
    hasher: Hasher,
    /// How many channels have subscribers.
    count: AtomicUsize,
}

impl Default for Table {
    fn default() -> Table {
        Table { parts: Default::default(), hasher: Hasher::default(), count: AtomicUsize::new(0) }
    }
}

impl Table {
    fn part(&self, channel: &[u8]) -> MutexGuard<'_, Channels> {
        self.parts[self.hasher.hash_one(channel) as usize % PARTS].lock()
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn add(&self, channel: &[u8], client: &Arc<Client>) {
        let mut part = self.part(channel);
        let subscribers = part.entry(channel.into()).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::Release);
            Subscribers::new()
        });
        subscribers.insert(client.id, client.clone());
    }

    fn remove(&self, channel: &[u8], client: &Client) {
        let mut part = self.part(channel);
        let subscribers = part.get_mut(channel).expect("a subscriber's own list names channels that it is in");
        subscribers.remove(&client.id);
        if subscribers.is_empty() {
            part.remove(channel);
            self.count.fetch_sub(1, Ordering::Release);
        }
    }
}

impl Subscriptions {
    fn table(&self, topic: Topic) -> &Table {
        if topic == Topic::Shard { &self.shard_channels } else { &self.channels }
    }

    /// Subscribes a client, unless it is already.
    pub fn add(&self, topic: Topic, client: &Arc<Client>, name: &[u8]) {
        let subscriber = client.subscriber.get_or_init(Default::default);
        let mut own = subscriber.own.lock();
        if !own[topic as usize].insert(name.into()) {
            return;
        }
        match topic {
            Topic::Channel | Topic::Shard => self.table(topic).add(name, client),
            Topic::Pattern => {
                let mut patterns = self.patterns.write();
                patterns.entry(name.into()).or_default().insert(client.id, client.clone());
                self.pattern_count.store(patterns.len(), Ordering::Release);
            }
        }
        subscriber.show(&own, client);
    }

    /// Ends a subscription, if there is one.
    pub fn remove(&self, topic: Topic, client: &Client, name: &[u8]) {
        let Some(subscriber) = client.subscriber() else {
            return;
        };
        let mut own = subscriber.own.lock();
        if own[topic as usize].remove(name) {
            self.forget(topic, client, name);
            subscriber.show(&own, client);
        }
    }

    /// Ends all subscriptions of a client: its connection is gone, or is to go.
    pub fn remove_client(&self, client: &Client) {
        let Some(subscriber) = client.subscriber() else {
            return;
        };
        let mut own = subscriber.own.lock();
        for topic in [Topic::Channel, Topic::Pattern, Topic::Shard] {
            for name in std::mem::take(&mut own[topic as usize]) {
                self.forget(topic, client, &name);
            }
        }
        subscriber.show(&own, client);
    }

    /// Takes out of the tables what a subscriber's own list does not hold any more.
    fn forget(&self, topic: Topic, client: &Client, name: &[u8]) {
        match topic {
            Topic::Channel | Topic::Shard => self.table(topic).remove(name, client),
            Topic::Pattern => {
                let mut patterns = self.patterns.write();
                let subscribers = patterns.get_mut(name).expect("a subscriber's own list names patterns that it is in");
                subscribers.remove(&client.id);
                if subscribers.is_empty() {
                    patterns.remove(name);
                    self.pattern_count.store(patterns.len(), Ordering::Release);
                }
            }
        }
    }

    /// How many channels (or patterns, or shard channels) have subscribers.
    pub fn count(&self, topic: Topic) -> usize {
        match topic {
            Topic::Pattern => self.pattern_count.load(Ordering::Acquire),
            _ => self.table(topic).count.load(Ordering::Acquire),
        }
    }

    /// Whether a message to a channel of this kind could reach anybody.
    #[inline]
    pub fn has_receivers(&self, topic: Topic) -> bool {
        !self.table(topic).is_empty() || topic == Topic::Channel && self.count(Topic::Pattern) > 0
    }

    /// The channels of this kind that have subscribers, and match.
    pub(super) fn channels(&self, topic: Topic, pattern: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let mut found = Vec::new();
        for part in &self.table(topic).parts {
            let part = part.lock();
            let matching = part.keys().filter(|name| pattern.is_none_or(|pattern| glob_match(pattern, name, false)));
            found.extend(matching.cloned());
        }
        found
    }

    /// How many clients are subscribed to a channel of this kind; by patterns does not count.
    pub(super) fn subscribers(&self, topic: Topic, channel: &[u8]) -> usize {
        self.table(topic).part(channel).get(channel).map_or(0, BTreeMap::len)
    }

    /// Shows every receiver of a message to this channel: first the channel's own, then by pattern. All of it is one step for whoever
    /// publishes to the same channel.
    pub(super) fn for_receivers(
        &self,
        topic: Topic,
        channel: &[u8],
        mut deliver: impl FnMut(Option<&[u8]>, &mut dyn Iterator<Item = &Arc<Client>>),
    ) {
        let table = self.table(topic);
        let part = (!table.is_empty()).then(|| table.part(channel));
        if let Some(subscribers) = part.as_ref().and_then(|part| part.get(channel)) {
            deliver(None, &mut subscribers.values());
        }
        if topic != Topic::Channel || self.count(Topic::Pattern) == 0 {
            return;
        }
        for (pattern, subscribers) in self.patterns.read().iter() {
            if glob_match(pattern, channel, false) {
                deliver(Some(pattern), &mut subscribers.values());
            }
        }
    }
}

/// What there is of a client that has ever subscribed to something.
#[derive(Default)]
pub struct Subscriber {
    /// By topic.
    own: Mutex<[BTreeSet<Box<[u8]>>; 3]>,
    /// How many they are, for CLIENT LIST.
    counts: [AtomicU32; 3],
    /// Pushes in the client's protocol, ready to be sent.
    inbox: Mutex<Reply>,
}

impl Subscriber {
    /// How many channels (or patterns, or shard channels) it is subscribed to.
    pub fn count(&self, topic: Topic) -> usize {
        self.counts[topic as usize].load(Ordering::Relaxed) as usize
    }

    pub(crate) fn names(&self, topic: Topic) -> Vec<Box<[u8]>> {
        self.own.lock()[topic as usize].iter().cloned().collect()
    }

    fn show(&self, own: &[BTreeSet<Box<[u8]>>; 3], client: &Client) {
        for (count, names) in self.counts.iter().zip(own) {
            count.store(names.len() as u32, Ordering::Relaxed);
        }
        client.set_flag(ClientFlags::PUBSUB, own.iter().any(|names| !names.is_empty()));
    }
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The client's event loop has to be told.
    First,
    /// It knows already.
    Behind,
    /// More would wait for the client now than its output limit allows.
    TooMuch,
}

impl Client {
    /// What there is of it as a subscriber.
    pub fn subscriber(&self) -> Option<&Subscriber> {
        self.subscriber.get().map(|subscriber| &**subscriber)
    }

    /// How many channels (or patterns, or shard channels) it is subscribed to.
    pub fn subscription_count(&self, topic: Topic) -> usize {
        self.subscriber().map_or(0, |subscriber| subscriber.count(topic))
    }

    /// Leaves a push for the client, which `encode` appends in the client's protocol; it may append nothing. `waiting_bytes_max` is the hard
    /// limit of what may wait for the client; 0 means none.
    pub(super) fn leave_push(&self, waiting_bytes_max: u64, encode: impl FnOnce(&mut Reply)) -> Pushed {
        let subscriber = self.subscriber.get_or_init(Default::default);
        let mut inbox = subscriber.inbox.lock();
        let length_before = inbox.len();
        inbox.set_proto(self.proto());
        encode(&mut inbox);
        if inbox.len() == length_before {
            return Pushed::Behind;
        }
        let waiting_bytes = (inbox.len() + self.output_bytes.load(Ordering::Relaxed)) as u64;
        if waiting_bytes_max > 0 && waiting_bytes > waiting_bytes_max {
            *inbox = Reply::default();
            self.has_pushes.store(false, Ordering::Relaxed);
            return Pushed::TooMuch;
        }
        if length_before > 0 {
            return Pushed::Behind;
        }
        self.has_pushes.store(true, Ordering::Release);
        Pushed::First
    }

    /// Whether anything waits in its inbox.
    #[inline]
    pub fn has_pushes(&self) -> bool {
        self.has_pushes.load(Ordering::Acquire)
    }

    /// Appends to `reply` what waits in the inbox. False if that was nothing.
    pub fn take_pushes(&self, reply: &mut Reply) -> bool {
        self.has_pushes() && self.subscriber().is_some_and(|subscriber| self.take(&mut subscriber.inbox.lock(), reply))
    }

    fn take(&self, inbox: &mut Reply, reply: &mut Reply) -> bool {
        if inbox.is_empty() {
            return false;
        }
        self.has_pushes.store(false, Ordering::Relaxed);
        reply.append(inbox);
        if inbox.memory_bytes() > IDLE_INBOX_BYTES_MAX {
            *inbox = Reply::default();
        }
        true
    }

    pub fn proto(&self) -> Proto {
        if self.protocol.load(Ordering::Relaxed) == Proto::Resp3.version() { Proto::Resp3 } else { Proto::Resp2 }
    }

    /// The client has chosen a protocol: the next reply, and every push behind it, speaks that. What waits comes before, as it is.
    pub fn set_proto(&self, proto: Proto, reply: &mut Reply) {
        let mut inbox = self.subscriber().map(|subscriber| subscriber.inbox.lock());
        if let Some(inbox) = &mut inbox {
            self.take(inbox, reply);
        }
        // Under the inbox's lock, where who leaves a push reads it.
        self.protocol.store(proto.version(), Ordering::Relaxed);
        reply.set_proto(proto);
    }
}
