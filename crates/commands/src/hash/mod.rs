//! Commands on hashes.
//!
//! **Fields that expire.** Whoever reads a field does not see it any more once its time has passed ([`seen_from`]). Commands that look a
//! field up by its name for its value take it out then, with the effect HDEL and, for all of them together, the event `hexpired`; others leave that
//! to the event loops. Until it is out it is still there for HLEN, HSET, HDEL and HEXPIRE, as in Redis 8.2.

mod hdel;
mod hexists;
mod hexpire;
mod hget;
mod hgetall;
mod hgetdel;
mod hgetex;
mod hincrby;
mod hincrbyfloat;
mod hlen;
mod hmget;
mod hpersist;
mod hrandfield;
mod hscan;
mod hset;
mod hsetex;
mod hsetnx;
mod hstrlen;
mod httl;
mod options;

use keyspace::Millis;
use keyspace::collection::listpack::Item;
use resp::Reply;

use crate::db::Db;
use crate::spec::Spec;

/// All commands of the group.
pub const SPECS: &[&Spec] = &[
    &hdel::SPEC,
    &hexists::SPEC,
    &hexpire::HEXPIRE,
    &hexpire::HEXPIREAT,
    &httl::HEXPIRETIME,
    &hget::SPEC,
    &hgetall::HGETALL,
    &hgetdel::SPEC,
    &hgetex::SPEC,
    &hincrby::SPEC,
    &hincrbyfloat::SPEC,
    &hgetall::HKEYS,
    &hlen::SPEC,
    &hmget::SPEC,
    &hset::HMSET,
    &hpersist::SPEC,
    &hexpire::HPEXPIRE,
    &hexpire::HPEXPIREAT,
    &httl::HPEXPIRETIME,
    &httl::HPTTL,
    &hrandfield::SPEC,
    &hscan::SPEC,
    &hset::HSET,
    &hsetex::SPEC,
    &hsetnx::SPEC,
    &hstrlen::SPEC,
    &httl::HTTL,
    &hgetall::HVALS,
];

/// Fields that expired before this are invisible.
#[inline]
fn seen_from(db: &Db<'_>) -> Millis {
    if db.manners.see_expired { Millis(i64::MIN) } else { db.now }
}

/// Replies with a field's name or value.
#[inline]
fn put(reply: &mut Reply, item: &Item<'_>) {
    match item {
        Item::Int(number) => reply.bulk_int(*number),
        Item::Bytes(bytes) => reply.bulk(bytes),
    }
}

#[inline]
fn put_or_null(reply: &mut Reply, item: Option<Item<'_>>) {
    match item {
        Some(item) => put(reply, &item),
        None => reply.null(),
    }
}
