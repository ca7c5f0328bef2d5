//! `SAVE`, `BGSAVE`, `BGREWRITEAOF`, `LASTSAVE`: snapshots. How they are made is the server's business ([`Persistence`]).
//!
//! [`Persistence`]: crate::persistence::Persistence

use crate::blocking::{Block, BlockOn};
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::persistence::{Cancelled, Started, Wish};
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const SAVE: Spec = Spec {
    name: "save",
    arity: 1,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_ASYNC_LOADING).union(Flags::NO_MULTI),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    summary: "Writes a snapshot to disk, and replies when it is there. Other clients are served meanwhile.",
    complexity: "O(N), N being the number of keys in all databases",
    side: Side::Wide,
    run: Some(save),
    ..Spec::NEW
};

pub const BGSAVE: Spec = Spec {
    name: "bgsave",
    arity: -1,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_ASYNC_LOADING),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    summary: "Begins to write a snapshot to disk.",
    complexity: "O(1)",
    history: &[("3.2.2", "Option `SCHEDULE`."), ("8.1.0", "Option `CANCEL`.")],
    args: &[Arg::one_of(
        "operation",
        &[Arg::word("schedule", "SCHEDULE").since("3.2.2"), Arg::word("cancel", "CANCEL").since("8.1.0")],
    )
    .optional()],
    side: Side::Wide,
    run: Some(bgsave),
    ..Spec::NEW
};

pub const BGREWRITEAOF: Spec = Spec {
    name: "bgrewriteaof",
    arity: 1,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::NO_ASYNC_LOADING),
    acl: Acl::ADMIN.union(Acl::SLOW).union(Acl::DANGEROUS),
    group: Group::Server,
    summary: "Begins to write the append-only file anew, as short as it can be.",
    complexity: "O(1)",
    side: Side::Wide,
    run: Some(bgrewriteaof),
    ..Spec::NEW
};

pub const LASTSAVE: Spec = Spec {
    name: "lastsave",
    arity: 1,
    flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
    acl: Acl::ADMIN.union(Acl::FAST).union(Acl::DANGEROUS),
    group: Group::Server,
    summary: "Returns when the last snapshot was written, in seconds since 1970.",
    complexity: "O(1)",
    tips: &["nondeterministic_output"],
    run: Some(lastsave),
    ..Spec::NEW
};

fn save(cx: &mut Ctx<'_>) -> Outcome {
    let client_id = cx.session.client.id;
    cx.host.persistence().save(cx.alone()?, client_id)?;
    cx.block(Block::on_job())
}

fn bgsave(cx: &mut Ctx<'_>) -> Outcome {
    let persistence = cx.host.persistence();
    if cx.args.len() == 2 && cx.word(1, "CANCEL") {
        cx.reply.simple(match persistence.cancel_background_save()? {
            Cancelled::Running => "Background saving cancelled",
            Cancelled::Scheduled => "Scheduled background saving cancelled",
        });
        return Ok(());
    }
    let wish = match cx.args.len() {
        1 if !cx.may_block => Wish::AfterTransaction,
        1 => Wish::Now,
        2 if cx.word(1, "SCHEDULE") && !cx.may_block => Wish::AfterTransaction,
        2 if cx.word(1, "SCHEDULE") => Wish::Scheduled,
        _ => return Err(Error::Syntax.into()),
    };
    let started = persistence.background_save(cx.alone()?, wish)?;
    cx.reply.simple(match started {
        Started::Now => "Background saving started",
        Started::Scheduled => "Background saving scheduled",
    });
    Ok(())
}

fn bgrewriteaof(cx: &mut Ctx<'_>) -> Outcome {
    let wish = if cx.may_block { Wish::Now } else { Wish::AfterTransaction };
    let started = cx.host.persistence().rewrite(cx.alone()?, wish)?;
    cx.reply.simple(match started {
        Started::Now => "Background append only file rewriting started",
        Started::Scheduled => "Background append only file rewriting scheduled",
    });
    Ok(())
}

fn lastsave(cx: &mut Ctx<'_>) -> Outcome {
    let seconds = cx.global().last_save.0 / 1000;
    cx.reply.int(seconds);
    Ok(())
}

impl Block {
    /// Until the server says that something is done.
    pub fn on_job() -> Block {
        Block { on: BlockOn::Job, keys: 0..0, timeout: None, on_timeout: |reply| reply.ok(), args: None }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn options() {
        script(&[
            ("BGSAVE foo", "-ERR syntax error"),
            ("BGSAVE SCHEDULE CANCEL", "-ERR syntax error"),
            ("BGSAVE", "+Background saving started"),
            ("BGSAVE schedule", "+Background saving scheduled"),
            ("BGSAVE cancel", "+Background saving cancelled"),
            ("BGREWRITEAOF", "+Background append only file rewriting started"),
            ("LASTSAVE", ":1700000000"),
        ]);
    }

    #[test]
    fn not_in_the_middle_of_a_transaction() {
        let mut rig = Rig::new();
        rig.script(&[
            ("MULTI", "+OK"),
            ("BGSAVE", "+QUEUED"),
            ("BGREWRITEAOF", "+QUEUED"),
            ("EXEC", "*2 +Background saving scheduled +Background append only file rewriting scheduled"),
        ]);
    }

    #[test]
    fn who_saves_waits() {
        let mut rig = Rig::new();
        rig.script(&[("SAVE", "BLOCKED")]);
    }
}
