//! Commands one after the other: from a person at a terminal, or from a pipe.

use std::io::{self, BufRead, Write};
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;

use config::words::split_words;
use rustyline::error::ReadlineError;
use rustyline::history::{History, MemHistory};
use rustyline::{Cmd, CompletionType, Config, Editor, Event, KeyCode, KeyEvent, Modifiers};

use crate::interrupt;
use crate::session::{Session, Stopped, print_bytes};
use crate::terminal;

pub mod debugger;
pub mod docs;
mod editor;
pub mod help;
mod history;

use docs::Docs;
use editor::Assistant;
use history::HistoryFile;

/// What the prompt can be told with `:set`.
struct Settings {
    hints: bool,
    pager: bool,
}

/// What becomes of the prompt after a line.
#[derive(PartialEq, Eq)]
pub enum Next {
    Line,
    End,
}

pub fn run(mut session: Session) -> ExitCode {
    session.interactive = true;
    // What fails has been told; each command tries again.
    let _ = session.connect();
    if session.at_terminal { at_terminal(session) } else { from_pipe(session) }
}

/// A command a line; nobody is there to be asked anything.
fn from_pipe(mut session: Session) -> ExitCode {
    let mut settings = Settings { hints: true, pager: false };
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                eprintln!("Cannot read the standard input: {error}");
                return ExitCode::FAILURE;
            }
        }
        if obey(&mut session, &mut settings, &line) == Next::End {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn at_terminal(mut session: Session) -> ExitCode {
    let mut settings = Settings { hints: true, pager: false };
    read_settings(&mut session, &mut settings);
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .completion_prompt_limit(200)
        .max_history_size(10_000)
        .and_then(|config| config.history_ignore_dups(true))
        .map(|config| config.auto_add_history(false).build());
    let editor = config.and_then(|config| Editor::<Assistant, MemHistory>::with_history(config, MemHistory::new()));
    let mut editor = match editor {
        Ok(editor) => editor,
        Err(error) => {
            eprintln!("The terminal cannot be used: {error}");
            return ExitCode::FAILURE;
        }
    };
    editor.bind_sequence(Event::from(KeyEvent(KeyCode::Enter, Modifiers::ALT)), Cmd::Newline);
    // Also while a command runs: what is typed ahead waits for the next prompt, and is not echoed into the replies.
    let _keys = terminal::KeyByKey::start();
    let file = HistoryFile::find();
    for line in file.load() {
        let _ = editor.history_mut().add(&line);
    }
    loop {
        let docs =
            if session.is_connected() && session.subscriptions == 0 { session.docs() } else { session.known_docs() };
        let prompt = prompt_text(&session);
        editor.set_helper(Some(Assistant::new(docs, settings.hints, prompt.chars().count())));
        match editor.readline(&prompt) {
            Ok(line) => {
                if line.trim().is_empty() {
                    continue;
                }
                let _ = editor.add_history_entry(&line);
                if !split_words(line.as_bytes()).is_ok_and(|words| history::is_secret(&words)) {
                    file.append(&line);
                }
                session.paged = std::mem::take(&mut session.last_shown);
                session.keep_shown = true;
                session.hold_back = settings.pager;
                let next = {
                    let _caught = interrupt::catch();
                    let next = obey(&mut session, &mut settings, line.as_bytes());
                    // As long as there are subscriptions messages are what is shown; a key brings the prompt back.
                    while next == Next::Line && session.subscriptions > 0 && session.is_connected() {
                        let followed = session.follow_messages();
                        after_command(&mut session, followed);
                        if followed.is_ok() {
                            break;
                        }
                    }
                    next
                };
                if std::mem::take(&mut session.hold_back) {
                    show_held_back(&session.last_shown);
                }
                if next == Next::End {
                    break;
                }
            }
            // A line that was begun is given up; on an empty one subscriptions are, or the program.
            Err(ReadlineError::Interrupted)
                if editor.helper().is_some_and(|assistant| assistant.line_is_begun.get()) => {}
            Err(ReadlineError::Interrupted) if session.subscriptions > 0 => {
                let _ = session.connect();
            }
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => break,
            Err(error) => {
                eprintln!("The terminal cannot be read: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// `~/.redisclirc`, or what REDISCLI_RCFILE names: lines of the prompt's own words.
fn read_settings(session: &mut Session, settings: &mut Settings) {
    let path = match std::env::var_os("REDISCLI_RCFILE") {
        Some(path) => Some(path.into()),
        None => std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".redisclirc")),
    };
    let Some(text) = path.and_then(|path: std::path::PathBuf| std::fs::read(path).ok()) else { return };
    for line in text.split(|byte| *byte == b'\n') {
        match split_words(line) {
            Ok(words) if words.first().is_some_and(|word| word.starts_with(b":")) => {
                own_word(session, settings, &words)
            }
            _ => {}
        }
    }
}

fn prompt_text(session: &Session) -> String {
    if !session.is_connected() {
        return "not connected> ".to_string();
    }
    let mut text = match &session.options.target.socket {
        Some(path) => format!("redis {}", path.display()),
        None => session.address(),
    };
    if session.database != 0 {
        text += &format!("[{}]", session.database);
    }
    if session.in_transaction {
        text += "(TX)";
    }
    if session.subscriptions > 0 {
        text += "(subscribed mode)";
    }
    text + "> "
}

/// Runs a line.
fn obey(session: &mut Session, settings: &mut Settings, line: &[u8]) -> Next {
    let Ok(mut words) = split_words(line) else {
        session.show(b"Invalid argument(s)\n");
        return Next::Line;
    };
    let Some(first) = words.first() else { return Next::Line };
    let is = |word: &str| first.eq_ignore_ascii_case(word.as_bytes());
    if is("quit") || is("exit") {
        return Next::End;
    }
    if first.starts_with(b":") {
        own_word(session, settings, &words);
        return Next::Line;
    }
    if is("restart") {
        session.show(b"Use 'restart' only in Lua debugging mode.\n");
        return Next::Line;
    }
    if is("clear") && words.len() == 1 {
        print_bytes(b"\x1b[H\x1b[2J");
        return Next::Line;
    }
    if is("connect") && words.len() == 3 {
        let port = resp::number::parse_i64(&words[2]).unwrap_or(0) as u16;
        session.retarget(String::from_utf8_lossy(&words[1]).into_owned(), port);
        let _ = session.connect();
        return Next::Line;
    }
    let mut repeat = 1;
    if words.len() > 1
        && let Some(times) = resp::number::parse_i64(first)
    {
        if times <= 0 {
            session.show(b"Invalid redis-cli repeat command option value.\n");
            return Next::Line;
        }
        repeat = times;
        words.remove(0);
    }
    let ran = session.run(&words, repeat);
    after_command(session, ran);
    Next::Line
}

/// What was interrupted left a connection with a reply on its way; a new one has none. Messages go on being shown.
fn after_command(session: &mut Session, ran: Result<(), Stopped>) {
    if ran == Err(Stopped::Interrupted) {
        print_bytes(b"\n");
        interrupt::forget();
        let _ = session.connect();
    }
}

fn own_word(session: &mut Session, settings: &mut Settings, words: &[Vec<u8>]) {
    let text = |at: usize| words.get(at).map(|word| String::from_utf8_lossy(word).into_owned()).unwrap_or_default();
    match (text(0).to_ascii_lowercase().as_str(), words.len()) {
        (":set", 2..) => match text(1).to_ascii_lowercase().as_str() {
            "hints" => settings.hints = true,
            "nohints" => settings.hints = false,
            "pager" => settings.pager = true,
            "nopager" => settings.pager = false,
            _ => session.show(format!("unknown redis-cli preference '{}'\n", text(1)).as_bytes()),
        },
        (":page", 1) => page(&session.paged),
        _ => session.show(format!("unknown redis-cli internal command '{}'\n", text(0)).as_bytes()),
    }
}

/// Through the pager if it is longer than the screen.
fn show_held_back(text: &[u8]) {
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    if lines >= terminal::size().1 { page(text) } else { print_bytes(text) }
}

fn page(text: &[u8]) {
    let pager = std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let pager = pager.unwrap_or_else(|| "less -R".to_string());
    // The shell, since the variable may hold options.
    let started = Command::new("sh").arg("-c").arg(&pager).stdin(Stdio::piped()).spawn();
    match started {
        Ok(mut child) => {
            if let Some(mut input) = child.stdin.take() {
                // Who has seen enough closes it early.
                let _ = input.write_all(text);
            }
            let _ = child.wait();
        }
        Err(error) => {
            eprintln!("Cannot start '{pager}': {error}");
            print_bytes(text);
        }
    }
}

impl Session {
    /// What the server tells of its commands, asked for once per connection.
    pub fn docs(&mut self) -> Rc<Docs> {
        if self.docs.is_none() && (self.is_connected() || self.connect().is_ok()) {
            self.docs = Some(Rc::new(Docs::ask(self)));
        }
        self.known_docs()
    }

    /// What is known without asking.
    pub fn known_docs(&self) -> Rc<Docs> {
        self.docs.clone().unwrap_or_default()
    }
}
