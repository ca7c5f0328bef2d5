//! Strings: what encodings are reported, what is shared, what is freed elsewhere; and any sequence of changes against a `Vec`.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use common::{DB, keyspace, rng, text, wide};
use keyspace::{Expiry, Keyspace, LARGE_LEN_MIN, Limits, Millis, NewValue, Options, StrRepr, ValueRef, canonical_int};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn canonical_integers_are_those_redis_keeps_as_int() {
    for text in ["0", "1", "-1", "9223372036854775807", "-9223372036854775808"] {
        assert_eq!(canonical_int(text.as_bytes()), Some(text.parse().unwrap()));
    }
    for text in [
        "",
        "-",
        "-0",
        "00",
        "01",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
    ] {
        assert_eq!(canonical_int(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn encodings_are_named_as_redis_names_them() {
    let mut rng = rng("encodings");
    let keyspace = keyspace(&mut rng, Limits::default());
    let mut space = wide(&keyspace);
    let key = space.key(b"k");
    let mut encoding_of = |value: NewValue<'_>| {
        space.set(DB, key, value, Expiry::Clear);
        space.get(DB, key).unwrap().value().encoding_name()
    };
    assert_eq!(encoding_of(NewValue::Bytes(b"123")), "int");
    assert_eq!(encoding_of(NewValue::Bytes(&[b'x'; 40])), "embstr");
    assert_eq!(encoding_of(NewValue::Bytes(&[b'x'; 41])), "raw");
    assert_eq!(encoding_of(NewValue::Raw(b"123")), "raw");
    assert_eq!(encoding_of(NewValue::Bytes(&vec![b'x'; LARGE_LEN_MIN])), "raw");
    assert_eq!(encoding_of(NewValue::Bytes(b"text")), "embstr");
    let mut entry = space.get_mut(DB, key).unwrap();
    assert_eq!(entry.append(b""), 4);
    assert_eq!(entry.entry().value().encoding_name(), "raw");
    // An expiry takes 8 of the bytes, and does not give them back.
    for (len, encoding) in [(32, "embstr"), (33, "raw")] {
        space.set(DB, key, NewValue::Bytes(&vec![b'x'; len]), Expiry::Clear);
        for at in [Some(Millis(1)), None] {
            space.set_expiry(DB, key, at);
            assert_eq!(space.get(DB, key).unwrap().value().encoding_name(), encoding, "{len} bytes");
        }
    }
}

#[test]
fn a_large_value_is_shared_with_replies_and_unshared_by_writers() {
    let mut rng = rng("large");
    let keyspace = keyspace(&mut rng, Limits::default());
    let mut space = wide(&keyspace);
    let key = space.key(b"k");
    let given = Arc::new(vec![b'x'; LARGE_LEN_MIN]);
    space.set(DB, key, NewValue::Large(given.clone()), Expiry::At(Millis(9)));
    let reply = match space.get(DB, key).unwrap().value() {
        ValueRef::Str(text) => match &text.repr {
            StrRepr::Large(large) => Arc::clone(large),
            other => panic!("{other:?}"),
        },
        ValueRef::Object(_) => panic!(),
    };
    assert!(Arc::ptr_eq(&given, &reply), "no copy was made");
    assert_eq!(space.get_mut(DB, key).unwrap().append(b"y"), LARGE_LEN_MIN + 1);
    assert_eq!(reply.len(), LARGE_LEN_MIN, "the reply under way does not change");
    let removed = space.remove(DB, key).unwrap();
    assert!(removed.is_large());
    space.put(DB, space.key(b"other"), removed);
    let entry = space.get(DB, space.key(b"other")).unwrap();
    assert_eq!((text(&entry).len(), entry.expire_at()), (LARGE_LEN_MIN + 1, Some(Millis(9))));
    assert!(entry.memory_usage(0) > LARGE_LEN_MIN);
    drop(space);
    drop(keyspace);
    assert_eq!(Arc::strong_count(&given), 2, "the keyspace holds nothing any more");
}

static REAPED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn what_is_large_goes_to_the_reaper() {
    keyspace::set_reaper(|garbage| {
        REAPED.fetch_add(garbage.bytes(), SeqCst);
    });
    let mut rng = rng("reaper");
    let keyspace = keyspace(&mut rng, Limits::default());
    let mut space = wide(&keyspace);
    let megabyte = vec![0; 1 << 20];
    for name in [b"a", b"b"] {
        space.set(DB, space.key(name), NewValue::Bytes(&megabyte), Expiry::Clear);
    }
    space.set(DB, space.key(b"a"), NewValue::Int(1), Expiry::Clear);
    assert!(REAPED.load(SeqCst) >= 1 << 20, "overwritten");
    drop(space.remove(DB, space.key(b"b")));
    assert!(REAPED.load(SeqCst) >= 2 << 20, "removed");
}

#[test]
#[should_panic(expected = "is not held")]
fn a_shard_outside_the_space_is_out_of_reach() {
    let keyspace = Keyspace::new(&Options::default());
    let held = common::hold(&keyspace, &[b"mine"]);
    let space = keyspace.narrow(&held);
    let other =
        (0..100u32).map(|number| number.to_string()).find(|name| !held.contains(keyspace.key(name.as_bytes()).shard()));
    space.get(DB, keyspace.key(other.unwrap().as_bytes()));
}

#[derive(Clone, Debug)]
enum Change {
    Set(Vec<u8>),
    SetRaw(Vec<u8>),
    SetInt(i64),
    Append(Vec<u8>),
    SetRange(usize, Vec<u8>),
    Expire(Option<i64>),
    Rename(Vec<u8>),
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => vec(any::<u8>(), 0..80),
        2 => any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        1 => vec(any::<u8>(), 900..1200),
        1 => vec(any::<u8>(), LARGE_LEN_MIN - 2..LARGE_LEN_MIN + 2),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        bytes().prop_map(Change::Set),
        bytes().prop_map(Change::SetRaw),
        any::<i64>().prop_map(Change::SetInt),
        bytes().prop_map(Change::Append),
        (0..3000usize, bytes()).prop_map(|(offset, part)| Change::SetRange(offset, part)),
        any::<Option<i64>>().prop_map(Change::Expire),
        vec(any::<u8>(), 0..300).prop_map(Change::Rename),
    ]
}

proptest! {
    #![proptest_config(testkit::proptest_config(300))]

    #[test]
    fn any_changes_equal_those_of_a_vec(name in vec(any::<u8>(), 0..300), changes in vec(change(), 1..40)) {
        let keyspace = Keyspace::new(&Options::default());
        let mut space = wide(&keyspace);
        let (mut name, mut model, mut expiry) = (name, b"first".to_vec(), None);
        space.set(DB, space.key(&name), NewValue::Bytes(&model), Expiry::Clear);
        for change in changes {
            let key = space.key(&name);
            match change {
                Change::Set(text) => {
                    prop_assert!(space.set(DB, key, NewValue::Bytes(&text), Expiry::Keep));
                    model = text;
                }
                Change::SetRaw(text) => {
                    space.get_mut(DB, key).unwrap().set_value(NewValue::Raw(&text));
                    model = text;
                }
                Change::SetInt(number) => {
                    space.get_mut(DB, key).unwrap().set_int(number);
                    model = number.to_string().into_bytes();
                }
                Change::Append(tail) => {
                    model.extend_from_slice(&tail);
                    prop_assert_eq!(space.get_mut(DB, key).unwrap().append(&tail), model.len());
                }
                Change::SetRange(offset, part) => {
                    let end = offset + part.len();
                    model.resize(model.len().max(end), 0);
                    model[offset..end].copy_from_slice(&part);
                    prop_assert_eq!(space.get_mut(DB, key).unwrap().set_range(offset, &part), model.len());
                }
                Change::Expire(at) => {
                    expiry = at.map(Millis);
                    prop_assert!(space.set_expiry(DB, key, expiry));
                }
                Change::Rename(target) => {
                    let removed = space.remove(DB, key).unwrap();
                    prop_assert!(!space.put(DB, space.key(&target), removed));
                    name = target;
                }
            }
            let entry = space.get(DB, space.key(&name)).unwrap();
            prop_assert_eq!(entry.key(), &name[..]);
            prop_assert_eq!(text(&entry), &model[..]);
            prop_assert_eq!(entry.value().as_str().unwrap().len(), model.len());
            prop_assert_eq!(entry.expire_at(), expiry);
            prop_assert_eq!(space.volatile_len(DB), usize::from(expiry.is_some()));
        }
    }
}
