//! `SORT` and `SORT_RO`.

use std::cmp::Ordering;
use std::ops::{ControlFlow, Range};

use keyspace::collection::sorted_set::Direction;
use keyspace::{Collection, End, Expiry, Hash, IntBuffer, Key, List, NewItem, NewValue, Object, Set, SortedSet};

use crate::access::may_read_every_key;
use crate::context::{Ctx, Outcome};
use crate::db::{ExpectCollection, ExpectString};
use crate::effects::EventClass;
use crate::error::{Error, Stop};
use crate::keys::KeyAt;
use crate::spec::{Acl, Arg, Begin, Find, Flags, KeyFlags, KeySpec, Spec};

const COMPLEXITY: &str = "O(N+M*log(M)) for N elements of which M are returned; O(N) where nothing is sorted";

const READ: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);

const fn unknown(flags: KeyFlags, notes: &'static str) -> KeySpec {
    KeySpec { notes: Some(notes), flags, begin: Begin::Unknown, find: Find::Unknown }
}

const PATTERN_KEYS: KeySpec = unknown(
    READ,
    "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we sort",
);

const KEY: Arg = Arg::key("key", 0);
const BY: Arg = pattern("by-pattern").token("BY").optional();
const LIMIT: Arg = Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")]).token("LIMIT").optional();
const GET: Arg = pattern("get-pattern").token("GET").optional().multiple_token();
const ORDER: Arg = Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional();
const ALPHA: Arg = Arg::word("sorting", "ALPHA").optional();

const fn pattern(name: &'static str) -> Arg {
    let mut arg = Arg::pattern(name).display("pattern");
    arg.key_spec_index = Some(1);
    arg
}

pub const SORT: Spec = Spec {
    name: "sort",
    arity: -2,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::SET).union(Acl::SORTEDSET).union(Acl::LIST).union(Acl::SLOW).union(Acl::DANGEROUS),
    keys: &[
        KeySpec::one(READ, 1),
        PATTERN_KEYS,
        unknown(
            KeyFlags::OW.union(KeyFlags::UPDATE),
            "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the argument array",
        ),
    ],
    key_elsewhere: Some(stored_key),
    summary: "Sorts the elements of a list, set or sorted set, by themselves or by other keys, and returns or stores them.",
    complexity: COMPLEXITY,
    args: &[KEY, BY, LIMIT, GET, ORDER, ALPHA, Arg::key("destination", 2).token("STORE").optional()],
    run: Some(run),
    ..Spec::NEW
};

pub const SORT_RO: Spec = Spec {
    name: "sort_ro",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::SET).union(Acl::SORTEDSET).union(Acl::LIST).union(Acl::SLOW).union(Acl::DANGEROUS),
    keys: &[KeySpec::one(READ, 1), PATTERN_KEYS],
    since: "7.0.0",
    summary: "Returns the elements of a list, set or sorted set sorted, by themselves or by other keys.",
    complexity: COMPLEXITY,
    args: &[KEY, BY, LIMIT, GET, ORDER, ALPHA],
    run: Some(run_ro),
    ..Spec::NEW
};

/// The key behind the last STORE. Words are not judged here, but what belongs to an option is no option.
fn stored_key(args: &[&[u8]]) -> Option<KeyAt> {
    let mut stored = None;
    let mut at = 2;
    while at < args.len() {
        let is = |word: &str| args[at].eq_ignore_ascii_case(word.as_bytes());
        at += match () {
            () if is("LIMIT") => 2,
            () if is("BY") || is("GET") => 1,
            () if is("STORE") && at + 1 < args.len() => {
                stored = Some(KeyAt { index: at + 1, flags: KeyFlags::OW.union(KeyFlags::UPDATE) });
                1
            }
            () => 0,
        } + 1;
    }
    stored
}

/// What BY and GET look up for an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Without a `*` there is nothing to look up.
    Nothing,
    /// A string whose name has the element in the middle.
    Key { before: &'a [u8], after: &'a [u8] },
    /// A field of a hash whose name is made so.
    Field { before: &'a [u8], after: &'a [u8], field: &'a [u8] },
}

impl<'a> Pattern<'a> {
    fn parse(text: &'a [u8]) -> Pattern<'a> {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = text.iter().position(|&byte| byte == b'*') else {
            return Pattern::Nothing;
        };
        let (before, after) = (&text[..star], &text[star + 1..]);
        // An arrow without a field behind it is part of the name.
        match after.windows(2).position(|pair| pair == b"->").filter(|arrow| arrow + 2 < after.len()) {
            Some(arrow) => Pattern::Field { before, after: &after[..arrow], field: &after[arrow + 2..] },
            None => Pattern::Key { before, after },
        }
    }

    /// Whether other keys are read than the declared ones.
    fn reaches_out(&self) -> bool {
        matches!(self, Pattern::Key { .. } | Pattern::Field { .. })
    }

    /// Appends what is found to `found`. Says whether something was; a key of another type is as good as none.
    fn look_up(&self, cx: &mut Ctx<'_>, element: &[u8], name: &mut Vec<u8>, found: &mut Vec<u8>) -> bool {
        let (before, after) = match self {
            Pattern::Element => {
                found.extend_from_slice(element);
                return true;
            }
            Pattern::Nothing => return false,
            Pattern::Key { before, after } | Pattern::Field { before, after, .. } => (before, after),
        };
        name.clear();
        [before, element, after].into_iter().for_each(|part| name.extend_from_slice(part));
        let key = cx.db.space.key(name);
        let now = cx.db.now;
        let Some(entry) = cx.db.read(key) else {
            return false;
        };
        if let Pattern::Field { field, .. } = self {
            let Ok(hash) = entry.collection::<Hash>() else {
                return false;
            };
            let Some(field) = hash.field(field, now) else {
                return false;
            };
            found.extend_from_slice(field.value.bytes(&mut IntBuffer::new()));
        } else {
            let Ok(string) = entry.string() else {
                return false;
            };
            string.with_bytes(|bytes| found.extend_from_slice(bytes));
        }
        true
    }
}

struct Options<'a> {
    by: Option<Pattern<'a>>,
    /// BY with a pattern that cannot vary: the order stays as it is.
    unsorted: bool,
    gets: Vec<Pattern<'a>>,
    offset: i64,
    count: i64,
    descending: bool,
    alpha: bool,
    store: bool,
}

impl<'a> Options<'a> {
    /// # Errors
    /// `Syntax`, `NotInteger`; where other keys would be looked up, that the client's user may not read them all.
    fn parse(cx: &mut Ctx<'a>, may_store: bool) -> Result<Options<'a>, Stop> {
        let mut options = Options {
            by: None,
            unsorted: false,
            gets: Vec::new(),
            offset: 0,
            count: -1,
            descending: false,
            alpha: false,
            store: false,
        };
        let mut at = 2;
        while at < cx.args.len() {
            let left = cx.args.len() - at - 1;
            match () {
                () if cx.word(at, "ASC") => options.descending = false,
                () if cx.word(at, "DESC") => options.descending = true,
                () if cx.word(at, "ALPHA") => options.alpha = true,
                () if cx.word(at, "LIMIT") && left >= 2 => {
                    options.offset = cx.int(at + 1)?;
                    options.count = cx.int(at + 2)?;
                    at += 2;
                }
                () if cx.word(at, "STORE") && left >= 1 && may_store => {
                    options.store = true;
                    at += 1;
                }
                () if cx.word(at, "BY") && left >= 1 => {
                    let pattern = Pattern::parse(cx.args[at + 1]);
                    if pattern.reaches_out() && !may_read_every_key(cx) {
                        return cx.fail("ERR BY option of SORT denied due to insufficient ACL permissions.");
                    }
                    options.unsorted |= !pattern.reaches_out();
                    options.by = Some(pattern);
                    at += 1;
                }
                () if cx.word(at, "GET") && left >= 1 => {
                    // Also of the element itself (`#`): observed in Redis 8.2.
                    if !may_read_every_key(cx) {
                        return cx.fail("ERR GET option of SORT denied due to insufficient ACL permissions.");
                    }
                    options.gets.push(Pattern::parse(cx.args[at + 1]));
                    at += 1;
                }
                () => return Err(Error::Syntax.into()),
            }
            at += 1;
        }
        Ok(options)
    }

    /// The elements wanted of so many.
    fn wanted(&self, len: usize) -> Range<usize> {
        let start = usize::try_from(self.offset.max(0)).unwrap_or(usize::MAX).min(len);
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        start..start.saturating_add(count).min(len)
    }
}

/// Texts one behind the other.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }
}

fn run_ro(cx: &mut Ctx<'_>) -> Outcome {
    let options = Options::parse(cx, false)?;
    sort(cx, options)
}

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let options = Options::parse(cx, true)?;
    sort(cx, options)
}

fn sort(cx: &mut Ctx<'_>, mut options: Options<'_>) -> Outcome {
    let reads_by = !options.unsorted && options.by.is_some_and(|by| by.reaches_out());
    if (reads_by || options.gets.iter().any(Pattern::reaches_out)) && !cx.is_wide() {
        return Err(Stop::Wide);
    }
    let texts = elements(cx, &mut options)?;
    let wanted = if options.unsorted { 0..texts.len() } else { options.wanted(texts.len()) };
    let order = order(cx, &options, &texts, wanted)?;
    let shown: &mut dyn Iterator<Item = &[u8]> = &mut order.iter().map(|&index| texts.get(index as usize));
    if options.store {
        // As the keys were found: the last one.
        let destination = cx.keys[cx.keys.len() - 1];
        store(cx, &options, destination, shown);
        return Ok(());
    }
    cx.reply.array(order.len() * options.gets.len().max(1));
    if options.gets.is_empty() {
        shown.for_each(|text| cx.reply.bulk(text));
        return Ok(());
    }
    let (mut name, mut found) = (Vec::new(), Vec::new());
    for text in shown {
        for get in &options.gets {
            found.clear();
            if get.look_up(cx, text, &mut name, &mut found) {
                cx.reply.bulk(&found);
            } else {
                cx.reply.null();
            }
        }
    }
    Ok(())
}

/// The elements in their own order. Where that is the order they are wanted in, only those that are wanted.
fn elements(cx: &mut Ctx<'_>, options: &mut Options<'_>) -> Result<Texts, Stop> {
    let mut texts = Texts::default();
    let Some(entry) = cx.db.read(cx.keys[0]) else {
        return Ok(texts);
    };
    let mut buffer = IntBuffer::new();
    let descending = options.unsorted && options.descending;
    if let Ok(list) = entry.collection::<List>() {
        let wanted = if options.unsorted { options.wanted(list.len()) } else { 0..list.len() };
        let first = if descending { (list.len() - wanted.start).wrapping_sub(1) } else { wanted.start };
        let mut left = wanted.len();
        if left > 0 {
            list.walk(first, descending, |item| {
                match item {
                    keyspace::ListItem::Int(number) => texts.push(buffer.format(number)),
                    keyspace::ListItem::Bytes(bytes) => texts.push(bytes),
                    keyspace::ListItem::Large(text) => texts.push(text),
                }
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
    } else if let Ok(set) = entry.collection::<Set>() {
        if options.unsorted && options.store {
            // A set has no order of its own: what is stored must be the same on every replica.
            (options.unsorted, options.alpha, options.by) = (false, true, None);
        }
        let wanted = if options.unsorted { options.wanted(set.len()) } else { 0..set.len() };
        let mut index = 0;
        set.for_each(|item| {
            if wanted.contains(&index) {
                texts.push(item.bytes(&mut buffer));
            }
            index += 1;
        });
    } else {
        let set = entry.collection::<SortedSet>()?;
        let wanted = if options.unsorted { options.wanted(set.len()) } else { 0..set.len() };
        let direction = if descending { Direction::Down } else { Direction::Up };
        set.iter(wanted, direction).for_each(|(item, _)| texts.push(item.bytes(&mut buffer)));
    }
    Ok(texts)
}

/// The indices of the wanted elements, in order.
fn order(cx: &mut Ctx<'_>, options: &Options<'_>, texts: &Texts, wanted: Range<usize>) -> Result<Vec<u32>, Stop> {
    let len = u32::try_from(texts.len()).expect("a collection has fewer elements");
    if options.unsorted {
        return Ok((0..len).collect());
    }
    let by = options.by.as_ref();
    let mut name = Vec::new();
    if options.alpha {
        let weights = by.map(|by| {
            let (mut weights, mut there) = (Texts::default(), Vec::with_capacity(texts.len()));
            for index in 0..texts.len() {
                there.push(by.look_up(cx, texts.get(index), &mut name, &mut weights.bytes));
                weights.ends.push(weights.bytes.len());
            }
            (weights, there)
        });
        // Redis compares by the rules of the locale, which read C strings, unless the result is stored. Ours is the locale C.
        let compared = |text: &'_ [u8]| match text.iter().position(|&byte| byte == 0) {
            Some(zero) if !options.store => zero,
            _ => text.len(),
        };
        // Without a weight comes before any.
        let words: Vec<Option<&[u8]>> = (0..texts.len())
            .map(|index| match &weights {
                None => Some(texts.get(index)),
                Some((weights, there)) => there[index].then(|| weights.get(index)),
            })
            .map(|word| word.map(|word| &word[..compared(word)]))
            .collect();
        let keyed = words.iter().zip(0..len).map(|(word, index)| (prefix(word.unwrap_or_default()), index));
        let compare = |a: u32, b: u32| words[a as usize].cmp(&words[b as usize]);
        return Ok(sort_part(keyed.collect(), wanted, options.descending, compare));
    }
    let mut keyed = Vec::with_capacity(texts.len());
    let mut failed = false;
    let mut found = Vec::new();
    for index in 0..len {
        let text = texts.get(index as usize);
        let score = match by {
            None => number(text),
            Some(by) => {
                found.clear();
                if by.look_up(cx, text, &mut name, &mut found) { number(&found) } else { Some(0.0) }
            }
        };
        failed |= score.is_none();
        keyed.push((sortable(score.unwrap_or(0.0)), index));
    }
    if failed {
        return cx.fail("ERR One or more scores can't be converted into double");
    }
    let compare = |a: u32, b: u32| texts.get(a as usize).cmp(texts.get(b as usize));
    Ok(sort_part(keyed, wanted, options.descending, compare))
}

/// The indices of a part of the items, by their keys, then by `compare`, then as they came. What is not wanted is not sorted.
fn sort_part(
    mut items: Vec<(u64, u32)>,
    part: Range<usize>,
    descending: bool,
    compare: impl Fn(u32, u32) -> Ordering,
) -> Vec<u32> {
    if part.is_empty() {
        return Vec::new();
    }
    let compare = |a: &(u64, u32), b: &(u64, u32)| {
        let order = a.0.cmp(&b.0).then_with(|| compare(a.1, b.1));
        let order = if descending { order.reverse() } else { order };
        order.then(a.1.cmp(&b.1))
    };
    if part.start > 0 {
        items.select_nth_unstable_by(part.start, compare);
    }
    let rest = &mut items[part.start..];
    if part.len() < rest.len() {
        rest.select_nth_unstable_by(part.len() - 1, compare);
    }
    rest[..part.len()].sort_unstable_by(compare);
    rest[..part.len()].iter().map(|&(_, index)| index).collect()
}

/// A number that is in the same order as the beginnings of texts.
fn prefix(text: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = text.len().min(8);
    first[..len].copy_from_slice(&text[..len]);
    u64::from_be_bytes(first)
}

/// A number that is in the same order as scores, of which none is not a number. The two zeros are equal.
fn sortable(score: f64) -> u64 {
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// A text as a number: it is read up to a zero byte, and nothing is 0. (Observed, Redis 8.2.)
fn number(text: &[u8]) -> Option<f64> {
    if let Some(number) = resp::number::parse_i64(text) {
        return Some(number as f64);
    }
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    std::str::from_utf8(text).ok()?.parse::<f64>().ok().filter(|number| !number.is_nan())
}

/// Makes the destination a list of what would have been the reply; nothing found is an empty element.
fn store(cx: &mut Ctx<'_>, options: &Options<'_>, destination: Key<'_>, shown: &mut dyn Iterator<Item = &[u8]>) {
    let limits = cx.global().settings.list;
    let mut list = List::default();
    // It becomes a listpack at the end if it fits, which is what Redis asks then.
    list.grow(usize::MAX, 1, limits);
    let (mut name, mut found) = (Vec::new(), Vec::new());
    for text in shown {
        if options.gets.is_empty() {
            list.push(End::Back, NewItem::from(text));
        }
        for get in &options.gets {
            found.clear();
            get.look_up(cx, text, &mut name, &mut found);
            list.push(End::Back, NewItem::from(&*found));
        }
    }
    list.pack(limits);
    let len = list.len();
    if len > 0 {
        cx.db.set(destination, NewValue::Object(Object::from(list)), Expiry::Clear);
        cx.db.notify(EventClass::LIST, "sortstore", destination.bytes());
        cx.db.changed(len as u64);
    } else if cx.db.clear(destination) {
        cx.db.changed(1);
    }
    cx.reply.count(len);
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    const NO_NUMBER: &str = "-ERR One or more scores can't be converted into double";

    #[test]
    fn by_the_elements_themselves() {
        script(&[
            ("RPUSH l 3 1 2 10", ":4"),
            ("SORT l", "*4 $1 1 $1 2 $1 3 $2 10"),
            ("SORT_RO l desc", "*4 $2 10 $1 3 $1 2 $1 1"),
            ("SORT l ALPHA", "*4 $1 1 $2 10 $1 2 $1 3"),
            ("SORT l ASC DESC ASC", "*4 $1 1 $1 2 $1 3 $2 10"),
            ("SORT l LIMIT 1 2", "*2 $1 2 $1 3"),
            ("SORT l LIMIT -1 2", "*2 $1 1 $1 2"),
            ("SORT l LIMIT 2 -1 DESC", "*2 $1 2 $1 1"),
            ("SORT l LIMIT 0 0", "*0"),
            ("SORT l LIMIT 5 2", "*0"),
            ("SORT l LIMIT 0 1 LIMIT 1 2", "*2 $1 2 $1 3"),
            ("SORT l GET # GET # LIMIT 0 1", "*2 $1 1 $1 1"),
            ("SADD s 5 3 1", ":3"),
            ("SORT s", "*3 $1 1 $1 3 $1 5"),
            ("SORT no", "*0"),
        ]);
    }

    #[test]
    fn numbers() {
        script(&[
            ("RPUSH l 1e3 -inf 1.5 inf \"\" 01 1 -0 0 +2 .5", ":11"),
            ("SORT l", "*11 $4 -inf $0  $2 -0 $1 0 $2 .5 $2 01 $1 1 $3 1.5 $2 +2 $3 1e3 $3 inf"),
            ("SORT l DESC LIMIT 4 3", "*3 $1 1 $2 01 $2 .5"),
            ("RPUSH x nan", ":1"),
            ("SORT x", NO_NUMBER),
            ("RPUSH y 0x10", ":1"),
            ("SORT y", NO_NUMBER),
            ("RPUSH z \" 3\"", ":1"),
            ("SORT z STORE l", NO_NUMBER),
            ("LLEN l", ":11"),
        ]);
    }

    #[test]
    fn in_their_own_order() {
        script(&[
            ("RPUSH l 3 1 2 10", ":4"),
            ("SORT l BY nosort", "*4 $1 3 $1 1 $1 2 $2 10"),
            ("SORT l BY nosort LIMIT 1 2", "*2 $1 1 $1 2"),
            ("SORT l BY nosort DESC LIMIT 1 2", "*2 $1 2 $1 1"),
            ("SORT l BY nosort DESC", "*4 $2 10 $1 2 $1 1 $1 3"),
            ("SORT l BY w_* BY nosort", "*4 $1 3 $1 1 $1 2 $2 10"),
            ("SORT l BY nosort BY w_*", "*4 $1 3 $1 1 $1 2 $2 10"),
            ("SADD s b a c", ":3"),
            // What is stored is the same everywhere.
            ("SORT s BY nosort STORE d", ":3"),
            ("LRANGE d 0 -1", "*3 $1 a $1 b $1 c"),
        ]);
    }

    #[test]
    fn by_other_keys() {
        script(&[
            ("RPUSH l 1 2 3", ":3"),
            ("SORT l BY w_* DESC", "*3 $1 3 $1 2 $1 1"),
            ("SORT l BY w_* ALPHA DESC", "*3 $1 1 $1 2 $1 3"),
            ("MSET w_1 30 w_2 x w_3 10 d_2 two", "+OK"),
            ("SORT l BY w_*", NO_NUMBER),
            ("SET w_2 20", "+OK"),
            ("SORT l BY w_* GET # GET d_* GET none", "*9 $1 3 $-1 $-1 $1 2 $3 two $-1 $1 1 $-1 $-1"),
            ("SORT l BY w_*->", "*3 $1 1 $1 2 $1 3"),
            ("SORT l BY w_* STORE w_1", ":3"),
            ("LRANGE w_1 0 -1", "*3 $1 3 $1 2 $1 1"),
            ("SORT l BY w_*", "*3 $1 1 $1 3 $1 2"),
            ("SORT l BY d_* ALPHA", "*3 $1 1 $1 3 $1 2"),
        ]);
    }

    #[test]
    fn stored() {
        script(&[
            ("RPUSH l 3 1 2", ":3"),
            ("SET d x EX 100", "+OK"),
            ("SORT l STORE a STORE d", ":3"),
            ("EXISTS a", ":0"),
            ("TTL d", ":-1"),
            ("OBJECT ENCODING d", "$8 listpack"),
            ("SORT l GET none STORE d", ":3"),
            ("LRANGE d 0 -1", "*3 $0  $0  $0"),
            ("SORT l STORE l", ":3"),
            ("LRANGE l 0 -1", "*3 $1 1 $1 2 $1 3"),
            ("SORT no STORE d", ":0"),
            ("EXISTS d", ":0"),
            ("COMMAND GETKEYS SORT l LIMIT STORE x STORE y", "*2 $1 l $1 y"),
            ("COMMAND GETKEYS SORT l GET STORE d", "*1 $1 l"),
            ("COMMAND GETKEYSANDFLAGS SORT l STORE d STORE e", "*2 *2 $1 l *2 +RO +access *2 $1 e *2 +OW +update"),
            ("COMMAND GETKEYS SORT_RO l STORE d", "*1 $1 l"),
        ]);
    }

    #[test]
    fn mistakes() {
        let syntax = "-ERR syntax error";
        script(&[
            ("SET s x", "+OK"),
            ("SORT s", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("SORT s FOO", syntax),
            ("SORT s LIMIT 1", syntax),
            ("SORT s LIMIT x 1", "-ERR value is not an integer or out of range"),
            ("SORT s BY", syntax),
            ("SORT s GET", syntax),
            ("SORT s STORE", syntax),
            ("SORT_RO s STORE d", syntax),
        ]);
    }

    /// Every part of every order is the same part of the whole.
    #[test]
    fn parts() {
        let mut rig = Rig::new();
        let numbers: Vec<i64> = (0..40).map(|number| number * 7919 % 41 - 20).collect();
        numbers.iter().for_each(|number| drop(rig.run(&format!("RPUSH l {number}"))));
        for options in ["", "DESC", "ALPHA", "ALPHA DESC"] {
            let elements = |reply: String| -> Vec<String> {
                reply.split(' ').skip(1).filter(|word| !word.starts_with('$')).map(str::to_owned).collect()
            };
            let whole = elements(rig.run(&format!("SORT l {options}")));
            assert_eq!(whole.len(), 40);
            for start in [0, 1, 20, 39, 40] {
                for count in [0, 1, 5, 40] {
                    let part = elements(rig.run(&format!("SORT l {options} LIMIT {start} {count}")));
                    assert_eq!(part, whole[start..(start + count).min(40)], "{options} {start} {count}");
                }
            }
        }
    }
}
