//! `WAITAOF`.

use resp::Reply;

use crate::blocking::{Block, BlockOn};
use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "waitaof",
    arity: 4,
    flags: Flags::BLOCKING,
    acl: Acl::SLOW.union(Acl::BLOCKING).union(Acl::CONNECTION),
    group: Group::Generic,
    since: "7.2.0",
    summary: "Waits until the writes before it are safe on the disks of this server and of so many replicas.",
    complexity: "O(1)",
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    args: &[Arg::integer("numlocal"), Arg::integer("numreplicas"), Arg::integer("timeout")],
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let local = cx.int(1)?;
    if !(0..=1).contains(&local) {
        return cx.fail("ERR value is out of range, value must between 0 and 1");
    }
    // As in Redis, what is no number is told the same as what is negative.
    let Some(replicas @ 0..) = resp::number::parse_i64(cx.args[2]) else {
        return cx.fail("ERR value is out of range, must be positive");
    };
    let timeout = cx.timeout_ms(3)?;
    let persistence = cx.host.persistence();
    if local > 0 && !persistence.is_journal_kept() {
        return cx.fail("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    }
    let offset = persistence.journal_tail();
    let is_durable = persistence.is_journal_kept() && persistence.journal_durable() >= offset;
    if (i64::from(is_durable) >= local && replicas == 0) || !cx.may_block {
        reply_durable(cx.reply, is_durable);
        return Ok(());
    }
    persistence.want_durable(offset);
    cx.block(Block {
        on: BlockOn::Durable { offset, needs_replicas: replicas > 0 },
        keys: 0..0,
        timeout,
        on_timeout: |reply| reply_durable(reply, false),
        args: None,
    })
}

/// Whether this server has it on disk, and how many replicas do: there are none yet.
pub(crate) fn reply_durable(reply: &mut Reply, here: bool) {
    reply.array(2);
    reply.int(i64::from(here));
    reply.int(0);
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn without_an_append_only_file() {
        script(&[
            ("WAITAOF 0 0 10", "*2 :0 :0"),
            ("WAITAOF 1 0 10", "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled."),
            ("WAITAOF x y z", "-ERR value is not an integer or out of range"),
            ("WAITAOF 2 -1 z", "-ERR value is out of range, value must between 0 and 1"),
            ("WAITAOF 0 y z", "-ERR value is out of range, must be positive"),
            ("WAITAOF 0 -1 z", "-ERR value is out of range, must be positive"),
            ("WAITAOF 1 0 z", "-ERR timeout is not an integer or out of range"),
            ("WAITAOF 0 0 -1", "-ERR timeout is negative"),
        ]);
    }
}
