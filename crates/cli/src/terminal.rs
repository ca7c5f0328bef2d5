//! The terminal itself: its size, single keys, passwords, colours.

use std::env;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{FromRawFd, RawFd};

use crate::connection::LinkError;
use crate::interrupt;

/// Whether the output may have colours: on a terminal, unless NO_COLOR is set to anything.
pub fn colours() -> bool {
    io::stdout().is_terminal()
        && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Columns and rows of the terminal, or the classic size.
pub fn size() -> (usize, usize) {
    let mut size = MaybeUninit::<libc::winsize>::uninit();
    // SAFETY: the call fills the structure or fails; it is read only if it did not fail.
    let size = unsafe {
        if libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, size.as_mut_ptr()) != 0 {
            return (80, 24);
        }
        size.assume_init()
    };
    if size.ws_col == 0 || size.ws_row == 0 { (80, 24) } else { (size.ws_col.into(), size.ws_row.into()) }
}

/// While this lives the keyboard gives each key at once and shows none of them. Ctrl-C works as ever.
pub struct KeyByKey {
    before: Option<libc::termios>,
}

impl KeyByKey {
    pub fn start() -> KeyByKey {
        let mut settings = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: the settings are read only where the call has filled them, and set from a changed copy.
        unsafe {
            if libc::tcgetattr(libc::STDIN_FILENO, settings.as_mut_ptr()) != 0 {
                return KeyByKey { before: None };
            }
            let before = settings.assume_init();
            let mut changed = before;
            changed.c_lflag &= !(libc::ICANON | libc::ECHO);
            libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &changed);
            KeyByKey { before: Some(before) }
        }
    }
}

impl Drop for KeyByKey {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // SAFETY: gives back settings that came from the same terminal.
            unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, before) };
        }
    }
}

/// Waits for a key or for something to read from `fd`. `true`: a key was pressed; it is left for the prompt, unless it is Enter.
pub fn key_or_bytes(_keys: &KeyByKey, fd: RawFd) -> Result<bool, LinkError> {
    let wait_for = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut wanted = [wait_for(libc::STDIN_FILENO), wait_for(fd)];
    loop {
        if interrupt::happened() {
            return Err(LinkError::Interrupted);
        }
        // SAFETY: two pollfds that outlive the call.
        if unsafe { libc::poll(wanted.as_mut_ptr(), 2, -1) } >= 0 {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error.into());
        }
    }
    if wanted[1].revents != 0 {
        return Ok(false);
    }
    // The key that wakes us is no part of the command that follows.
    read_byte()?;
    Ok(true)
}

/// A key, if one was pressed within the time.
pub fn key_within(_keys: &KeyByKey, time: std::time::Duration) -> Option<u8> {
    if !matches!(crate::connection::wait_readable(libc::STDIN_FILENO, Some(time)), Ok(true)) {
        return None;
    }
    // A keyboard that has gone away asks to end.
    Some(read_byte().ok().flatten().unwrap_or(b'q'))
}

/// One byte of the standard input, past the library's buffer: what follows belongs to whoever reads next.
fn read_byte() -> io::Result<Option<u8>> {
    // SAFETY: the descriptor is open for the program's whole life, and is not closed here.
    let mut input = ManuallyDrop::new(unsafe { File::from_raw_fd(libc::STDIN_FILENO) });
    let mut byte = [0];
    Ok((input.read(&mut byte)? == 1).then_some(byte[0]))
}

/// Asks for a password, with a star for each of its bytes; from a pipe it is the first line.
pub fn ask_password(question: &str) -> io::Result<Vec<u8>> {
    let terminal = io::stdin().is_terminal();
    let keys = terminal.then(KeyByKey::start);
    if terminal {
        eprint!("{question}");
    }
    let mut password = Vec::new();
    while let Some(byte) = read_byte()? {
        match byte {
            b'\n' | b'\r' => break,
            0x7f | 0x08 if terminal => {
                if password.pop().is_some() {
                    eprint!("\x08 \x08");
                }
                continue;
            }
            byte => password.push(byte),
        }
        if terminal {
            eprint!("*");
        }
        io::stderr().flush()?;
    }
    if terminal {
        eprintln!();
    }
    drop(keys);
    Ok(password)
}
