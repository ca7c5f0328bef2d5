//! Who goes first when more threads want to run than there are cores.

/// How much nicer than event loops helpers are: where both want a core, a loop gets nine times as much of it, and gets it at once when a request comes.
const HELPERS_NICENESS: i32 = 10;

/// For threads that do in the background what nobody waits for by the millisecond: writing snapshots, loading them, freeing what is large. Where
/// cores are free it changes nothing.
pub fn step_back() {
    // Who may not even do that goes on as before.
    let _ = rustix::process::nice(HELPERS_NICENESS);
}
