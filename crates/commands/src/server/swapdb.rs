//! `SWAPDB`.

use keyspace::DbIndex;

use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, Side, Spec};

pub const SPEC: Spec = Spec {
    name: "swapdb",
    arity: 3,
    flags: Flags::WRITE.union(Flags::FAST),
    acl: Acl::KEYSPACE.union(Acl::WRITE).union(Acl::FAST).union(Acl::DANGEROUS),
    group: Group::Server,
    since: "4.0.0",
    summary: "Exchanges two databases.",
    complexity: "O(N), N being the number of clients that watch or wait for keys of either",
    args: &[Arg::integer("index1"), Arg::integer("index2")],
    side: Side::Wide,
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let databases = i64::from(cx.global().settings.databases);
    let mut indexes = [DbIndex(0); 2];
    for (position, text) in [(0, "ERR invalid first DB index"), (1, "ERR invalid second DB index")] {
        let number = resp::number::parse_i64(cx.args[1 + position]).ok_or(Error::text(text))?;
        // Redis reads a C int here: what does not fit one is no index at all.
        let number = i32::try_from(number).map_err(|_| Error::text(text))?;
        indexes[position] = DbIndex(number as u32);
    }
    if indexes.iter().any(|index| i64::from(index.0 as i32) < 0 || i64::from(index.0) >= databases) {
        return cx.fail("ERR DB index is out of range");
    }
    if indexes[0] != indexes[1] {
        cx.touch_databases(&indexes)?;
    }
    cx.db.space.swap_dbs(indexes[0], indexes[1]);
    indexes.into_iter().for_each(|index| cx.db.signal_database(index));
    cx.db.changed(1);
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::script;

    #[test]
    fn exchanges_two_databases() {
        script(&[
            ("SET a 1", "+OK"),
            ("SWAPDB 0 3", "+OK"),
            ("GET a", "$-1"),
            ("SELECT 3", "+OK"),
            ("GET a", "$1 1"),
            ("SWAPDB 3 3", "+OK"),
            ("GET a", "$1 1"),
            ("SWAPDB a 1", "-ERR invalid first DB index"),
            ("SWAPDB 0 b", "-ERR invalid second DB index"),
            ("SWAPDB 0 99", "-ERR DB index is out of range"),
            ("SWAPDB -1 0", "-ERR DB index is out of range"),
        ]);
    }
}
