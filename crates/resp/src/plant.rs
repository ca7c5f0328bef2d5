//! Planted bugs: proof that the harnesses bite.
//!
//! | name | bug | caught by |
//! |---|---|---|
//! | `wrong-error-text` | error replies lose a final `e` | the oracle |

/// Whether the bug of this name is planted in this run (feature `planted`, environment `SPINEL_PLANT`).
#[cfg(feature = "planted")]
#[cold]
pub(crate) fn planted(name: &str) -> bool {
    use std::sync::OnceLock;
    static PLANT: OnceLock<Option<String>> = OnceLock::new();
    PLANT.get_or_init(|| std::env::var("SPINEL_PLANT").ok()).as_deref() == Some(name)
}

#[cfg(not(feature = "planted"))]
#[inline(always)]
pub(crate) fn planted(_name: &str) -> bool {
    false
}
