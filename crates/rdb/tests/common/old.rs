//! Values in the forms that no server writes any more, made byte by byte from their descriptions.

use std::collections::{BTreeMap, BTreeSet};

use keyspace::Listpack;
use keyspace::collection::stream::StreamId;
use rand::Rng;
use rdb::ValueType;
use resp::number::DoubleText;
use testkit::Random;

use super::{Content, GroupContent, StreamContent, random_score, random_text};

/// A string of a file: its length and bytes.
pub fn string(text: &[u8]) -> Vec<u8> {
    let mut out = length(text.len());
    out.extend_from_slice(text);
    out
}

pub fn length(length: usize) -> Vec<u8> {
    match length {
        0..64 => vec![length as u8],
        64..16384 => vec![0x40 | (length >> 8) as u8, length as u8],
        _ => [&[0x80][..], &(length as u32).to_be_bytes()].concat(),
    }
}

/// Texts become the shortest integers they can be, as old servers had it.
pub fn ziplist(texts: &[Vec<u8>]) -> Vec<u8> {
    let (mut entries, mut before, mut last_at) = (Vec::new(), 0, 10);
    for text in texts {
        last_at = 10 + entries.len();
        if before < 254 {
            entries.push(before as u8);
        } else {
            entries.push(254);
            entries.extend_from_slice(&(before as u32).to_le_bytes());
        }
        match keyspace::canonical_int(text) {
            Some(number @ 0..=12) => entries.push(0xF1 + number as u8),
            Some(number) => match (i8::try_from(number), i16::try_from(number), i32::try_from(number)) {
                (Ok(number), ..) => entries.extend_from_slice(&[0xFE, number as u8]),
                (_, Ok(number), _) => entries.extend([&[0xC0][..], &number.to_le_bytes()].concat()),
                (.., Ok(number)) if (-(1 << 23)..1 << 23).contains(&number) => {
                    entries.extend([&[0xF0][..], &number.to_le_bytes()[..3]].concat());
                }
                (.., Ok(number)) => entries.extend([&[0xD0][..], &number.to_le_bytes()].concat()),
                _ => entries.extend([&[0xE0][..], &number.to_le_bytes()].concat()),
            },
            None => {
                match text.len() {
                    len @ 0..64 => entries.push(len as u8),
                    len @ 64..16384 => entries.extend([0x40 | (len >> 8) as u8, len as u8]),
                    len => entries.extend([&[0x80][..], &(len as u32).to_be_bytes()].concat()),
                }
                entries.extend_from_slice(text);
            }
        }
        before = 10 + entries.len() - last_at;
    }
    let mut out = (entries.len() as u32 + 11).to_le_bytes().to_vec();
    out.extend_from_slice(&(last_at as u32).to_le_bytes());
    out.extend_from_slice(&(texts.len().min(65535) as u16).to_le_bytes());
    out.extend_from_slice(&entries);
    out.push(0xFF);
    out
}

pub fn zipmap(pairs: &[(Vec<u8>, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    let length = |len: usize| match len {
        0..254 => vec![len as u8],
        _ => [&[254][..], &(len as u32).to_le_bytes()].concat(),
    };
    let mut out = vec![pairs.len().min(254) as u8];
    for (name, value) in pairs {
        let unused = random.random_range(0..5);
        out.extend(length(name.len()));
        out.extend_from_slice(name);
        out.extend(length(value.len()));
        out.push(unused);
        out.extend_from_slice(value);
        out.extend(vec![b'?'; usize::from(unused)]);
    }
    out.push(255);
    out
}

/// The bytes of a payload.
pub fn payload(code: u8, body: &[u8], version: u16) -> Vec<u8> {
    let mut out = vec![code];
    out.extend_from_slice(body);
    out.extend_from_slice(&version.to_le_bytes());
    let checksum = rdb::Checksum::of(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// A payload in an old form, and what it holds.
pub struct Old {
    pub value_type: ValueType,
    pub body: Vec<u8>,
    pub content: Content,
}

fn texts(random: &mut Random) -> Vec<Vec<u8>> {
    let count = if random.random_range(0..8) == 0 { 300 } else { random.random_range(1..20) };
    (0..count)
        .map(|_| match random.random_range(0..30) {
            0 => vec![b'l'; random.random_range(200..20_000)],
            _ => random_text(random),
        })
        .collect()
}

fn distinct(random: &mut Random) -> Vec<Vec<u8>> {
    let mut seen = BTreeSet::new();
    texts(random).into_iter().filter(|text| seen.insert(text.clone())).collect()
}

fn counted(count: usize, elements: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut out = length(count);
    elements.into_iter().for_each(|element| out.extend(element));
    out
}

fn scored(random: &mut Random) -> Vec<(Vec<u8>, f64)> {
    let mut members: Vec<(Vec<u8>, f64)> =
        distinct(random).into_iter().map(|member| (member, random_score(random))).collect();
    members.sort_by(|(member, score), (other, other_score)| {
        score.partial_cmp(other_score).expect("a number").then_with(|| member.cmp(other))
    });
    members
}

fn fields(random: &mut Random) -> BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)> {
    distinct(random).into_iter().map(|name| (name, (random_text(random), None))).collect()
}

pub fn old_value(random: &mut Random, value_type: ValueType) -> Old {
    let (body, content) = match value_type {
        ValueType::List => {
            let items = texts(random);
            (counted(items.len(), items.iter().map(|item| string(item))), Content::List(items))
        }
        ValueType::ListZiplist => {
            let items = texts(random);
            (string(&ziplist(&items)), Content::List(items))
        }
        ValueType::ListZiplists => {
            let nodes: Vec<Vec<Vec<u8>>> = (0..random.random_range(1..4)).map(|_| texts(random)).collect();
            let body = counted(nodes.len(), nodes.iter().map(|node| string(&ziplist(node))));
            (body, Content::List(nodes.concat()))
        }
        ValueType::Set => {
            let members = distinct(random);
            let body = counted(members.len(), members.iter().map(|member| string(member)));
            (body, Content::Set(members.into_iter().collect()))
        }
        ValueType::SortedSetText => {
            let members = scored(random);
            let body = counted(
                members.len(),
                members.iter().map(|(member, score)| {
                    let mut element = string(member);
                    match *score {
                        f64::INFINITY => element.push(254),
                        f64::NEG_INFINITY => element.push(255),
                        score => {
                            let text = DoubleText::new(score);
                            element.push(text.as_bytes().len() as u8);
                            element.extend_from_slice(text.as_bytes());
                        }
                    }
                    element
                }),
            );
            (body, Content::SortedSet(members))
        }
        ValueType::SortedSetZiplist => {
            let members = scored(random);
            let items: Vec<Vec<u8>> = members
                .iter()
                .flat_map(|(member, score)| [member.clone(), DoubleText::new(*score).as_bytes().to_vec()])
                .collect();
            (string(&ziplist(&items)), Content::SortedSet(members))
        }
        ValueType::Hash => {
            let fields = fields(random);
            let body =
                counted(fields.len(), fields.iter().map(|(name, (value, _))| [string(name), string(value)].concat()));
            (body, Content::Hash(fields))
        }
        ValueType::HashZipmap => {
            let fields = fields(random);
            let pairs: Vec<_> = fields.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect();
            (string(&zipmap(&pairs, random)), Content::Hash(fields))
        }
        ValueType::HashZiplist => {
            let fields = fields(random);
            let items: Vec<_> = fields.iter().flat_map(|(name, (value, _))| [name.clone(), value.clone()]).collect();
            (string(&ziplist(&items)), Content::Hash(fields))
        }
        ValueType::HashExpiring22 => {
            let mut fields = fields(random);
            let body = counted(
                fields.len(),
                fields.iter_mut().map(|(name, (value, expiry))| {
                    let mut element = vec![0];
                    if random.random() {
                        let at = 4_000_000_000_000 + random.random_range(0..1_000_000);
                        *expiry = Some(at);
                        element = [&[0x81][..], &(at as u64).to_be_bytes()].concat();
                    }
                    element.extend(string(name));
                    element.extend(string(value));
                    element
                }),
            );
            (body, Content::Hash(fields))
        }
        ValueType::HashListpackExpiring23 => {
            let mut fields = fields(random);
            let mut listpack = Listpack::new();
            for (name, (value, expiry)) in &mut fields {
                listpack.push_back(name);
                listpack.push_back(value);
                *expiry = random.random::<bool>().then(|| 4_000_000_000_000 + random.random_range(0..1_000_000));
                listpack.push_back_int(expiry.unwrap_or(0));
            }
            (string(listpack.as_bytes()), Content::Hash(fields))
        }
        ValueType::Stream1 => stream(random),
        other => panic!("{other:?} is no old form"),
    };
    Old { value_type, body, content }
}

/// A stream of two entries with one group, without what later versions added.
fn stream(random: &mut Random) -> (Vec<u8>, Content) {
    let id = StreamId::new(random.random_range(1..1 << 40), 3);
    let second = StreamId::new(id.ms + 1, 0);
    let (one, other) = (random_text(random), random_text(random));
    let mut block = Listpack::new();
    [2, 0, 1].into_iter().for_each(|number| block.push_back_int(number));
    block.push_back(b"field");
    block.push_back_int(0);
    for (ms, seq, value) in [(0, 0, &one), (1, -3, &other)] {
        [2, ms, seq].into_iter().for_each(|number| block.push_back_int(number));
        block.push_back(value);
        block.push_back_int(4);
    }
    let number = |number: u64| [&[0x81][..], &number.to_be_bytes()].concat();
    let mut body = vec![1];
    body.extend(string(&id.to_be_bytes()));
    body.extend(string(block.as_bytes()));
    body.push(2);
    body.extend([number(second.ms), number(second.seq)].concat());
    let at: i64 = 1_700_000_000_000;
    body.push(1);
    body.extend([string(b"group"), number(id.ms), number(id.seq)].concat());
    body.push(1);
    body.extend([&id.to_be_bytes()[..], &at.to_le_bytes(), &[3]].concat());
    body.push(1);
    body.extend([&string(b"consumer")[..], &(at + 5).to_le_bytes(), &[1], &id.to_be_bytes()].concat());
    let group = GroupContent {
        last_id: id,
        entries_read: Some(1),
        pending: BTreeMap::from([(id, (b"consumer".to_vec(), at, 3))]),
        consumers: BTreeMap::from([(b"consumer".to_vec(), (at + 5, Some(at + 5)))]),
    };
    let content = StreamContent {
        entries: vec![(id, vec![b"field".to_vec(), one]), (second, vec![b"field".to_vec(), other])],
        last_id: second,
        max_deleted_id: StreamId::MIN,
        added: 2,
        groups: BTreeMap::from([(b"group".to_vec(), group)]),
    };
    (body, Content::Stream(content))
}

pub const OLD: [ValueType; 12] = [
    ValueType::List,
    ValueType::ListZiplist,
    ValueType::ListZiplists,
    ValueType::Set,
    ValueType::SortedSetText,
    ValueType::SortedSetZiplist,
    ValueType::Hash,
    ValueType::HashZipmap,
    ValueType::HashZiplist,
    ValueType::HashExpiring22,
    ValueType::HashListpackExpiring23,
    ValueType::Stream1,
];
