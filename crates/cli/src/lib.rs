//! The command-line client: `redis-cli`, with its options and its output, and a better prompt.
//!
//! **Owns** the command line, the prompt, how replies look, and the modes that do more than run a command (`--pipe`, `--rdb`,
//! `--bigkeys`, ...). **Must not know** anything of our server that a client cannot see: it works with any server that speaks the
//! protocol.
//!
//! **Start** with [`run`]; then `table.rs` (every option, and what it sets), `session.rs` (running commands and what state they
//! leave), `format.rs` (how replies look), `prompt/` (the line editor and its helpers), `modes/` (one file a mode).

use std::ffi::OsString;
use std::process::ExitCode;

mod connection;
mod format;
mod interrupt;
pub mod manual;
mod modes;
mod once;
mod options;
mod prompt;
mod session;
mod table;
mod terminal;
mod tls;
mod uri;

use options::{Options, Refusal};
use session::Session;

/// Runs the client; the first of `arguments` is the program's name.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let parsed = options::parse(arguments.get(1..).unwrap_or_default(), &mut |warning| eprintln!("{warning}"));
    let mut options = match parsed {
        Ok(options) => options,
        Err(Refusal::Answer(text)) => {
            session::print_bytes(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(Refusal::Usage(text)) => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    };
    if let Err(code) = complete_password(&mut options) {
        return code;
    }
    if let Some(mode) = options.mode.clone() {
        return modes::run(mode, Session::new(options));
    }
    if options.command.is_empty() && options.eval.is_none() {
        return prompt::run(Session::new(options));
    }
    once::run(Session::new(options))
}

/// Asks for the password, or takes it from the environment, and warns of one that everybody can see.
fn complete_password(options: &mut Options) -> Result<(), ExitCode> {
    if options.password_is_visible && options.auth_warning {
        eprintln!("Warning: Using a password with '-a' or '-u' option on the command line interface may not be safe.");
    }
    if options.ask_password {
        match terminal::ask_password("Please input password: ") {
            Ok(password) => options.password = Some(password),
            Err(error) => {
                eprintln!("Cannot read the password: {error}");
                return Err(ExitCode::FAILURE);
            }
        }
    } else if options.password.is_none() {
        use std::os::unix::ffi::OsStringExt;
        options.password = std::env::var_os("REDISCLI_AUTH").map(OsStringExt::into_vec);
    }
    Ok(())
}
