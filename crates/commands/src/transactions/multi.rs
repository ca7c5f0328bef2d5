//! `MULTI` and `DISCARD`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Flags, Group, Spec};

const FLAGS: Flags =
    Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE).union(Flags::FAST).union(Flags::ALLOW_BUSY);

pub const MULTI: Spec = Spec {
    name: "multi",
    arity: 1,
    flags: FLAGS,
    acl: Acl::FAST.union(Acl::TRANSACTION),
    group: Group::Transactions,
    since: "1.2.0",
    summary: "Begins a transaction: commands are queued until EXEC.",
    run: Some(multi),
    ..Spec::NEW
};

pub const DISCARD: Spec = Spec {
    name: "discard",
    arity: 1,
    flags: FLAGS,
    acl: Acl::FAST.union(Acl::TRANSACTION),
    group: Group::Transactions,
    since: "2.0.0",
    summary: "Drops what a transaction has queued, and watches nothing any more.",
    complexity: "O(N), N being the number of queued commands",
    run: Some(discard),
    ..Spec::NEW
};

fn multi(cx: &mut Ctx<'_>) -> Outcome {
    if cx.session.transaction.is_some() {
        return cx.fail("ERR MULTI calls can not be nested");
    }
    cx.session.begin_transaction();
    cx.reply.ok();
    Ok(())
}

fn discard(cx: &mut Ctx<'_>) -> Outcome {
    if cx.session.transaction.is_none() {
        return cx.fail("ERR DISCARD without MULTI");
    }
    cx.unwatch()?;
    if let Some(transaction) = cx.session.end_transaction() {
        transaction.end();
    }
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn queued_and_dropped() {
        script(&[
            ("DISCARD", "-ERR DISCARD without MULTI"),
            ("EXEC", "-ERR EXEC without MULTI"),
            ("MULTI", "+OK"),
            ("MULTI", "-ERR MULTI calls can not be nested"),
            ("SET a 1", "+QUEUED"),
            ("DISCARD", "+OK"),
            ("GET a", "$-1"),
            ("EXEC", "-ERR EXEC without MULTI"),
            ("MULTI", "+OK"),
            ("RESET", "+RESET"),
            ("GET a", "$-1"),
        ]);
    }
}
