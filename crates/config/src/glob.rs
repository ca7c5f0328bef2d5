//! Glob patterns as CONFIG GET, KEYS, SCAN and PSUBSCRIBE take them.

/// Whether `text` as a whole matches `pattern`.
///
/// `*` is any run of bytes, `?` any one byte, `[a-c]` one of a class, `[^a-c]` one not of it, and `\` takes the
/// next byte literally, inside a class too. A class without its `]` ends with the pattern; `z-a` is `a-z`.
///
/// An empty text matches the empty pattern only, not even `*`: so PSUBSCRIBE and `KEYS **` behave in Redis 8.2. KEYS and
/// SCAN take a pattern that is just `*` for every key without asking here.
///
/// At most `pattern.len() * text.len()` steps: after a mismatch only the last `*` is tried further on, which is
/// enough because an earlier `*` that took more could only leave less for what follows. A pattern of many stars
/// is therefore no way to keep the server busy.
pub fn glob_match(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let mut pattern_at = 0;
    let mut text_at = 0;
    // Behind the last star, and the place in the text up to which that star would take one byte more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(pattern_at) == Some(&b'*') {
            while pattern.get(pattern_at) == Some(&b'*') {
                pattern_at += 1;
            }
            if pattern_at == pattern.len() {
                return true;
            }
            retry = Some((pattern_at, text_at));
            continue;
        }
        if text_at == text.len() {
            return pattern_at == pattern.len();
        }
        match match_one(&pattern[pattern_at..], text[text_at], nocase) {
            Some(length) => {
                pattern_at += length;
                text_at += 1;
            }
            None => match retry {
                Some((behind_star, from)) => {
                    pattern_at = behind_star;
                    text_at = from + 1;
                    retry = Some((behind_star, from + 1));
                }
                None => return false,
            },
        }
    }
}

/// Length of the pattern's first element (not a star) if it matches `byte`.
fn match_one(pattern: &[u8], byte: u8, nocase: bool) -> Option<usize> {
    let fold = |byte: u8| if nocase { byte.to_ascii_lowercase() } else { byte };
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (matched, length) = match_class(class, fold(byte), fold);
            matched.then_some(1 + length)
        }
        [b'\\', literal, ..] => (fold(*literal) == fold(byte)).then_some(2),
        [literal, ..] => (fold(*literal) == fold(byte)).then_some(1),
    }
}

/// Whether the class that begins behind `[` holds `byte`, and its length with the closing bracket.
fn match_class(class: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &class[at..] {
            [] => break,
            [b'\\', literal, ..] => {
                found |= *literal == byte || fold(*literal) == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [first, b'-', last, ..] => {
                let (first, last) = (fold(*first), fold(*last));
                found |= (first.min(last)..=first.max(last)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= fold(*literal) == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, text: &str) -> bool {
        glob_match(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn elements() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", false),
            ("a*", "a", true),
            ("h?llo", "hllo", false),
            ("h?llo", "hello", true),
            ("h*llo", "heeello", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a\\-c]llo", "hbllo", false),
            ("h[a\\-c]llo", "h-llo", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("[abc", "b", true),
            ("[^", "b", true),
            ("[]", "b", false),
            ("[]a]", "b", false),
            ("*[^a]", "aab", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
        assert!(glob_match(b"MAX[A-C]*", b"maxbX", true));
        assert!(!glob_match(b"MAX", b"max", false));
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = b"a*".repeat(5000);
        let text = b"a".repeat(20_000);
        assert!(glob_match(&pattern, &text, false));
        // Counted in steps this is at most 10^8 / 5; a search that backtracks over every star would never end.
        assert!(!glob_match(&[pattern.as_slice(), b"b"].concat(), &text[..4000], false));
    }

    /// What the matcher means, without its speed: every star tries every length.
    fn slow_match(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|taken| slow_match(rest, &text[taken..])),
            _ => match text {
                [] => false,
                [byte, rest @ ..] => match match_one(pattern, *byte, false) {
                    Some(length) => slow_match(&pattern[length..], rest),
                    None => false,
                },
            },
        }
    }

    proptest! {
        #![proptest_config(testkit::proptest_config(256))]

        #[test]
        fn one_star_of_memory_is_enough(pattern in "[ab*?\\[\\]^\\\\-]{0,10}", text in "[ab]{1,10}") {
            prop_assert_eq!(
                glob_match(pattern.as_bytes(), text.as_bytes(), false),
                slow_match(pattern.as_bytes(), text.as_bytes())
            );
        }

        #[test]
        fn any_bytes_are_a_pattern(
            pattern in proptest::collection::vec(any::<u8>(), 0..20),
            text in proptest::collection::vec(any::<u8>(), 0..20),
            nocase: bool,
        ) {
            glob_match(&pattern, &text, nocase);
        }
    }
}
