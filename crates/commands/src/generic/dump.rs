//! `DUMP`.

use config::directives;

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "dump",
    arity: 2,
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE.union(Acl::READ).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    since: "2.6.0",
    summary: "Returns the value of a key in the form that RESTORE takes.",
    complexity: "O(N) for a collection of N elements, O(1) for a short string",
    tips: &["nondeterministic_output"],
    args: &[Arg::key("key", 0)],
    run: Some(run),
    ..Spec::NEW
};

/// The payload is of the oldest version that holds the value, so that older servers can take it too.
fn run(cx: &mut Ctx<'_>) -> Outcome {
    let compress = cx.global().config.get(directives::RDBCOMPRESSION);
    let family = cx.global().settings.rdb_family;
    match cx.db.read(cx.keys[0]) {
        None => cx.reply.null(),
        Some(entry) => cx.reply.bulk(rdb::dump::dump(&entry.value(), family, compress)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, effects, events};

    #[test]
    fn a_payload_of_the_oldest_version() {
        let mut rig = Rig::new();
        rig.script(&[("SET a hello", "+OK"), ("DUMP none", "$-1")]);
        assert_eq!(rig.run_args(&[b"DUMP", b"a"]), b"$17\r\n\0\x05hello\n\0cr\xdfve4 \n\r\n");
        rig.script(&[("HSET h f v", ":1"), ("HPEXPIRE h 1000 FIELDS 1 f", "*1 :1")]);
        let payload = rig.run_args(&[b"DUMP", b"h"]);
        assert_eq!(payload[payload.len() - 12..][..2], [12, 0]);
    }

    #[test]
    fn it_reads() {
        effects(&[("SET a 1", "SET a 1"), ("DUMP a", ""), ("DUMP none", "")]);
        events(&[("SET a 1", "new a, set a"), ("DUMP a", ""), ("DUMP none", "keymiss none")]);
    }
}
