//! On how many event loops the connections are.
//!
//! A loop that has little to do wakes for one request at a time, and pays more for waking than for the request. So connections are kept on as
//! few loops as their load needs, the first ones, and move as it changes. Each loop reports ten times a second what it has done; whoever
//! comes when a period is over [judges](Judge::judge), and leaves an [`Order`] for each loop.
//!
//! ```text
//!          loops are busy                     a tenth more is done,
//!  steady ----------------> trial of more ---- or cores were free ----> steady, with more
//!     |                            |---------- neither ---------------> steady, as before; the next trial is later
//!     |                            '---------- the load is gone -------> steady, as before: it has shown nothing
//!     |    loops wait for cores
//!     |-------------------> trial of fewer --- as much is done, ------> steady, with fewer
//!     |                            |           or the load is gone
//!     |                            '---------- less ------------------> steady, as before; the next trial is later
//!     |    the load has room in fewer, for a second
//!     |---------------------------------------------------------------> steady, with fewer
//!     |    commands are slow
//!     '---------------------------------------------------------------> steady, with all: nobody waits behind those of others
//! ```
//!
//! *Why a trial?* Where all cores are taken, by the clients of the same machine for example, a second loop takes time away from those it works for:
//! with two cores, two loops did half of what one did. Nothing that a loop can see of itself tells this from a machine whose other cores are free.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often loops report, and are judged.
pub const PERIOD: Duration = Duration::from_millis(100);
/// A loop is busy that runs or waits for a core for so much of its time.
const BUSY_MIN: f64 = 0.8;
/// For so many periods, before more loops are tried: a shorter burst is over before the trial is. After each trial whose load has gone it doubles.
const BUSY_PERIODS_MIN: u32 = 2;
const BUSY_PERIODS_MAX: u32 = 16;
/// So much of a core is planned for a loop when others are to be relieved of theirs.
const ROOM: f64 = 0.6;
/// The load must have had room in fewer loops for so long.
const ROOM_FOR: Duration = Duration::from_secs(1);
/// Loops wait for cores that do so for this part of their time.
const CONTENDED_MIN: f64 = 0.1;
/// Where loops wait for cores, half of them may do with this much of a core each: together they wake less.
const CONTENDED_ROOM: f64 = 1.2;
/// Within so long connections have moved, and each loop has reported on a period behind that.
const TRIAL: Duration = Duration::from_millis(300);
/// So much must be done with more loops,
const GAIN_MIN: f64 = 1.1;
/// and with fewer, for a trial to be kept.
const LOSS_MAX: f64 = 0.95;
/// From one trial that has failed to the next: it doubles.
const PATIENCE_MIN: Duration = Duration::from_secs(1);
const PATIENCE_MAX: Duration = Duration::from_secs(16);
/// Commands are slow that take this part of a loop's time.
const SLOW_MIN: f64 = 0.1;
/// For so long behind them all loops are used.
const SLOW_FOR: Duration = Duration::from_secs(10);
/// Whoever has not reported for so long hangs in a command.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// What a loop has done in its last period.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub at: Instant,
    pub commands_per_second: f64,
    /// Parts of the time: it had a core,
    pub busy: f64,
    /// could have used one and had none,
    pub waited: f64,
    /// and executed slow commands.
    pub slow: f64,
    /// Connections that had something to do.
    pub active_connections: usize,
}

impl Report {
    fn nothing(at: Instant) -> Report {
        Report { at, commands_per_second: 0.0, busy: 0.0, waited: 0.0, slow: 0.0, active_connections: 0 }
    }
}

/// What a loop has to do with its connections: each is asked once an epoch, when it has had a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    pub epoch: u32,
    /// So many of a thousand are given away,
    pub per_mille: u32,
    /// to the one of these that has least to do.
    pub to: Range<usize>,
}

impl Order {
    fn encode(&self) -> u64 {
        u64::from(self.epoch) << 32 | u64::from(self.per_mille) << 16 | (self.to.start as u64) << 8 | self.to.end as u64
    }

    fn decode(code: u64) -> Order {
        Order {
            epoch: (code >> 32) as u32,
            per_mille: (code >> 16 & 0xffff) as u32,
            to: (code >> 8 & 0xff) as usize..(code & 0xff) as usize,
        }
    }
}

/// What all loops share of this.
pub struct Balance {
    in_use: AtomicUsize,
    /// By loop, encoded.
    orders: Vec<AtomicU64>,
    /// By loop: the connections that had something to do, with those that have come since and without those that have gone.
    loads: Vec<AtomicUsize>,
    judge: Mutex<Judge>,
}

impl Balance {
    /// Of so many loops, with `always_active` all of them in use.
    pub fn new(loops: usize, always_active: bool) -> Balance {
        let now = Instant::now();
        let mut judge = Judge::new(loops, now);
        judge.always_active = always_active;
        if always_active {
            judge.in_use = loops;
        }
        Balance {
            in_use: AtomicUsize::new(judge.in_use),
            orders: (0..loops).map(|_| AtomicU64::default()).collect(),
            loads: (0..loops).map(|_| AtomicUsize::default()).collect(),
            judge: Mutex::new(judge),
        }
    }

    /// Connections are on the loops below this one, or on their way there.
    #[inline]
    pub fn in_use(&self) -> usize {
        self.in_use.load(Relaxed)
    }

    #[inline]
    pub fn order(&self, index: usize) -> Order {
        Order::decode(self.orders[index].load(Relaxed))
    }

    /// The loop among these that has least to do gets one connection more.
    pub fn assign(&self, among: Range<usize>, clients: impl Fn(usize) -> i64) -> usize {
        let first = among.start;
        let index = if self.judge.lock().always_active {
            among.min_by_key(|&index| clients(index))
        } else {
            among.min_by_key(|&index| (self.loads[index].load(Relaxed), clients(index)))
        };
        let index = index.unwrap_or(first);
        self.loads[index].fetch_add(1, Relaxed);
        index
    }

    /// This loop has given a connection away.
    pub fn note_given(&self, index: usize) {
        let _ = self.loads[index].fetch_update(Relaxed, Relaxed, |load| load.checked_sub(1));
    }

    /// `io-threads-always-active` has changed, or may have.
    pub fn set_always_active(&self, always_active: bool) {
        let mut judge = self.judge.lock();
        if judge.always_active != always_active {
            judge.always_active = always_active;
            self.judge(&mut judge, Instant::now());
        }
    }

    /// Uses so many loops, or as many as the load needs.
    pub fn fix(&self, count: Option<usize>) {
        let mut judge = self.judge.lock();
        judge.fixed = count;
        self.judge(&mut judge, Instant::now());
    }

    /// What this loop has done.
    pub fn report(&self, index: usize, report: Report) {
        self.loads[index].store(report.active_connections, Relaxed);
        let mut judge = self.judge.lock();
        judge.reports[index] = report;
        self.judge(&mut judge, report.at);
    }

    fn judge(&self, judge: &mut Judge, now: Instant) {
        let before = judge.in_use;
        judge.judge(now);
        let after = judge.in_use;
        if after == before {
            return;
        }
        // Before the orders: who obeys one finds the loops in use that it names.
        self.in_use.store(after, Relaxed);
        for (index, order) in self.orders.iter().enumerate() {
            let epoch = self.order(index).epoch.wrapping_add(1);
            let (per_mille, to) = match index {
                _ if index >= after => (1000, 0..after),
                // Rounded up: of three connections one goes to the third loop.
                _ if index < before && after > before => ((1000 * (after - before)).div_ceil(after), before..after),
                _ => (0, 0..0),
            };
            order.store(Order { epoch, per_mille: per_mille as u32, to }.encode(), Relaxed);
        }
    }
}

/// Decides. It knows no threads and no clock.
struct Judge {
    loops: usize,
    always_active: bool,
    /// As DEBUG has asked.
    fixed: Option<usize>,
    in_use: usize,
    reports: Vec<Report>,
    judged: Instant,
    /// Commands a second of the last two periods.
    rates: [f64; 2],
    trial: Option<Trial>,
    more: Patience,
    fewer: Patience,
    has_room_since: Option<Instant>,
    /// So many in a row, and so many are wanted.
    busy_periods: u32,
    busy_periods_min: u32,
    slow_until: Instant,
}

struct Trial {
    before: usize,
    rate_before: f64,
    began: Instant,
}

/// When the next trial may be.
struct Patience {
    not_before: Instant,
    wait: Duration,
}

impl Patience {
    fn new(now: Instant) -> Patience {
        Patience { not_before: now, wait: PATIENCE_MIN }
    }

    fn lose(&mut self, now: Instant) {
        self.not_before = now + self.wait;
        self.wait = (self.wait * 2).min(PATIENCE_MAX);
    }
}

impl Judge {
    fn new(loops: usize, now: Instant) -> Judge {
        Judge {
            loops,
            always_active: false,
            fixed: None,
            in_use: 1,
            reports: vec![Report::nothing(now); loops],
            judged: now,
            rates: [0.0; 2],
            trial: None,
            more: Patience::new(now),
            fewer: Patience::new(now),
            has_room_since: None,
            busy_periods: 0,
            busy_periods_min: BUSY_PERIODS_MIN,
            slow_until: now,
        }
    }

    /// Looks at the reports, and changes how many loops are in use.
    fn judge(&mut self, now: Instant) {
        if let Some(count) = self.fixed {
            return self.use_loops(count.min(self.loops));
        }
        if self.always_active {
            return self.use_loops(self.loops);
        }
        if self.loops == 1 || now.saturating_duration_since(self.judged) < PERIOD {
            return;
        }
        self.judged = now;
        let total = |part: fn(&Report) -> f64| self.reports.iter().map(part).sum::<f64>();
        let (rate, busy, waited) =
            (total(|it| it.commands_per_second), total(|it| it.busy), total(|it| it.waited) / self.in_use as f64);
        let is_slow = |it: &Report| it.slow >= SLOW_MIN || now.saturating_duration_since(it.at) > SILENCE_MAX;
        if self.reports.iter().any(is_slow) {
            self.slow_until = now + SLOW_FOR;
        }
        let rate_before = (self.rates[0] + self.rates[1]) / 2.0;
        self.rates = [self.rates[1], rate];
        let is_busy = busy / self.in_use as f64 + waited >= BUSY_MIN;
        self.busy_periods = if is_busy { self.busy_periods.saturating_add(1) } else { 0 };
        if now < self.slow_until {
            return self.use_loops(self.loops);
        }
        if let Some(Trial { before, rate_before, began }) = self.trial {
            if now.saturating_duration_since(began) >= TRIAL {
                self.end_trial(now, before, rate / rate_before.max(1.0), is_busy, waited >= CONTENDED_MIN);
            }
            return;
        }

        let enough = ((busy / ROOM).ceil() as usize).max(1);
        if enough < self.in_use {
            let since = *self.has_room_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= ROOM_FOR {
                self.use_loops(enough);
            }
            return;
        }
        self.has_room_since = None;

        let half = (self.in_use / 2).max(1);
        if self.in_use < self.loops && self.busy_periods >= self.busy_periods_min && now >= self.more.not_before {
            self.try_loops((self.in_use * 2).min(self.loops), rate_before.max(rate), now);
        } else if half < self.in_use
            && waited >= CONTENDED_MIN
            && busy <= CONTENDED_ROOM * half as f64
            && now >= self.fewer.not_before
        {
            self.try_loops(half, rate_before.max(rate), now);
        }
    }

    fn use_loops(&mut self, count: usize) {
        self.in_use = count;
        self.trial = None;
        self.has_room_since = None;
        self.busy_periods = 0;
    }

    fn try_loops(&mut self, count: usize, rate_before: f64, now: Instant) {
        let before = self.in_use;
        self.use_loops(count);
        self.trial = Some(Trial { before, rate_before, began: now });
    }

    /// `gain`: what is done now over what was done before. Loops that do less and are not busy have less to do, and prove nothing.
    fn end_trial(&mut self, now: Instant, before: usize, gain: f64, is_busy: bool, is_contended: bool) {
        self.trial = None;
        let is_load_gone = gain < LOSS_MAX && !is_busy;
        if self.in_use > before {
            if is_load_gone && !is_contended {
                self.busy_periods_min = (self.busy_periods_min * 2).min(BUSY_PERIODS_MAX);
                return self.use_loops(before);
            }
            self.busy_periods_min = BUSY_PERIODS_MIN;
            if gain >= GAIN_MIN || !is_contended {
                self.more = Patience::new(now);
                self.fewer.lose(now);
            } else {
                self.more.lose(now);
                self.use_loops(before);
            }
        } else if is_load_gone {
            // What is left has room here. Should more come again, more loops are a trial away.
        } else if gain >= LOSS_MAX {
            self.fewer = Patience::new(now);
            self.more.lose(now);
        } else {
            self.fewer.lose(now);
            self.use_loops(before);
        }
    }
}

/// What a loop keeps to report on itself.
pub struct Meter {
    /// `/proc/thread-self/schedstat`: nanoseconds on a core, and those in which it waited for one.
    schedule: Option<File>,
    began: Instant,
    at_began: Figures,
    slow: Duration,
    active_connections: usize,
    /// The number of this period: a connection that has had a turn in it is counted.
    pub period: u32,
}

/// Nanoseconds, and commands, since the loop began.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    busy_ns: u64,
    waited_ns: u64,
    commands: u64,
}

/// A turn is slow that takes so long,
const SLOW_TURN_MIN: Duration = Duration::from_millis(2);
/// and so long for each of its commands.
const SLOW_COMMAND_MIN: Duration = Duration::from_micros(50);

impl Meter {
    /// Of the calling thread.
    pub fn new() -> Meter {
        Meter {
            schedule: File::open("/proc/thread-self/schedstat").ok(),
            began: Instant::now(),
            at_began: Figures::default(),
            slow: Duration::ZERO,
            active_connections: 0,
            period: 1,
        }
    }

    /// A connection has its first turn in this period.
    #[inline]
    pub fn note_active(&mut self) {
        self.active_connections += 1;
    }

    /// It has gone to another loop, where it will be counted.
    pub fn note_gone(&mut self) {
        self.active_connections = self.active_connections.saturating_sub(1);
    }

    /// A turn of the loop with so many commands has taken so long.
    #[inline]
    pub fn note_turn(&mut self, took: Duration, commands: u64) {
        if took >= SLOW_TURN_MIN {
            self.note_long_turn(took, commands);
        }
    }

    #[cold]
    fn note_long_turn(&mut self, took: Duration, commands: u64) {
        if took >= SLOW_COMMAND_MIN * commands.min(u64::from(u32::MAX)) as u32 {
            self.slow += took;
        }
    }

    /// When a period is over, what was done in it. `loop_ns` stands for what is not known of the thread's own time.
    pub fn report(&mut self, now: Instant, commands: u64, loop_ns: u64) -> Option<Report> {
        let took = now.saturating_duration_since(self.began);
        if took < PERIOD {
            return None;
        }
        let (busy_ns, waited_ns) = self.schedule.as_ref().and_then(read_schedule).unwrap_or((loop_ns, 0));
        let figures = Figures { busy_ns, waited_ns, commands };
        let before = std::mem::replace(&mut self.at_began, figures);
        let part = |ns: u64| ns as f64 / took.as_nanos() as f64;
        let waited = part(waited_ns.saturating_sub(before.waited_ns));
        let report = Report {
            at: now,
            commands_per_second: commands.saturating_sub(before.commands) as f64 / took.as_secs_f64(),
            busy: part(busy_ns.saturating_sub(before.busy_ns)),
            waited,
            // Who has waited for a core was not slow.
            slow: part(std::mem::take(&mut self.slow).as_nanos() as u64) - waited,
            active_connections: std::mem::take(&mut self.active_connections),
        };
        self.began = now;
        self.period = self.period.wrapping_add(1);
        Some(report)
    }
}

/// Time on a core, and waiting for one.
fn read_schedule(file: &File) -> Option<(u64, u64)> {
    let mut buffer = [0; 96];
    let count = file.read_at(&mut buffer, 0).ok()?;
    let mut fields = std::str::from_utf8(&buffer[..count]).ok()?.split_ascii_whitespace();
    let mut next = || fields.next()?.parse().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine as loops see it: what they do, and how busy they are, when so many are in use.
    type Machine = fn(&World, loops: usize) -> Report;

    struct World {
        judge: Judge,
        now: Instant,
        /// What the load would take of one loop, in cores.
        demand: f64,
        machine: Machine,
        periods: usize,
        changes: usize,
    }

    impl World {
        fn new(loops: usize, demand: f64, machine: Machine) -> World {
            let now = Instant::now();
            World { judge: Judge::new(loops, now), now, demand, machine, periods: 0, changes: 0 }
        }

        /// The mean number of loops in use, over so many seconds.
        fn run(&mut self, seconds: usize) -> f64 {
            self.run_periods(seconds * 10)
        }

        fn run_periods(&mut self, periods: usize) -> f64 {
            let mut sum = 0;
            for _ in 0..periods {
                self.now += PERIOD;
                self.periods += 1;
                let used = self.judge.in_use;
                for index in 0..self.judge.loops {
                    self.judge.reports[index] =
                        if index < used { (self.machine)(self, used) } else { Report::nothing(self.now) };
                }
                self.judge.judge(self.now);
                self.changes += usize::from(self.judge.in_use != used);
                sum += used;
            }
            sum as f64 / periods as f64
        }
    }

    /// Each loop has a core for itself. Where several are half idle, they wake for less each time.
    fn own_cores(world: &World, loops: usize) -> Report {
        let cost = if loops > 1 { 1.3 } else { 1.0 };
        let busy = (world.demand * cost / loops as f64).min(1.0);
        let done = world.demand.min(loops as f64) / loops as f64;
        Report { busy, commands_per_second: done * 250_000.0, ..Report::nothing(world.now) }
    }

    /// Two cores, one of which the clients need, as measured with one request in flight.
    fn shared_cores(world: &World, loops: usize) -> Report {
        let (busy, waited, rate) = if loops == 1 { (0.98, 0.01, 256_000.0) } else { (0.45, 0.37, 69_000.0) };
        Report { busy, waited, commands_per_second: rate, ..Report::nothing(world.now) }
    }

    /// Other processes take their part of each core, however many loops there are: more loops get more.
    fn among_others(world: &World, _loops: usize) -> Report {
        Report { busy: 0.5, waited: 0.5, commands_per_second: 125_000.0, ..Report::nothing(world.now) }
    }

    /// The load comes for `demand` seconds in each second, and begins amid a period.
    fn bursts(world: &World, loops: usize) -> Report {
        let period = (world.periods % 10) as f64 / 10.0;
        let (from, to) = (0.05f64, 0.05 + world.demand);
        let part = ((to.min(period + 0.1) - from.max(period)) * 10.0).max(0.0);
        let Report { busy, waited, commands_per_second, .. } = shared_cores(world, loops);
        Report {
            busy: busy * part,
            waited: waited * part,
            commands_per_second: commands_per_second * part,
            ..Report::nothing(world.now)
        }
    }

    fn slow_commands(world: &World, loops: usize) -> Report {
        let slow = if world.demand > 0.1 { 0.2 } else { 0.0 };
        Report { slow, ..own_cores(world, loops) }
    }

    #[test]
    fn a_light_load_stays_on_one_loop() {
        let mut world = World::new(8, 0.5, own_cores);
        assert_eq!((world.run(60), world.changes), (1.0, 0));
    }

    #[test]
    fn a_heavy_load_gets_all_loops_soon_and_gives_them_back() {
        let mut world = World::new(8, 7.0, own_cores);
        world.run(3);
        assert_eq!(world.judge.in_use, 8);
        world.changes = 0;
        assert_eq!((world.run(60), world.changes), (8.0, 0));
        world.demand = 0.2;
        world.run(2);
        assert_eq!(world.judge.in_use, 1);
    }

    #[test]
    fn a_load_that_does_not_change_ends_on_a_number_of_loops() {
        for tenths in 1..=90 {
            let mut world = World::new(8, f64::from(tenths) / 10.0, own_cores);
            world.run(30);
            world.changes = 0;
            world.run(60);
            assert_eq!(world.changes, 0, "{} cores", world.demand);
            let used = world.judge.in_use;
            assert!(used == 8 || own_cores(&world, used).busy < 0.9, "{} cores: {used} loops", world.demand);
        }
    }

    #[test]
    fn where_clients_need_the_cores_one_loop_does_the_work() {
        let mut world = World::new(2, 1.0, shared_cores);
        world.run(30);
        // But for trials.
        let mean = world.run(300);
        assert!(mean < 1.05, "{mean}");
        // From wherever it comes.
        world.judge.use_loops(2);
        world.run(3);
        assert_eq!(world.judge.in_use, 1);
    }

    #[test]
    fn bursts_stay_on_one_loop() {
        for tenths in 1..10 {
            let mut world = World::new(2, f64::from(tenths) / 10.0, bursts);
            world.run(60);
            let mean = world.run(300);
            // But for trials.
            assert!(mean < 1.05, "bursts of {} s: {mean}", world.demand);
            world.judge.use_loops(2);
            world.run(10);
            assert_eq!(world.judge.in_use, 1, "bursts of {} s", world.demand);
        }
    }

    #[test]
    fn a_trial_whose_load_goes_proves_nothing() {
        let mut world = World::new(2, 1.0, own_cores);
        world.judge.more.wait = 4 * PATIENCE_MIN;
        for periods in [2, 4, 8, 16, 16] {
            world.demand = 1.0;
            world.run_periods(periods - 1);
            assert_eq!(world.judge.in_use, 1, "it is not busy for long enough");
            world.run_periods(1);
            assert_eq!(world.judge.in_use, 2, "a trial");
            world.demand = 0.0;
            world.run_periods(4);
            assert_eq!((world.judge.in_use, world.judge.more.wait), (1, 4 * PATIENCE_MIN));
        }
        // One that proves something.
        world.demand = 2.0;
        world.run(3);
        assert_eq!((world.judge.in_use, world.judge.more.wait), (2, PATIENCE_MIN));
        assert_eq!(world.judge.busy_periods_min, BUSY_PERIODS_MIN);
    }

    #[test]
    fn a_trial_of_fewer_whose_load_goes_leaves_it_there() {
        let mut world = World::new(2, 1.0, shared_cores);
        world.judge.use_loops(2);
        world.run_periods(1);
        assert_eq!(world.judge.in_use, 1);
        let before = (world.judge.more.wait, world.judge.fewer.wait);
        world.machine = |world, _| Report::nothing(world.now);
        world.run_periods(5);
        assert_eq!((world.judge.in_use, world.judge.trial.is_none()), (1, true));
        assert_eq!((world.judge.more.wait, world.judge.fewer.wait), before);
    }

    #[test]
    fn more_loops_are_used_among_others_who_need_the_cores() {
        let mut world = World::new(4, 4.0, among_others);
        world.run(30);
        // But for trials.
        let mean = world.run(300);
        assert!(mean > 3.8, "{mean}");
    }

    #[test]
    fn nobody_waits_for_slow_commands_of_others() {
        let mut world = World::new(4, 0.2, slow_commands);
        world.run(1);
        assert_eq!(world.judge.in_use, 4);
        world.demand = 0.05;
        world.run(9);
        assert_eq!(world.judge.in_use, 4);
        world.run(4);
        assert_eq!(world.judge.in_use, 1);
    }

    #[test]
    fn nobody_waits_for_a_loop_that_hangs() {
        let mut world = World::new(4, 0.2, own_cores);
        world.run(1);
        // It does not come to report.
        world.now += SILENCE_MAX + PERIOD;
        world.judge.judge(world.now);
        assert_eq!(world.judge.in_use, 4);
    }

    #[test]
    fn all_loops_are_used_where_they_are_to_be_always_active() {
        let mut world = World::new(4, 0.1, own_cores);
        world.judge.always_active = true;
        world.run(60);
        assert_eq!((world.judge.in_use, world.changes), (4, 1));
    }

    #[test]
    fn orders_move_a_share_to_new_loops_and_all_from_those_that_rest() {
        let balance = Balance::new(4, false);
        balance.fix(Some(3));
        let order = |index| {
            let Order { per_mille, to, .. } = balance.order(index);
            (per_mille, to)
        };
        assert_eq!((order(0), order(1), order(3)), ((667, 1..3), (0, 0..0), (1000, 0..3)));
        balance.fix(Some(2));
        assert_eq!((order(0), order(1), order(2), order(3)), ((0, 0..0), (0, 0..0), (1000, 0..2), (1000, 0..2)));
        assert_eq!(balance.order(0).epoch, 2);
        // Connections go where there is least to do.
        let clients = |_| 0;
        let first: Vec<usize> = (0..4).map(|_| balance.assign(0..2, clients)).collect();
        assert_eq!(first, [0, 1, 0, 1]);
        balance.note_given(1);
        let then: Vec<usize> = (0..2).map(|_| balance.assign(0..2, clients)).collect();
        assert_eq!(then, [1, 0]);
    }

    #[test]
    fn a_meter_knows_what_its_thread_has_done() {
        let mut meter = Meter::new();
        let began = Instant::now();
        (0..3).for_each(|_| meter.note_active());
        meter.note_gone();
        meter.note_turn(Duration::from_millis(50), 10);
        meter.note_turn(Duration::from_millis(50), 10_000);
        let mut number = 1u64;
        while began.elapsed() < PERIOD {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        let report = meter.report(Instant::now(), 5_000, 0).expect("a period is over");
        assert!(report.busy > 0.0, "{report:?}");
        assert!(report.slow <= 0.5 && report.commands_per_second <= 50_000.0, "{report:?}");
        assert_eq!(report.active_connections, 2);
        assert!(meter.report(Instant::now(), 5_000, 0).is_none(), "the next one has begun");
    }
}
