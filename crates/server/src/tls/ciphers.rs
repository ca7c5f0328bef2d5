//! Which ciphers are offered: OpenSSL's lists, as configuration files have them, applied to the suites that rustls has.
//!
//! These are six for TLS 1.2, all with ephemeral keys and authenticated encryption, and three for TLS 1.3. What a list names
//! beyond them matches nothing, as a cipher does in OpenSSL that was not built in; so `DEFAULT:!MEDIUM` and its like keep their
//! meaning, and a list of which nothing is left is an error.

use rustls::crypto::ring::cipher_suite::*;
use rustls::{CipherSuite, SupportedCipherSuite};

/// A suite of TLS 1.2, best first.
struct Suite {
    /// OpenSSL's name.
    name: &'static str,
    /// The words of OpenSSL's lists that mean it among others, besides [`EVERY`].
    words: &'static [&'static str],
    suite: SupportedCipherSuite,
}

/// Words that mean every suite there is.
const EVERY: &[&str] = &["ALL", "DEFAULT", "HIGH", "TLSv1.2", "kECDHE", "kEECDH", "ECDHE", "EECDH"];

const SUITES: &[Suite] = &[
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        words: &["aECDSA", "ECDSA", "AES256", "AES", "AESGCM", "FIPS"],
        suite: TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        words: &["aRSA", "AES256", "AES", "AESGCM", "FIPS"],
        suite: TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    },
    Suite {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        words: &["aECDSA", "ECDSA", "CHACHA20"],
        suite: TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    },
    Suite {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        words: &["aRSA", "CHACHA20"],
        suite: TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        words: &["aECDSA", "ECDSA", "AES128", "AES", "AESGCM", "FIPS"],
        suite: TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        words: &["aRSA", "AES128", "AES", "AESGCM", "FIPS"],
        suite: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    },
];

/// The suites of TLS 1.3, best first, by their standard names.
const SUITES_OF_TLS13: &[(&str, SupportedCipherSuite)] = &[
    ("TLS_AES_256_GCM_SHA384", TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", TLS13_CHACHA20_POLY1305_SHA256),
    ("TLS_AES_128_GCM_SHA256", TLS13_AES_128_GCM_SHA256),
];

impl Suite {
    /// Whether a word of a list means it: `AESGCM+aRSA` asks for both.
    fn is_meant_by(&self, word: &str) -> bool {
        word.split('+').all(|part| part == self.name || EVERY.contains(&part) || self.words.contains(&part))
    }
}

/// What `tls-ciphers` chooses, in its order; an empty list chooses all.
pub fn of_tls12(list: &str) -> Vec<SupportedCipherSuite> {
    let mut chosen: Vec<&Suite> = Vec::new();
    // Behind `!` a suite is gone for good, behind `-` a later word can bring it back, behind `+` it moves to the end.
    let mut barred: Vec<CipherSuite> = Vec::new();
    let list = if list.trim().is_empty() { "DEFAULT" } else { list };
    for word in list.split([':', ',', ' ']).filter(|word| !word.is_empty() && !word.starts_with('@')) {
        let (sign, word) = match word.as_bytes()[0] {
            sign @ (b'!' | b'-' | b'+') => (sign, &word[1..]),
            _ => (b' ', word),
        };
        let meant = |suite: &&Suite| suite.is_meant_by(word);
        match sign {
            b'!' => {
                barred.extend(SUITES.iter().filter(meant).map(|suite| suite.suite.suite()));
                chosen.retain(|suite| !suite.is_meant_by(word));
            }
            b'-' => chosen.retain(|suite| !suite.is_meant_by(word)),
            b'+' => chosen.sort_by_key(|suite| suite.is_meant_by(word)),
            _ => {
                for suite in SUITES.iter().filter(meant) {
                    let is_there = chosen.iter().any(|other| other.name == suite.name);
                    if !is_there && !barred.contains(&suite.suite.suite()) {
                        chosen.push(suite);
                    }
                }
            }
        }
    }
    chosen.into_iter().map(|suite| suite.suite).collect()
}

/// What `tls-ciphersuites` chooses, in its order; an empty list chooses all.
pub fn of_tls13(list: &str) -> Vec<SupportedCipherSuite> {
    let named = |name: &str| SUITES_OF_TLS13.iter().find(|(known, _)| *known == name).map(|(_, suite)| *suite);
    match list.trim() {
        "" => SUITES_OF_TLS13.iter().map(|(_, suite)| *suite).collect(),
        list => list.split(':').filter_map(|name| named(name.trim())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<&'static str> {
        let name = |suite: SupportedCipherSuite| SUITES.iter().find(|known| known.suite == suite).expect("known").name;
        of_tls12(list).into_iter().map(name).collect()
    }

    #[test]
    fn lists_mean_what_they_mean_to_openssl() {
        let all: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        assert_eq!(names(""), all);
        assert_eq!(names("DEFAULT:!MEDIUM"), all);
        assert_eq!(names("HIGH:!aNULL:!MD5:@STRENGTH"), all);
        assert_eq!(
            names("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"),
            ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"]
        );
        assert_eq!(names("AESGCM+aRSA"), ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(names("CHACHA20,!ECDSA"), ["ECDHE-RSA-CHACHA20-POLY1305"]);
        // Gone for good, or until it is asked for again.
        assert_eq!(names("!CHACHA20:ALL:-AES256:-ECDSA"), ["ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(names("AES256:-aRSA:AES256 !aECDSA"), ["ECDHE-RSA-AES256-GCM-SHA384"]);
        assert_eq!(names("ALL:!aECDSA:+AES256").last(), Some(&"ECDHE-RSA-AES256-GCM-SHA384"));
        // Key exchange by RSA alone: `RSA` is none of the suites with ephemeral keys.
        assert_eq!(names("AES256-SHA:RSA:foo"), [""; 0]);
    }

    #[test]
    fn tls13_has_names_only() {
        assert_eq!(of_tls13("").len(), 3);
        assert_eq!(
            of_tls13("TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_256_GCM_SHA384"),
            [TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384]
        );
        assert!(of_tls13("foo").is_empty());
    }
}
