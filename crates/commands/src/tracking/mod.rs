//! Client-side caching: who tracks keys, and hears when they change.
//!
//! ```text
//!  CLIENT TRACKING ON ──> a read leaves (key, client) in the table ── the key changes ──> "invalidate", and it is forgotten
//!  … BCAST PREFIX p   ──> nothing is remembered                     ── a key p… changes ─> "invalidate" at the end of the access
//! ```
//!
//! Who tracks, and how, is part of [`Global`](crate::Global): read on the narrow side, changed on the wide one. The [table](Table) is filled
//! and emptied on the narrow side, under the access that reads or changes the key: a client is told of every change behind what it has
//! read, and in its own output behind that reply. [`Telling`](crate::telling::Telling) says who is told when.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use resp::Proto;

use crate::client::{Client, ClientFlags, Session};
use crate::context::{Ctx, Host};
use crate::global::Global;
use crate::pubsub::Delivery;
use crate::registry::Command;
use crate::spec::{Flags, Group};
use crate::stats::ThreadStats;

use table::Table;

/// How a client tracks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// It is told of all keys with its prefixes, whatever it has read.
    pub bcast: bool,
    /// It caches only what it reads behind CLIENT CACHING YES.
    pub optin: bool,
    /// It caches everything but what it reads behind CLIENT CACHING NO.
    pub optout: bool,
    /// It does not want to hear of its own changes.
    pub noloop: bool,
}

/// What a session knows of its tracking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Track {
    pub mode: Mode,
    /// CLIENT CACHING has said something about the next command.
    pub caching: bool,
}

impl Track {
    /// Whether what is read now is remembered.
    fn remembers(&self) -> bool {
        match self.mode {
            Mode { bcast: true, .. } => false,
            Mode { optin: true, .. } => self.caching,
            Mode { optout: true, .. } => !self.caching,
            _ => true,
        }
    }
}

/// A client that tracks.
struct Tracker {
    client: Arc<Client>,
    mode: Mode,
    /// Who gets its invalidations in its place.
    redirect: Option<Arc<Client>>,
    prefixes: BTreeSet<Box<[u8]>>,
}

/// Who tracks what.
#[derive(Default)]
pub struct Tracking {
    trackers: BTreeMap<u64, Tracker>,
    /// By prefix, who tracks by that; no set is empty.
    prefixes: BTreeMap<Box<[u8]>, BTreeSet<u64>>,
    /// How many prefixes have each length.
    prefix_lengths: BTreeMap<usize, usize>,
    /// Clients that are connected and have tracked. What they have read stays in the table when they switch tracking off, and counts
    /// again when they switch it on, as in Redis.
    known: BTreeSet<u64>,
    table: Table,
}

/// Figures for INFO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackingFigures {
    pub clients: usize,
    pub keys: usize,
    pub items: usize,
    pub prefixes: usize,
}

/// What is not to be trusted any more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Invalid<'a> {
    Keys(&'a [&'a [u8]]),
    Everything,
}

/// A key that was changed, and the client that did it, or 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub key: Box<[u8]>,
    pub by: u64,
}

/// The channel on which clients of RESP2 get invalidations.
const CHANNEL: &str = "__redis__:invalidate";

impl Tracking {
    /// Whether anybody may want to know which keys change.
    pub fn is_active(&self) -> bool {
        !self.known.is_empty()
    }

    pub fn figures(&self) -> TrackingFigures {
        TrackingFigures {
            clients: self.trackers.len(),
            keys: self.table.keys(),
            items: self.table.items(),
            prefixes: self.prefixes.len(),
        }
    }

    /// How many keys' readers are remembered.
    pub fn tracked_keys(&self) -> usize {
        self.table.keys()
    }

    /// The prefixes that a client tracks by.
    pub fn prefixes_of(&self, client_id: u64) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        static NONE: BTreeSet<Box<[u8]>> = BTreeSet::new();
        self.trackers.get(&client_id).map_or(&NONE, |tracker| &tracker.prefixes).iter().map(|prefix| &**prefix)
    }

    /// The client tracks from now on, or does so in another way; `prefixes` come to those that it has.
    pub fn switch_on(
        &mut self,
        client: &Arc<Client>,
        mode: Mode,
        redirect: Option<Arc<Client>>,
        prefixes: impl Iterator<Item = Box<[u8]>>,
    ) {
        client.set_flag(ClientFlags::TRACKING | ClientFlags::HAS_TRACKED, true);
        client.set_flag(ClientFlags::TRACKING_BROKEN, false);
        client.set_flag(ClientFlags::TRACKING_BCAST, mode.bcast);
        client.redirect.store(redirect.as_ref().map_or(0, |target| target.id as i64), Relaxed);
        self.known.insert(client.id);
        let tracker = self.trackers.entry(client.id).or_insert_with(|| Tracker {
            client: client.clone(),
            mode,
            redirect: None,
            prefixes: BTreeSet::new(),
        });
        tracker.mode = mode;
        tracker.redirect = redirect;
        for prefix in prefixes {
            let of_prefix = self.prefixes.entry(prefix.clone()).or_insert_with(|| {
                *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
                BTreeSet::new()
            });
            of_prefix.insert(client.id);
            tracker.prefixes.insert(prefix);
        }
    }

    /// The client does not track any more. Says whether it did.
    pub fn switch_off(&mut self, client: &Client) -> bool {
        let Some(tracker) = self.trackers.remove(&client.id) else {
            return false;
        };
        for flag in [ClientFlags::TRACKING, ClientFlags::TRACKING_BROKEN, ClientFlags::TRACKING_BCAST] {
            client.set_flag(flag, false);
        }
        client.redirect.store(-1, Relaxed);
        for prefix in tracker.prefixes {
            let of_prefix = self.prefixes.get_mut(&prefix).expect("a client's prefixes are known");
            of_prefix.remove(&client.id);
            if of_prefix.is_empty() {
                self.prefixes.remove(&prefix);
                let count = self.prefix_lengths.get_mut(&prefix.len()).expect("the lengths of prefixes are counted");
                *count -= 1;
                if *count == 0 {
                    self.prefix_lengths.remove(&prefix.len());
                }
            }
        }
        true
    }

    /// The client has gone. With the last one, what they have read is of no use any more: it is handed back, to be freed.
    #[must_use = "it may be large"]
    pub fn remove(&mut self, client: &Client) -> Option<Box<dyn Send>> {
        self.switch_off(client);
        if self.known.remove(&client.id) && self.known.is_empty() && self.table.keys() > 0 {
            return Some(self.forget_all());
        }
        None
    }

    fn forget_all(&mut self) -> Box<dyn Send> {
        Box::new(std::mem::take(&mut self.table))
    }

    /// Tells everybody who tracks that nothing is as it was. `own` is the client whose command that is: what it is told comes behind its
    /// reply. What was remembered is handed back, to be freed.
    #[must_use = "it may be large"]
    pub(crate) fn invalidate_everything(
        &mut self,
        own: Option<&Client>,
        own_invalidations: &mut Vec<Option<Box<[u8]>>>,
        delivery: &mut Delivery<'_>,
    ) -> Option<Box<dyn Send>> {
        for tracker in self.trackers.values() {
            if own.is_some_and(|own| own.id == tracker.client.id) {
                own_invalidations.push(None);
            } else {
                tracker.send(Invalid::Everything, delivery);
            }
        }
        (self.table.keys() > 0).then(|| self.forget_all())
    }

    /// A key was changed, by this client if it was one: tells whoever has read it. `own` is the client whose command is in execution.
    pub(crate) fn invalidate(
        &self,
        key: &[u8],
        own: Option<&Client>,
        own_invalidations: &mut Vec<Option<Box<[u8]>>>,
        delivery: &mut Delivery<'_>,
    ) {
        for client_id in self.table.take(key).unwrap_or_default() {
            let Some(tracker) = self.trackers.get(&client_id).filter(|tracker| !tracker.mode.bcast) else {
                continue;
            };
            if own.is_none_or(|own| own.id != client_id) {
                tracker.send(Invalid::Keys(&[key]), delivery);
            } else if !tracker.mode.noloop {
                own_invalidations.push(Some(key.into()));
            }
        }
    }

    /// Sends what was put aside for the client whose command has ended.
    pub(crate) fn send_own(
        &self,
        client: &Client,
        own_invalidations: impl Iterator<Item = Option<Box<[u8]>>>,
        delivery: &mut Delivery<'_>,
    ) {
        let tracker = self.trackers.get(&client.id);
        for key in own_invalidations {
            // A transaction may have switched tracking off meanwhile.
            if let Some(tracker) = tracker {
                match key {
                    Some(key) => tracker.send(Invalid::Keys(&[&key]), delivery),
                    None => tracker.send(Invalid::Everything, delivery),
                }
            }
        }
    }

    /// Whether anybody tracks by prefix.
    pub(crate) fn has_prefixes(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// Tells those who track by prefix what one access has changed: each prefix at once, its keys in order and each once.
    pub(crate) fn broadcast(&self, changed: &mut Vec<Change>, delivery: &mut Delivery<'_>) {
        // Stable: whoever was the last to change a key knows what it holds.
        changed.sort_by(|a, b| a.key.cmp(&b.key));
        changed.dedup_by(|later, kept| {
            let is_same = later.key == kept.key;
            if is_same {
                kept.by = later.by;
            }
            is_same
        });
        // A key has few prefixes that are as long as any that somebody tracks by, however many prefixes there are.
        let mut found: BTreeMap<&[u8], Vec<&Change>> = BTreeMap::new();
        for change in changed.iter() {
            for length in self.prefix_lengths.keys().take_while(|length| **length <= change.key.len()) {
                if let Some((prefix, _)) = self.prefixes.get_key_value(&change.key[..*length]) {
                    found.entry(prefix).or_default().push(change);
                }
            }
        }
        for (prefix, changes) in found {
            for client_id in &self.prefixes[prefix] {
                let tracker = &self.trackers[client_id];
                let is_heard = |change: &&&Change| !tracker.mode.noloop || change.by != *client_id;
                let keys: Vec<&[u8]> = changes.iter().filter(is_heard).map(|change| &*change.key).collect();
                if !keys.is_empty() {
                    tracker.send(Invalid::Keys(&keys), delivery);
                }
            }
        }
        changed.clear();
    }

    /// Forgets keys at random while there are more than `keys_max`, at most `count_max` of them, and tells who has read them.
    pub(crate) fn trim(&self, keys_max: usize, count_max: usize, delivery: &mut Delivery<'_>) {
        for _ in 0..count_max {
            if self.table.keys() <= keys_max {
                return;
            }
            let Some((key, readers)) = self.table.take_any(rand::random()) else {
                return;
            };
            for client_id in readers {
                if let Some(tracker) = self.trackers.get(&client_id).filter(|tracker| !tracker.mode.bcast) {
                    tracker.send(Invalid::Keys(&[&key]), delivery);
                }
            }
        }
    }
}

/// Tells everybody who tracks that all data is about to be other data, where no client has asked for that. `thread` is the one that says
/// so. What was remembered is handed back, to be freed.
#[must_use = "it may be large"]
pub fn invalidate_everything(
    global: &mut Global,
    host: &dyn Host,
    stats: &ThreadStats,
    thread: usize,
) -> Option<Box<dyn Send>> {
    let mut delivery = Delivery::of(global, host, stats, thread);
    let garbage = global.tracking.invalidate_everything(None, &mut Vec::new(), &mut delivery);
    delivery.finish();
    garbage
}

impl Tracker {
    fn send(&self, invalid: Invalid<'_>, delivery: &mut Delivery<'_>) {
        let Some(target) = &self.redirect else {
            if !self.client.killed.load(Relaxed) {
                // In RESP2 there is no way to tell it.
                delivery.leave(&self.client, |inbox| {
                    if inbox.proto() == Proto::Resp3 {
                        inbox.push(2);
                        inbox.bulk("invalidate");
                        invalid.encode(inbox);
                    }
                });
            }
            return;
        };
        if target.killed.load(Relaxed) {
            self.client.set_flag(ClientFlags::TRACKING_BROKEN, true);
            delivery.leave(&self.client, |inbox| {
                if inbox.proto() == Proto::Resp3 {
                    inbox.push(2);
                    inbox.bulk("tracking-redir-broken");
                    inbox.int(target.id as i64);
                }
            });
            return;
        }
        let listens = target.flags().contains(ClientFlags::PUBSUB);
        delivery.leave(target, |inbox| {
            if inbox.proto() == Proto::Resp3 {
                inbox.push(2);
                inbox.bulk("invalidate");
                invalid.encode(inbox);
            } else if listens {
                // Any subscription will do, as in Redis: it is only there to say that pushes are expected.
                inbox.push(3);
                inbox.bulk("message");
                inbox.bulk(CHANNEL);
                invalid.encode(inbox);
            }
        });
    }
}

impl Invalid<'_> {
    fn encode(self, reply: &mut resp::Reply) {
        match self {
            Invalid::Everything => reply.null(),
            Invalid::Keys(keys) => {
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
            }
        }
    }
}

/// A registration may have brought the table over its limit, by as many keys as a command has; more are only there after CONFIG SET.
const TRIMMED_AT_ONCE_MAX: usize = 128;

/// A command of a client that tracks has run, under this access: what it has read is remembered. Its reply is there, so whatever is
/// told of these keys comes behind it.
#[cold]
pub fn note_command(cx: &mut Ctx<'_>, thread: usize, in_transaction: bool) {
    let Some(track) = cx.session.tracking else { return };
    // Scripts and functions are not their keys: the commands that they call come here by themselves.
    if track.remembers() && cx.command.spec.flags.contains(Flags::READONLY) && cx.command.spec.group != Group::Scripting
    {
        let tracking = &cx.global().tracking;
        cx.keys.iter().for_each(|key| tracking.table.insert(key.bytes(), cx.session.client.id));
        if tracking.table.keys() > cx.global().settings.tracked_keys_max {
            cx.telling(thread).trim(TRIMMED_AT_ONCE_MAX);
        }
    }
    end_caching(cx.session, Some(cx.command), in_transaction);
}

/// What CLIENT CACHING has said ends with the next request that is not a CLIENT command again, or with the transaction that this
/// begins.
pub fn end_caching(session: &mut Session, command: Option<&Command>, in_transaction: bool) {
    let Some(track) = &mut session.tracking else { return };
    let is_of_client = command.is_some_and(|command| command.full_name.starts_with("client|"));
    if !in_transaction && session.transaction.is_none() && !is_of_client {
        track.caching = false;
    }
}
