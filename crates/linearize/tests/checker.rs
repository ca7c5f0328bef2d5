//! The checker against histories whose verdict is known: made by hand, made by a simulated server, and judged by
//! brute force.

use std::collections::HashSet;

use linearize::{
    check::{Verdict, check, reduce},
    collection::{Act, End, Wait},
    generate::{Mix, window},
    history::{Event, History},
    model::State,
    operation::{Condition, Datum, Key, Operation, Reply},
    record::in_two,
};
use rand::Rng;
use testkit::{Random, Value};

const A: Key = Key(0);
const B: Key = Key(1);

fn set(key: Key, token: u32) -> Operation {
    Operation::Set { key, datum: Datum::Token(token), condition: Condition::Always, keep_ttl: false, get: false }
}

fn saw(token: u32) -> Reply {
    Reply::Datum(Datum::Token(token))
}

/// An event from `sent` to `answered`, in milliseconds.
fn event(sent: u64, answered: u64, operation: Operation, reply: Reply) -> Event {
    Event { database: 0, operation, reply, invoked_ns: sent * 1_000_000, completed_ns: answered * 1_000_000 }
}

fn is_linearizable(lanes: Vec<Vec<Event>>) -> bool {
    match check(&State::default(), &History { lanes }) {
        Verdict::Linearizable => true,
        Verdict::Violation(_) => false,
        Verdict::Undecided => panic!("undecided"),
    }
}

#[test]
fn a_read_beside_a_write_may_see_either() {
    for reply in [Reply::Nil, saw(1)] {
        assert!(is_linearizable(vec![
            vec![event(0, 10, set(A, 1), Reply::Ok)],
            vec![event(1, 9, Operation::Get(A), reply)],
        ]));
    }
}

#[test]
fn a_read_after_a_write_must_see_it() {
    assert!(!is_linearizable(vec![
        vec![event(0, 1, set(A, 1), Reply::Ok)],
        vec![event(2, 3, Operation::Get(A), Reply::Nil)],
    ]));
}

#[test]
fn what_one_reader_saw_the_next_sees_too() {
    let lanes = |second| {
        vec![
            vec![event(0, 100, set(A, 1), Reply::Ok)],
            vec![event(10, 20, Operation::Get(A), saw(1))],
            vec![event(30, 40, Operation::Get(A), second)],
        ]
    };
    assert!(is_linearizable(lanes(saw(1))));
    assert!(!is_linearizable(lanes(Reply::Nil)));
}

#[test]
fn a_pipeline_is_executed_in_order() {
    // Both were sent at the same time; the replies say that the read came first.
    let lanes = |reply| vec![vec![event(0, 10, set(A, 1), Reply::Ok), event(0, 11, Operation::Get(A), reply)]];
    assert!(is_linearizable(lanes(saw(1))));
    assert!(!is_linearizable(lanes(Reply::Nil)));
}

#[test]
fn half_of_an_mset_is_not_seen() {
    let pairs = vec![(A, Datum::Token(1)), (B, Datum::Token(2))];
    let lanes = |reply| {
        vec![
            vec![event(0, 10, Operation::MSet { pairs: pairs.clone(), repeats: 1 }, Reply::Ok)],
            vec![event(0, 10, Operation::MGet { keys: vec![A, B], repeats: 1 }, Reply::Many(reply))],
        ]
    };
    assert!(is_linearizable(lanes(vec![None, None])));
    assert!(is_linearizable(lanes(vec![Some(Datum::Token(1)), Some(Datum::Token(2))])));
    assert!(!is_linearizable(lanes(vec![Some(Datum::Token(1)), None])));
}

#[test]
fn two_crossed_reads_have_no_order() {
    // Each write was seen before the other one: key by key this is fine.
    assert!(!is_linearizable(vec![
        vec![event(0, 100, set(A, 1), Reply::Ok)],
        vec![event(0, 100, set(B, 2), Reply::Ok)],
        vec![event(10, 20, Operation::Get(A), saw(1)), event(30, 40, Operation::Get(B), Reply::Nil)],
        vec![event(10, 20, Operation::Get(B), saw(2)), event(30, 40, Operation::Get(A), Reply::Nil)],
    ]));
}

#[test]
fn nothing_is_written_during_a_pause() {
    let lanes = |second| {
        vec![
            vec![
                event(0, 1, Operation::Pause(60_000), Reply::Ok),
                event(2, 3, Operation::Get(A), Reply::Nil),
                event(4, 5, Operation::Get(A), second),
                event(6, 7, Operation::Unpause, Reply::Ok),
            ],
            // Under way all the time: before the pause, or after it.
            vec![event(0, 8, set(A, 1), Reply::Ok)],
        ]
    };
    assert!(is_linearizable(lanes(Reply::Nil)));
    assert!(!is_linearizable(lanes(saw(1))));
}

#[test]
fn a_pause_ends_by_itself_but_not_too_early() {
    let lanes = |answered| {
        vec![vec![event(0, 1, Operation::Pause(50), Reply::Ok)], vec![event(2, answered, set(A, 1), Reply::Ok)]]
    };
    assert!(is_linearizable(lanes(55)));
    assert!(!is_linearizable(lanes(30)));
}

#[test]
fn what_has_expired_for_one_has_expired_for_all() {
    use linearize::operation::Deadline;
    let expire = Operation::Expire { key: A, deadline: Deadline::At(50), as_timestamp: true };
    let lanes = |sent, answered, first: Reply, second: Reply| {
        vec![
            vec![event(0, 1, set(A, 1), Reply::Ok), event(2, 3, expire.clone(), Reply::Integer(1))],
            vec![
                event(sent, answered, Operation::Get(A), first),
                event(answered + 1, answered + 20, Operation::Get(A), second),
            ],
        ]
    };
    assert!(is_linearizable(lanes(40, 60, saw(1), Reply::Nil)));
    assert!(is_linearizable(lanes(40, 60, Reply::Nil, Reply::Nil)));
    assert!(!is_linearizable(lanes(40, 60, Reply::Nil, saw(1))), "it came back");
    assert!(!is_linearizable(lanes(60, 70, saw(1), Reply::Nil)), "it outlived its time");
    assert!(!is_linearizable(lanes(20, 30, Reply::Nil, Reply::Nil)), "it went before its time");
}

#[test]
fn a_violation_is_cut_down_to_what_shows_it() {
    let history = History {
        lanes: vec![
            vec![event(0, 1, set(A, 1), Reply::Ok), event(2, 3, Operation::Get(B), Reply::Nil)],
            vec![
                event(2, 3, Operation::DbSize, Reply::Integer(1)),
                event(4, 5, Operation::Get(A), Reply::Nil),
                event(6, 7, Operation::Get(A), saw(1)),
            ],
        ],
    };
    assert_eq!(reduce(&State::default(), &history).len(), 2, "the write, and the read that missed it");
}

/// A wait of a lane for list 0, from being sent to being answered.
fn wait(lane: usize, sent: u64, answered: u64, element: Option<u32>) -> Vec<Event> {
    let wait = Wait::Pop { lists: vec![0], end: End::Left };
    let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
    let reply = element.map_or(Value::Null, |element| Value::Array(vec![bulk("list0"), bulk(&element.to_string())]));
    let act = Act::Wait { wait, timeout_ms: 50 };
    in_two(event(sent, answered, Operation::Collection(act), Reply::Said(reply)), lane)
}

fn push(sent: u64, answered: u64, elements: &[u32], length: i64) -> Event {
    let act = Act::Push { list: 0, end: End::Right, elements: elements.to_vec() };
    event(sent, answered, Operation::Collection(act), Reply::Said(Value::Integer(length)))
}

#[test]
fn who_waits_is_served() {
    assert!(is_linearizable(vec![wait(0, 0, 12, Some(1)), vec![push(10, 11, &[1], 1)]]));
    assert!(is_linearizable(vec![wait(0, 0, 60, None), vec![push(61, 62, &[1], 1)]]));
}

#[test]
fn who_waits_is_not_forgotten() {
    // It was in line when the element came, or came when it was there; and it got none.
    let seen = event(5, 6, Operation::Collection(Act::Length(0)), Reply::Said(Value::Integer(1)));
    assert!(!is_linearizable(vec![wait(0, 0, 60, None), vec![push(3, 4, &[1], 1), seen]]));
    // Nor does anybody give up before its time.
    assert!(!is_linearizable(vec![wait(0, 0, 20, None)]));
}

#[test]
fn who_came_first_is_served_first() {
    let lanes = |first, second, late| {
        vec![wait(0, 0, 31, Some(first)), wait(1, late, 40, Some(second)), vec![push(30, 31, &[1, 2], 2)]]
    };
    // Which of the two came first is open when both were under way at once.
    assert!(is_linearizable(lanes(1, 2, 0)) && is_linearizable(lanes(2, 1, 0)));
    // The second one came when the first had its answer.
    assert!(is_linearizable(lanes(1, 2, 32)) && !is_linearizable(lanes(2, 1, 32)));
}

/// A history as a right server would make it: operations take effect one after the other, and were sent some time
/// before and answered some time after.
fn simulated(random: &mut Random, mix: Mix, operations_max: usize) -> (State, History) {
    let window = window(random, mix);
    let mut state = window.initial.clone();
    let mut left: Vec<Vec<(usize, Operation)>> = window
        .lanes
        .iter()
        .map(|lane| lane.batches.iter().flatten().rev().map(|operation| (lane.database, operation.clone())).collect())
        .collect();
    let mut history = History { lanes: vec![Vec::new(); left.len()] };
    // Far from any pause's end by time, and a step of the clock for each operation.
    let mut now_ns = 1_000_000_000_000;
    for _ in 0..operations_max {
        let busy: Vec<usize> = (0..left.len()).filter(|&lane| !left[lane].is_empty()).collect();
        if busy.is_empty() {
            break;
        }
        let lane = busy[random.random_range(0..busy.len())];
        let (database, operation) = left[lane].pop().expect("busy");
        now_ns += 1000;
        let sent_ns = now_ns - random.random_range(0..6000);
        let answered_ns = now_ns + random.random_range(0..6000);
        let previous = history.lanes[lane].last();
        let mut event = Event {
            database,
            operation,
            reply: Reply::Ok,
            invoked_ns: sent_ns.max(previous.map_or(0, |event| event.invoked_ns)),
            completed_ns: answered_ns.max(previous.map_or(0, |event| event.completed_ns)),
        };
        event.reply = state.apply(&event);
        history.lanes[lane].push(event);
    }
    (window.initial, history)
}

#[test]
fn what_a_right_server_does_is_always_explained() {
    let mut random = testkit::random_from(testkit::seed());
    for mix in [Mix::Narrow, Mix::Wide, Mix::Walk, Mix::Collections] {
        for _ in 0..60 {
            let (initial, history) = simulated(&mut random, mix, usize::MAX);
            let verdict = check(&initial, &history);
            assert!(matches!(verdict, Verdict::Linearizable), "{mix}: {verdict:?}\n{history}");
        }
    }
}

/// All orders, without memory or cleverness.
fn brute_force(state: &State, lanes: &[Vec<Event>], positions: &mut Vec<usize>) -> bool {
    let left: Vec<(usize, &Event)> = (0..lanes.len())
        .flat_map(|lane| lanes[lane][positions[lane]..].iter().map(move |event| (lane, event)))
        .collect();
    if left.is_empty() {
        return true;
    }
    for lane in 0..lanes.len() {
        let Some(event) = lanes[lane].get(positions[lane]) else { continue };
        if left.iter().any(|(_, other)| other.completed_ns < event.invoked_ns) {
            continue;
        }
        let mut successors = Vec::new();
        state.successors(event, &mut successors);
        positions[lane] += 1;
        if successors.iter().any(|next| brute_force(next, lanes, positions)) {
            return true;
        }
        positions[lane] -= 1;
    }
    false
}

#[test]
fn brute_force_agrees_on_histories_right_and_wrong() {
    let mut random = testkit::random_from(testkit::seed());
    let mut verdicts = HashSet::new();
    for _ in 0..400 {
        let (initial, mut history) = simulated(&mut random, Mix::Narrow, 9);
        // Exchange the replies of two events: usually wrong, sometimes not.
        let places: Vec<(usize, usize)> = history
            .lanes
            .iter()
            .enumerate()
            .flat_map(|(lane, events)| (0..events.len()).map(move |at| (lane, at)))
            .collect();
        let [one, other] = [0; 2].map(|_| places[random.random_range(0..places.len())]);
        let reply = history.lanes[one.0][one.1].reply.clone();
        history.lanes[one.0][one.1].reply = std::mem::replace(&mut history.lanes[other.0][other.1].reply, reply);

        let expected = brute_force(&initial, &history.lanes, &mut vec![0; history.lanes.len()]);
        let found = matches!(check(&initial, &history), Verdict::Linearizable);
        assert_eq!(found, expected, "\n{history}");
        verdicts.insert(expected);
    }
    assert_eq!(verdicts.len(), 2, "both kinds of history must occur");
}
