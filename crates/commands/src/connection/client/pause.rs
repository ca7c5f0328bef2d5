//! `CLIENT PAUSE` and `CLIENT UNPAUSE`.

use keyspace::Millis;

use super::check_arguments_max;
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::global::{Pause, PauseReason};
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const PAUSE: Spec = Spec {
    name: "pause",
    arity: -3,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS).union(Acl::CONNECTION),
    group: Group::Connection,
    since: "3.0.0",
    summary: "Holds back the commands of all clients for a while.",
    history: &[("6.2.0", "Argument `mode`; `WRITE` holds back only writes.")],
    args: &[
        Arg::integer("timeout"),
        Arg::one_of("mode", &[Arg::word("write", "WRITE"), Arg::word("all", "ALL")]).since("6.2.0").optional(),
    ],
    side: Side::Wide,
    run: Some(pause),
    ..Spec::NEW
};

pub const UNPAUSE: Spec = Spec {
    name: "unpause",
    arity: 2,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS).union(Acl::CONNECTION),
    group: Group::Connection,
    since: "6.2.0",
    summary: "Ends a pause and lets the waiting clients go on.",
    complexity: "O(N), N being the number of paused clients",
    side: Side::Wide,
    run: Some(unpause),
    ..Spec::NEW
};

fn pause(cx: &mut Ctx<'_>) -> Outcome {
    check_arguments_max(cx, 4)?;
    let writes_only = match cx.args.get(3) {
        None => false,
        Some(mode) if mode.eq_ignore_ascii_case(b"ALL") => false,
        Some(mode) if mode.eq_ignore_ascii_case(b"WRITE") => true,
        Some(_) => return cx.fail("ERR CLIENT PAUSE mode must be WRITE or ALL"),
    };
    let timeout_ms =
        resp::number::parse_i64(cx.args[2]).ok_or(Error::text("ERR timeout is not an integer or out of range"))?;
    if timeout_ms < 0 {
        return cx.fail("ERR timeout is negative");
    }
    let now = cx.db.now;
    let until = now.0.checked_add(timeout_ms).ok_or(Error::text("ERR timeout is out of range"))?;
    let global = cx.global_mut()?;
    let mut pause = Pause { until: Millis(until), writes_only };
    // Pauses add up to the longer time and the stricter mode: nobody shortens what another has asked for but by UNPAUSE.
    if let Some(before) = global.pauses.of(PauseReason::Client, now) {
        pause.until = pause.until.max(before.until);
        pause.writes_only &= before.writes_only;
    }
    global.pauses.set(PauseReason::Client, Some(pause));
    cx.reply.ok();
    Ok(())
}

fn unpause(cx: &mut Ctx<'_>) -> Outcome {
    cx.global_mut()?.pauses.set(PauseReason::Client, None);
    cx.host.wake_all();
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::global::{Pause, PauseReason};
    use crate::testing::{Rig, script};

    #[test]
    fn what_is_no_pause() {
        script(&[
            ("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range"),
            ("CLIENT PAUSE 1.5", "-ERR timeout is not an integer or out of range"),
            ("CLIENT PAUSE -1", "-ERR timeout is negative"),
            ("CLIENT PAUSE 9223372036854775807", "-ERR timeout is out of range"),
            ("CLIENT PAUSE x foo", "-ERR CLIENT PAUSE mode must be WRITE or ALL"),
            (
                "CLIENT pause 0 WRITE x",
                "-ERR unknown subcommand or wrong number of arguments for 'pause'. Try CLIENT HELP.",
            ),
            ("CLIENT PAUSE 0", "+OK"),
        ]);
    }

    #[test]
    fn pauses_add_up_until_one_ends_them() {
        let mut rig = Rig::new();
        let pause =
            |rig: &Rig| rig.world.global.pause_at(rig.now).map(|pause| (pause.until.0 - rig.now.0, pause.writes_only));
        rig.script(&[("CLIENT PAUSE 400 WRITE", "+OK"), ("CLIENT PAUSE 100 write", "+OK")]);
        assert_eq!(pause(&rig), Some((400, true)));
        rig.script(&[("CLIENT PAUSE 100", "+OK")]);
        assert_eq!(pause(&rig), Some((400, false)));
        rig.script(&[("CLIENT UNPAUSE", "+OK")]);
        assert_eq!(pause(&rig), None);
        rig.script(&[("CLIENT PAUSE 400", "+OK")]);
        rig.now.0 += 400;
        rig.script(&[("CLIENT PAUSE 100 WRITE", "+OK")]);
        assert_eq!(pause(&rig), Some((100, true)));
    }

    #[test]
    fn nobody_ends_the_pause_of_another() {
        let mut rig = Rig::new();
        let of_shutdown = Pause::endless(true);
        rig.world.global.pauses.set(PauseReason::Shutdown, Some(of_shutdown));
        rig.script(&[("CLIENT PAUSE 400", "+OK")]);
        assert_eq!(rig.world.global.pause_at(rig.now), Some(Pause::endless(false)));
        rig.script(&[("CLIENT UNPAUSE", "+OK")]);
        assert_eq!(rig.world.global.pause_at(rig.now), Some(of_shutdown));
        rig.script(&[("CLIENT PAUSE 400", "+OK")]);
        rig.now.0 += 400;
        assert_eq!(rig.world.global.pause_at(rig.now), Some(of_shutdown));
    }
}
