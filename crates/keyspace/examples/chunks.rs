//! What pushing, popping and reading lists and streams costs: one large list, and many that are just large; and what sharing them costs, and
//! the first change of what is shared.
//!
//! `cargo run --release -p spinel-keyspace --example chunks`

use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use keyspace::collection::limits::{ListLimits, StreamLimits};
use keyspace::collection::stream::{Pending, Stream, StreamId};
use keyspace::{End, List};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const ITEMS: usize = 4_000_000;
const LISTS: usize = 20_000;
const ROUNDS: usize = 5;

fn push(list: &mut List, end: End, number: usize) {
    let mut text = *b"item:00000000000";
    let mut rest = number;
    for digit in text[5..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    list.grow(text.len(), 1, ListLimits::default());
    list.push(end, text.as_slice().into());
}

/// The best of some rounds, as noise only adds; for each of `count`.
fn measure(name: &str, count: usize, mut round: impl FnMut() -> Duration) {
    let best = (0..ROUNDS).map(|_| round()).min().expect("there are rounds");
    println!("{name:40} {:8.2} ns", best.as_nanos() as f64 / count as f64);
}

fn timed<T>(act: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(act());
    start.elapsed()
}

fn filled(items: usize) -> List {
    let mut list = List::default();
    (0..items).for_each(|number| push(&mut list, End::Back, number));
    list
}

fn main() {
    for (name, end) in [("push at the front", End::Front), ("push at the back", End::Back)] {
        measure(name, ITEMS, || {
            let mut list = List::default();
            timed(|| (0..ITEMS).for_each(|number| push(&mut list, end, number)))
        });
    }
    for (name, end) in [("pop at the front", End::Front), ("pop at the back", End::Back)] {
        measure(name, ITEMS, || {
            let mut list = filled(ITEMS);
            timed(|| {
                for _ in 0..ITEMS {
                    list.pop(end, 1, |item| _ = black_box(item));
                    list.shrink(ListLimits::default());
                }
            })
        });
    }
    measure("push and pop, a queue of 100,000", ITEMS, || {
        let mut list = filled(100_000);
        timed(|| {
            for number in 0..ITEMS {
                push(&mut list, End::Back, number);
                list.pop(End::Front, 1, |item| _ = black_box(item));
            }
        })
    });

    let list = filled(ITEMS);
    measure("walk", ITEMS, || {
        timed(|| {
            let mut bytes = 0;
            list.walk(0, false, |item| {
                bytes += usize::from(matches!(item, keyspace::ListItem::Bytes(_)));
                ControlFlow::Continue(())
            });
            bytes
        })
    });
    measure("element in the middle", 1000, || {
        timed(|| (0..1000).for_each(|nth| _ = black_box(list.show(ITEMS / 2 - nth, |item| item.to_vec()))))
    });
    drop(list);

    let mut list = filled(10_000_000);
    measure("share 10 million items", 1, || timed(|| list.share()));
    measure("the first push to them", 1, || {
        let _share = list.share();
        timed(|| push(&mut list, End::Back, 0))
    });
    measure("the first change in the middle of them", 1, || {
        let _share = list.share();
        timed(|| list.set(5_000_000, b"changed".as_slice().into()))
    });
    drop(list);

    let mut lists: Vec<List> = (0..LISTS).map(|_| filled(1200)).collect();
    measure("push and pop, 20,000 cold lists", LISTS * 10, || {
        timed(|| {
            for number in 0..LISTS * 10 {
                // Far from the one before, so that nothing is in the cache.
                let list = &mut lists[number * 7919 % LISTS];
                push(list, End::Back, number);
                list.pop(End::Front, 1, |item| _ = black_box(item));
            }
        })
    });

    measure("add to a stream", ITEMS, || {
        let mut stream = Stream::default();
        timed(|| (0..ITEMS as u64).for_each(|number| append(&mut stream, number)))
    });
    for pending in [100_000, 1_000_000] {
        let mut stream = stream_with(pending);
        measure(&format!("share 10 million entries, {pending} pending"), 1, || timed(|| stream.share()));
        measure("the first entry to them", 1, || {
            let _share = stream.share();
            let next = stream.entries.added();
            timed(|| append(&mut stream, next))
        });
        measure("the first acknowledgement", 1, || {
            let _share = stream.share();
            timed(|| {
                let group = stream.groups.get_mut(b"group").expect("it was created");
                let id = *group.consumers().next().expect("there is one").pending().iter().next().expect("many");
                assert!(group.acknowledge(id));
            })
        });
    }
}

fn append(stream: &mut Stream, number: u64) {
    let id = StreamId::new(number / 3 + 1, number % 3);
    let pairs: [&[u8]; 4] = [b"user", b"00001234", b"item", b"00004321"];
    stream.entries.append(id, &pairs, StreamLimits::default());
}

fn stream_with(pending: u64) -> Stream {
    let mut stream = Stream::default();
    (0..10_000_000).for_each(|number| append(&mut stream, number));
    stream.groups.create(b"group", StreamId::MIN, None);
    let group = stream.groups.get_mut(b"group").expect("it was created just now");
    let consumer = group.create_consumer(b"consumer", 0);
    for number in 0..pending {
        let id = StreamId::new(number / 3 + 1, number % 3);
        group.assign(id, Pending { consumer, delivered_at_ms: 0, delivery_count: 1 });
    }
    stream
}
