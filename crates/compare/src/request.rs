//! Requests as fixed bytes with numbers patched in, so that the load generator costs next to nothing a request.
//!
//! A template is a command as one would type it, with `{n:WIDTH}` where a zero-padded key number goes and `{v:BYTES}` for a filler
//! value: `SET key:{n:12} {v:32}`. Every request of a template has the same length; the floor counts requests by it. Several commands that
//! are one request, such as a transaction, have a `;` between them.

use anyhow::{Context, Result, bail};

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    /// So many commands are one request.
    commands: u64,
}

/// Where a number goes: offset and width.
type Slot = (usize, usize);

impl Template {
    /// # Errors
    /// A placeholder that is neither `{n:WIDTH}` nor `{v:BYTES}`.
    pub fn parse(text: &str) -> Result<Template> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (mut bytes, mut slots, mut commands) = (Vec::new(), Vec::new(), 0);
        for words in words.split(|word| *word == ";") {
            bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in words {
                let (argument, argument_slots) = expand(word).with_context(|| format!("in template {text:?}"))?;
                bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
                slots.extend(argument_slots.iter().map(|&(offset, width)| (bytes.len() + offset, width)));
                bytes.extend_from_slice(&argument);
                bytes.extend_from_slice(b"\r\n");
            }
            commands += 1;
        }
        Ok(Template { bytes, slots, commands })
    }

    /// Length of every request of this template.
    pub fn request_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// `depth` requests in a row, to be written at once.
    pub fn batch(&self, depth: usize) -> Batch {
        let request_bytes = self.bytes.len();
        Batch {
            bytes: self.bytes.repeat(depth),
            slots: (0..depth)
                .flat_map(|i| self.slots.iter().map(move |&(offset, width)| (i * request_bytes + offset, width)))
                .collect(),
            request_bytes,
            slots_per_request: self.slots.len(),
            commands: self.commands,
        }
    }
}

/// The argument of one word of a template, and where in it numbers go.
fn expand(word: &str) -> Result<(Vec<u8>, Vec<Slot>)> {
    let mut argument = Vec::new();
    let mut slots = Vec::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('{') {
        argument.extend_from_slice(before.as_bytes());
        let (placeholder, after) = after.split_once('}').context("a { without its }")?;
        match placeholder.split_once(':') {
            Some(("n", width)) => {
                let width: usize = width.parse()?;
                slots.push((argument.len(), width));
                argument.resize(argument.len() + width, b'0');
            }
            // Letters: a value of digits would be kept as an integer, which is another measurement.
            Some(("v", len)) => argument.resize(argument.len() + len.parse::<usize>()?, b'v'),
            _ => bail!("unknown placeholder {{{placeholder}}}"),
        }
        rest = after;
    }
    argument.extend_from_slice(rest.as_bytes());
    Ok((argument, slots))
}

/// A connection's own copy of `depth` requests.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    slots: Vec<Slot>,
    request_bytes: usize,
    slots_per_request: usize,
    commands: u64,
}

impl Batch {
    /// Patches fresh numbers into the first `count` requests and returns their bytes.
    pub fn fill(&mut self, count: usize, number: &mut dyn FnMut() -> u64) -> &[u8] {
        for &(offset, width) in &self.slots[..count * self.slots_per_request] {
            write_padded(&mut self.bytes[offset..offset + width], number());
        }
        &self.bytes[..count * self.request_bytes]
    }

    /// How many replies a request has.
    pub fn replies(&self) -> u64 {
        self.commands
    }

    pub fn filled(&self, count: usize) -> &[u8] {
        &self.bytes[..count * self.request_bytes]
    }
}

/// Decimal, right-aligned, padded with zeros. Stops at the leading zeros that are there already: key numbers are small for their width.
fn write_padded(field: &mut [u8], mut value: u64) {
    let mut digits = field.iter_mut().rev();
    for digit in digits.by_ref() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    assert!(value == 0, "a key number is wider than its placeholder");
    for digit in digits {
        *digit = b'0';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_becomes_resp_with_numbers_patched_in() {
        let template = Template::parse("SET key:{n:4} {v:3}").unwrap();
        let mut batch = template.batch(2);
        let mut next = 41;
        let bytes = batch.fill(2, &mut || {
            next += 1;
            next
        });
        let request = |key: &str| format!("*3\r\n$3\r\nSET\r\n$8\r\nkey:{key}\r\n$3\r\nvvv\r\n");
        assert_eq!(bytes, (request("0042") + &request("0043")).as_bytes());
        assert_eq!(template.request_bytes(), request("0042").len());
        // A shorter number must not leave digits of the one before.
        assert_eq!(batch.fill(1, &mut || 7), request("0007").as_bytes());
    }

    #[test]
    fn several_placeholders_in_one_request() {
        let template = Template::parse("MSET a{n:2} {v:1} b{n:2} {v:1}").unwrap();
        let mut numbers = [1u64, 2].into_iter();
        let mut batch = template.batch(1);
        let bytes = batch.fill(1, &mut || numbers.next().unwrap());
        assert_eq!(bytes, b"*5\r\n$4\r\nMSET\r\n$3\r\na01\r\n$1\r\nv\r\n$3\r\nb02\r\n$1\r\nv\r\n");
    }

    #[test]
    fn several_commands_in_one_request() {
        let mut batch = Template::parse("MULTI ; INCR {n:1} ; EXEC").unwrap().batch(1);
        let bytes = batch.fill(1, &mut || 7);
        assert_eq!(bytes, b"*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\n7\r\n*1\r\n$4\r\nEXEC\r\n");
        assert_eq!(batch.replies(), 3);
    }

    #[test]
    fn an_unknown_placeholder_is_refused() {
        assert!(Template::parse("GET {x:3}").is_err());
        assert!(Template::parse("GET {n:3").is_err());
    }

    #[test]
    #[should_panic(expected = "wider")]
    fn a_number_that_does_not_fit_is_our_bug() {
        write_padded(&mut [0; 2], 100);
    }
}
