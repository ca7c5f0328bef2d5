//! The load generator: `spinel benchmark`, also as `redis-benchmark`.
//!
//! **Owns** its options ([`options`]), the requests it sends ([`template`], [`choose`], [`suite`]), the loop that sends them
//! ([`worker`]), and what it shows of their latencies ([`record`], [`report`]).
//!
//! **Must not know** anything of a server's inside: it sees sockets and replies, whoever is at the other end.
//!
//! **Start** at [`run`], then [`worker`], which is where the time goes.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

mod choose;
mod cluster;
mod dataset;
pub mod help;
pub mod options;
mod pace;
mod record;
mod report;
mod run;
mod scan;
mod settings;
mod setup;
mod suite;
mod template;
mod transport;
mod uri;
mod worker;

use choose::{Choices, Sizes};
use dataset::Dataset;
use report::Circumstances;
use settings::{Format, Mistake, ReadFrom, Request, Settings};
use setup::Setup;
use template::Placeholders;
use transport::Endpoint;
use worker::Target;

/// Runs the program. `arguments` begins with its name.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let mut words = arguments.into_iter();
    let program = words.next().unwrap_or_default();
    let program = match Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned()) {
        Some(name) if name != "spinel" && !name.is_empty() => name,
        _ => "spinel benchmark".to_owned(),
    };
    let input = || {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match settings::parse(words.collect(), input) {
        Ok(Request::Help) => show(&help::usage(&program)),
        Ok(Request::Version) => show(&help::version(&program)),
        Ok(Request::Run(settings)) => match benchmark(&settings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => {
                eprintln!("{text}");
                ExitCode::FAILURE
            }
        },
        Err(Mistake::Unknown(name)) => {
            show(&format!("Invalid option \"{name}\" or option argument missing\n\n{}", help::usage(&program)));
            ExitCode::FAILURE
        }
        Err(Mistake::Wrong(text)) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// Prints; that nobody reads to the end (`| head`) is no failure.
fn show(text: &str) -> ExitCode {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn benchmark(settings: &Settings) -> Result<(), String> {
    settings.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    raise_open_files(settings.connections);
    let endpoint = Endpoint::of(settings)?;
    let nodes = if settings.cluster { cluster::discover(&endpoint, settings)? } else { Vec::new() };
    let config = if settings.cluster {
        println!("Cluster has {} master nodes:\n", nodes.iter().filter(|node| !node.is_replica).count());
        for (index, node) in nodes.iter().enumerate() {
            let kind = if node.is_replica { "Replica" } else { "Master" };
            println!("{kind} {index}: {} {}:{}", node.name, node.host, node.port);
        }
        println!();
        None
    } else {
        let config = Setup::connect(&endpoint, settings)?.config().ok().filter(|config| config.save.is_some());
        if config.is_none() {
            eprintln!("WARNING: Could not fetch server CONFIG");
        }
        config
    };
    let targets: Vec<Target> = if settings.cluster {
        let read_only = settings.read_from != ReadFrom::Primaries;
        nodes.iter().map(|node| target(node.endpoint.clone(), node.tags.clone(), settings, read_only)).collect()
    } else {
        vec![target(endpoint.clone(), Vec::new(), settings, false)]
    };

    let dataset = settings.dataset.as_ref().map(|path| Dataset::read(path, settings.records_max)).transpose()?;
    let dataset = dataset.map(Arc::new);
    let payload = Arc::new(choose::payload(settings.sizes.max()));
    let placeholders = Placeholders {
        numbers: settings.keyspace.is_some(),
        tags: settings.cluster,
        value: matches!(settings.sizes, Sizes::Fixed(_)).then(|| payload.clone()),
        dataset: dataset.clone(),
    };
    let choices = Choices {
        keyspace: settings.keyspace,
        order: settings.order,
        sizes: settings.sizes.clone(),
        records: dataset.map_or(0, |dataset| dataset.records()),
        counters: Arc::default(),
        payload,
    };
    let tests = suite::tests(settings, &placeholders)?;
    if settings.idle {
        let ping = suite::ping(&placeholders)?;
        return Err(run::idle(settings, &ping, &targets, &choices));
    }

    let circumstances = Circumstances { settings, config, nodes: &nodes };
    loop {
        if settings.format == Format::Csv {
            show(report::csv::header());
        }
        let mut outcomes = Vec::new();
        for test in &tests {
            prepare(test, &targets, settings)?;
            let outcome = run::run(settings, test, &targets, &choices)?;
            match settings.format {
                Format::Text => show(&report::text::full(&outcome, test, &circumstances)),
                Format::Quiet => show(&report::text::quiet(&outcome)),
                Format::Csv => show(&report::csv::row(&outcome)),
                Format::Json => ExitCode::SUCCESS,
            };
            outcomes.push(outcome);
        }
        match settings.format {
            // Redis's tool ends its own tests with an empty line, and a command of the user's not.
            Format::Text | Format::Quiet if settings.commands.is_empty() => _ = show("\n"),
            Format::Json => _ = show(&report::json::document(&outcomes, &circumstances)),
            Format::Text | Format::Quiet | Format::Csv => {}
        }
        if let Some(path) = &settings.report {
            let page = report::html::page(&outcomes, &circumstances);
            std::fs::write(path, page).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        if !settings.repeat {
            return Ok(());
        }
    }
}

fn target(endpoint: Endpoint, tags: Vec<template::Tag>, settings: &Settings, read_only: bool) -> Target {
    let (prefix, prefix_replies) = setup::prefix(settings, read_only);
    Target { endpoint, tags, prefix, prefix_replies }
}

/// What a test needs to be there.
fn prepare(test: &suite::Test, targets: &[Target], settings: &Settings) -> Result<(), String> {
    for target in targets.iter().filter(|_| !test.preparation.is_empty()) {
        let mut setup = Setup::connect(&target.endpoint, settings)?;
        for command in &test.preparation {
            let reply = setup.command(command).map_err(|error| setup::describe(&error))?;
            if reply.is_error() {
                let text = String::from_utf8_lossy(reply.as_bytes().unwrap_or_default()).into_owned();
                return Err(format!("Error from server: {text}"));
            }
        }
    }
    Ok(())
}

/// As many open files as the connections need, if the hard limit allows; if not, connecting says so.
fn raise_open_files(connections: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let needed = connections as u64 + 100;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        limit.current = Some(limit.maximum.map_or(needed, |maximum| maximum.min(needed)));
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
