//! What is searched for: circles, boxes and polygons on a sphere.

use super::grid::{Bounds, Cell, Point};

/// The radius that Redis gives the earth.
const EARTH_RADIUS_METERS: f64 = 6_372_797.560856;

/// Half the circumference of the Mercator map's equator.
const MERCATOR_MAX_METERS: f64 = 20_037_726.37;

/// Distances below this share of a limit may be rounded to it or beyond: near the limit the exact formula decides.
const MARGIN: f64 = 1.0001;

/// The great-circle distance by the haversine formula.
pub fn distance_meters(one: Point, other: Point) -> f64 {
    Center::new(one).distance_meters(other)
}

fn latitude_distance_meters(one: f64, other: f64) -> f64 {
    EARTH_RADIUS_METERS * (radians(other) - radians(one)).abs()
}

/// A point that many distances are measured from.
#[derive(Clone, Copy, Debug)]
pub struct Center {
    pub point: Point,
    cos_latitude: f64,
}

impl Center {
    pub fn new(point: Point) -> Center {
        Center { point, cos_latitude: radians(point.latitude).cos() }
    }

    #[inline]
    fn distance_meters(&self, other: Point) -> f64 {
        let (longitude, other_longitude) = (radians(self.point.longitude), radians(other.longitude));
        let v = ((other_longitude - longitude) / 2.0).sin();
        // On one meridian the formula is simpler, and Redis uses it: the last digits show.
        if v == 0.0 {
            return latitude_distance_meters(self.point.latitude, other.latitude);
        }
        let (latitude, other_latitude) = (radians(self.point.latitude), radians(other.latitude));
        let u = ((other_latitude - latitude) / 2.0).sin();
        let a = u * u + self.cos_latitude * other_latitude.cos() * v * v;
        2.0 * EARTH_RADIUS_METERS * a.sqrt().asin()
    }
}

/// Degrees times π/180, in this order of rounding.
#[inline]
fn radians(degrees: f64) -> f64 {
    degrees * (std::f64::consts::PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (std::f64::consts::PI / 180.0)
}

/// An area on the sphere.
#[derive(Clone, Debug)]
pub enum Shape {
    Circle { center: Center, radius_meters: f64 },
    Box { center: Center, width_meters: f64, height_meters: f64 },
    Polygon { center: Center, vertices: Vec<Point> },
}

impl Shape {
    /// Distances are measured from the mean of the vertices as points in space, looked at from the middle of the earth.
    pub fn polygon(vertices: Vec<Point>) -> Shape {
        let mean = |of: fn(f64, f64) -> f64| {
            let sum: f64 = vertices.iter().map(|point| of(radians(point.longitude), radians(point.latitude))).sum();
            sum / vertices.len() as f64
        };
        let x = mean(|longitude, latitude| latitude.cos() * longitude.cos());
        let y = mean(|longitude, latitude| latitude.cos() * longitude.sin());
        let z = mean(|_, latitude| latitude.sin());
        let center = Point { longitude: degrees(y.atan2(x)), latitude: degrees(z.atan2(x.hypot(y))) };
        Shape::Polygon { center: Center::new(center), vertices }
    }

    fn center(&self) -> Center {
        match self {
            Shape::Circle { center, .. } | Shape::Box { center, .. } | Shape::Polygon { center, .. } => *center,
        }
    }

    /// The distance of a point from the middle, in meters, if it lies within.
    #[inline]
    pub fn distance_within(&self, point: Point) -> Option<f64> {
        match self {
            Shape::Circle { center, radius_meters } => {
                // No point is nearer than its latitude: that spares most of the trigonometry.
                let at_least = latitude_distance_meters(center.point.latitude, point.latitude);
                if at_least > radius_meters * MARGIN {
                    return None;
                }
                let distance = center.distance_meters(point);
                (distance <= *radius_meters).then_some(distance)
            }
            Shape::Box { center, width_meters, height_meters } => {
                let middle = center.point;
                if latitude_distance_meters(point.latitude, middle.latitude) > height_meters / 2.0 {
                    return None;
                }
                // Along the point's own parallel.
                let abeam = Point { longitude: middle.longitude, latitude: point.latitude };
                if distance_meters(point, abeam) > width_meters / 2.0 {
                    return None;
                }
                Some(center.distance_meters(point))
            }
            Shape::Polygon { center, vertices } => contains(vertices, point).then(|| center.distance_meters(point)),
        }
    }

    /// A rectangle of degrees around it.
    fn bounds(&self) -> Bounds {
        let (center, width_meters, height_meters) = match self {
            Shape::Circle { center, radius_meters } => (center.point, radius_meters * 2.0, radius_meters * 2.0),
            Shape::Box { center, width_meters, height_meters } => (center.point, *width_meters, *height_meters),
            Shape::Polygon { vertices, .. } => {
                let extent = |of: fn(&Point) -> f64| {
                    vertices
                        .iter()
                        .map(of)
                        .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| (min.min(value), max.max(value)))
                };
                return Bounds { longitude: extent(|point| point.longitude), latitude: extent(|point| point.latitude) };
            }
        };
        let latitude_half = degrees(height_meters / 2.0 / EARTH_RADIUS_METERS);
        let (south, north) = (center.latitude - latitude_half, center.latitude + latitude_half);
        // Parallels are shorter towards the poles: the edge nearer to one spans more degrees.
        let poleward = if center.latitude < 0.0 { south } else { north };
        let longitude_half = degrees(width_meters / 2.0 / EARTH_RADIUS_METERS / radians(poleward).cos());
        Bounds {
            longitude: (center.longitude - longitude_half, center.longitude + longitude_half),
            latitude: (south, north),
        }
    }

    fn radius_meters(&self) -> f64 {
        match self {
            Shape::Circle { radius_meters, .. } => *radius_meters,
            Shape::Box { width_meters, height_meters, .. } => {
                ((width_meters / 2.0).powi(2) + (height_meters / 2.0).powi(2)).sqrt()
            }
            Shape::Polygon { center, vertices } => {
                vertices.iter().map(|&vertex| center.distance_meters(vertex)).fold(0.0, f64::max)
            }
        }
    }

    /// The cells to look in: that of the middle, then its neighbours as far as the shape may reach into them. Members are found in this order,
    /// which shows where no other is asked for.
    pub fn cells(&self) -> Vec<Cell> {
        let (center, radius_meters, bounds) = (self.center().point, self.radius_meters(), self.bounds());
        let mut step = step_for(radius_meters, center.latitude);
        let mut middle = Cell::around(center, step);
        // Near a pole or an edge the neighbours may end before the shape does.
        let neighbour = |east, north| middle.neighbour(east, north).bounds();
        let falls_short = neighbour(0, 1).latitude.1 < bounds.latitude.1
            || neighbour(0, -1).latitude.0 > bounds.latitude.0
            || neighbour(1, 0).longitude.1 < bounds.longitude.1
            || neighbour(-1, 0).longitude.0 > bounds.longitude.0;
        if step > 1 && falls_short {
            step -= 1;
            middle = Cell::around(center, step);
        }
        let own = middle.bounds();
        // The shape does not reach beyond the middle cell on these sides. The largest cells are not worth the question.
        let ask = step >= 2;
        let no_south = ask && own.latitude.0 < bounds.latitude.0;
        let no_north = ask && own.latitude.1 > bounds.latitude.1;
        let no_west = ask && own.longitude.0 < bounds.longitude.0;
        let no_east = ask && own.longitude.1 > bounds.longitude.1;
        let mut cells: Vec<Cell> = Vec::with_capacity(9);
        for (east, north) in [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)] {
            let left_out = north < 0 && no_south || north > 0 && no_north || east < 0 && no_west || east > 0 && no_east;
            let cell = middle.neighbour(east, north);
            // Where cells are huge, two neighbours may be one.
            if !left_out && !cells.contains(&cell) {
                cells.push(cell);
            }
        }
        cells
    }
}

/// The smallest cells of which three by three cover a circle of this radius.
fn step_for(radius_meters: f64, latitude: f64) -> u32 {
    if radius_meters == 0.0 {
        return super::grid::STEP_MAX;
    }
    let mut step = 1;
    let mut reach = radius_meters;
    while reach < MERCATOR_MAX_METERS {
        reach *= 2.0;
        step += 1;
    }
    // One for the cells around, one for a center at a cell's edge.
    step -= 2;
    // Towards the poles a degree of longitude is ever shorter.
    if latitude.abs() > 66.0 {
        step -= 1;
        if latitude.abs() > 80.0 {
            step -= 1;
        }
    }
    step.clamp(1, super::grid::STEP_MAX as i32) as u32
}

/// Whether a ray from the point crosses the polygon's edges an odd number of times.
fn contains(vertices: &[Point], point: Point) -> bool {
    let mut inside = false;
    let mut previous = vertices[vertices.len() - 1];
    for &vertex in vertices {
        if (vertex.latitude > point.latitude) != (previous.latitude > point.latitude) {
            let share = (point.latitude - vertex.latitude) / (previous.latitude - vertex.latitude);
            if point.longitude < (previous.longitude - vertex.longitude) * share + vertex.longitude {
                inside = !inside;
            }
        }
        previous = vertex;
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(longitude: f64, latitude: f64) -> Point {
        Point { longitude, latitude }
    }

    #[test]
    fn steps_by_radius() {
        assert_eq!(step_for(0.0, 0.0), 26);
        assert_eq!(step_for(0.001, 0.0), 26);
        assert_eq!(step_for(200_000.0, 37.0), 6);
        assert_eq!(step_for(200_000.0, -70.0), 5);
        assert_eq!(step_for(200_000.0, 85.0), 4);
        assert_eq!(step_for(f64::INFINITY, 0.0), 1);
    }

    /// Whatever lies within must lie in one of the cells.
    #[test]
    fn cells_cover_the_shape() {
        use rand::{Rng, SeedableRng};
        let mut rng = rand::rngs::StdRng::seed_from_u64(testkit::seed());
        for _ in 0..2000 {
            let center = point(rng.random_range(-170.0..170.0), rng.random_range(-70.0..70.0));
            let size = 10f64.powf(rng.random_range(0.0..6.0));
            let shape = match rng.random_range(0..3) {
                0 => Shape::Circle { center: Center::new(center), radius_meters: size },
                1 => Shape::Box {
                    center: Center::new(center),
                    width_meters: size,
                    height_meters: size * rng.random_range(0.1..2.0),
                },
                _ => {
                    let spread = (size / 200_000.0).min(5.0);
                    let near = |rng: &mut rand::rngs::StdRng| {
                        point(
                            center.longitude + rng.random_range(-spread..spread),
                            center.latitude + rng.random_range(-spread..spread),
                        )
                    };
                    Shape::polygon(vec![near(&mut rng), near(&mut rng), near(&mut rng), near(&mut rng)])
                }
            };
            let cells = shape.cells();
            let reach = size / 100_000.0;
            for _ in 0..50 {
                let candidate = point(
                    center.longitude + rng.random_range(-reach..reach) * 2.0,
                    center.latitude + rng.random_range(-reach..reach),
                );
                if !candidate.is_on_grid() {
                    continue;
                }
                let score = candidate.score_bits() as f64;
                if shape.distance_within(Point::of_score(score)).is_some() {
                    let found = cells.iter().any(|cell| {
                        let (min, max) = cell.scores();
                        (min..max).contains(&score)
                    });
                    assert!(found, "{candidate:?} lies in {shape:?} but in none of {cells:?}");
                }
            }
        }
    }

    #[test]
    fn polygons() {
        let square = vec![point(0.0, 0.0), point(2.0, 0.0), point(2.0, 2.0), point(0.0, 2.0)];
        assert!(contains(&square, point(1.0, 1.0)));
        assert!(!contains(&square, point(3.0, 1.0)));
        assert!(!contains(&square, point(1.0, -0.1)));
        let notched = vec![point(0.0, 0.0), point(2.0, 0.0), point(2.0, 2.0), point(1.0, 0.5), point(0.0, 2.0)];
        assert!(!contains(&notched, point(1.0, 1.5)));
        assert!(contains(&notched, point(0.2, 1.5)));
    }
}
