//! `GEOPOS`, `GEOHASH` and `GEODIST`.

use keyspace::SortedSet;

use super::grid::Point;
use super::shape::distance_meters;
use super::{Unit, put_distance, put_point};
use crate::context::{Ctx, Outcome};
use crate::error::Error;
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const GEOPOS: Spec = Spec {
    name: "geopos",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::GEO).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Geo,
    since: "3.2.0",
    summary: "Returns longitude and latitude of places.",
    complexity: "O(1) a place",
    args: &[Arg::key("key", 0), Arg::string("member").optional().multiple()],
    run: Some(geopos),
    ..Spec::NEW
};

pub const GEOHASH: Spec = Spec {
    name: "geohash",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::GEO).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Geo,
    since: "3.2.0",
    summary: "Returns the geohash texts of places.",
    complexity: "O(1) a place",
    args: &[Arg::key("key", 0), Arg::string("member").optional().multiple()],
    run: Some(geohash),
    ..Spec::NEW
};

pub const GEODIST: Spec = Spec {
    name: "geodist",
    arity: -4,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::GEO).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Geo,
    since: "3.2.0",
    summary: "Returns the distance between two places.",
    complexity: "O(1)",
    args: &[
        Arg::key("key", 0),
        Arg::string("member1"),
        Arg::string("member2"),
        Arg::one_of(
            "unit",
            &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
        )
        .optional(),
    ],
    run: Some(geodist),
    ..Spec::NEW
};

fn geopos(cx: &mut Ctx<'_>) -> Outcome {
    let set = cx.db.read_as::<SortedSet>(cx.keys[0])?;
    cx.reply.array(cx.args.len() - 2);
    for member in &cx.args[2..] {
        match set.as_ref().and_then(|set| set.score(member)) {
            Some(score) => put_point(cx.reply, Point::of_score(score)),
            None => cx.reply.null_array(),
        }
    }
    Ok(())
}

fn geohash(cx: &mut Ctx<'_>) -> Outcome {
    let set = cx.db.read_as::<SortedSet>(cx.keys[0])?;
    cx.reply.array(cx.args.len() - 2);
    for member in &cx.args[2..] {
        let score = set.as_ref().and_then(|set| set.score(member));
        cx.reply.bulk_or_null(score.map(|score| Point::of_score(score).geohash()));
    }
    Ok(())
}

fn geodist(cx: &mut Ctx<'_>) -> Outcome {
    let unit = match cx.args {
        [_, _, _, _] => Unit::METER,
        [_, _, _, _, unit] => Unit::parse(unit)?,
        _ => return Err(Error::Syntax.into()),
    };
    let set = cx.db.read_as::<SortedSet>(cx.keys[0])?;
    let score = |member| set.as_ref().and_then(|set| set.score(member));
    match (score(cx.args[2]), score(cx.args[3])) {
        (Some(one), Some(other)) => {
            let distance = distance_meters(Point::of_score(one), Point::of_score(other));
            put_distance(cx.reply, unit.of_meters(distance));
        }
        _ => cx.reply.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::ITALY;
    use crate::sorted_set::testing::encodings;

    #[test]
    fn places() {
        encodings(&[
            ITALY,
            ("GEOPOS g Palermo no", "*2 *2 $18 13.361389338970184 $16 38.1155563954963 *-1"),
            ("GEOPOS g", "*0"),
            ("GEOPOS no a", "*1 *-1"),
            ("GEOHASH g Palermo no Catania", "*3 $11 sqc8b49rny0 $-1 $11 sqdtr74hyu0"),
            ("GEODIST g Palermo Catania", "$11 166274.1516"),
            ("GEODIST g Palermo Catania KM", "$8 166.2742"),
            ("GEODIST g Palermo Catania mi", "$8 103.3182"),
            ("GEODIST g Palermo Catania ft", "$11 545518.8700"),
            ("GEODIST g Palermo Palermo", "$6 0.0000"),
            ("GEODIST g Palermo no", "$-1"),
            ("GEODIST no a b", "$-1"),
        ]);
    }

    /// Scores that no place has, as Redis 8.2 reads them on x86.
    #[test]
    fn any_score_has_a_place() {
        encodings(&[
            ("ZADD w 1.5 frac -5 neg 1e20 big inf i 4503599627370496 over", ":5"),
            ("GEOPOS w frac", "*1 *2 $19 -179.99999731779099 $18 -85.05112497791825"),
            ("GEOPOS w neg", "*1 *2 $3 180 $11 85.05112878"),
            ("GEOPOS w big", "*1 *2 $19 -179.99999731779099 $18 -85.05112751263943"),
            ("GEOPOS w i", "*1 *2 $19 -179.99999731779099 $18 -85.05112751263943"),
            ("GEOPOS w over", "*1 *2 $19 -179.99999731779099 $11 85.05112878"),
            ("GEOHASH w frac neg over", "*3 $11 00bh0hbj210 $11 bp05b5048p0 $11 bp05b5048p0"),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        encodings(&[
            ("SET s 1", "+OK"),
            ("GEODIST s a b foo", "-ERR unsupported unit provided. please use M, KM, FT, MI"),
            ("GEODIST s a b km x", "-ERR syntax error"),
            ("GEODIST s a b", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("GEOPOS s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("GEOHASH s a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}
