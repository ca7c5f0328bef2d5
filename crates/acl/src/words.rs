//! Rules are words; those of a selector may come as several, from one parenthesis to the other.

/// A selector that does not end. The word it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched(pub Vec<u8>);

impl Unmatched {
    /// The text for the client, without its code.
    pub fn message(&self) -> Vec<u8> {
        [b"Unmatched parenthesis in acl selector starting at '", &self.0[..], b"'."].concat()
    }
}

/// Joins the words of each selector with blanks: `(+get`, `~a)` is one rule.
///
/// # Errors
/// [`Unmatched`].
pub fn join_selectors<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, Unmatched> {
    let mut rules: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for word in words {
        match &mut open {
            Some((_, rule)) => {
                rule.push(b' ');
                rule.extend_from_slice(word);
            }
            None if word.starts_with(b"(") => open = Some((word, word.to_vec())),
            None => {
                rules.push(word.to_vec());
                continue;
            }
        }
        if word.ends_with(b")") {
            rules.extend(open.take().map(|(_, rule)| rule));
        }
    }
    match open {
        None => Ok(rules),
        Some((word, _)) => Err(Unmatched(word.to_vec())),
    }
}

/// The rules between the parentheses.
pub(crate) fn rules_within(inner: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    inner.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty()).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_joined() {
        let join = |line: &str| match join_selectors(line.split(' ').map(str::as_bytes)) {
            Ok(rules) => {
                rules.iter().map(|rule| String::from_utf8_lossy(rule).into_owned()).collect::<Vec<_>>().join("|")
            }
            Err(unmatched) => String::from_utf8(unmatched.message()).unwrap(),
        };
        assert_eq!(join("on (+get ~a) >p"), "on|(+get ~a)|>p");
        assert_eq!(join("( +get ~a ) ()"), "( +get ~a )|()");
        assert_eq!(join("(~a (+get) )"), "(~a (+get)|)");
        assert_eq!(join("(~a))"), "(~a))");
        assert_eq!(join("on (+get ~a"), "Unmatched parenthesis in acl selector starting at '(+get'.");
        assert_eq!(join("("), "Unmatched parenthesis in acl selector starting at '('.");
        assert_eq!(join("(~a)x"), "Unmatched parenthesis in acl selector starting at '(~a)x'.");
    }
}
