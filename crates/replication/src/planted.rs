//! Bugs put in on purpose.

/// Whether the bug `name` is planted: `SPINEL_PLANT` in a build with the feature `planted`, never otherwise.
#[cfg(feature = "planted")]
pub(crate) fn planted(name: &str) -> bool {
    std::env::var("SPINEL_PLANT").is_ok_and(|planted| planted == name)
}

#[cfg(not(feature = "planted"))]
#[inline]
pub(crate) fn planted(_name: &str) -> bool {
    false
}
