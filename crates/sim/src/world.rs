//! Time, the order of events, and what a node sees of both.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use replication::Ms;

use crate::network::{Connection, ConnectionId, End, Network, Pipe};
use crate::trace::Trace;

/// A node, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// What a node is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its deadline has come.
    Timer,
    /// Somebody has connected.
    Accepted {
        connection: ConnectionId,
        from: NodeId,
    },
    /// What it has opened stands.
    Connected {
        connection: ConnectionId,
    },
    Received {
        connection: ConnectionId,
        bytes: Vec<u8>,
    },
    /// There is room again for more.
    Writable {
        connection: ConnectionId,
    },
    /// The other end has closed it, or never was there; nothing more comes of it.
    Closed {
        connection: ConnectionId,
    },
    /// What it has asked for by [`Context::later`].
    Later {
        token: u64,
    },
}

/// Somebody who lives in the world: a machine with a model of its driver.
pub trait Node {
    fn handle(&mut self, event: Event, context: &mut Context<'_>);
    fn next_deadline(&self) -> Option<Ms>;
}

#[derive(Debug)]
enum Wake {
    Timer,
    Accept(ConnectionId),
    Establish(ConnectionId),
    Refuse(ConnectionId),
    /// Look what has arrived.
    Arrival(ConnectionId),
    Writable(ConnectionId),
    Later(u64),
}

/// All but the nodes themselves, so that a node can act while it is told something.
struct Surroundings {
    now: Ms,
    random: StdRng,
    network: Network,
    queue: BTreeMap<(Ms, u64), (NodeId, u64, Wake)>,
    next: u64,
    /// Per node: which life it is in, whether it is up, until when it stands still, and when its timer is set to.
    lives: Vec<Life>,
    trace: Trace,
    /// So many bytes fit into one direction of a connection.
    window_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Life {
    number: u64,
    is_up: bool,
    paused_until: Ms,
    timer_at: Option<Ms>,
    /// Events in this millisecond: a node that wakes itself again and again does not let time go by.
    busy: (Ms, u32),
}

/// More events than this in one millisecond of one node are a bug of the node.
const EVENTS_PER_MS_MAX: u32 = 20_000;

impl Surroundings {
    fn push(&mut self, at: Ms, node: NodeId, life: u64, wake: Wake) {
        self.next += 1;
        self.queue.insert((at.max(self.now), self.next), (node, life, wake));
    }

    /// When something that leaves `from` now is at `to`.
    fn arrival(&mut self, from: NodeId, to: NodeId) -> Ms {
        let (least, greatest) = self.network.delay(from, to);
        let delay = self.random.random_range(least..=greatest);
        self.now.max(self.network.held_until(from, to)).plus(delay)
    }

    fn end(&self, node: NodeId) -> End {
        End { node, life: self.lives[node.0].number }
    }

    /// What this end has sent still arrives, and then the end.
    fn close(&mut self, node: NodeId, id: ConnectionId) {
        let Some(connection) = self.network.connections.get_mut(&id) else { return };
        let side = connection.side(node);
        if !std::mem::replace(&mut connection.is_open[side], false) {
            return;
        }
        let other = connection.ends[1 - side];
        if !connection.is_open[1 - side] {
            self.network.connections.remove(&id);
            return;
        }
        let at = self.arrival(node, other.node);
        let Some(connection) = self.network.connections.get_mut(&id) else { return };
        let pipe = &mut connection.pipes[side];
        pipe.last = pipe.last.max(at);
        pipe.ends_at = Some(pipe.last);
        let at = pipe.last;
        self.push(at, other.node, other.life, Wake::Arrival(id));
    }

    /// Both ends hear that it is broken, what is on the way is lost.
    fn cut(&mut self, id: ConnectionId) {
        let Some(connection) = self.network.connections.get(&id) else { return };
        let ends = connection.ends;
        for side in 0..2 {
            let at = self.arrival(ends[1 - side].node, ends[side].node);
            let Some(connection) = self.network.connections.get_mut(&id) else { return };
            let pipe = &mut connection.pipes[1 - side];
            let lost = pipe.on_the_way.iter().position(|(arrival, _)| *arrival > at).unwrap_or(pipe.on_the_way.len());
            pipe.on_the_way.truncate(lost);
            pipe.bytes = pipe.on_the_way.iter().map(|(_, bytes)| bytes.len()).sum();
            pipe.last = pipe.last.max(at);
            pipe.ends_at = Some(pipe.ends_at.map_or(at, |ends_at| ends_at.min(at)));
            self.push(at, ends[side].node, ends[side].life, Wake::Arrival(id));
        }
    }
}

/// What a node may do.
pub struct Context<'a> {
    surroundings: &'a mut Surroundings,
    me: NodeId,
}

impl Context<'_> {
    pub fn now(&self) -> Ms {
        self.surroundings.now
    }

    pub fn me(&self) -> NodeId {
        self.me
    }

    pub fn random(&mut self) -> &mut StdRng {
        &mut self.surroundings.random
    }

    pub fn trace(&mut self) -> &mut Trace {
        &mut self.surroundings.trace
    }

    /// Begins to connect; [`Event::Connected`] or [`Event::Closed`], or nothing at all, follows.
    pub fn connect(&mut self, to: NodeId) -> ConnectionId {
        let world = &mut *self.surroundings;
        world.network.next += 1;
        let id = ConnectionId(world.network.next);
        let ends = [world.end(self.me), world.end(to)];
        world.network.connections.insert(
            id,
            Connection {
                ends,
                pipes: [Pipe::default(), Pipe::default()],
                is_open: [true, true],
                is_established: false,
            },
        );
        let at = world.arrival(self.me, to);
        // Whether somebody is there is seen when it gets there: the life in the event is not looked at.
        world.push(at, to, ends[1].life, Wake::Accept(id));
        id
    }

    /// Sends what there is room for, and says how much that was; [`Event::Writable`] follows if it was not all.
    pub fn send(&mut self, id: ConnectionId, bytes: &[u8]) -> usize {
        let me = self.me;
        let window = self.surroundings.window_bytes;
        let Some(connection) = self.surroundings.network.connections.get_mut(&id) else { return 0 };
        let side = connection.side(me);
        if !connection.is_open[side] || !connection.is_established {
            return 0;
        }
        let other = connection.ends[1 - side];
        let pipe = &mut connection.pipes[side];
        if pipe.ends_at.is_some() {
            // It is broken already, and we have not heard of it.
            return bytes.len();
        }
        let room = bytes.len().min(window.saturating_sub(pipe.bytes));
        pipe.is_full = room < bytes.len();
        if room == 0 {
            return 0;
        }
        // In pieces as a network makes them.
        let mut sent = 0;
        while sent < room {
            let piece = self.surroundings.random.random_range(1..=(room - sent).min(1500));
            let at = self.surroundings.arrival(me, other.node);
            let Some(connection) = self.surroundings.network.connections.get_mut(&id) else { return sent };
            let pipe = &mut connection.pipes[side];
            pipe.last = pipe.last.max(at);
            let at = pipe.last;
            pipe.on_the_way.push_back((at, bytes[sent..sent + piece].to_vec()));
            pipe.bytes += piece;
            sent += piece;
            self.surroundings.push(at, other.node, other.life, Wake::Arrival(id));
        }
        sent
    }

    /// Closes an end, or stops opening. No event follows.
    pub fn close(&mut self, id: ConnectionId) {
        self.surroundings.close(self.me, id);
    }

    /// [`Event::Later`] after so long, if the node lives that long.
    pub fn later(&mut self, ms: u64, token: u64) {
        let world = &mut *self.surroundings;
        let life = world.lives[self.me.0].number;
        world.push(world.now.plus(ms), self.me, life, Wake::Later(token));
    }
}

/// Nodes in a network, from one seed.
pub struct World<N> {
    nodes: Vec<N>,
    surroundings: Surroundings,
}

impl<N: Node> World<N> {
    /// `window_bytes`: how much a connection holds in one direction.
    pub fn new(seed: u64, window_bytes: usize, trace: Trace) -> World<N> {
        World {
            nodes: Vec::new(),
            surroundings: Surroundings {
                now: Ms(1),
                random: StdRng::seed_from_u64(seed),
                network: Network::default(),
                queue: BTreeMap::new(),
                next: 0,
                lives: Vec::new(),
                trace,
                window_bytes,
            },
        }
    }

    pub fn add(&mut self, node: N) -> NodeId {
        self.nodes.push(node);
        self.surroundings.lives.push(Life {
            number: 1,
            is_up: true,
            paused_until: Ms(0),
            timer_at: None,
            busy: (Ms(0), 0),
        });
        let id = NodeId(self.nodes.len() - 1);
        self.set_timer(id);
        id
    }

    pub fn now(&self) -> Ms {
        self.surroundings.now
    }

    pub fn random(&mut self) -> &mut StdRng {
        &mut self.surroundings.random
    }

    pub fn trace(&mut self) -> &mut Trace {
        &mut self.surroundings.trace
    }

    pub fn nodes(&self) -> &[N] {
        &self.nodes
    }

    pub fn is_up(&self, node: NodeId) -> bool {
        self.surroundings.lives[node.0].is_up
    }

    pub fn is_paused(&self, node: NodeId) -> bool {
        self.surroundings.lives[node.0].paused_until > self.surroundings.now
    }

    /// Something that comes from outside the network happens at this node.
    pub fn with<R>(&mut self, node: NodeId, act: impl FnOnce(&mut N, &mut Context<'_>) -> R) -> R {
        let mut context = Context { surroundings: &mut self.surroundings, me: node };
        let result = act(&mut self.nodes[node.0], &mut context);
        self.set_timer(node);
        result
    }

    /// Lets everything happen that happens before then.
    pub fn run_until(&mut self, until: Ms) {
        while let Some((&(at, number), _)) = self.surroundings.queue.first_key_value() {
            if at > until {
                break;
            }
            let Some((node, life, wake)) = self.surroundings.queue.remove(&(at, number)) else { break };
            self.surroundings.now = at;
            self.wake(node, life, wake);
        }
        self.surroundings.now = until;
    }

    fn wake(&mut self, node: NodeId, life: u64, wake: Wake) {
        let world = &mut self.surroundings;
        let state = world.lives[node.0];
        if let Wake::Accept(id) = wake {
            return self.accept(node, id);
        }
        if !state.is_up || state.number != life {
            return;
        }
        if state.paused_until > world.now {
            return world.push(state.paused_until, node, life, wake);
        }
        let event = match wake {
            Wake::Accept(_) => return,
            Wake::Timer => {
                // One that was set to another time since then.
                if state.timer_at.is_none_or(|at| at > world.now) {
                    return;
                }
                world.lives[node.0].timer_at = None;
                Event::Timer
            }
            Wake::Establish(id) => {
                let Some(connection) = world.network.connections.get_mut(&id) else { return };
                if !connection.is_open[0] {
                    return;
                }
                connection.is_established = true;
                Event::Connected { connection: id }
            }
            Wake::Refuse(id) => {
                if world.network.connections.remove(&id).is_none_or(|connection| !connection.is_open[0]) {
                    return;
                }
                Event::Closed { connection: id }
            }
            Wake::Arrival(id) => return self.arrive(node, id),
            Wake::Writable(id) => {
                if !world.network.connections.contains_key(&id) {
                    return;
                }
                Event::Writable { connection: id }
            }
            Wake::Later(token) => Event::Later { token },
        };
        self.tell(node, event);
    }

    /// Somebody knocks.
    fn accept(&mut self, node: NodeId, id: ConnectionId) {
        let world = &mut self.surroundings;
        let state = world.lives[node.0];
        let Some(connection) = world.network.connections.get(&id) else { return };
        let from = connection.ends[0];
        let held_until = world.network.held_until(from.node, node);
        if held_until > world.now {
            return world.push(held_until, node, 0, Wake::Accept(id));
        }
        if state.paused_until > world.now && state.is_up {
            return world.push(state.paused_until, node, 0, Wake::Accept(id));
        }
        let at = world.arrival(node, from.node);
        if !state.is_up {
            return world.push(at, from.node, from.life, Wake::Refuse(id));
        }
        let end = world.end(node);
        let Some(connection) = world.network.connections.get_mut(&id) else { return };
        connection.ends[1] = end;
        connection.is_established = true;
        connection.pipes[1].last = at;
        world.push(at, from.node, from.life, Wake::Establish(id));
        if let Some(connection) = self.surroundings.network.connections.get(&id)
            && connection.is_open[0]
        {
            self.tell(node, Event::Accepted { connection: id, from: from.node });
        } else if let Some(connection) = self.surroundings.network.connections.get_mut(&id) {
            connection.is_open[1] = false;
        }
    }

    /// Hands over what has arrived, and then the end if that has come.
    fn arrive(&mut self, node: NodeId, id: ConnectionId) {
        loop {
            let world = &mut self.surroundings;
            let now = world.now;
            let Some(connection) = world.network.connections.get_mut(&id) else { return };
            let side = connection.side(node);
            if !connection.is_open[side] {
                return;
            }
            let other = connection.ends[1 - side];
            let life = connection.ends[side].life;
            let held_until = world.network.held_until(node, other.node);
            if held_until > now {
                return world.push(held_until, node, life, Wake::Arrival(id));
            }
            let Some(connection) = world.network.connections.get_mut(&id) else { return };
            let pipe = &mut connection.pipes[1 - side];
            if pipe.on_the_way.front().is_some_and(|(at, _)| *at <= now) {
                // Whatever has come is read at once.
                let mut bytes = Vec::new();
                while let Some((at, piece)) = pipe.on_the_way.pop_front() {
                    if at > now {
                        pipe.on_the_way.push_front((at, piece));
                        break;
                    }
                    bytes.extend(piece);
                }
                pipe.bytes -= bytes.len();
                if std::mem::replace(&mut pipe.is_full, false) {
                    let at = world.arrival(node, other.node);
                    world.push(at, other.node, other.life, Wake::Writable(id));
                }
                self.surroundings.trace.add_bytes(&bytes);
                self.tell(node, Event::Received { connection: id, bytes });
                if self.surroundings.lives[node.0].paused_until > now {
                    return;
                }
                continue;
            }
            if pipe.ends_at.is_some_and(|at| at <= now) && pipe.on_the_way.is_empty() {
                connection.is_open[side] = false;
                if !connection.is_open[1 - side] {
                    world.network.connections.remove(&id);
                }
                self.tell(node, Event::Closed { connection: id });
            }
            return;
        }
    }

    fn tell(&mut self, node: NodeId, event: Event) {
        let world = &mut self.surroundings;
        let now = world.now;
        let life = &mut world.lives[node.0];
        life.busy = if life.busy.0 == now { (now, life.busy.1 + 1) } else { (now, 0) };
        assert!(
            life.busy.1 < EVENTS_PER_MS_MAX,
            "node {} does not let time go by, its last event is {event:?}",
            node.0
        );
        let (kind, number) = match &event {
            Event::Timer => (0, 0),
            Event::Accepted { connection, .. } => (1, connection.0),
            Event::Connected { connection } => (2, connection.0),
            Event::Received { connection, .. } => (3, connection.0),
            Event::Writable { connection } => (4, connection.0),
            Event::Closed { connection } => (5, connection.0),
            Event::Later { token } => (6, *token),
        };
        world.trace.add(&[now.0, node.0 as u64, kind, number]);
        if world.trace.is_shown() && !matches!(event, Event::Timer | Event::Received { .. } | Event::Writable { .. }) {
            world.trace.say(|| format!("{:>8} node {}: {event:?}", now.0, node.0));
        }
        let mut context = Context { surroundings: world, me: node };
        self.nodes[node.0].handle(event, &mut context);
        self.set_timer(node);
    }

    fn set_timer(&mut self, node: NodeId) {
        let world = &mut self.surroundings;
        let Some(at) = self.nodes[node.0].next_deadline() else { return };
        let at = at.max(world.now);
        let life = &mut world.lives[node.0];
        if life.is_up && life.timer_at.is_none_or(|timer_at| at < timer_at) {
            life.timer_at = Some(at);
            let number = life.number;
            world.push(at, node, number, Wake::Timer);
        }
    }
}

/// Faults.
impl<N: Node> World<N> {
    /// Nothing passes between these two for so long. What is on the way, and what is sent meanwhile, comes later.
    pub fn hold(&mut self, a: NodeId, b: NodeId, ms: u64) {
        let until = self.now().plus(ms);
        self.surroundings.network.hold(a, b, until);
    }

    /// How long bytes take between these two.
    pub fn set_delay(&mut self, a: NodeId, b: NodeId, least_ms: u64, greatest_ms: u64) {
        self.surroundings.network.set_delay(a, b, least_ms, greatest_ms);
    }

    /// All connections between these two break.
    pub fn cut(&mut self, a: NodeId, b: NodeId) {
        for id in self.between(a, b) {
            self.surroundings.cut(id);
        }
    }

    /// One connection between these two breaks, if there is any.
    pub fn cut_one(&mut self, a: NodeId, b: NodeId) {
        let ids = self.between(a, b);
        if let Some(id) = ids.choose(&mut self.surroundings.random) {
            self.surroundings.cut(*id);
        }
    }

    fn between(&self, a: NodeId, b: NodeId) -> Vec<ConnectionId> {
        let between = |connection: &Connection| {
            let [one, other] = connection.ends;
            (one.node == a && other.node == b) || (one.node == b && other.node == a)
        };
        let connections = self.surroundings.network.connections.iter();
        let are_between = connections.filter(|(_, connection)| connection.is_established && between(connection));
        are_between.map(|(id, _)| *id).collect()
    }

    /// The node stands still for so long, and does not notice it but by the clock.
    pub fn pause(&mut self, node: NodeId, ms: u64) {
        let until = self.now().plus(ms);
        let life = &mut self.surroundings.lives[node.0];
        life.paused_until = life.paused_until.max(until);
    }

    /// The node is no more; its connections break. [`World::start`] begins another life.
    pub fn crash(&mut self, node: NodeId) {
        self.surroundings.lives[node.0].is_up = false;
        // What it was about to open is not opened.
        self.surroundings
            .network
            .connections
            .retain(|_, connection| connection.is_established || connection.ends[0].node != node);
        let ids: Vec<ConnectionId> = self
            .surroundings
            .network
            .connections
            .iter()
            .filter(|(_, connection)| connection.is_established && connection.ends.iter().any(|end| end.node == node))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.surroundings.cut(id);
            if let Some(connection) = self.surroundings.network.connections.get_mut(&id) {
                let side = connection.side(node);
                connection.is_open[side] = false;
                if !connection.is_open[1 - side] {
                    self.surroundings.network.connections.remove(&id);
                }
            }
        }
    }

    /// The node lives again, as `node`.
    pub fn start(&mut self, place: NodeId, node: N) {
        self.nodes[place.0] = node;
        let life = &mut self.surroundings.lives[place.0];
        life.number += 1;
        life.is_up = true;
        life.paused_until = Ms(0);
        life.timer_at = None;
        self.set_timer(place);
    }

    /// From now on bytes are fast. Partitions and pauses end when their time is over.
    pub fn heal(&mut self) {
        for node in 0..self.nodes.len() {
            for other in 0..node {
                self.set_delay(NodeId(other), NodeId(node), 1, 3);
            }
        }
    }
}
