//! Bugs put in on purpose, so that a test can show that the tests would find them.

/// Whether the bug `name` is planted: `SPINEL_PLANT` in a build with the feature `planted`, never otherwise.
#[cfg(feature = "planted")]
pub(crate) fn planted(name: &str) -> bool {
    std::env::var("SPINEL_PLANT").is_ok_and(|planted| planted == name)
}

#[cfg(not(feature = "planted"))]
#[inline(always)]
pub(crate) fn planted(_name: &str) -> bool {
    false
}
