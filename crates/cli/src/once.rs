//! One command from the command line, or a script: run it as often as asked, and end.

use std::fs;
use std::io::{self, Read};
use std::process::ExitCode;

use crate::connection::reason;
use crate::options::unquote;
use crate::prompt;
use crate::session::{Session, Stopped, print_bytes};

/// Runs what the command line says.
pub fn run(mut session: Session) -> ExitCode {
    let arguments = match session.options.eval.clone() {
        Some(file) => match script(&session, &file) {
            Ok(arguments) => arguments,
            Err(why) => return refused(&why),
        },
        None => match command(&session) {
            Ok(arguments) => arguments,
            Err(Refused::OnOutput(why)) => {
                print_bytes(format!("{why}\n").as_bytes());
                return ExitCode::FAILURE;
            }
            Err(Refused::OnError(why)) => return refused(&why),
        },
    };
    if session.options.debug_script {
        return prompt::debugger::run(session, arguments);
    }
    if session.connect().is_err() {
        return ExitCode::FAILURE;
    }
    let repeat = session.options.repeat;
    match session.run(&arguments, repeat) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stopped::NotConnected | Stopped::Broken | Stopped::Error | Stopped::Interrupted) => ExitCode::FAILURE,
    }
}

fn refused(why: &str) -> ExitCode {
    eprintln!("{why}");
    ExitCode::FAILURE
}

/// Where the reason is told: redis-cli is not of one mind about it, and scripts know.
enum Refused {
    OnOutput(String),
    OnError(String),
}

/// The command's words, with what comes from the standard input.
fn command(session: &Session) -> Result<Vec<Vec<u8>>, Refused> {
    let options = &session.options;
    let mut arguments = options.command.clone();
    if options.quoted_input {
        let unquoted: Option<Vec<_>> = arguments.iter().map(|argument| unquote(argument)).collect();
        arguments = unquoted.ok_or_else(|| Refused::OnOutput("Invalid quoted string".to_string()))?;
    }
    let read_input = || {
        let mut input = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut input);
        read.map_err(|error| Refused::OnError(format!("Cannot read the standard input: {}", reason(&error))))?;
        Ok(input)
    };
    if options.last_argument_from_input {
        arguments.push(read_input()?);
    } else if let Some(tag) = &options.tag_from_input {
        let place = arguments.iter().position(|argument| argument == tag);
        let place = place.ok_or_else(|| Refused::OnError("Using -X option but stdin tag not match.".to_string()))?;
        // Every argument that is the tag is the same data.
        let input = read_input()?;
        arguments[place] = input;
    }
    Ok(arguments)
}

/// `--eval`: the file as EVAL, with the keys before the comma and the arguments behind it.
pub fn script(session: &Session, file: &std::path::Path) -> Result<Vec<Vec<u8>>, String> {
    let text = fs::read(file).map_err(|error| format!("Can't open file '{}': {}", file.display(), reason(&error)))?;
    let words = &session.options.command;
    let comma = words.iter().position(|word| word == b",");
    let (keys, rest) = match comma {
        Some(comma) => (&words[..comma], &words[comma + 1..]),
        None => (&words[..], &words[words.len()..]),
    };
    let mut arguments = vec![b"EVAL".to_vec(), text, keys.len().to_string().into_bytes()];
    arguments.extend_from_slice(keys);
    arguments.extend_from_slice(rest);
    Ok(arguments)
}
