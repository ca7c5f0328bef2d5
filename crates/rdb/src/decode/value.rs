//! Values of every type, into the encodings that the limits want.
//!
//! Redis 8.2 and Valkey 9.1 were observed to look at the number of elements where a compact form was written, and at lengths too where elements were:
//! a listpack with a long value stays one. Elements that appear twice are an error, and every compact form is checked in full, whatever
//! `sanitize-dump-payload` says: a walk over its bytes costs little beside the allocation.

use std::borrow::Cow;
use std::sync::Arc;

use keyspace::collection::ListBuilder;
use keyspace::collection::limits::{HashLimits, ListLimits, SetLimits, SortedSetLimits};
use keyspace::collection::listpack::Item;
use keyspace::collection::set::Intset;
use keyspace::collection::sorted_set::SortedSetBuilder;
use keyspace::{
    Collection, Expiry, Hash, IntBuffer, LARGE_LEN_MIN, List, Listpack, Millis, NewValue, Object, Set, SortedSet,
};
use resp::number::parse_f64;

use super::distinct::find_repeated;
use super::input::{Input, Text};
use super::{skip, stream, ziplist, zipmap};
use crate::code::{ValueType, node};
use crate::error::{Error, ErrorKind, Result};

/// When small encodings end, by the configuration of who reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub list: ListLimits,
    pub set: SetLimits,
    pub hash: HashLimits,
    pub sorted_set: SortedSetLimits,
}

/// A value that was read.
#[derive(Debug)]
pub enum Value<'a> {
    Int(i64),
    /// Text, which may look like an integer.
    Text(Cow<'a, [u8]>),
    Object(Object),
}

impl Value<'_> {
    /// Gives it as the keyspace takes it.
    pub fn with_new_value<R>(self, take: impl FnOnce(NewValue<'_>) -> R) -> R {
        match self {
            Value::Int(number) => take(NewValue::Int(number)),
            Value::Text(Cow::Owned(text)) if text.len() >= LARGE_LEN_MIN => take(NewValue::Large(Arc::new(text))),
            Value::Text(text) => take(NewValue::Bytes(&text)),
            Value::Object(object) => take(NewValue::Object(object)),
        }
    }

    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Int(number) => Value::Int(number),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Object(object) => Value::Object(object),
        }
    }
}

/// A value of this type. `is_valkey` tells which of the two types 22 it is.
pub(super) fn decode_value<'a>(
    input: &mut impl Input<'a>,
    value_type: ValueType,
    is_valkey: bool,
    limits: &Limits,
) -> Result<Value<'a>> {
    let object: Object = match value_type {
        ValueType::String => {
            return Ok(match input.text()? {
                Text::Int(number) => Value::Int(number),
                Text::Bytes(bytes) => Value::Text(bytes),
            });
        }
        ValueType::List => list(input, limits.list)?.into(),
        ValueType::ListZiplist => {
            let start = input.offset();
            let mut list = ListBuilder::new(limits.list);
            list.push_node(ziplist::read(input)?);
            // Redis 8.2 and Valkey 9.1 leave just these large.
            finish_list(start, list, false)?.into()
        }
        ValueType::ListZiplists => {
            let start = input.offset();
            let mut list = ListBuilder::new(limits.list);
            for _ in 0..input.count()? {
                list.push_node(ziplist::read(input)?);
            }
            finish_list(start, list, true)?.into()
        }
        ValueType::ListListpacks => list_of_listpacks(input, limits.list)?.into(),
        ValueType::Set => set(input, &limits.set)?.into(),
        ValueType::SetIntset => intset(input, &limits.set)?.into(),
        ValueType::SetListpack => set_listpack(input, &limits.set)?.into(),
        ValueType::SortedSetText => sorted_set(input, &limits.sorted_set, score_text)?.into(),
        ValueType::SortedSet => {
            sorted_set(input, &limits.sorted_set, |input| Ok(f64::from_bits(input.u64_le()?)))?.into()
        }
        ValueType::SortedSetZiplist => {
            let start = input.offset();
            let listpack = ziplist::read(input)?;
            sorted_set_listpack(start, listpack, &limits.sorted_set)?.into()
        }
        ValueType::SortedSetListpack => {
            let start = input.offset();
            let listpack = listpack(input)?;
            sorted_set_listpack(start, listpack, &limits.sorted_set)?.into()
        }
        ValueType::Hash => hash(input, &limits.hash)?.into(),
        ValueType::HashZipmap => zipmap::read(input, &limits.hash)?.into(),
        ValueType::HashZiplist => {
            let start = input.offset();
            let listpack = ziplist::read(input)?;
            hash_pairs(start, listpack, &limits.hash)?.into()
        }
        ValueType::HashListpack => {
            let start = input.offset();
            let listpack = listpack(input)?;
            hash_pairs(start, listpack, &limits.hash)?.into()
        }
        ValueType::HashExpiring => {
            let base = input.i64_le()?;
            expiring_hash(input, &limits.hash, move |input| distant_expiry(input, base))?.into()
        }
        ValueType::HashExpiring22 if is_valkey => valkey_hash(input, &limits.hash)?.into(),
        ValueType::HashExpiring22 => expiring_hash(input, &limits.hash, absolute_expiry)?.into(),
        ValueType::HashListpackExpiring | ValueType::HashListpackExpiring23 => {
            if value_type == ValueType::HashListpackExpiring {
                // The earliest expiry: what is in the listpack says it better.
                input.skip(8)?;
            }
            let start = input.offset();
            let listpack = listpack(input)?;
            hash_triples(start, listpack, &limits.hash)?.into()
        }
        ValueType::Stream1 | ValueType::Stream2 | ValueType::Stream3 => stream::read(input, value_type)?.into(),
        ValueType::ModuleOld | ValueType::Module => return Err(skip::module(input)),
    };
    Ok(Value::Object(object))
}

fn empty(offset: u64) -> Error {
    Error::new(offset, ErrorKind::EmptyCollection)
}

/// A listpack that was checked.
pub(super) fn listpack<'a>(input: &mut impl Input<'a>) -> Result<Listpack> {
    let start = input.offset();
    let mut scratch = Vec::new();
    let bytes = input.string(&mut scratch)?;
    Listpack::from_bytes(bytes).map_err(|invalid| {
        Error::damaged(start, format!("a listpack of {} bytes that is none: {invalid}", bytes.len()))
    })
}

#[cold]
fn repeated(offset: u64, what: &str, text: &[u8]) -> Error {
    Error::damaged(offset, format!("the {what} \"{}\" appears twice", text[..text.len().min(100)].escape_ascii()))
}

/// Every `stride`th element of the listpack is different from the others.
fn check_distinct(start: u64, listpack: &Listpack, stride: usize, what: &str) -> Result<()> {
    match find_repeated(listpack, stride) {
        Some(item) => Err(repeated(start, what, &item.to_vec())),
        None => Ok(()),
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Lists
// ---------------------------------------------------------------------------------------------------------------------

/// A list that was read. `packs`: one of few elements becomes small.
fn finish_list(start: u64, list: ListBuilder, packs: bool) -> Result<List> {
    if list.is_empty() { Err(empty(start)) } else { Ok(list.finish(packs)) }
}

fn list<'a>(input: &mut impl Input<'a>, limits: ListLimits) -> Result<List> {
    let start = input.offset();
    let mut list = ListBuilder::new(limits);
    let mut scratch = Vec::new();
    for _ in 0..input.count()? {
        list.push(input.string(&mut scratch)?);
    }
    finish_list(start, list, true)
}

fn list_of_listpacks<'a>(input: &mut impl Input<'a>, limits: ListLimits) -> Result<List> {
    let start = input.offset();
    let mut list = ListBuilder::new(limits);
    for _ in 0..input.count()? {
        match input.length()? {
            node::PACKED => list.push_node(listpack(input)?),
            node::PLAIN => {
                let mut scratch = Vec::new();
                let text = input.string(&mut scratch)?.to_vec();
                list.push_plain(text);
            }
            kind => {
                return Err(input.damaged_before(1, format!("a list's node of kind {kind}; 1 is plain, 2 a listpack")));
            }
        }
    }
    finish_list(start, list, true)
}

// ---------------------------------------------------------------------------------------------------------------------
// Sets
// ---------------------------------------------------------------------------------------------------------------------

fn set<'a>(input: &mut impl Input<'a>, limits: &SetLimits) -> Result<Set> {
    let start = input.offset();
    let count = input.count()?;
    let mut scratch = Vec::new();
    // Of the limits that of integers decides, whatever the members are (observed of all three servers).
    let mut set = if count > limits.intset_entries_max { Set::Table(Box::default()) } else { Set::default() };
    let mut read = 0;
    if count <= limits.intset_entries_max.min(limits.listpack_entries_max) {
        // To look for each member before it is added would cost more than to look for all of them at the end.
        let mut few = Listpack::new();
        let mut is_long = false;
        while read < count && !is_long {
            let member = input.string(&mut scratch)?;
            is_long = member.len() > limits.listpack_value_bytes_max;
            few.push_back(member);
            read += 1;
        }
        check_distinct(start, &few, 1, "member")?;
        if !is_long {
            return few_members(start, few);
        }
        let mut buffer = IntBuffer::new();
        for member in few.iter() {
            set.insert(member.bytes(&mut buffer), limits);
        }
    }
    for _ in read..count {
        let at = input.offset();
        let member = input.string(&mut scratch)?;
        if !set.insert(member, limits) {
            return Err(repeated(at, "member", member));
        }
    }
    if set.is_empty() { Err(empty(start)) } else { Ok(set) }
}

/// A set of members that all are different, and none too long for a listpack.
fn few_members(start: u64, members: Listpack) -> Result<Set> {
    if members.is_empty() {
        return Err(empty(start));
    }
    if members.iter().any(|member| matches!(member, Item::Bytes(_))) {
        return Ok(Set::Packed(members));
    }
    let mut numbers: Vec<i64> = members.iter().filter_map(|member| member.as_int()).collect();
    numbers.sort_unstable();
    let mut ints = Intset::default();
    for number in numbers {
        ints.insert(number);
    }
    Ok(Set::Ints(ints))
}

fn intset<'a>(input: &mut impl Input<'a>, limits: &SetLimits) -> Result<Set> {
    let start = input.offset();
    let mut scratch = Vec::new();
    let bytes = input.string(&mut scratch)?;
    let ints = Intset::from_bytes(bytes).map_err(|invalid| {
        Error::damaged(start, format!("an intset of {} bytes that is none: {}", bytes.len(), invalid.0))
    })?;
    finish_set(start, Set::Ints(ints), limits)
}

fn set_listpack<'a>(input: &mut impl Input<'a>, limits: &SetLimits) -> Result<Set> {
    let start = input.offset();
    let listpack = listpack(input)?;
    check_distinct(start, &listpack, 1, "member")?;
    finish_set(start, Set::Packed(listpack), limits)
}

fn finish_set(start: u64, mut set: Set, limits: &SetLimits) -> Result<Set> {
    if set.is_empty() {
        return Err(empty(start));
    }
    set.expect_more(set.len(), limits);
    Ok(set)
}

// ---------------------------------------------------------------------------------------------------------------------
// Sorted sets
// ---------------------------------------------------------------------------------------------------------------------

fn sorted_set<'a, I: Input<'a>>(
    input: &mut I,
    limits: &SortedSetLimits,
    mut score: impl FnMut(&mut I) -> Result<f64>,
) -> Result<SortedSet> {
    let start = input.offset();
    let mut builder = SortedSetBuilder::default();
    let mut scratch = Vec::new();
    for _ in 0..input.count()? {
        let at = input.offset();
        let member = input.string(&mut scratch)?;
        let score = score(input)?;
        if score.is_nan() {
            return Err(Error::damaged(at, "a score that is not a number"));
        }
        let mut is_new = true;
        builder.add(member, score, |old, _| {
            is_new = false;
            old
        });
        if !is_new {
            return Err(repeated(at, "member", member));
        }
    }
    if builder.is_empty() {
        return Err(empty(start));
    }
    Ok(builder.finish(limits))
}

/// A score as files had it up to version 7: its length and text, or one byte for what is no number.
fn score_text<'a>(input: &mut impl Input<'a>) -> Result<f64> {
    let start = input.offset();
    let mut scratch = Vec::new();
    match input.byte()? {
        253 => Ok(f64::NAN),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        len => {
            let text = input.slice(usize::from(len), &mut scratch)?;
            parse_f64(text)
                .ok_or_else(|| Error::damaged(start, format!("the score \"{}\" is no number", text.escape_ascii())))
        }
    }
}

fn sorted_set_listpack(start: u64, listpack: Listpack, limits: &SortedSetLimits) -> Result<SortedSet> {
    if listpack.is_empty() {
        return Err(empty(start));
    }
    if !listpack.len().is_multiple_of(2) {
        return Err(Error::damaged(start, format!("a sorted set of {} elements: one has no score", listpack.len())));
    }
    check_distinct(start, &listpack, 2, "member")?;
    let mut is_sorted = true;
    let mut last: Option<(Item<'_>, f64)> = None;
    let mut items = listpack.iter();
    while let (Some(member), Some(score)) = (items.next(), items.next()) {
        let score = match score {
            Item::Int(number) => number as f64,
            Item::Bytes(text) => parse_f64(text)
                .ok_or_else(|| Error::damaged(start, format!("the score \"{}\" is no number", text.escape_ascii())))?,
        };
        is_sorted &= last.is_none_or(|(before, before_score)| {
            before_score < score || before_score == score && is_before(before, member)
        });
        last = Some((member, score));
    }
    if is_sorted && listpack.len() / 2 <= limits.listpack_entries_max {
        return Ok(SortedSet::Packed(listpack));
    }
    // Redis takes members in any order and serves them so. They are put in order here, because ranks rely on it.
    let mut builder = SortedSetBuilder::default();
    let mut buffer = IntBuffer::new();
    let mut items = listpack.iter();
    while let (Some(member), Some(score)) = (items.next(), items.next()) {
        let score = match score {
            Item::Int(number) => number as f64,
            Item::Bytes(text) => parse_f64(text).expect("every score was looked at"),
        };
        builder.push(member.bytes(&mut buffer), score);
    }
    Ok(builder.finish(limits))
}

fn is_before(one: Item<'_>, other: Item<'_>) -> bool {
    let (mut buffer, mut other_buffer) = <(IntBuffer, IntBuffer)>::default();
    one.bytes(&mut buffer) < other.bytes(&mut other_buffer)
}

// ---------------------------------------------------------------------------------------------------------------------
// Hashes
// ---------------------------------------------------------------------------------------------------------------------

/// A hash in the making: a listpack as long as it may be one.
pub(super) struct HashBuilder<'l> {
    state: HashState,
    pushed: usize,
    limits: &'l HashLimits,
}

enum HashState {
    Pairs(Listpack),
    Table(Hash),
}

impl<'l> HashBuilder<'l> {
    pub(super) fn new(count: usize, limits: &'l HashLimits) -> HashBuilder<'l> {
        let mut builder = HashBuilder { state: HashState::Pairs(Listpack::new()), pushed: 0, limits };
        if count > limits.listpack_entries_max {
            builder.table();
        }
        builder
    }

    fn table(&mut self) -> &mut Hash {
        if let HashState::Pairs(listpack) = &mut self.state {
            let mut hash = Hash::from_pairs(std::mem::take(listpack), self.limits);
            hash.prepare(usize::MAX, self.limits);
            self.state = HashState::Table(hash);
        }
        match &mut self.state {
            HashState::Table(hash) => hash,
            HashState::Pairs(_) => unreachable!("it became a table just now"),
        }
    }

    /// Adds a field. Says whether it is new, as far as that is seen at once; [`finish`](Self::finish) looks at the others.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) -> bool {
        self.pushed += 1;
        let long = |text: &[u8]| text.len() > self.limits.listpack_value_bytes_max;
        if let HashState::Pairs(listpack) = &mut self.state
            && !long(name)
            && !long(value)
            && listpack.fits(name.len() + value.len(), 2)
        {
            listpack.push_back(name);
            listpack.push_back(value);
            return true;
        }
        let limits = self.limits;
        self.table().set(name, value, Expiry::Clear, limits)
    }

    pub(super) fn finish(self, start: u64) -> Result<Hash> {
        match self.state {
            HashState::Pairs(listpack) => hash_pairs(start, listpack, self.limits),
            HashState::Table(hash) if hash.is_empty() => Err(empty(start)),
            HashState::Table(hash) if hash.len() < self.pushed => Err(Error::damaged(start, "a field appears twice")),
            HashState::Table(hash) => Ok(hash),
        }
    }
}

fn hash<'a>(input: &mut impl Input<'a>, limits: &HashLimits) -> Result<Hash> {
    let start = input.offset();
    let count = input.count()?;
    let mut builder = HashBuilder::new(count, limits);
    let (mut name_scratch, mut value_scratch) = <(Vec<u8>, Vec<u8>)>::default();
    for _ in 0..count {
        let at = input.offset();
        let name = input.string(&mut name_scratch)?;
        let value = input.string(&mut value_scratch)?;
        if !builder.push(name, value) {
            return Err(repeated(at, "field", name));
        }
    }
    builder.finish(start)
}

fn hash_pairs(start: u64, listpack: Listpack, limits: &HashLimits) -> Result<Hash> {
    if listpack.is_empty() {
        return Err(empty(start));
    }
    if !listpack.len().is_multiple_of(2) {
        return Err(Error::damaged(start, format!("a hash of {} elements: one field has no value", listpack.len())));
    }
    check_distinct(start, &listpack, 2, "field")?;
    Ok(Hash::from_pairs(listpack, limits))
}

fn hash_triples(start: u64, listpack: Listpack, limits: &HashLimits) -> Result<Hash> {
    if listpack.is_empty() {
        return Err(empty(start));
    }
    if !listpack.len().is_multiple_of(3) {
        return Err(Error::damaged(
            start,
            format!("a hash of {} elements, which should be field, value and expiry by turns", listpack.len()),
        ));
    }
    check_distinct(start, &listpack, 3, "field")?;
    let mut last = 0;
    let mut is_sorted = true;
    for expiry in listpack.iter().skip(2).step_by(3) {
        let at = match expiry {
            Item::Int(0) => i64::MAX,
            Item::Int(at @ 1..) => at,
            _ => return Err(Error::damaged(start, "a field's expiry that is no instant")),
        };
        is_sorted &= last <= at;
        last = at;
    }
    if is_sorted {
        return Ok(Hash::from_triples(listpack, limits));
    }
    // Redis takes them in any order; but which field expires first is known by the order.
    let mut items = listpack.iter();
    let mut triples = Vec::new();
    while let (Some(name), Some(value), Some(Item::Int(expiry))) = (items.next(), items.next(), items.next()) {
        triples.push((name, value, expiry));
    }
    triples.sort_by_key(|(.., expiry)| if *expiry == 0 { i64::MAX } else { *expiry });
    let mut sorted = Listpack::new();
    let mut buffer = IntBuffer::new();
    for (name, value, expiry) in &triples {
        sorted.push_back(name.bytes(&mut buffer));
        sorted.push_back(value.bytes(&mut buffer));
        sorted.push_back_int(*expiry);
    }
    Ok(Hash::from_triples(sorted, limits))
}

/// A hash whose fields come with their expiry before them.
fn expiring_hash<'a, I: Input<'a>>(
    input: &mut I,
    limits: &HashLimits,
    mut expiry: impl FnMut(&mut I) -> Result<Expiry>,
) -> Result<Hash> {
    let start = input.offset();
    let count = input.count()?;
    let mut hash = Hash::default();
    hash.prepare_expiry();
    hash.prepare(count, limits);
    let (mut name_scratch, mut value_scratch) = <(Vec<u8>, Vec<u8>)>::default();
    for _ in 0..count {
        let expiry = expiry(input)?;
        let at = input.offset();
        let name = input.string(&mut name_scratch)?;
        let value = input.string(&mut value_scratch)?;
        if !hash.set(name, value, expiry, limits) {
            return Err(repeated(at, "field", name));
        }
    }
    if hash.is_empty() { Err(empty(start)) } else { Ok(hash) }
}

/// The distance from an instant, and one more; 0: never.
fn distant_expiry<'a>(input: &mut impl Input<'a>, base: i64) -> Result<Expiry> {
    let start = input.offset();
    match input.length()? {
        0 => Ok(Expiry::Clear),
        distance => expiry_at(start, i64::try_from(distance - 1).ok().and_then(|distance| base.checked_add(distance))),
    }
}

/// The instant; 0: never.
fn absolute_expiry<'a>(input: &mut impl Input<'a>) -> Result<Expiry> {
    let start = input.offset();
    match input.length()? {
        0 => Ok(Expiry::Clear),
        at => expiry_at(start, i64::try_from(at).ok()),
    }
}

fn expiry_at(start: u64, at: Option<i64>) -> Result<Expiry> {
    match at {
        Some(at) if at > 0 => Ok(Expiry::At(Millis(at))),
        _ => Err(Error::damaged(start, "a field's expiry that is no instant")),
    }
}

/// Fields come with their expiry behind them, -1 for never. Valkey has no small encoding for them; here they get the one they would have.
fn valkey_hash<'a>(input: &mut impl Input<'a>, limits: &HashLimits) -> Result<Hash> {
    let start = input.offset();
    let count = input.count()?;
    let mut hash = Hash::default();
    hash.prepare(count, limits);
    let (mut name_scratch, mut value_scratch) = <(Vec<u8>, Vec<u8>)>::default();
    for _ in 0..count {
        let at = input.offset();
        let name = input.string(&mut name_scratch)?;
        let value = input.string(&mut value_scratch)?;
        let expiry = match input.i64_le()? {
            -1 => Expiry::Clear,
            instant => expiry_at(at, Some(instant))?,
        };
        if !hash.set(name, value, expiry, limits) {
            return Err(repeated(at, "field", name));
        }
    }
    if hash.is_empty() { Err(empty(start)) } else { Ok(hash) }
}
