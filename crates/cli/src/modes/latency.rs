//! `--latency` and its relatives: how long a PING takes, and how long this machine itself stalls.

use std::hint::black_box;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::Failed;
use crate::format::Output;
use crate::interrupt;
use crate::session::{Session, print_bytes};

const PAUSE_BETWEEN_SAMPLES: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Window {
    samples: u64,
    total: Duration,
    least: Option<Duration>,
    most: Duration,
}

impl Window {
    fn add(&mut self, sample: Duration) {
        self.samples += 1;
        self.total += sample;
        self.least = Some(self.least.map_or(sample, |least| least.min(sample)));
        self.most = self.most.max(sample);
    }

    /// Whole milliseconds, but for the mean: the form scripts know.
    fn text(&self, output: Output) -> String {
        let least = self.least.unwrap_or_default().as_millis();
        let most = self.most.as_millis();
        let mean = self.total.as_secs_f64() * 1000.0 / self.samples.max(1) as f64;
        let samples = self.samples;
        match output {
            Output::Pretty => format!("min: {least}, max: {most}, avg: {mean:.2} ({samples} samples)"),
            Output::Csv => format!("{least},{most},{mean:.2},{samples}"),
            Output::Json | Output::QuotedJson => {
                format!("{{\"min\": {least}, \"max\": {most}, \"avg\": {mean:.2}, \"count\": {samples}}}")
            }
            Output::Raw => format!("{least} {most} {mean:.2} {samples}"),
        }
    }
}

fn ping(session: &mut Session) -> Result<Duration, Failed> {
    let started = Instant::now();
    session.link().command(&["PING"])?;
    Ok(started.elapsed())
}

/// `--latency`, and with `history` a new window each 15 seconds (`-i`).
pub fn sample(session: &mut Session, history: bool) -> Result<(), Failed> {
    let length_default = Duration::from_secs(if history { 15 } else { 1 });
    let length = if session.options.has_interval { session.options.interval } else { length_default };
    let in_place = session.output == Output::Pretty && io::stdout().is_terminal();
    loop {
        let begun = Instant::now();
        let mut window = Window::default();
        loop {
            window.add(ping(session)?);
            if in_place {
                print_bytes(format!("\x1b[0G\x1b[2K{}", window.text(Output::Pretty)).as_bytes());
            }
            if (history || !in_place) && begun.elapsed() >= length {
                break;
            }
            interrupt::pause(PAUSE_BETWEEN_SAMPLES);
        }
        let seconds = begun.elapsed().as_secs_f64();
        match (in_place, history) {
            (true, _) => print_bytes(format!(" -- {seconds:.2} seconds range\n").as_bytes()),
            (false, true) => print_bytes(format!("{}\n", window.text(session.output)).as_bytes()),
            (false, false) => {
                print_bytes(format!("{}\n", window.text(session.output)).as_bytes());
                return Ok(());
            }
        }
    }
}

/// A class of latencies: what stands for it, and what it reaches up to.
struct Class {
    symbol: char,
    below: Duration,
}

/// `--latency-dist`: the share of each class of latencies as a colour.
pub fn distribution(session: &mut Session) -> Result<(), Failed> {
    let length = if session.options.has_interval { session.options.interval } else { Duration::from_secs(1) };
    let classes = classes();
    for line in 0.. {
        if line % 20 == 0 {
            print_bytes(legend().as_bytes());
        }
        let begun = Instant::now();
        let mut counts = vec![0u64; classes.len()];
        while begun.elapsed() < length {
            let sample = ping(session)?;
            let class = classes.iter().position(|class| sample <= class.below).unwrap_or(classes.len() - 1);
            counts[class] += 1;
            interrupt::pause(PAUSE_BETWEEN_SAMPLES);
        }
        let total = counts.iter().sum::<u64>().max(1);
        let mut row = String::from("\x1b[38;5;0m");
        for (class, count) in classes.iter().zip(counts) {
            let colour = (count * (PALETTE.len() as u64 - 1)).div_ceil(total) as usize;
            row += &format!("\x1b[48;5;{}m{}", PALETTE[colour], class.symbol);
        }
        print_bytes(format!("{row}\x1b[0m\n").as_bytes());
    }
    Ok(())
}

/// From nothing to all: dark, grey, yellow, red.
const PALETTE: [u8; 19] = [0, 233, 234, 235, 237, 239, 241, 243, 245, 247, 144, 143, 142, 184, 226, 214, 208, 202, 196];

fn classes() -> Vec<Class> {
    let of = |symbols: &str, microseconds: &[u64]| -> Vec<Class> {
        let each = symbols.chars().zip(microseconds);
        each.map(|(symbol, &below)| Class { symbol, below: Duration::from_micros(below) }).collect()
    };
    let mut classes = of(".-*#", &[10, 125, 250, 500]);
    classes.extend(of("123456789", &[1, 2, 3, 4, 5, 6, 7, 8, 9].map(|milliseconds| milliseconds * 1000)));
    classes.extend(of("ABCDE", &[10, 20, 30, 40, 50].map(|milliseconds| milliseconds * 1000)));
    classes.extend(of("FGHIJ", &[100, 200, 300, 400, 500].map(|milliseconds| milliseconds * 1000)));
    classes.extend(of("KLMNOPQ", &[1, 2, 4, 8, 16, 30, 60].map(|seconds| seconds * 1_000_000)));
    classes.push(Class { symbol: '?', below: Duration::MAX });
    classes
}

fn legend() -> String {
    let line = "-".repeat(45);
    let colours: String = PALETTE.iter().map(|colour| format!("\x1b[48;5;{colour}m ")).collect();
    format!(
        "{line}\n\
         . - * #          .01 .125 .25 .5 milliseconds\n\
         1,2,3,...,9      from 1 to 9     milliseconds\n\
         A,B,C,D,E        10,20,30,40,50  milliseconds\n\
         F,G,H,I,J        .1,.2,.3,.4,.5       seconds\n\
         K,L,M,N,O,P,Q,?  1,2,4,8,16,30,60,>60 seconds\n\
         From 0 to 100%: {colours}\x1b[0m\n{line}\n"
    )
}

/// `--intrinsic-latency`: a program that never waits, and how long it was made to.
pub fn intrinsic(seconds: u64) -> ExitCode {
    let _caught = interrupt::catch();
    let begun = Instant::now();
    let end = Duration::from_secs(seconds);
    let (mut runs, mut most) = (0u64, Duration::ZERO);
    let mut before = begun.elapsed();
    let mut sum = 0u64;
    loop {
        // Some work, so that a run is not the reading of the clock alone.
        for number in 0..32u64 {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(number));
        }
        let now = begun.elapsed();
        let took = now - before;
        before = now;
        runs += 1;
        if took.as_micros() > most.as_micros() {
            most = took;
            print_bytes(format!("Max latency so far: {} microseconds.\n", most.as_micros()).as_bytes());
            // Printing is no latency of the machine.
            before = begun.elapsed();
        }
        if now >= end || interrupt::happened() {
            break;
        }
    }
    let mean = before.as_secs_f64() * 1e6 / runs as f64;
    let text = format!(
        "\n{runs} total runs (avg latency: {mean:.4} microseconds / {:.2} nanoseconds per run).\n\
         Worst run took {:.0}x longer than the average latency.\n",
        mean * 1000.0,
        most.as_secs_f64() * 1e6 / mean
    );
    print_bytes(text.as_bytes());
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_in_every_form() {
        let mut window = Window::default();
        window.add(Duration::from_micros(500));
        window.add(Duration::from_micros(2500));
        assert_eq!(window.text(Output::Pretty), "min: 0, max: 2, avg: 1.50 (2 samples)");
        assert_eq!(window.text(Output::Raw), "0 2 1.50 2");
        assert_eq!(window.text(Output::Csv), "0,2,1.50,2");
    }

    #[test]
    fn every_latency_has_a_class() {
        let classes = classes();
        assert_eq!(classes.len(), 31);
        assert!(classes.is_sorted_by_key(|class| class.below));
    }
}
