//! `TIME`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "time",
    flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
    acl: Acl::FAST,
    group: Group::Server,
    since: "2.6.0",
    summary: "Returns the time of the server.",
    tips: &["nondeterministic_output"],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    cx.reply.array(2);
    cx.reply.bulk(since.as_secs().to_string());
    cx.reply.bulk(since.subsec_micros().to_string());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Rig;

    #[test]
    fn seconds_and_microseconds() {
        let reply = Rig::new().run("TIME");
        let parts: Vec<&str> = reply.split(' ').collect();
        assert_eq!(parts[0], "*2");
        assert!(parts[2].parse::<u64>().unwrap() > 1_600_000_000);
        assert!(parts[4].parse::<u64>().unwrap() < 1_000_000);
    }
}
