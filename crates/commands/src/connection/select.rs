//! `SELECT`.

use keyspace::DbIndex;

use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "select",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
    acl: Acl::FAST.union(Acl::CONNECTION),
    group: Group::Connection,
    summary: "Chooses the database of this connection.",
    args: &[Arg::integer("index")],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let index = database(cx, 1)?;
    cx.session.select(index);
    cx.reply.ok();
    Ok(())
}

/// The database that argument `index` names, here and in MOVE and COPY.
///
/// # Errors
/// No number, a number outside of 32 bits, no such database: each has its own text.
pub(crate) fn database(cx: &Ctx<'_>, index: usize) -> Result<DbIndex, Stop> {
    let number = i32::try_from(cx.int(index)?)
        .map_err(|_| Error::text("ERR value is out of range, value must between -2147483648 and 2147483647"))?;
    match u32::try_from(number) {
        Ok(number) if number < cx.global().settings.databases => Ok(DbIndex(number)),
        _ => cx.fail("ERR DB index is out of range"),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn databases_are_apart_and_numbers_are_checked() {
        script(&[
            ("SET a 1", "+OK"),
            ("SELECT 15", "+OK"),
            ("EXISTS a", ":0"),
            ("SELECT 16", "-ERR DB index is out of range"),
            ("SELECT -1", "-ERR DB index is out of range"),
            ("SELECT x", "-ERR value is not an integer or out of range"),
            ("SELECT 1.0", "-ERR value is not an integer or out of range"),
            ("SELECT \"\"", "-ERR value is not an integer or out of range"),
            ("SELECT 99999999999", "-ERR value is out of range, value must between -2147483648 and 2147483647"),
            ("SELECT 0", "+OK"),
            ("EXISTS a", ":1"),
        ]);
    }
}
