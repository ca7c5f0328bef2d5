//! Scripts that run for both encodings.

use crate::testing::{Rig, script};

/// Runs a script on small sorted sets, and once more where none may be small.
#[track_caller]
pub fn encodings(steps: &[(&str, &str)]) {
    script(steps);
    let mut rig = Rig::new();
    rig.world.global.settings.sorted_set.listpack_entries_max = 0;
    rig.script(steps);
}
