//! Places as numbers: the grid of geohashes.
//!
//! The world between 85.05° south and north (the square of the Web Mercator map) is halved in turn by longitude and latitude, 26 times each. The
//! bits of the halves, longitude first, are the number of a cell:
//!
//! ```text
//! 52 bits   lon lat lon lat lon lat ...     the longer the common beginning, the nearer; a cell of `step` halvings is a range of scores
//! ```
//!
//! The number is the score of a member, so a cell is a range of scores. The idea is Geohash (Gustavo Niemeyer, 2008), here in the integer
//! form of "geohash-int".

/// The number of halvings of a score.
pub const STEP_MAX: u32 = 26;

pub const LONGITUDE_MAX: f64 = 180.0;
pub const LATITUDE_MAX: f64 = 85.051_128_78;

/// Degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub longitude: f64,
    pub latitude: f64,
}

/// A range of degrees in each direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub longitude: (f64, f64),
    pub latitude: (f64, f64),
}

/// The whole grid.
const WORLD: Bounds = Bounds { longitude: (-LONGITUDE_MAX, LONGITUDE_MAX), latitude: (-LATITUDE_MAX, LATITUDE_MAX) };

/// The world of textual geohashes reaches to the poles.
const GLOBE: Bounds = Bounds { longitude: (-LONGITUDE_MAX, LONGITUDE_MAX), latitude: (-90.0, 90.0) };

/// A cell of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub bits: u64,
    pub step: u32,
}

impl Point {
    pub fn is_on_grid(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    /// The score of this place.
    pub fn score_bits(self) -> u64 {
        Cell::of(self, STEP_MAX, &WORLD).bits
    }

    /// The place that a score stands for: the middle of its cell.
    pub fn of_score(score: f64) -> Point {
        let bounds = Cell { bits: bits_of(score), step: STEP_MAX }.bounds_in(&WORLD);
        let middle = |(min, max): (f64, f64), limit: f64| ((min + max) / 2.0).clamp(-limit, limit);
        Point { longitude: middle(bounds.longitude, LONGITUDE_MAX), latitude: middle(bounds.latitude, LATITUDE_MAX) }
    }

    /// The geohash in letters. The grid has 52 bits and eleven letters would show 55: the last is always `0`.
    pub fn geohash(self) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::of(self, STEP_MAX, &GLOBE).bits;
        std::array::from_fn(|nth| match nth {
            10 => LETTERS[0],
            _ => LETTERS[(bits >> (2 * STEP_MAX as usize - 5 * (nth + 1)) & 31) as usize],
        })
    }
}

/// A score as bits. Any score may be asked for its place, and Redis converts all of them as x86 does (8.2: -5 wraps around,
/// 1e20 and infinity are 0).
fn bits_of(score: f64) -> u64 {
    const HALF: f64 = (1u64 << 63) as f64;
    if score < HALF { to_i64(score) as u64 } else { to_i64(score - HALF) as u64 ^ 1 << 63 }
}

/// As x86 converts: what does not fit is the smallest number.
pub fn to_i64(number: f64) -> i64 {
    const HALF: f64 = (1u64 << 63) as f64;
    if (-HALF..HALF).contains(&number) { number as i64 } else { i64::MIN }
}

impl Cell {
    /// The cell of this size that holds the point.
    pub fn around(point: Point, step: u32) -> Cell {
        Cell::of(point, step, &WORLD)
    }

    fn of(point: Point, step: u32, world: &Bounds) -> Cell {
        let place = |value: f64, (min, max): (f64, f64)| ((value - min) / (max - min) * (1u64 << step) as f64) as u32;
        let longitude = place(point.longitude, world.longitude);
        let latitude = place(point.latitude, world.latitude);
        Cell { bits: spread(latitude) | spread(longitude) << 1, step }
    }

    /// Its edges in degrees.
    pub fn bounds(self) -> Bounds {
        self.bounds_in(&WORLD)
    }

    fn bounds_in(self, world: &Bounds) -> Bounds {
        let cells = (1u64 << self.step) as f64;
        let edges = |place: u32, (min, max): (f64, f64)| {
            let edge = |place: f64| min + place / cells * (max - min);
            (edge(f64::from(place)), edge(f64::from(place) + 1.0))
        };
        Bounds {
            longitude: edges(gather(self.bits >> 1), world.longitude),
            latitude: edges(gather(self.bits), world.latitude),
        }
    }

    /// The cell so many cells to the east and to the north. The grid goes around in both directions.
    pub fn neighbour(self, east: i32, north: i32) -> Cell {
        // The uttermost north and east lie one cell beyond the grid. As in Redis 8.2, only a step in their direction brings them back.
        let mask = ((1u64 << self.step) - 1) as u32;
        let moved = |place: u32, by: i32| if by == 0 { place } else { place.wrapping_add_signed(by) & mask };
        let longitude = moved(gather(self.bits >> 1), east);
        let latitude = moved(gather(self.bits), north);
        Cell { bits: spread(latitude) | spread(longitude) << 1, step: self.step }
    }

    /// The scores in this cell: from the first to before the second.
    pub fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEP_MAX - self.step);
        ((self.bits << shift) as f64, ((self.bits + 1) << shift) as f64)
    }
}

/// Puts a zero before each bit.
fn spread(place: u32) -> u64 {
    let mut bits = u64::from(place);
    bits = (bits | bits << 16) & 0x0000_FFFF_0000_FFFF;
    bits = (bits | bits << 8) & 0x00FF_00FF_00FF_00FF;
    bits = (bits | bits << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & 0x5555_5555_5555_5555
}

/// Takes every other bit: undoes [`spread`].
fn gather(bits: u64) -> u32 {
    let mut bits = bits & 0x5555_5555_5555_5555;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0F0F_0F0F_0F0F_0F0F;
    bits = (bits | bits >> 4) & 0x00FF_00FF_00FF_00FF;
    bits = (bits | bits >> 8) & 0x0000_FFFF_0000_FFFF;
    (bits | bits >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_spread_and_gathered() {
        for place in [0, 1, 2, 0x3FF_FFFF, 0x400_0000, u32::MAX, 0x1234_5678] {
            assert_eq!(gather(spread(place)), place);
            assert_eq!(spread(place) & 0xAAAA_AAAA_AAAA_AAAA, 0);
        }
    }

    /// Scores and texts that Redis 8.2 gave.
    #[test]
    fn places_as_redis_knows_them() {
        for (longitude, latitude, bits, geohash) in [
            (13.361389, 38.115556, 3_479_099_956_230_698, "sqc8b49rny0"),
            (15.087269, 37.502669, 3_479_447_370_796_909, "sqdtr74hyu0"),
            (20.0, 85.05112878, 6_766_947_132_407_976, "urn5z55d9z0"),
            (-180.0, -85.05112878, 0, "00bh0hbj200"),
            (180.0, 85.05112878, 13_510_798_882_111_488, "bp05b5048p0"),
        ] {
            let point = Point { longitude, latitude };
            assert!(point.is_on_grid());
            assert_eq!(point.score_bits(), bits);
            assert_eq!(std::str::from_utf8(&Point::of_score(bits as f64).geohash()), Ok(geohash));
        }
        assert!(!Point { longitude: 180.0, latitude: 85.05112879 }.is_on_grid());
    }

    #[test]
    fn neighbours_go_around() {
        let corner = Cell::around(Point { longitude: -180.0, latitude: -85.0 }, 3);
        assert_eq!(corner.bits, 0);
        let west = corner.neighbour(-1, 0);
        assert_eq!(west.bounds().longitude, (135.0, 180.0));
        assert_eq!(west.neighbour(1, 0), corner);
        assert_eq!(corner.neighbour(0, -1).bounds().latitude.1, LATITUDE_MAX);
        assert_eq!(corner.scores(), (0.0, (1u64 << 46) as f64));
    }
}
