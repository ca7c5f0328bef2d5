//! Patterns of keys and channels.

use config::glob_match;

use crate::denial::Touched;
use crate::error::RuleError;

/// The keys of one selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyPatterns {
    /// Every key, for everything.
    pub all: bool,
    patterns: Vec<KeyPattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    text: Box<[u8]>,
    permits: Touched,
}

impl KeyPatterns {
    pub fn everything() -> KeyPatterns {
        KeyPatterns { all: true, patterns: Vec::new() }
    }

    /// Adds a pattern; one that is there already permits more from now on.
    pub fn add(&mut self, permits: Touched, text: &[u8]) -> Result<(), RuleError> {
        if text == b"*" && permits == Touched::READ | Touched::WRITE {
            *self = KeyPatterns::everything();
            return Ok(());
        }
        if self.all {
            return Err(RuleError::KeysBehindAll);
        }
        check(text)?;
        match self.patterns.iter_mut().find(|pattern| *pattern.text == *text) {
            Some(known) => known.permits = known.permits | permits,
            None => self.patterns.push(KeyPattern { text: text.into(), permits }),
        }
        Ok(())
    }

    /// Whether one pattern permits all of what is done to this key. (Two that permit half of it each do not, as in Redis.)
    pub fn permit(&self, key: &[u8], touched: Touched) -> bool {
        let permits = |pattern: &KeyPattern| pattern.permits.contains(touched) && glob_match(&pattern.text, key, false);
        self.all || self.patterns.iter().any(permits)
    }

    /// Whether every key there is may be touched like that.
    pub fn permit_every_key(&self, touched: Touched) -> bool {
        self.all || self.patterns.iter().any(|pattern| pattern.permits.contains(touched) && *pattern.text == *b"*")
    }

    pub fn describe(&self, text: &mut Vec<u8>) {
        if self.all {
            text.extend_from_slice(b"~*");
        }
        for (position, pattern) in self.patterns.iter().enumerate() {
            if position > 0 {
                text.push(b' ');
            }
            let prefix: &[u8] =
                match (pattern.permits.contains(Touched::READ), pattern.permits.contains(Touched::WRITE)) {
                    (true, true) => b"~",
                    (true, false) => b"%R~",
                    (false, true) => b"%W~",
                    (false, false) => unreachable!("a pattern permits something"),
                };
            text.extend_from_slice(prefix);
            text.extend_from_slice(&pattern.text);
        }
    }
}

/// The channels of one selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChannelPatterns {
    /// Every channel.
    pub all: bool,
    patterns: Vec<Box<[u8]>>,
}

impl ChannelPatterns {
    pub fn everything() -> ChannelPatterns {
        ChannelPatterns { all: true, patterns: Vec::new() }
    }

    pub fn add(&mut self, text: &[u8]) -> Result<(), RuleError> {
        if text == b"*" {
            *self = ChannelPatterns::everything();
            return Ok(());
        }
        if self.all {
            return Err(RuleError::ChannelsBehindAll);
        }
        check(text)?;
        if !self.patterns.iter().any(|known| **known == *text) {
            self.patterns.push(text.into());
        }
        Ok(())
    }

    /// Whether this channel may be used, or all that `name` matches if it `is_pattern`. A pattern must be one of those that were permitted,
    /// letter by letter: whether one pattern covers another is not asked.
    pub fn permit(&self, name: &[u8], is_pattern: bool) -> bool {
        let mut patterns = self.patterns.iter();
        self.all
            || patterns.any(|pattern| if is_pattern { **pattern == *name } else { glob_match(pattern, name, false) })
    }

    /// The patterns with `&` before each.
    pub fn describe(&self, text: &mut Vec<u8>) {
        if self.all {
            text.extend_from_slice(b"&*");
        }
        for (position, pattern) in self.patterns.iter().enumerate() {
            if position > 0 {
                text.push(b' ');
            }
            text.push(b'&');
            text.extend_from_slice(pattern);
        }
    }

    pub fn is_empty(&self) -> bool {
        !self.all && self.patterns.is_empty()
    }
}

/// White space would be the end of the rule where it is shown, and a zero byte its end in Redis.
fn check(text: &[u8]) -> Result<(), RuleError> {
    let is_wrong = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b);
    if text.iter().any(is_wrong) { Err(RuleError::Syntax) } else { Ok(()) }
}
