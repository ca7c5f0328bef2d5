//! Telling others what a command has changed: who watches keys, who tracks them, and who listens to keyspace events.
//!
//! ```text
//!  each command:      watchers are marked; invalidations and events leave, in the order in which it all happened
//!  … or transaction:  the client itself gets its own invalidations, behind the reply
//!  each access:       who tracks by prefix gets what was changed, once; messages to one channel are gathered up to here
//! ```
//!
//! All of it before the access ends: who reads a key afterwards finds the change, and so does everybody who was told.

use crate::client::Client;
use crate::context::Host;
use crate::effects::{Cause, Effects};
use crate::global::Global;
use crate::pubsub::{Delivery, Topic, notify};
use crate::stats::ThreadStats;
use crate::tracking::Change;

/// What telling takes.
pub struct Telling<'a> {
    pub global: &'a Global,
    pub host: &'a dyn Host,
    /// Of the thread that runs.
    pub stats: &'a ThreadStats,
    pub thread: usize,
}

impl<'a> Telling<'a> {
    /// For the thread of this number.
    pub fn of(global: &'a Global, host: &'a dyn Host, stats: &'a ThreadStats, thread: usize) -> Telling<'a> {
        Telling { global, host, stats, thread }
    }

    fn delivery(&self) -> Delivery<'_> {
        Delivery::of(self.global, self.host, self.stats, self.thread)
    }

    /// Tells what was recorded since the last call; `own` is the client whose command has recorded it.
    #[inline]
    pub fn tell(&self, effects: &mut Effects, own: Option<&Client>) {
        if effects.has_news() {
            self.tell_news(effects, own);
        }
    }

    #[cold]
    fn tell_news(&self, effects: &mut Effects, own: Option<&Client>) {
        let Global { watches, tracking, .. } = self.global;
        let mut news = effects.take_news();
        let mut delivery = self.delivery();
        delivery.deliver(&mut effects.messages);
        let listens = self.host.subscriptions().has_receivers(Topic::Channel);
        let mut touched = news.touched.drain(..).peekable();
        for index in 0..=news.events.len() {
            let is_last = index == news.events.len();
            while let Some(touched) = touched.next_if(|touched| is_last || touched.events_before <= index) {
                touched.tell(watches);
                if touched.cause == Cause::Database || !tracking.is_active() {
                    continue;
                }
                tracking.invalidate(&touched.key, own, &mut effects.own_invalidations, &mut delivery);
                if tracking.has_prefixes() {
                    let by =
                        own.filter(|_| touched.cause == Cause::Command && !effects.in_script).map_or(0, |own| own.id);
                    effects.broadcast.push(Change { key: touched.key, by });
                }
            }
            if let Some(event) = news.events.get(index).filter(|_| listens) {
                notify::deliver(event, self.global, &mut delivery);
            }
        }
        drop(touched);
        effects.recycle(news);
        delivery.finish();
    }

    /// Delivers the messages that this access has gathered: before anything but PUBLISH runs, since who sees what is behind them has got them.
    pub fn deliver_messages(&self, effects: &mut Effects) {
        let mut delivery = self.delivery();
        delivery.deliver(&mut effects.messages);
        delivery.finish();
    }

    /// The command, script or transaction of this client is over: it gets what concerns itself. Call it behind the last [`tell`](Self::tell).
    #[inline]
    pub fn tell_own(&self, effects: &mut Effects, client: &Client) {
        if !effects.own_invalidations.is_empty() {
            let mut delivery = self.delivery();
            delivery.deliver(&mut effects.messages);
            self.global.tracking.send_own(client, effects.own_invalidations.drain(..), &mut delivery);
            delivery.finish();
        }
    }

    /// The access is about to end.
    #[inline]
    pub fn end(&self, effects: &mut Effects) {
        if !effects.broadcast.is_empty() || !effects.messages.is_empty() {
            let mut delivery = self.delivery();
            delivery.deliver(&mut effects.messages);
            self.global.tracking.broadcast(&mut effects.broadcast, &mut delivery);
            delivery.finish();
        }
    }

    /// Forgets keys that are tracked beyond `tracking-table-max-keys`, at most so many.
    pub fn trim(&self, count_max: usize) {
        let keys_max = self.global.settings.tracked_keys_max;
        if self.global.tracking.tracked_keys() > keys_max {
            let mut delivery = self.delivery();
            self.global.tracking.trim(keys_max, count_max, &mut delivery);
            delivery.finish();
        }
    }
}
