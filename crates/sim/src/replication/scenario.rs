//! A run: faults for a while, then everything heals and has to become equal.

use std::cell::RefCell;
use std::rc::Rc;

use rand::Rng;
use rand::seq::IndexedRandom;
use replication::{Config, FailoverRequest, FailoverState, LinkState, Ms};

use super::oracle::Oracle;
use super::server::{Saved, Server, Settings, address};
use crate::{NodeId, Trace, World};

/// What a run has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of all that has happened, in order.
    pub trace: u64,
    pub stats: Stats,
}

/// What has happened, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub full: u64,
    /// Of them, those on two connections that came so far as to be loaded.
    pub beside: u64,
    pub partial: u64,
    /// Snapshots: one may serve several.
    pub snapshots: u64,
    /// The data would have fitted, but the two ids that a server keeps did not reach back so far.
    pub full_for_lack_of_ids: u64,
    pub too_slow: u64,
    pub failovers: u64,
    pub writes: u64,
    pub crashes: u64,
}

impl Stats {
    pub fn add(&mut self, other: &Stats) {
        self.full += other.full;
        self.beside += other.beside;
        self.partial += other.partial;
        self.snapshots += other.snapshots;
        self.full_for_lack_of_ids += other.full_for_lack_of_ids;
        self.too_slow += other.too_slow;
        self.failovers += other.failovers;
        self.writes += other.writes;
        self.crashes += other.crashes;
    }
}

/// What goes wrong in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Climate {
    /// Everything.
    Wild,
    /// Links are cut and held back, nodes stand still, and that is all; the log is large. Nobody needs a second snapshot.
    Links,
    /// As links, and places are handed over.
    Handovers,
}

struct Scenario {
    climate: Climate,
    world: World<Server>,
    oracle: Rc<RefCell<Oracle>>,
    nodes: Vec<NodeId>,
    next_value: u64,
}

/// One run with a handful of servers. The same seed gives the same outcome.
///
/// # Panics
///
/// If anything does not hold that has to.
pub fn run(seed: u64, is_shown: bool) -> Outcome {
    run_with(seed, None, is_shown)
}

/// The same with so many servers.
///
/// # Panics
///
/// If anything does not hold that has to.
pub fn run_with(seed: u64, servers: Option<usize>, is_shown: bool) -> Outcome {
    let mut world = World::new(seed, 4096, Trace::new(is_shown));
    let few = world.random().random_range(2..=6);
    let count = servers.unwrap_or(few);
    let oracle = Rc::new(RefCell::new(Oracle::default()));
    let climate = *[Climate::Wild, Climate::Wild, Climate::Links, Climate::Handovers]
        .choose(world.random())
        .expect("there are some");
    let mut common = random_config(world.random());
    if climate != Climate::Wild {
        (common.backlog_bytes, common.backlog_ttl_ms) = (10_000_000, 0);
    }
    let mut nodes = Vec::new();
    for place in 0..count {
        let me = NodeId(place);
        let random = world.random();
        let snapshot_ms = *[0, 50, 1000, 12_000].choose(random).expect("there are some");
        let settings = Settings {
            config: Config {
                diskless: random.random_bool(0.7),
                rdb_channel: random.random_bool(0.6),
                dual_channel: random.random_bool(0.6),
                ..common.clone()
            },
            empties_first: random.random_bool(0.3),
            has_file: random.random_bool(0.3),
            snapshot_ms,
        };
        let follow = (place > 0).then(|| NodeId(random.random_range(0..place)));
        let server = Server::start(me, settings, None, follow, oracle.clone(), Ms(1), world.random());
        nodes.push(world.add(server));
    }
    let mut scenario = Scenario { climate, world, oracle, nodes, next_value: 0 };
    scenario.chaos();
    scenario.heal();
    let stats = scenario.oracle.borrow().stats;
    Outcome { trace: scenario.world.trace().sum(), stats }
}

fn random_config(random: &mut impl Rng) -> Config {
    Config {
        timeout_ms: random.random_range(3000..=8000),
        ping_period_ms: random.random_range(500..=2000),
        backlog_bytes: *[300, 3000, 100_000].choose(random).expect("there are some"),
        backlog_ttl_ms: *[0, 5000, 3_600_000].choose(random).expect("there are some"),
        diskless_delay_ms: *[0, 200, 1500].choose(random).expect("there are some"),
        diskless_replicas_max: random.random_range(0..=2),
        password: if random.random_bool(0.2) { b"sesame".to_vec() } else { Vec::new() },
        ..Config::default()
    }
}

impl Scenario {
    fn any(&mut self) -> NodeId {
        *self.nodes.choose(self.world.random()).expect("there are some")
    }

    fn two(&mut self) -> (NodeId, NodeId) {
        let one = self.any();
        let mut other = self.any();
        while other == one {
            other = self.any();
        }
        (one, other)
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        let now = self.world.now().0;
        self.world.trace().say(|| format!("{now:>8} -------- {}", text()));
    }

    fn write(&mut self, node: NodeId) -> bool {
        if !self.world.is_up(node) || self.world.is_paused(node) {
            return false;
        }
        let random = self.world.random();
        let parts = if random.random_bool(0.3) { random.random_range(2..=5) } else { 1 };
        let keys: Vec<u64> = (0..parts).map(|_| random.random_range(0..40)).collect();
        self.next_value += 1;
        let value = self.next_value;
        let sets: Vec<(u64, u64)> = keys.into_iter().map(|key| (key, value)).collect();
        let is_written = self.world.with(node, |server, context| server.write(&sets, context));
        self.oracle.borrow_mut().stats.writes += u64::from(is_written);
        is_written
    }

    fn crash(&mut self, node: NodeId) {
        if self.world.is_up(node) {
            self.say(|| format!("node {} crashes", node.0));
            self.world.crash(node);
            self.oracle.borrow_mut().stats.crashes += 1;
        }
    }

    /// Starts it with what its disk holds, under the orders that it had.
    fn start(&mut self, node: NodeId, disk: Option<Saved>, follow: Option<NodeId>) {
        self.say(|| format!("node {} starts, with a disk: {}", node.0, disk.is_some()));
        let settings = self.world.nodes()[node.0].settings().clone();
        let (now, oracle) = (self.world.now(), self.oracle.clone());
        let server = Server::start(node, settings, disk, follow, oracle, now, self.world.random());
        self.world.start(node, server);
    }

    fn chaos(&mut self) {
        let until = self.world.now().plus(self.world.random().random_range(20_000..=90_000));
        // How wild it gets.
        let pause_ms_max = *[300, 1000, 4000].choose(self.world.random()).expect("there are some");
        let burst_max = *[1, 10, 80].choose(self.world.random()).expect("there are some");
        if self.climate != Climate::Wild {
            // Everybody gets his snapshot.
            self.world.run_until(Ms(200_000));
        }
        let until = self.world.now().plus(until.0);
        let full = self.oracle.borrow().stats.full;
        while self.world.now() < until {
            let ms = self.world.random().random_range(1..=pause_ms_max);
            let at = self.world.now().plus(ms);
            self.world.run_until(at);
            let node = self.any();
            self.write_some(burst_max);
            self.fault(node);
        }
        if self.climate == Climate::Links {
            assert_eq!(self.oracle.borrow().stats.full, full, "the log held all that was missing");
        }
    }

    fn write_some(&mut self, burst_max: u32) {
        let primaries: Vec<NodeId> =
            self.nodes.iter().copied().filter(|node| self.world.nodes()[node.0].follows().is_none()).collect();
        for node in primaries {
            for _ in 0..self.world.random().random_range(0..=burst_max) {
                self.write(node);
            }
        }
    }

    fn fault(&mut self, node: NodeId) {
        let kind = match self.climate {
            Climate::Wild => self.world.random().random_range(0..100),
            Climate::Links => self.world.random().random_range(0..42),
            Climate::Handovers => (self.world.random().random_range(0..50) + 87) % 98,
        };
        let (one, other) = self.two();
        let acts = self.world.is_up(node) && !self.world.is_paused(node);
        match kind {
            0..20 => {
                let all = self.world.random().random_bool(0.5);
                self.say(|| format!("cut between {} and {}, all: {all}", one.0, other.0));
                if all {
                    self.world.cut(one, other);
                } else {
                    self.world.cut_one(one, other);
                }
            }
            20..28 => {
                let ms = self.world.random().random_range(1..=12_000);
                self.say(|| format!("nothing passes between {} and {} for {ms} ms", one.0, other.0));
                self.world.hold(one, other, ms);
            }
            28..36 => {
                let least = self.world.random().random_range(0..=50);
                let greatest = least + self.world.random().random_range(0..=300);
                self.world.set_delay(one, other, least, greatest);
            }
            36..42 => {
                let ms = self.world.random().random_range(1..=12_000);
                self.say(|| format!("node {} stands still for {ms} ms", node.0));
                self.world.pause(node, ms);
            }
            42..50 => self.crash(node),
            50..66 => self.start_if_down(node),
            66..74 if acts => self.world.with(node, |server, _| server.save()),
            74..82 if acts => {
                self.say(|| format!("node {} is to follow node {}", node.0, other.0));
                self.world.with(node, |server, context| server.follow(other, context));
            }
            82..87 if acts => {
                self.say(|| format!("node {} is promoted", node.0));
                self.world.with(node, |server, context| server.promote(context));
            }
            87..93 if acts => self.failover(node, other),
            93..95 if acts => {
                self.say(|| format!("node {} is to abort its failover", node.0));
                self.world.with(node, |server, context| server.abort_failover(context));
            }
            95..98 if acts => self.world.with(node, |server, context| server.ask_for_acks(context)),
            98 if acts => {
                self.say(|| format!("node {} takes another id", node.0));
                self.world.with(node, |server, context| server.change_id(context));
            }
            _ => {}
        }
    }

    fn start_if_down(&mut self, node: NodeId) {
        if self.world.is_up(node) {
            return;
        }
        let server = &self.world.nodes()[node.0];
        let (disk, follow) = (server.disk(), server.follows());
        let keeps_disk = self.world.random().random_bool(0.8);
        let keeps_role = self.world.random().random_bool(0.8);
        self.start(node, disk.filter(|_| keeps_disk), follow.filter(|_| keeps_role));
    }

    fn failover(&mut self, node: NodeId, target: NodeId) {
        let random = self.world.random();
        let to = random.random_bool(0.6).then(|| address(target));
        let timeout_ms = random.random_bool(0.6).then(|| random.random_range(1..=3000));
        let force = random.random_bool(0.3);
        let request = FailoverRequest { to, force, timeout_ms };
        self.say(|| format!("node {}: {request:?}", node.0));
        self.world.with(node, |server, context| server.failover(request, context));
    }

    fn heal(&mut self) {
        self.say(|| "everything heals".to_owned());
        self.world.heal();
        for node in self.nodes.clone() {
            if !self.world.is_up(node) {
                self.start_if_down(node);
            }
        }
        // Partitions and pauses end by themselves.
        let until = self.world.now().plus(30_000);
        self.world.run_until(until);
        for node in self.nodes.clone() {
            self.world.with(node, |server, context| {
                if server.machine().failover_state() != FailoverState::None {
                    server.abort_failover(context);
                }
            });
        }

        let primary = self.any();
        self.say(|| format!("node {} is to be the primary of all", primary.0));
        self.world.with(primary, |server, context| server.promote(context));
        let mut tree = vec![primary];
        for node in self.nodes.clone() {
            if node != primary {
                let above = *tree.choose(self.world.random()).expect("there are some");
                self.world.with(node, |server, context| server.follow(above, context));
                tree.push(node);
            }
        }
        for _ in 0..20 {
            assert!(self.write(primary), "a primary takes writes");
            let at = self.world.now().plus(50);
            self.world.run_until(at);
        }
        // Long enough for a snapshot from each to the next, down the longest chain.
        let deadline = self.world.now().plus(200_000 + 10_000 * self.nodes.len() as u64);
        while self.world.now() < deadline {
            if self.is_equal(primary) {
                return self.rest();
            }
            let at = self.world.now().plus(20);
            self.world.run_until(at);
        }
        self.tell_state();
        panic!("node {} is the primary of all, and they do not become equal", primary.0);
    }

    /// When nothing happens, nobody takes the silence for a fault.
    fn rest(&mut self) {
        let count = |stats: Stats| (stats.full, stats.partial);
        let before = count(self.oracle.borrow().stats);
        let until = self.world.now().plus(30_000);
        self.world.run_until(until);
        assert_eq!(count(self.oracle.borrow().stats), before, "somebody has come anew");
    }

    /// Everybody has what the primary has, and hangs on whom he should.
    fn is_equal(&self, primary: NodeId) -> bool {
        let servers = self.world.nodes();
        let model = &servers[primary.0];
        servers.iter().enumerate().all(|(place, server)| {
            let is_fed = place == primary.0
                || server.machine().upstream(self.world.now()).is_some_and(|up| up.state == LinkState::Connected);
            is_fed
                && server.log().end == model.log().end
                && server.machine().history().id == model.machine().history().id
                && {
                    assert_eq!(server.data(), model.data(), "at equal offset, under equal id");
                    true
                }
        })
    }

    fn tell_state(&self) {
        for (place, server) in self.world.nodes().iter().enumerate() {
            println!(
                "node {place}: {:?} {:?} {:?} {:?}",
                server.machine().role(),
                server.log(),
                server.machine().history(),
                server.machine().upstream(self.world.now())
            );
        }
    }
}
