//! `--ldb`: the server's Lua debugger. Each line goes to it, and what it answers is a list of lines, until the session has ended.

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use config::words::split_words;
use resp::client::Value;
use rustyline::DefaultEditor;

use crate::format::{self, Output};
use crate::once;
use crate::session::{Session, print_bytes};

const END: &str = "<endsession>";

const WELCOME: &[u8] = b"Lua debugging session started, please use:\n\
    quit    -- End the session.\n\
    restart -- Restart the script in debug mode again.\n\
    help    -- Show Lua script debugging commands.\n\n";

/// Where lines come from.
enum Input {
    Terminal(Box<DefaultEditor>),
    Pipe(io::StdinLock<'static>),
}

impl Input {
    fn line(&mut self, prompt: &str) -> Option<String> {
        match self {
            Input::Terminal(editor) => {
                let line = editor.readline(prompt).ok()?;
                let _ = editor.add_history_entry(&line);
                Some(line)
            }
            Input::Pipe(input) => {
                let mut line = String::new();
                (input.read_line(&mut line).ok()? > 0).then_some(line)
            }
        }
    }
}

/// What ended a session.
enum Ended {
    /// The script has.
    Script,
    Restart,
    Quit,
    Failed,
}

/// Debugs the script, again after `restart`; afterwards lines are commands as ever.
pub fn run(mut session: Session, mut script: Vec<Vec<u8>>) -> ExitCode {
    let mut input = match DefaultEditor::new() {
        Ok(editor) if io::stdin().is_terminal() => Input::Terminal(Box::new(editor)),
        _ => Input::Pipe(io::stdin().lock()),
    };
    session.output = Output::Pretty;
    session.interactive = true;
    loop {
        print_bytes(WELCOME);
        match debug(&mut session, &script, &mut input) {
            Ended::Restart => {
                print_bytes(b"\n");
                // The file may have been changed: that is what one restarts for.
                if let Some(file) = session.options.eval.clone() {
                    match once::script(&session, &file) {
                        Ok(again) => script = again,
                        Err(why) => eprintln!("{why}"),
                    }
                }
            }
            Ended::Script => break,
            Ended::Quit => return ExitCode::SUCCESS,
            Ended::Failed => return ExitCode::FAILURE,
        }
    }
    let kept = if session.options.debug_script_synchronously { "" } else { " -- dataset changes rolled back" };
    print_bytes(format!("\n(Lua debugging session ended{kept})\n\n").as_bytes());
    let _ = session.connect();
    while let Some(line) = input.line(&format!("{}> ", session.address())) {
        match split_words(line.as_bytes()) {
            Ok(words)
                if words.first().is_some_and(|word| matches!(&word.to_ascii_lowercase()[..], b"quit" | b"exit")) =>
            {
                break;
            }
            Ok(words) => {
                let _ = session.run(&words, 1);
            }
            Err(_) => print_bytes(b"Invalid argument(s)\n"),
        }
    }
    ExitCode::SUCCESS
}

fn debug(session: &mut Session, script: &[Vec<u8>], input: &mut Input) -> Ended {
    if session.connect().is_err() {
        return Ended::Failed;
    }
    let mode = if session.options.debug_script_synchronously { "SYNC" } else { "YES" };
    match session.link().command(&["SCRIPT", "DEBUG", mode]) {
        Ok(reply) if !reply.is_error() => {}
        Ok(reply) => {
            eprintln!("The server does not debug scripts: {}", reply.as_str().unwrap_or_default());
            return Ended::Failed;
        }
        Err(error) => {
            session.broken(&error);
            return Ended::Failed;
        }
    }
    let mut to_send = script.to_vec();
    loop {
        if let Err(error) = session.send(&to_send) {
            session.broken(&error);
            return Ended::Failed;
        }
        match show_answer(session) {
            Ok(false) => {}
            Ok(true) => return Ended::Script,
            Err(()) => return Ended::Failed,
        }
        to_send = loop {
            let Some(line) = input.line("lua debugger> ") else { return Ended::Quit };
            match split_words(line.as_bytes()) {
                Ok(words) if words.is_empty() => {}
                Ok(words) => break words,
                Err(_) => print_bytes(b"Invalid argument(s)\n"),
            }
        };
        match &to_send[0].to_ascii_lowercase()[..] {
            b"quit" | b"exit" => return Ended::Quit,
            b"restart" => return Ended::Restart,
            _ => {}
        }
    }
}

/// Shows what the debugger says. `Ok(true)`: the script has ended, and its own reply has been shown too.
fn show_answer(session: &mut Session) -> Result<bool, ()> {
    let answer = session.link().receive().map_err(|error| {
        session.broken(&error);
    })?;
    let lines = match &answer {
        Value::Array(lines) => lines,
        other => {
            let mut out = Vec::new();
            format::pretty(&mut out, other);
            print_bytes(&out);
            return Ok(other.is_error());
        }
    };
    let mut ended = false;
    for line in lines.iter().filter_map(Value::as_bytes) {
        if line == END.as_bytes() {
            ended = true;
            continue;
        }
        let colour = colour_of(line);
        print_bytes(&[b"\x1b[0;", colour.as_bytes(), b";49m", line, b"\x1b[0m\n"].concat());
    }
    if ended {
        let result = session.link().receive().map_err(|error| {
            session.broken(&error);
        })?;
        let mut out = b"\n".to_vec();
        format::pretty(&mut out, &result);
        print_bytes(&out);
    }
    Ok(ended)
}

fn colour_of(line: &[u8]) -> &'static str {
    let colours: [(&[u8], &str); 8] = [
        (b"->", "33"),
        (b"=>", "33"),
        (b"#", "33"),
        (b"<debug>", "35"),
        (b"<redis>", "36"),
        (b"<reply>", "36"),
        (b"<error>", "31"),
        (b"<hint>", "35"),
    ];
    colours.iter().find(|(start, _)| line.starts_with(start)).map_or("37", |(_, colour)| colour)
}
