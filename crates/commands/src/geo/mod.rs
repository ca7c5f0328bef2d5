//! Geo commands: places as members of sorted sets.
//!
//! The score of a place is the number of its cell on a grid (`grid.rs`); a search looks through the cells around a shape (`shape.rs`).

mod geoadd;
mod geopos;
mod geosearch;
mod grid;
mod partial_sort;
mod shape;

use resp::Reply;

use crate::error::Error;
use crate::spec::Spec;

/// All commands of the group.
pub const SPECS: &[&Spec] = &[
    &geoadd::SPEC,
    &geopos::GEODIST,
    &geopos::GEOHASH,
    &geopos::GEOPOS,
    &geosearch::GEORADIUS,
    &geosearch::GEORADIUSBYMEMBER,
    &geosearch::GEORADIUSBYMEMBER_RO,
    &geosearch::GEORADIUS_RO,
    &geosearch::GEOSEARCH,
    &geosearch::GEOSEARCHSTORE,
];

/// A unit of distances, by its length in meters.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Unit {
    meters: f64,
}

impl Unit {
    const METER: Unit = Unit { meters: 1.0 };

    fn parse(text: &[u8]) -> Result<Unit, Error> {
        let meters = match text.to_ascii_lowercase().as_slice() {
            b"m" => 1.0,
            b"km" => 1000.0,
            b"ft" => 0.3048,
            b"mi" => 1609.34,
            _ => return Err(Error::text("ERR unsupported unit provided. please use M, KM, FT, MI")),
        };
        Ok(Unit { meters })
    }

    fn to_meters(self, length: f64) -> f64 {
        length * self.meters
    }

    fn of_meters(self, meters: f64) -> f64 {
        meters / self.meters
    }
}

/// A distance is text with four decimals, in RESP3 too.
fn put_distance(reply: &mut Reply, distance: f64) {
    reply.bulk_fmt(format_args!("{distance:.4}"));
}

fn put_point(reply: &mut Reply, point: grid::Point) {
    reply.array(2);
    reply.double(point.longitude);
    reply.double(point.latitude);
}

#[cfg(test)]
mod tests {
    use config::KeyspaceEvents;

    use crate::effects::Readers;
    use crate::testing::Rig;

    pub const ITALY: (&str, &str) = (
        "GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania 13.583333 37.316667 Agrigento 12.5 38 Trapani",
        ":4",
    );

    /// As Redis 8.2 was seen to have them.
    #[test]
    fn events_and_effects() {
        for (line, events, effect) in [
            ("GEOADD n 13.361389 38.115556 Palermo", "new zadd", "zadd n 3479099956230698 Palermo"),
            ("GEOADD g CH 13.4 38.115556 Palermo", "zadd", "zadd g CH 3479100000293410 Palermo"),
            ("GEOADD g XX 13.4 38.2 no", "", ""),
            (
                "GEOSEARCHSTORE h g FROMLONLAT 15 37 BYRADIUS 200 km",
                "new geosearchstore",
                "GEOSEARCHSTORE h g FROMLONLAT 15 37 BYRADIUS 200 km",
            ),
            ("GEORADIUS g 15 37 200 km STORE g", "overwritten georadiusstore", "GEORADIUS g 15 37 200 km STORE g"),
            ("GEORADIUS no 15 37 1 km STORE g", "keymiss del", "GEORADIUS no 15 37 1 km STORE g"),
            ("GEORADIUS no 15 37 1 km STORE h", "keymiss", ""),
        ] {
            let mut rig = Rig { wide: true, ..Rig::default() };
            rig.script(&[ITALY]);
            rig.readers = Readers { journal: true, events: KeyspaceEvents::all(), ..Readers::NONE };
            rig.run(line);
            let names: Vec<_> = rig.effects.events().iter().map(|event| event.name).collect();
            assert_eq!(names.join(" "), events, "{line}");
            let effects: Vec<_> =
                rig.effects.units().flat_map(|unit| unit.iter()).map(|effect| effect.to_string()).collect();
            assert_eq!(effects.join("; "), effect, "{line}");
        }
    }
}
