//! `GEOADD`.

use resp::number::parse_f64;
use smallvec::SmallVec;

use super::grid::Point;
use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::sorted_set::zadd::{self, Options};
use crate::spec::{Acl, Arg, Flags, Group, KeyFlags, KeySpec, Spec};

pub const SPEC: Spec = Spec {
    name: "geoadd",
    arity: -5,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::GEO).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE), 1)],
    group: Group::Geo,
    since: "3.2.0",
    summary: "Adds places by longitude and latitude, or moves them.",
    complexity: "O(log(N)) a place, N being the size of the sorted set",
    history: &[("6.2.0", "Options `CH`, `NX` and `XX`.")],
    args: &[
        Arg::key("key", 0),
        Arg::one_of("condition", &[Arg::word("nx", "NX"), Arg::word("xx", "XX")]).since("6.2.0").optional(),
        Arg::word("change", "CH").since("6.2.0").optional(),
        Arg::block("data", &[Arg::double("longitude"), Arg::double("latitude"), Arg::string("member")]).multiple(),
    ],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    let mut options = Options::default();
    let mut first = 2;
    loop {
        let option = match () {
            () if cx.word(first, "NX") => &mut options.absent,
            () if cx.word(first, "XX") => &mut options.present,
            () if cx.word(first, "CH") => &mut options.changed,
            () => break,
        };
        *option = true;
        first += 1;
    }
    let places = &cx.args[first..];
    if !places.len().is_multiple_of(3) || options.absent && options.present {
        return Err(Error::Syntax.into());
    }
    let scores = places.chunks_exact(3).map(|place| Ok(point(place[0], place[1])?.score_bits() as f64));
    let scores: SmallVec<[f64; 16]> = scores.collect::<Result<_, Stop>>()?;
    let before = cx.db.stats.dirty.get();
    zadd::add(cx, options, places.iter().skip(2).step_by(3).copied(), &scores)?;
    // Elsewhere it is a ZADD: the same words, with scores instead of places.
    if cx.db.effects.wanted() && cx.db.stats.dirty.get() != before {
        let texts: Vec<String> = scores.iter().map(|score| (*score as u64).to_string()).collect();
        let mut effect: Vec<&[u8]> = vec![b"zadd"];
        effect.extend(&cx.args[1..first]);
        for (score, member) in texts.iter().zip(places.iter().skip(2).step_by(3)) {
            effect.extend([score.as_bytes(), member]);
        }
        cx.db.effects.instead(&effect);
    }
    Ok(())
}

/// Longitude and latitude as arguments.
///
/// # Errors
/// What is no number, and what is not on the grid.
pub fn point(longitude: &[u8], latitude: &[u8]) -> Result<Point, Error> {
    let parse = |text| parse_f64(text).ok_or(Error::NotFloat);
    let point = Point { longitude: parse(longitude)?, latitude: parse(latitude)? };
    if point.is_on_grid() {
        return Ok(point);
    }
    Err(Error::string(format!("ERR invalid longitude,latitude pair {:.6},{:.6}", point.longitude, point.latitude)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::ITALY;
    use crate::sorted_set::testing::encodings;

    #[test]
    fn places_and_options() {
        encodings(&[
            ITALY,
            ("ZSCORE g Palermo", "$16 3479099956230698"),
            ("GEOADD g 13.361389 38.115556 Palermo", ":0"),
            ("GEOADD g CH 13.4 38.115556 Palermo", ":1"),
            ("GEOADD g NX CH 1 1 Palermo 2 2 new", ":1"),
            ("GEOADD g XX 13.4 38.2 no", ":0"),
            ("ZCARD g", ":5"),
            ("GEOADD g 180 85.05112878 corner", ":1"),
            ("ZSCORE g corner", "$17 13510798882111488"),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        encodings(&[
            ("SET s 1", "+OK"),
            ("GEOADD s NX XX x 1 a", "-ERR syntax error"),
            ("GEOADD s 1 1 a 1 1", "-ERR syntax error"),
            ("GEOADD s INCR 1 1 a", "-ERR syntax error"),
            ("GEOADD s x 1 a", "-ERR value is not a valid float"),
            ("GEOADD s nan 1 a", "-ERR value is not a valid float"),
            ("GEOADD s 200 38.115556 a", "-ERR invalid longitude,latitude pair 200.000000,38.115556"),
            ("GEOADD s 180 85.05112879 a", "-ERR invalid longitude,latitude pair 180.000000,85.051129"),
            ("GEOADD s -inf 1 a", "-ERR invalid longitude,latitude pair -inf,1.000000"),
            ("GEOADD s 1 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ]);
    }
}
