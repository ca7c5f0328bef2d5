//! The built-in tests: names, titles and commands, as users of redis-benchmark and valkey-benchmark know them.

use crate::settings::Settings;
use crate::template::{Placeholders, Template, Workload};

/// A test to run.
#[derive(Clone, Debug)]
pub struct Test {
    pub title: String,
    pub workload: Workload,
    /// What the report calls the payload: the size of values, or of the whole command where it is the user's.
    pub payload: String,
    /// Commands to run once before it.
    pub preparation: Vec<Vec<Vec<u8>>>,
}

/// The functions of test `function_load` and `fcall`.
const LIBRARY: &str = "benchmarklib";

/// The tests that the options ask for, in Redis's order.
pub fn tests(settings: &Settings, placeholders: &Placeholders) -> Result<Vec<Test>, String> {
    if !settings.commands.is_empty() {
        return own_commands(settings, placeholders).map(|test| vec![test]);
    }
    if let Some((reads, writes)) = settings.ratio {
        return Ok(vec![ratio(settings, placeholders, reads, writes)?]);
    }
    let asked = |names: &[&str]| match &settings.tests {
        None => true,
        Some(tests) => tests.iter().any(|test| names.contains(&test.as_str())),
    };
    let named = |name: &str| settings.tests.as_ref().is_some_and(|tests| tests.iter().any(|test| test == name));
    // The key's tag stands where the built-in tests of Redis's tool have it.
    let tag = if settings.cluster { ":{tag}" } else { "" };
    let key = format!("key{tag}:__rand_int__");
    let list = format!("mylist{tag}");
    let element = "element:__rand_int__";

    let payload = settings.sizes.to_string();
    let mut tests = Vec::new();
    let mut add = |names: &[&str], title: &str, arguments: &[&str]| -> Result<(), String> {
        if asked(names) {
            tests.push(Test {
                title: title.to_owned(),
                workload: Workload::sequence(vec![(1, Template::compile(arguments, placeholders)?)]),
                payload: payload.clone(),
                preparation: Vec::new(),
            });
        }
        Ok(())
    };
    if asked(&["ping_inline", "ping"]) {
        add(&["ping_inline", "ping"], "PING_INLINE", &["PING"])?;
    }
    add(&["ping_mbulk", "ping"], "PING_MBULK", &["PING"])?;
    add(&["set"], "SET", &["SET", &key, "__data__"])?;
    add(&["get"], "GET", &["GET", &key])?;
    add(&["incr"], "INCR", &["INCR", &format!("counter{tag}:__rand_int__")])?;
    add(&["lpush"], "LPUSH", &["LPUSH", &list, "__data__"])?;
    add(&["rpush"], "RPUSH", &["RPUSH", &list, "__data__"])?;
    add(&["lpop"], "LPOP", &["LPOP", &list])?;
    add(&["rpop"], "RPOP", &["RPOP", &list])?;
    add(&["sadd"], "SADD", &["SADD", &format!("myset{tag}"), element])?;
    add(&["hset"], "HSET", &["HSET", &format!("myhash{tag}"), element, "__data__"])?;
    add(&["spop"], "SPOP", &["SPOP", &format!("myset{tag}")])?;
    let score = if settings.keyspace.is_some() { "__rand_int__" } else { "0" };
    // In order, score and member must be the same number, or half of the members would be left out.
    let (score, member) = match settings.order {
        crate::choose::KeyOrder::Sequential => ("__rand_1st__", "element:__rand_1st__"),
        _ => (score, element),
    };
    add(&["zadd"], "ZADD", &["ZADD", &format!("myzset{tag}"), score, member])?;
    add(&["zpopmin"], "ZPOPMIN", &["ZPOPMIN", &format!("myzset{tag}")])?;
    let ranges = ["lrange", "lrange_100", "lrange_300", "lrange_500", "lrange_600"];
    add(&ranges, "LPUSH (needed to benchmark LRANGE)", &["LPUSH", &list, "__data__"])?;
    for (name, elements) in [("lrange_100", 100), ("lrange_300", 300), ("lrange_500", 500), ("lrange_600", 600)] {
        let title = format!("LRANGE_{elements} (first {elements} elements)");
        add(&["lrange", name], &title, &["LRANGE", &list, "0", &(elements - 1).to_string()])?;
    }
    let pairs = std::iter::once("MSET").chain((0..10).flat_map(|_| [key.as_str(), "__data__"]));
    add(&["mset"], "MSET (10 keys)", &pairs.collect::<Vec<_>>())?;
    let keys = std::iter::once("MGET").chain((0..10).map(|_| key.as_str()));
    add(&["mget"], "MGET (10 keys)", &keys.collect::<Vec<_>>())?;
    add(&["xadd"], "XADD", &["XADD", &format!("mystream{tag}"), "*", "myfield", "__data__"])?;

    // The first test sends what a person types.
    if let Some(inline) = tests.first_mut().filter(|test| test.title == "PING_INLINE") {
        inline.workload = Workload::sequence(vec![(1, Template::raw(b"PING\r\n"))]);
    }
    // These leave a library behind, so they run only when asked for by name.
    if named("function_load") {
        let code = library(settings.functions);
        let arguments = ["FUNCTION", "LOAD", "REPLACE", &code];
        tests.push(Test {
            title: "FUNCTION LOAD".to_owned(),
            workload: Workload::sequence(vec![(1, Template::compile(&arguments, placeholders)?)]),
            payload: payload.clone(),
            preparation: Vec::new(),
        });
    }
    if named("fcall") {
        let count = settings.fcall_keys.to_string();
        let mut arguments = vec!["FCALL", "benchmark0", &count];
        arguments.extend((0..settings.fcall_keys).map(|_| key.as_str()));
        let load = ["FUNCTION", "LOAD", "REPLACE", &library(settings.functions)];
        tests.push(Test {
            title: "FCALL".to_owned(),
            workload: Workload::sequence(vec![(1, Template::compile(&arguments, placeholders)?)]),
            payload,
            preparation: vec![load.iter().map(|word| word.as_bytes().to_vec()).collect()],
        });
    }
    Ok(tests)
}

fn own_commands(settings: &Settings, placeholders: &Placeholders) -> Result<Test, String> {
    let shown = |number: &u64, words: &[Vec<u8>]| {
        let text = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
        if *number == 1 && !settings.mix { text } else { format!("{number} {text}") }
    };
    let mut title: Vec<String> = settings.commands.iter().map(|(number, words)| shown(number, words)).collect();
    if let (true, Some((number, words))) = (settings.last_is_input, settings.commands.last()) {
        // What was read may be long and of several lines: as in Redis's tool it is no part of the title.
        *title.last_mut().expect("as many as commands") = shown(number, &words[..words.len() - 1]);
    }
    let commands = settings
        .commands
        .iter()
        .map(|(number, words)| Ok((*number, Template::compile(words, placeholders)?)))
        .collect::<Result<Vec<_>, String>>()?;
    let workload = if settings.mix { Workload::mix(commands) } else { Workload::sequence(commands) };
    let payload = workload.fixed_len().map_or_else(|| settings.sizes.to_string(), |bytes| bytes.to_string());
    Ok(Test { title: title.join(" ; "), workload, payload, preparation: Vec::new() })
}

/// For connections that send nothing.
pub fn ping(placeholders: &Placeholders) -> Result<Test, String> {
    let workload = Workload::sequence(vec![(1, Template::compile(&["PING"], placeholders)?)]);
    Ok(Test { title: "PING".to_owned(), workload, payload: String::new(), preparation: Vec::new() })
}

fn ratio(settings: &Settings, placeholders: &Placeholders, reads: u64, writes: u64) -> Result<Test, String> {
    let key = if settings.cluster { "key:{tag}:__rand_int__" } else { "key:__rand_int__" };
    let commands = [
        (reads, Template::compile(&["GET", key], placeholders)?),
        (writes, Template::compile(&["SET", key, "__data__"], placeholders)?),
    ];
    let workload = Workload::mix(commands.into_iter().filter(|(weight, _)| *weight > 0).collect());
    let payload = settings.sizes.to_string();
    Ok(Test { title: format!("GET:SET {reads}:{writes}"), workload, payload, preparation: Vec::new() })
}

/// A library of so many functions.
fn library(functions: u32) -> String {
    let body: String = (0..functions)
        .map(|index| format!("redis.register_function('benchmark{index}', function(keys, args) return {index} end)\n"))
        .collect();
    format!("#!lua name={LIBRARY}\n{body}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn titles(line: &str) -> Vec<String> {
        let words = line.split_whitespace().map(Into::into).collect();
        let Ok(crate::settings::Request::Run(settings)) = crate::settings::parse(words, || Ok(Vec::new())) else {
            panic!("{line}")
        };
        let value = Some(Arc::new(b"VXK".to_vec()));
        let placeholders = Placeholders { numbers: settings.keyspace.is_some(), tags: false, value, dataset: None };
        tests(&settings, &placeholders).expect("compiles").into_iter().map(|test| test.title).collect()
    }

    #[test]
    fn tests_are_chosen_by_name() {
        assert_eq!(titles("-t ping"), ["PING_INLINE", "PING_MBULK"]);
        assert_eq!(titles("-t get,SET"), ["SET", "GET"]);
        assert_eq!(titles("-t lrange_300"), ["LPUSH (needed to benchmark LRANGE)", "LRANGE_300 (first 300 elements)"]);
        assert_eq!(titles("-t nothing"), [""; 0]);
        assert_eq!(titles("").len(), 22);
        assert_eq!(titles("-t function_load,fcall"), ["FUNCTION LOAD", "FCALL"]);
    }

    #[test]
    fn own_commands_are_their_own_title() {
        assert_eq!(titles("set a b"), ["set a b"]);
        assert_eq!(titles("-- set a b ; 4 get a"), ["set a b ; 4 get a"]);
        assert_eq!(titles("-x set a"), ["set a"]);
        assert_eq!(titles("--ratio 9:1 -r 5"), ["GET:SET 9:1"]);
    }
}
