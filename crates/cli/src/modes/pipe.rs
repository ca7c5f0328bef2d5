//! `--pipe`: as many requests as come from the standard input, as fast as the server takes them.
//!
//! Requests go out as they are. Replies are only counted, and errors among them shown. The end is known by the answer to an ECHO
//! of random bytes sent behind everything else.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use memchr::memchr;

use super::Failed;
use crate::connection::reason;
use crate::session::{Session, print_bytes};

/// A piece of the input: large enough that system calls do not count, small enough to stay in the processor's cache.
const PIECE_BYTES: usize = 256 * 1024;
const MARK_BYTES: usize = 20;
/// While there is more to send, replies are looked at this often at least: who waits for them too is woken by each, at the server's cost.
const LOOK: Duration = Duration::from_millis(10);

pub fn run(session: &mut Session) -> Result<(), Failed> {
    let mark: [u8; MARK_BYTES] = std::array::from_fn(|_| rand::random_range(b'a'..=b'z'));
    let timeout = session.options.pipe_timeout;
    let link = session.link();
    link.set_nonblocking().map_err(|error| Failed(reason(&error)))?;
    let socket = link.as_raw_fd();
    let mut input = io::stdin().lock();
    let mut piece = vec![0; PIECE_BYTES];
    // What is still to be sent of the piece.
    let mut unsent = 0..0;
    let mut incoming = vec![0; PIECE_BYTES];
    let mut counter = ReplyCounter::new(mark);
    let mut input_ended = false;
    let mut last_heard = Instant::now();
    while !counter.marked {
        let all_sent = input_ended && unsent.is_empty();
        let wanted = if unsent.is_empty() { libc::POLLIN } else { libc::POLLOUT };
        let mut waiting = [
            libc::pollfd { fd: socket, events: wanted, revents: 0 },
            // A negative descriptor is passed over.
            libc::pollfd {
                fd: if input_ended || !unsent.is_empty() { -1 } else { libc::STDIN_FILENO },
                events: libc::POLLIN,
                revents: 0,
            },
        ];
        let patience = if all_sent && !timeout.is_zero() {
            let left = timeout.saturating_sub(last_heard.elapsed());
            if left.is_zero() {
                eprintln!("No replies for {} seconds: exiting.", timeout.as_secs());
                counter.errors += 1;
                break;
            }
            left.min(Duration::from_secs(3600)).as_millis() as i32 + 1
        } else if unsent.is_empty() {
            -1
        } else {
            LOOK.as_millis() as i32
        };
        // SAFETY: two pollfds that outlive the call.
        if unsafe { libc::poll(waiting.as_mut_ptr(), 2, patience) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(Failed(reason(&error)));
        }
        while let Some(read) = link.try_read(&mut incoming).map_err(broken)? {
            if read == 0 {
                return Err(Failed::new("Error: Server closed the connection"));
            }
            last_heard = Instant::now();
            counter.feed(&incoming[..read]).map_err(|why| Failed(format!("Error: Protocol error, {why}")))?;
            if read < incoming.len() {
                break;
            }
        }
        if waiting[1].revents != 0 {
            let read = input
                .read(&mut piece)
                .map_err(|error| Failed(format!("Error reading from stdin: {}", reason(&error))))?;
            unsent = 0..read;
            if read == 0 {
                input_ended = true;
                // The line end in front closes a request that was cut off, so that the server does not wait for its rest.
                let last = [b"\r\n*2\r\n$4\r\nECHO\r\n$20\r\n", &mark[..], b"\r\n"].concat();
                piece[..last.len()].copy_from_slice(&last);
                unsent = 0..last.len();
                print_bytes(b"All data transferred. Waiting for the last reply...\n");
                last_heard = Instant::now();
            }
        }
        while !unsent.is_empty() {
            match link.try_write(&piece[unsent.clone()]).map_err(broken)? {
                Some(written) => unsent.start += written,
                None => break,
            }
        }
    }
    if counter.marked {
        print_bytes(b"Last reply received from server.\n");
    }
    print_bytes(format!("errors: {}, replies: {}\n", counter.errors, counter.replies).as_bytes());
    if counter.errors > 0 { Err(Failed::new("")) } else { Ok(()) }
}

fn broken(error: io::Error) -> Failed {
    Failed(format!("Error writing to the server: {}", reason(&error)))
}

/// Counts replies without building them. Bulks are skipped, however long.
struct ReplyCounter {
    mark: [u8; MARK_BYTES],
    /// The mark has been answered: everything before it has too.
    marked: bool,
    replies: u64,
    errors: u64,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    /// Bytes of a bulk that are still to be skipped.
    skip: u64,
    /// Elements that are missing, for each aggregate that is open.
    open: Vec<u64>,
}

impl ReplyCounter {
    fn new(mark: [u8; MARK_BYTES]) -> ReplyCounter {
        ReplyCounter { mark, marked: false, replies: 0, errors: 0, rest: Vec::new(), skip: 0, open: Vec::new() }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.rest.is_empty() {
            let used = self.scan(bytes)?;
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            let mut rest = std::mem::take(&mut self.rest);
            rest.extend_from_slice(bytes);
            let used = self.scan(&rest)?;
            rest.drain(..used);
            self.rest = rest;
        }
        Ok(())
    }

    /// Counts what is whole, and says how far that goes.
    fn scan(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let mut at = 0;
        loop {
            if self.skip > 0 {
                let skipped = self.skip.min((bytes.len() - at) as u64);
                self.skip -= skipped;
                at += skipped as usize;
                if self.skip > 0 {
                    return Ok(at);
                }
                self.complete();
            }
            let Some(end) = memchr(b'\n', &bytes[at..]).map(|end| at + end) else { return Ok(at) };
            let line = &bytes[at..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let after = end + 1;
            let (kind, text) = line.split_first().ok_or("got an empty line")?;
            match kind {
                b'+' | b':' | b'_' | b'#' | b',' | b'(' => self.complete(),
                b'-' => {
                    if self.open.is_empty() {
                        self.errors += 1;
                        eprintln!("{}", String::from_utf8_lossy(text));
                    }
                    self.complete();
                }
                b'$' | b'=' | b'!' => {
                    let length = number(text)?;
                    if length < 0 {
                        self.complete();
                    } else if length == MARK_BYTES as i64 && self.open.is_empty() {
                        let Some(body) = bytes.get(after..after + MARK_BYTES + 2) else { return Ok(at) };
                        if body[..MARK_BYTES] == self.mark {
                            self.marked = true;
                        } else {
                            self.complete();
                        }
                        at = after + MARK_BYTES + 2;
                        continue;
                    } else {
                        self.skip = length as u64 + 2;
                    }
                }
                b'*' | b'~' | b'>' | b'%' | b'|' => {
                    let elements = match (kind, number(text)?.max(0) as u64) {
                        (b'%', pairs) => pairs * 2,
                        // The value it is about belongs to it.
                        (b'|', pairs) => pairs * 2 + 1,
                        (_, elements) => elements,
                    };
                    if elements == 0 {
                        self.complete();
                    } else {
                        self.open.push(elements);
                    }
                }
                other => return Err(format!("got \"{}\" as reply type byte", other.escape_ascii())),
            }
            at = after;
        }
    }

    /// An element, or a whole reply, has ended.
    fn complete(&mut self) {
        while let Some(missing) = self.open.last_mut() {
            *missing -= 1;
            if *missing > 0 {
                return;
            }
            self.open.pop();
        }
        self.replies += 1;
    }
}

fn number(text: &[u8]) -> Result<i64, String> {
    resp::number::parse_i64(text).ok_or_else(|| "got a length that is none".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_however_they_are_cut() {
        let mark = *b"abcdefghijklmnopqrst";
        let stream = b"+OK\r\n:1\r\n$-1\r\n$3\r\na\r\n\r\n*2\r\n$20\r\nabcdefghijklmnopqrst\r\n*1\r\n-no\r\n-ERR yes\r\n%1\r\n+a\r\n*0\r\n|1\r\n+k\r\n+v\r\n+OK\r\n$20\r\nABCDEFGHIJKLMNOPQRST\r\n*-1\r\n$20\r\nabcdefghijklmnopqrst\r\n";
        for piece in [1, 2, 3, 7, 1000] {
            let mut counter = ReplyCounter::new(mark);
            for bytes in stream.chunks(piece) {
                counter.feed(bytes).unwrap();
            }
            assert_eq!((counter.replies, counter.errors, counter.marked), (10, 1, true), "pieces of {piece}");
            assert!(counter.rest.is_empty());
        }
        assert!(ReplyCounter::new(mark).feed(b"HTTP/1.1 400\r\n").is_err());
    }
}
