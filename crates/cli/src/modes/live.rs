//! `--live`: one screen of what the server is doing, drawn anew in place.
//!
//! [`Sample`] is what was asked, [`Screen`] what is known over time, [`Screen::draw`] turns it into lines and knows no terminal.

use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use resp::client::Value;

use super::Failed;
use super::hot_keys::counters;
use super::scan::Walk;
use super::stat::Figures;
use crate::format::quoted;
use crate::interrupt;
use crate::session::{Session, print_bytes};
use crate::terminal::{self, KeyByKey, key_within};

/// How many of the past are drawn as a curve.
const PAST: usize = 40;
const SLOW_COMMANDS: usize = 5;
const COMMANDS: usize = 8;
/// Keys that are looked at each time in search of hot ones: so few that the server does not feel it.
const KEYS_LOOKED_AT: u64 = 200;

pub fn run(session: &mut Session) -> Result<(), Failed> {
    let pause = if session.options.has_interval { session.options.interval } else { Duration::from_secs(1) };
    let on_screen = io::stdout().is_terminal() && io::stdin().is_terminal();
    let _caught = interrupt::catch();
    let keys = KeyByKey::start();
    let mut screen = Screen::new(session.address(), session.options.top.unwrap_or(5));
    let mut walk = Walk::new(session);
    if on_screen {
        // Another screen than the one that scrolls, and no cursor.
        print_bytes(b"\x1b[?1049h\x1b[?25l");
    }
    let done = loop {
        match Sample::take(session, &mut walk) {
            Ok(sample) => screen.add(sample),
            Err(_) if interrupt::happened() => break Ok(()),
            Err(why) => break Err(why),
        }
        let (columns, rows) = if on_screen { terminal::size() } else { (80, 50) };
        let lines = screen.draw(columns.max(40), rows.max(10), terminal::colours());
        if !on_screen {
            print_bytes((lines.join("\n") + "\n\n").as_bytes());
            if !interrupt::pause(pause) {
                break Ok(());
            }
            continue;
        }
        // Each line is cleared behind its end rather than the screen before, which would flicker.
        print_bytes(format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n")).as_bytes());
        if matches!(key_within(&keys, pause), Some(b'q' | b'Q')) || interrupt::happened() {
            break Ok(());
        }
    };
    if on_screen {
        print_bytes(b"\x1b[?25h\x1b[?1049l");
    }
    done
}

/// What the server says at one moment.
struct Sample {
    at: Instant,
    figures: Figures,
    /// Of one PING.
    latency: Duration,
    slow: Vec<SlowCommand>,
    commands: Vec<(String, u64, f64)>,
    /// Some of the keys with their use counters, if the server counts.
    hot: Option<Vec<(Vec<u8>, u64)>>,
}

struct SlowCommand {
    id: i64,
    microseconds: i64,
    text: String,
}

impl Sample {
    fn take(session: &mut Session, walk: &mut Walk) -> Result<Sample, Failed> {
        let started = Instant::now();
        session.link().command(&["PING"])?;
        let latency = started.elapsed();
        let figures = Figures::ask(session, &["everything"])?;
        let slow = slow_commands(&session.link().command(&["SLOWLOG", "GET", "20"])?);
        let commands = figures
            .matching("cmdstat_")
            .filter_map(|(name, fields)| {
                let field = |wanted: &str| {
                    let mut fields = fields.split(',').filter_map(|field| field.split_once('='));
                    fields.find(|(name, _)| *name == wanted)?.1.parse::<f64>().ok()
                };
                Some((name.replace('|', " "), field("calls")? as u64, field("usec")?))
            })
            .collect();
        let hot = if figures.text("maxmemory_policy").is_some_and(|policy| policy.ends_with("lfu")) {
            Some(look_for_hot(session, walk)?)
        } else {
            None
        };
        Ok(Sample { at: Instant::now(), figures, latency, slow, commands, hot })
    }
}

fn slow_commands(reply: &Value) -> Vec<SlowCommand> {
    let read = |entry: &Value| match entry.elements()? {
        [id, _, took, arguments, ..] => {
            let words = arguments.elements()?.iter();
            let words: Vec<String> = words
                .map(|word| String::from_utf8_lossy(word.as_bytes().unwrap_or_default()).escape_debug().to_string())
                .collect();
            Some(SlowCommand { id: id.as_i64()?, microseconds: took.as_i64()?, text: words.join(" ") })
        }
        _ => None,
    };
    reply.elements().unwrap_or_default().iter().filter_map(read).collect()
}

fn look_for_hot(session: &mut Session, walk: &mut Walk) -> Result<Vec<(Vec<u8>, u64)>, Failed> {
    session.options.scan_count = KEYS_LOOKED_AT;
    let Some(keys) = walk.next(session, u64::MAX)? else {
        *walk = Walk::new(session);
        return Ok(Vec::new());
    };
    let counted = counters(session, &keys)?;
    Ok(keys.into_iter().zip(counted).collect())
}

struct Screen {
    address: String,
    top: usize,
    last: Option<Sample>,
    before: Option<Sample>,
    rates: VecDeque<f64>,
    latencies: VecDeque<f64>,
    memory: VecDeque<f64>,
    hot: Vec<(Vec<u8>, u64)>,
}

impl Screen {
    fn new(address: String, top: usize) -> Screen {
        Screen {
            address,
            top,
            last: None,
            before: None,
            rates: VecDeque::new(),
            latencies: VecDeque::new(),
            memory: VecDeque::new(),
            hot: Vec::new(),
        }
    }

    fn add(&mut self, sample: Sample) {
        self.before = self.last.take();
        push(&mut self.latencies, sample.latency.as_secs_f64() * 1000.0);
        push(&mut self.memory, sample.figures.number("used_memory"));
        for (key, counter) in sample.hot.iter().flatten() {
            self.hot.retain(|(known, _)| known != key);
            let place = self.hot.partition_point(|(_, other)| other >= counter);
            self.hot.insert(place, (key.clone(), *counter));
            self.hot.truncate(self.top);
        }
        self.last = Some(sample);
        if let Some(rate) = self.rate_of("total_commands_processed") {
            push(&mut self.rates, rate);
        }
    }

    /// How much a counter grows each second.
    fn rate_of(&self, name: &str) -> Option<f64> {
        let (last, before) = (self.last.as_ref()?, self.before.as_ref()?);
        let seconds = last.at.duration_since(before.at).as_secs_f64();
        // A counter that falls was reset.
        Some(((last.figures.number(name) - before.figures.number(name)) / seconds).max(0.0))
    }

    /// The lines of a screen of this size. No line is longer, and there are no more.
    fn draw(&self, columns: usize, rows: usize, colours: bool) -> Vec<String> {
        let Some(sample) = &self.last else { return Vec::new() };
        let ink = Ink { colours };
        let figures = &sample.figures;
        let text = |name: &str| figures.text(name).unwrap_or("?").to_string();
        let rate = |name: &str| self.rate_of(name).unwrap_or(0.0);
        let server = match figures.text("server_name").or(figures.text("spinel_version").map(|_| "spinel")) {
            Some(name) if name != "redis" => name.to_string(),
            _ => "redis".to_string(),
        };
        let version = figures
            .text("valkey_version")
            .or(figures.text("spinel_version"))
            .map_or(text("redis_version"), str::to_string);
        let up = figures.whole("uptime_in_seconds");
        let mut lines = Vec::new();
        let title = format!("{} — {server} {version}, {}, up {}", self.address, text("role"), span(up));
        let leave = "q: leave";
        let space = columns.saturating_sub(title.chars().count() + leave.len());
        lines.push(ink.bold(&cut(&format!("{title}{:space$}{leave}", ""), columns)));
        lines.push(String::new());

        let half = columns / 2;
        let curve_room = half.saturating_sub(24).min(PAST);
        let gauge = |label: &str, value: String, past: &VecDeque<f64>| {
            format!("{label:<11}{value:>12} {}", curve(past, curve_room))
        };
        let hits = rate("keyspace_hits");
        let lookups = hits + rate("keyspace_misses");
        let hit_share = if lookups > 0.0 { format!("{:.1} %", hits * 100.0 / lookups) } else { "-".to_string() };
        let (keys, expiring) = figures.keys();
        let limit = figures.number("maxmemory");
        let (limit, policy) =
            if limit > 0.0 { (bytes(limit), text("maxmemory_policy")) } else { ("none".into(), String::new()) };
        let (snapshot, snapshot_note) = snapshot(figures);
        let rows_of_two = [
            (
                gauge("commands", format!("{}/s", count(self.rates.back().copied().unwrap_or(0.0))), &self.rates),
                pair("clients", &text("connected_clients"), &format!("({} blocked)", text("blocked_clients"))),
            ),
            (
                gauge("PING", format!("{:.2} ms", self.latencies.back().copied().unwrap_or(0.0)), &self.latencies),
                pair("new", &format!("{}/s", count(rate("total_connections_received"))), ""),
            ),
            (gauge("memory", bytes(figures.number("used_memory")), &self.memory), pair("limit", &limit, &policy)),
            (
                pair("resident", &bytes(figures.number("used_memory_rss")), ""),
                pair("replicas", &text("connected_slaves"), ""),
            ),
            (
                pair("keys", &count(keys as f64), &format!("({} expire)", count(expiring as f64))),
                pair("in", &format!("{}/s", bytes(rate("total_net_input_bytes"))), ""),
            ),
            (pair("hits", &hit_share, ""), pair("out", &format!("{}/s", bytes(rate("total_net_output_bytes"))), "")),
            (
                pair("expired", &format!("{}/s", count(rate("expired_keys"))), ""),
                pair("evicted", &format!("{}/s", count(rate("evicted_keys"))), ""),
            ),
            (
                pair("CPU", &format!("{:.0} %", (rate("used_cpu_user") + rate("used_cpu_sys")) * 100.0), ""),
                pair("snapshot", &snapshot, snapshot_note),
            ),
        ];
        for (left, right) in rows_of_two {
            let left = cut(&left, half.saturating_sub(1));
            let padding = half.saturating_sub(left.chars().count());
            lines.push(cut(&format!("{left}{:padding$}{right}", ""), columns));
        }

        lines.push(String::new());
        lines
            .push(ink.bold(&cut(&format!("{:<24}{:>12}{:>14}{:>12}", "command", "calls/s", "mean", "share"), columns)));
        for (name, calls, mean, share) in self.busiest() {
            let share = format!("{:.1} %", share * 100.0);
            let mean = format!("{mean:.1} us");
            lines.push(cut(&format!("{:<24}{:>12}{mean:>14}{share:>12}", cut(&name, 23), count(calls)), columns));
        }

        lines.push(String::new());
        lines.push(ink.bold(&cut("slow commands (SLOWLOG, newest first)", columns)));
        for slow in sample.slow.iter().take(SLOW_COMMANDS) {
            let took = format!("{:.1} ms", slow.microseconds as f64 / 1000.0);
            lines.push(cut(&format!("{:>12}  #{:<6} {}", took, slow.id, slow.text), columns));
        }
        if sample.slow.is_empty() {
            lines.push(ink.dim("  none"));
        }

        lines.push(String::new());
        lines.push(ink.bold(&cut("hot keys (LFU counter, of those looked at so far)", columns)));
        match &sample.hot {
            None => {
                lines.push(ink.dim(&cut(
                    "  the server counts uses only with maxmemory-policy allkeys-lfu or volatile-lfu",
                    columns,
                )))
            }
            Some(_) => {
                for (key, counter) in &self.hot {
                    lines.push(cut(&format!("{counter:>12}  {}", quoted(key)), columns));
                }
            }
        }
        lines.truncate(rows);
        lines
    }

    /// The commands that take the most time: name, calls a second, mean microseconds, share of all that time.
    fn busiest(&self) -> Vec<(String, f64, f64, f64)> {
        let (Some(last), Some(before)) = (&self.last, &self.before) else { return Vec::new() };
        let seconds = last.at.duration_since(before.at).as_secs_f64();
        let mut busy: Vec<(String, f64, f64)> = last
            .commands
            .iter()
            .map(|(name, calls, microseconds)| {
                let earlier = before.commands.iter().find(|(other, ..)| other == name);
                let (calls_before, microseconds_before) = earlier.map_or((0, 0.0), |(_, calls, time)| (*calls, *time));
                (name.clone(), calls.saturating_sub(calls_before) as f64, (microseconds - microseconds_before).max(0.0))
            })
            .filter(|(_, calls, _)| *calls > 0.0)
            .collect();
        let total: f64 = busy.iter().map(|(.., time)| time).sum();
        busy.sort_by(|a, b| b.2.total_cmp(&a.2).then_with(|| a.0.cmp(&b.0)));
        busy.truncate(COMMANDS);
        let row = |(name, calls, time): (String, f64, f64)| {
            (name, calls / seconds, time / calls, if total > 0.0 { time / total } else { 0.0 })
        };
        busy.into_iter().map(row).collect()
    }
}

struct Ink {
    colours: bool,
}

impl Ink {
    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
    }
}

fn push(past: &mut VecDeque<f64>, value: f64) {
    past.push_back(value);
    if past.len() > PAST {
        past.pop_front();
    }
}

/// The values stand below each other; what else is to be said stands behind.
fn pair(label: &str, value: &str, note: &str) -> String {
    format!("{label:<11}{value:>12} {note}").trim_end().to_string()
}

/// Bytes a person can read at a glance.
fn bytes(value: f64) -> String {
    match value {
        value if value >= 1024.0 * 1024.0 * 1024.0 => format!("{:.2} GiB", value / (1024.0 * 1024.0 * 1024.0)),
        value if value >= 1024.0 * 1024.0 => format!("{:.2} MiB", value / (1024.0 * 1024.0)),
        value if value >= 1024.0 => format!("{:.1} KiB", value / 1024.0),
        value => format!("{value:.0} B"),
    }
}

/// The last values as a row of blocks, from nothing to the greatest of them.
fn curve(past: &VecDeque<f64>, room: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let greatest = past.iter().copied().fold(0.0, f64::max);
    let shown = past.iter().skip(past.len().saturating_sub(room));
    shown
        .map(
            |value| if greatest > 0.0 { BLOCKS[((value / greatest * 7.0).round() as usize).min(7)] } else { BLOCKS[0] },
        )
        .collect()
}

fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_string();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}

/// A number a person can read at a glance.
fn count(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{:.2}G", value / 1e9),
        value if value >= 1e6 => format!("{:.2}M", value / 1e6),
        value if value >= 1e4 => format!("{:.1}k", value / 1e3),
        value => format!("{value:.0}"),
    }
}

fn span(seconds: i64) -> String {
    match seconds {
        86_400.. => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
        3_600.. => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        60.. => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

/// What is known of the last one, or how much was changed since.
fn snapshot(figures: &Figures) -> (String, &'static str) {
    if figures.whole("rdb_bgsave_in_progress") != 0 {
        return ("running".to_string(), "");
    }
    match figures.text("rdb_last_bgsave_status") {
        Some("ok") => (count(figures.number("rdb_changes_since_last_save")), "changes since"),
        Some(other) => (other.to_string(), ""),
        None => ("-".to_string(), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(commands: u64) -> Sample {
        let info = format!(
            "redis_version:8.2.0\r\nrole:master\r\nuptime_in_seconds:90\r\ntotal_commands_processed:{commands}\r\n\
             used_memory:1048576\r\nconnected_clients:3\r\nblocked_clients:0\r\ndb0:keys=12345,expires=5\r\n"
        );
        Sample {
            at: Instant::now(),
            figures: Figures::read(info.as_bytes()),
            latency: Duration::from_micros(120),
            slow: vec![SlowCommand { id: 7, microseconds: 12_345, text: "KEYS ".to_string() + &"x".repeat(200) }],
            commands: vec![("get".to_string(), commands, commands as f64 * 2.0)],
            hot: Some(vec![(b"key".to_vec(), 9)]),
        }
    }

    #[test]
    fn every_line_fits_into_every_size() {
        let mut screen = Screen::new("127.0.0.1:6379".to_string(), 5);
        for number in 0..100 {
            screen.add(sample(number * 1000));
        }
        for (columns, rows) in [(80, 24), (40, 10), (200, 60)] {
            let lines = screen.draw(columns, rows, false);
            assert!(lines.len() <= rows);
            for line in &lines {
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
        }
        let all = screen.draw(80, 60, false).join("\n");
        for expected in ["12.3k (5 expire)", "1.00 MiB", "#7", "\"key\"", "get"] {
            assert!(all.contains(expected), "{expected}:\n{all}");
        }
    }
}
