//! One test: threads, the start for all of them at once, what they report.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use crate::choose::{Choices, Chooser};
use crate::pace::Pace;
use crate::record::{INTERVAL, Interval, Record};
use crate::settings::{Format, Settings};
use crate::suite::Test;
use crate::worker::{Message, Plan, Target, Worker};

/// What came of a test.
pub struct Outcome {
    pub title: String,
    /// From the start of the measurement to the last reply.
    pub seconds: f64,
    pub record: Record,
}

impl Outcome {
    pub fn replies(&self) -> u64 {
        self.record.latencies_us.len()
    }

    pub fn per_second(&self) -> f64 {
        self.replies() as f64 / self.seconds
    }
}

/// The line that shows how a test is going, overwritten in place.
struct Live<'a> {
    title: &'a str,
    shown: bool,
    /// Characters to overwrite.
    len: usize,
    replies: u64,
    sum_us: f64,
    intervals: u64,
}

impl Live<'_> {
    fn show(&mut self, interval: Interval, is_warmup: bool, with_seconds: bool) {
        if !self.shown {
            return;
        }
        self.intervals += 1;
        self.replies += interval.replies;
        self.sum_us += interval.mean_us * interval.replies as f64;
        let seconds = self.intervals as f64 * INTERVAL.as_secs_f64();
        let mean = if self.replies == 0 { 0.0 } else { self.sum_us / self.replies as f64 };
        let mut line = format!(
            "{}{}: rps={:.1} (overall: {:.1}) avg_msec={:.3} (overall: {:.3})",
            if is_warmup { "Warming up " } else { "" },
            self.title,
            interval.replies as f64 / INTERVAL.as_secs_f64(),
            self.replies as f64 / seconds,
            interval.mean_us / 1000.0,
            mean / 1000.0,
        );
        if with_seconds {
            line.push_str(&format!(" {seconds:.1} seconds"));
        }
        self.clear();
        self.len = line.chars().count() + 1;
        print!("{line}\r");
        let _ = std::io::stdout().flush();
    }

    /// What counts begins anew after the warm-up.
    fn forget(&mut self) {
        (self.replies, self.sum_us, self.intervals) = (0, 0.0, 0);
    }

    fn clear(&self) {
        if self.shown {
            print!("{:>1$}\r", " ", self.len);
        }
    }
}

/// Which target each connection of each worker goes to: round robin.
fn deal(settings: &Settings, targets: usize) -> Vec<Vec<usize>> {
    let workers = settings.threads.unwrap_or(1);
    let mut dealt = vec![Vec::new(); workers];
    for index in 0..settings.connections {
        dealt[index % workers].push(index % targets);
    }
    dealt
}

fn plan<'a>(settings: &Settings, test: &'a Test, targets: &'a [Target]) -> Plan<'a> {
    Plan {
        targets,
        workload: &test.workload,
        pipeline: settings.pipeline,
        keep_alive: settings.keep_alive,
        ignore_errors: settings.ignore_errors,
        requests: settings.duration.is_none().then_some(settings.requests),
        duration: settings.duration,
        warmup: settings.warmup,
        issued: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        origin: Instant::now(),
    }
}

/// Runs a test to its end.
pub fn run(settings: &Settings, test: &Test, targets: &[Target], choices: &Choices) -> Result<Outcome, String> {
    let dealt = deal(settings, targets.len());
    let workers = dealt.len();
    let plan = plan(settings, test, targets);
    // Each test counts from the beginning.
    let choices = Choices { counters: Arc::default(), ..choices.clone() };
    let mut live = Live {
        title: &test.title,
        shown: matches!(settings.format, Format::Text | Format::Quiet),
        len: 0,
        replies: 0,
        sum_us: 0.0,
        intervals: 0,
    };
    let (messages, received) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut starts = Vec::new();
        for (worker, connections) in dealt.iter().enumerate() {
            let (start, started) = mpsc::sync_channel(1);
            starts.push(start);
            let chooser = Chooser::new(&choices, settings.seed.wrapping_add(worker as u64));
            let messages = messages.clone();
            let plan = &plan;
            scope.spawn(move || Worker::run(plan, connections, chooser, messages, &started));
        }
        drop(messages);

        let mut record = Record::new(workers);
        let mut ready = 0;
        let mut last_reply_nanos = 0;
        for message in received {
            match message {
                Message::Ready => {
                    ready += 1;
                    if ready == workers {
                        let begin = plan.origin.elapsed().as_nanos() as u64;
                        for (worker, start) in starts.iter().enumerate() {
                            let pace = settings.rate.map(|rate| Pace::new(rate, worker, workers, begin));
                            let _ = start.send((begin, pace));
                        }
                    }
                }
                Message::Sample(sample) => {
                    let (index, cut_off) = (sample.index, sample.cut_off);
                    // Of a part of an interval the rate would be wrong, and the report follows at once.
                    if let Some(interval) = record.add(sample).filter(|_| !cut_off) {
                        if index == 0 {
                            live.forget();
                        }
                        live.show(interval, index < 0, index < 0 || settings.duration.is_some());
                    }
                }
                Message::Done { last_reply_nanos: nanos } => last_reply_nanos = last_reply_nanos.max(nanos),
                Message::Failed(text) => {
                    // The others see it within an interval; those that wait for the start find nobody to give it.
                    plan.stop.store(true, Ordering::Relaxed);
                    live.clear();
                    return Err(text);
                }
            }
        }
        live.clear();
        record.finish();
        // A run that ended within one tick of the clock still took some time.
        let seconds = (last_reply_nanos.max(1000)) as f64 / 1e9;
        Ok(Outcome { title: test.title.clone(), seconds, record })
    })
}

/// `-I`: opens the connections and waits.
pub fn idle(settings: &Settings, test: &Test, targets: &[Target], choices: &Choices) -> String {
    println!("Creating {} idle connections and waiting forever (Ctrl+C when done)", settings.connections);
    let connections: Vec<usize> = (0..settings.connections).map(|index| index % targets.len()).collect();
    Worker::hold(&plan(settings, test, targets), &connections, Chooser::new(choices, settings.seed), |open| {
        print!("clients: {open}\r");
        let _ = std::io::stdout().flush();
    })
}
