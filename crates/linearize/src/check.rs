//! The checker: is there an order of the events that one thread could have made?
//!
//! The search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with the memory of Lowe ("Testing
//! for Linearizability", 2017): take any event that nothing unfinished precedes, let the model do it, go on; where it
//! gets stuck, go back; never try the same configuration twice.
//!
//! What is special here: a connection's events are ordered among themselves, pipelined ones too, since a server must
//! execute a connection's commands in order. So a configuration is *how far each connection has come*, plus the
//! state: a few small numbers instead of a set of events, and one connection offers one candidate at a time.
//!
//! Objections, answered:
//! - *Exponential?* In the worst case, yes (the problem is NP-complete). Windows are short, and nearly every reply
//!   says which write it saw. A search that gives up says [`Verdict::Undecided`], and the run reports how many did.
//! - *Why not check key by key?* RENAME, MSET, SWAPDB and a pause tie keys together.

use std::collections::HashSet;

use crate::{
    history::{Event, History},
    model::State,
};

/// So many configurations are visited before the search gives up.
const CONFIGURATIONS_MAX: usize = 3_000_000;

/// What the search found.
#[derive(Clone, Debug)]
pub enum Verdict {
    Linearizable,
    Violation(Box<Violation>),
    /// The search was cut off.
    Undecided,
}

/// No order explains the history.
#[derive(Clone, Debug)]
pub struct Violation {
    /// How far each connection came in the order that explained most.
    pub reached: Vec<usize>,
    /// The state there.
    pub state: State,
}

/// Whether the history can be explained from this state.
pub fn check(initial: &State, history: &History) -> Verdict {
    let mut search = Search {
        lanes: &history.lanes,
        positions: vec![0; history.lanes.len()],
        seen: HashSet::new(),
        furthest: 0,
        violation: Violation { reached: vec![0; history.lanes.len()], state: initial.clone() },
    };
    match search.explain(initial, history.len()) {
        true => Verdict::Linearizable,
        false if search.seen.len() >= CONFIGURATIONS_MAX => Verdict::Undecided,
        false => Verdict::Violation(Box::new(search.violation)),
    }
}

/// A smaller history with the same violation: what came after it is cut off, and events that changed nothing and are
/// not needed to show it are left out.
pub fn reduce(initial: &State, history: &History) -> History {
    let mut history = first_violation(initial, history);
    for lane in 0..history.lanes.len() {
        let mut index = history.lanes[lane].len();
        while index > 0 {
            index -= 1;
            if !history.lanes[lane][index].changed_nothing() {
                continue;
            }
            let event = history.lanes[lane].remove(index);
            if !matches!(check(initial, &history), Verdict::Violation(_)) {
                history.lanes[lane].insert(index, event);
            }
        }
    }
    history
}

/// The shortest beginning that is a violation by itself and ends with nothing under way. (A cut through something under
/// way could take away what explains it.)
fn first_violation(initial: &State, history: &History) -> History {
    let mut answers: Vec<u64> = history.lanes.iter().flatten().map(|event| event.completed_ns).collect();
    answers.sort_unstable();
    for end in answers {
        if history.lanes.iter().flatten().any(|event| event.invoked_ns <= end && event.completed_ns > end) {
            continue;
        }
        let lanes =
            history.lanes.iter().map(|lane| lane.iter().filter(|event| event.completed_ns <= end).cloned().collect());
        let beginning = History { lanes: lanes.collect() };
        if matches!(check(initial, &beginning), Verdict::Violation(_)) {
            return beginning;
        }
    }
    history.clone()
}

struct Search<'a> {
    lanes: &'a [Vec<Event>],
    /// How many events of each connection are done.
    positions: Vec<usize>,
    seen: HashSet<(Box<[u8]>, State)>,
    furthest: usize,
    violation: Violation,
}

impl Search<'_> {
    /// Whether the rest can be explained from here.
    fn explain(&mut self, state: &State, left: usize) -> bool {
        if left == 0 {
            return true;
        }
        let configuration = self.positions.iter().map(|&position| position as u8).collect();
        if self.seen.len() >= CONFIGURATIONS_MAX || !self.seen.insert((configuration, state.clone())) {
            return false;
        }
        let done: usize = self.positions.iter().sum();
        if done >= self.furthest {
            self.furthest = done;
            self.violation = Violation { reached: self.positions.clone(), state: state.clone() };
        }
        // An event cannot come next if another one that is not done was answered before it was sent. Replies of a
        // connection come in order, so its first event decides.
        let first_answer_ns = self.heads().map(|(_, event)| event.completed_ns).min().expect("some are left");
        let mut candidates: Vec<(u64, usize)> = self
            .heads()
            .filter(|(_, event)| event.invoked_ns <= first_answer_ns)
            .map(|(lane, event)| (event.completed_ns, lane))
            .collect();
        // Those answered first probably happened first.
        candidates.sort_unstable();
        let mut successors = Vec::new();
        for (_, lane) in candidates {
            let lanes = self.lanes;
            state.successors(&lanes[lane][self.positions[lane]], &mut successors);
            self.positions[lane] += 1;
            for next in successors.drain(..) {
                if self.explain(&next, left - 1) {
                    return true;
                }
            }
            self.positions[lane] -= 1;
        }
        false
    }

    /// The next event of each connection that has one.
    fn heads(&self) -> impl Iterator<Item = (usize, &Event)> {
        self.lanes
            .iter()
            .enumerate()
            .filter_map(|(lane, events)| events.get(self.positions[lane]).map(|event| (lane, event)))
    }
}
