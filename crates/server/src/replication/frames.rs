//! Commands in a stream of replication: where each begins and ends, and its arguments, all in place.
//!
//! What comes from a primary is applied and put into our own log as it came, byte for byte. So it is not decoded by [`resp::Decoder`], which keeps
//! large arguments in buffers of their own, but looked at where it lies.

/// More bytes of header than this is none.
const HEADER_BYTES_MAX: usize = 32;
/// More arguments than this is no command.
const ARGS_MAX: usize = 1 << 20;
/// A longer argument is none: what servers accept at most.
const ARG_BYTES_MAX: usize = 1 << 40;

/// Where the scan of a command that is not whole yet stands, so that a long one is not looked at again from its beginning.
#[derive(Debug, Default)]
pub struct Frames {
    /// Arguments of the command that begins at the position of the last call, as places relative to it.
    args: Vec<(usize, usize)>,
    /// How many there will be; 0 before that is known.
    count: usize,
    /// Where the next header is expected, relative.
    at: usize,
}

/// What has been found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A command of so many bytes: [`Frames::args`].
    Command(usize),
    /// An empty line, of so many bytes.
    Nothing(usize),
    /// More has to come.
    Incomplete,
}

impl Frames {
    /// Looks for the end of the command that `bytes` begin with. If it is not there, call it again with more bytes behind the same.
    ///
    /// # Errors
    /// These bytes are no command.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Found, &'static str> {
        if self.count == 0 {
            self.args.clear();
            match bytes {
                [] | [b'\r'] => return Ok(Found::Incomplete),
                [b'\n', ..] => return Ok(Found::Nothing(1)),
                [b'\r', b'\n', ..] => return Ok(Found::Nothing(2)),
                [b'*', ..] => {}
                _ => return Err("a command does not begin with '*'"),
            }
            let Some((count, at)) = header(bytes, 0)? else { return Ok(Found::Incomplete) };
            if count == 0 {
                return Ok(Found::Nothing(at));
            }
            if count > ARGS_MAX {
                return Err("a command has too many arguments");
            }
            (self.count, self.at) = (count, at);
        }
        while self.args.len() < self.count {
            let Some(first) = bytes.get(self.at) else { return Ok(Found::Incomplete) };
            if *first != b'$' {
                return Err("an argument does not begin with '$'");
            }
            let Some((len, at)) = header(bytes, self.at)? else { return Ok(Found::Incomplete) };
            if len > ARG_BYTES_MAX {
                return Err("an argument is too long");
            }
            match bytes.get(at + len..at + len + 2) {
                Some(b"\r\n") => {}
                Some(_) => return Err("an argument is longer than its length"),
                None => return Ok(Found::Incomplete),
            }
            self.args.push((at, at + len));
            self.at = at + len + 2;
        }
        self.count = 0;
        Ok(Found::Command(self.at))
    }

    /// The arguments of the command that was found in these bytes.
    pub fn args<'a>(&self, bytes: &'a [u8]) -> impl ExactSizeIterator<Item = &'a [u8]> {
        self.args.iter().map(|&(begin, end)| &bytes[begin..end])
    }
}

/// The number of a header line, and where the next line begins; none if it is not whole.
fn header(bytes: &[u8], at: usize) -> Result<Option<(usize, usize)>, &'static str> {
    let line = &bytes[at + 1..];
    let Some(len) = line.iter().take(HEADER_BYTES_MAX).position(|&byte| byte == b'\r') else {
        return if line.len() >= HEADER_BYTES_MAX { Err("a header has no end") } else { Ok(None) };
    };
    match line.get(len + 1) {
        None => return Ok(None),
        Some(b'\n') => {}
        Some(_) => return Err("a header ends without a line feed"),
    }
    let number = resp::number::parse_i64(&line[..len]).and_then(|number| usize::try_from(number).ok());
    number.map(|number| Some((number, at + 1 + len + 2))).ok_or("a header has no number")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(frames: &Frames, bytes: &[u8]) -> String {
        frames.args(bytes).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn commands_come_in_any_pieces() {
        let stream = b"\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$12\r\nwith\r\nbreaks\r\n\r\n*1\r\n$4\r\nPING\r\n";
        for piece in 1..stream.len() {
            let (mut frames, mut at, mut found) = (Frames::default(), 0, Vec::new());
            let mut end = 0;
            while at < stream.len() {
                match frames.next(&stream[at..end]).unwrap() {
                    Found::Command(len) => {
                        found.push(words(&frames, &stream[at..end]));
                        at += len;
                    }
                    Found::Nothing(len) => at += len,
                    Found::Incomplete => {
                        assert!(end < stream.len());
                        end = (end + piece).min(stream.len());
                    }
                }
            }
            assert_eq!(found, ["SELECT 3", "SET  with\r\nbreaks", "PING"]);
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for bytes in [
            &b"SET a b\r\n"[..],
            b"*x\r\n",
            b"*-1\r\n",
            b"*1\r\n+OK\r\n",
            b"*1\r\n$2\r\nabc\r\n",
            b"*1\r\n$-1\r\n",
            b"*99999999999\r\n",
        ] {
            assert!(Frames::default().next(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        assert!(Frames::default().next(&[b'*'; 40]).is_err());
    }
}
