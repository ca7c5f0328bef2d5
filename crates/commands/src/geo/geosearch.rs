//! `GEOSEARCH`, `GEOSEARCHSTORE`, and what they replace: `GEORADIUS`, `GEORADIUSBYMEMBER`, each with `_RO`.

use keyspace::collection::listpack::Item;
use keyspace::collection::sorted_set::{Direction, ScoreRange, SortedSetBuilder};
use keyspace::{IntBuffer, Key, SortedSet};
use resp::Reply;
use resp::number::{parse_f64, parse_i64};

use super::geoadd::point;
use super::grid::{Point, to_i64};
use super::shape::{Center, Shape};
use super::{Unit, partial_sort, put_distance, put_point};
use crate::context::{Ctx, Outcome};
use crate::error::{Error, Stop};
use crate::sorted_set::store;
use crate::spec::{Acl, Arg, Begin, Find, Flags, Group, KeyFlags, KeySpec, Spec};

pub const GEOSEARCH: Spec = Spec {
    name: "geosearch",
    arity: -7,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::GEO).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Geo,
    since: "6.2.0",
    summary: "Returns the places in a circle, a box or a polygon.",
    complexity: "O(N+log(M)), N being the places in the grid cells around the shape and M those within it",
    history: &[("7.0.0", "Units in upper case."), ("9.0.0", "Shape `BYPOLYGON` (Valkey).")],
    args: &[
        Arg::key("key", 0),
        Arg::one_of(
            "from",
            &[
                Arg::string("member").token("FROMMEMBER"),
                Arg::block("fromlonlat", &[Arg::double("longitude"), Arg::double("latitude")]).token("FROMLONLAT"),
            ],
        ),
        Arg::one_of(
            "by",
            &[
                Arg::block(
                    "circle",
                    &[
                        Arg::double("radius").token("BYRADIUS"),
                        Arg::one_of(
                            "unit",
                            &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
                        ),
                    ],
                ),
                Arg::block(
                    "box",
                    &[
                        Arg::double("width").token("BYBOX"),
                        Arg::double("height"),
                        Arg::one_of(
                            "unit",
                            &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
                        ),
                    ],
                ),
                Arg::block(
                    "polygon",
                    &[
                        Arg::integer("num-vertices").token("BYPOLYGON"),
                        Arg::block("vertices", &[Arg::double("longitude"), Arg::double("latitude")]).multiple(),
                    ],
                )
                .since("9.0.0"),
            ],
        ),
        Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
        Arg::block("count-block", &[Arg::integer("count").token("COUNT"), Arg::word("any", "ANY").optional()])
            .optional(),
        Arg::word("withcoord", "WITHCOORD").optional(),
        Arg::word("withdist", "WITHDIST").optional(),
        Arg::word("withhash", "WITHHASH").optional(),
    ],
    run: Some(geosearch),
    ..Spec::NEW
};

pub const GEOSEARCHSTORE: Spec = Spec {
    name: "geosearchstore",
    arity: -8,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::GEO).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE), 1),
        KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 2),
    ],
    group: Group::Geo,
    since: "6.2.0",
    summary: "Stores the places in a circle, a box or a polygon under another key.",
    complexity: "O(N+log(M)), N being the places in the grid cells around the shape and M those within it",
    history: &[("7.0.0", "Units in upper case."), ("9.0.0", "Shape `BYPOLYGON` (Valkey).")],
    args: &[
        Arg::key("destination", 0),
        Arg::key("source", 1),
        Arg::one_of(
            "from",
            &[
                Arg::string("member").token("FROMMEMBER"),
                Arg::block("fromlonlat", &[Arg::double("longitude"), Arg::double("latitude")]).token("FROMLONLAT"),
            ],
        ),
        Arg::one_of(
            "by",
            &[
                Arg::block(
                    "circle",
                    &[
                        Arg::double("radius").token("BYRADIUS"),
                        Arg::one_of(
                            "unit",
                            &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
                        ),
                    ],
                ),
                Arg::block(
                    "box",
                    &[
                        Arg::double("width").token("BYBOX"),
                        Arg::double("height"),
                        Arg::one_of(
                            "unit",
                            &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
                        ),
                    ],
                ),
                Arg::block(
                    "polygon",
                    &[
                        Arg::integer("num-vertices").token("BYPOLYGON"),
                        Arg::block("vertices", &[Arg::double("longitude"), Arg::double("latitude")]).multiple(),
                    ],
                )
                .since("9.0.0"),
            ],
        ),
        Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
        Arg::block("count-block", &[Arg::integer("count").token("COUNT"), Arg::word("any", "ANY").optional()])
            .optional(),
        Arg::word("storedist", "STOREDIST").optional(),
    ],
    run: Some(geosearchstore),
    ..Spec::NEW
};

pub const GEORADIUS: Spec = Spec {
    name: "georadius",
    arity: -6,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::GEO).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1),
        KeySpec {
            notes: None,
            flags: KeyFlags::OW.union(KeyFlags::UPDATE),
            begin: Begin::Keyword { keyword: "STORE", start_from: 6 },
            find: Find::Range { last: 0, step: 1, limit: 0 },
        },
        KeySpec {
            notes: None,
            flags: KeyFlags::OW.union(KeyFlags::UPDATE),
            begin: Begin::Keyword { keyword: "STOREDIST", start_from: 6 },
            find: Find::Range { last: 0, step: 1, limit: 0 },
        },
    ],
    group: Group::Geo,
    since: "3.2.0",
    summary: "Returns or stores the places within a distance of a point.",
    complexity: "O(N+log(M)), N being the places in the box around the circle and M those within it",
    doc_flags: &["deprecated"],
    deprecated_since: Some("6.2.0"),
    replaced_by: Some("`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"),
    history: &[("6.2.0", "Option `ANY` behind `COUNT`."), ("7.0.0", "Units in upper case.")],
    args: &[
        Arg::key("key", 0),
        Arg::double("longitude"),
        Arg::double("latitude"),
        Arg::double("radius"),
        Arg::one_of(
            "unit",
            &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
        ),
        Arg::word("withcoord", "WITHCOORD").optional(),
        Arg::word("withdist", "WITHDIST").optional(),
        Arg::word("withhash", "WITHHASH").optional(),
        Arg::block(
            "count-block",
            &[Arg::integer("count").token("COUNT"), Arg::word("any", "ANY").since("6.2.0").optional()],
        )
        .optional(),
        Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
        Arg::one_of(
            "store",
            &[
                Arg::key("storekey", 1).token("STORE").display("key"),
                Arg::key("storedistkey", 2).token("STOREDIST").display("key"),
            ],
        )
        .optional(),
    ],
    run: Some(georadius),
    ..Spec::NEW
};

pub const GEORADIUS_RO: Spec = Spec {
    name: "georadius_ro",
    arity: -6,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::GEO).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Geo,
    since: "3.2.10",
    summary: "Returns the places within a distance of a point.",
    complexity: "O(N+log(M)), N being the places in the box around the circle and M those within it",
    doc_flags: &["deprecated"],
    deprecated_since: Some("6.2.0"),
    replaced_by: Some("`GEOSEARCH` with the `BYRADIUS` argument"),
    history: &[("6.2.0", "Option `ANY` behind `COUNT`."), ("7.0.0", "Units in upper case.")],
    args: &[
        Arg::key("key", 0),
        Arg::double("longitude"),
        Arg::double("latitude"),
        Arg::double("radius"),
        Arg::one_of(
            "unit",
            &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
        ),
        Arg::word("withcoord", "WITHCOORD").optional(),
        Arg::word("withdist", "WITHDIST").optional(),
        Arg::word("withhash", "WITHHASH").optional(),
        Arg::block(
            "count-block",
            &[Arg::integer("count").token("COUNT"), Arg::word("any", "ANY").since("6.2.0").optional()],
        )
        .optional(),
        Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
    ],
    run: Some(georadius_ro),
    ..Spec::NEW
};

pub const GEORADIUSBYMEMBER: Spec = Spec {
    name: "georadiusbymember",
    arity: -5,
    flags: Flags::WRITE.union(Flags::DENYOOM),
    acl: Acl::WRITE.union(Acl::GEO).union(Acl::SLOW),
    keys: &[
        KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1),
        KeySpec {
            notes: None,
            flags: KeyFlags::OW.union(KeyFlags::UPDATE),
            begin: Begin::Keyword { keyword: "STORE", start_from: 5 },
            find: Find::Range { last: 0, step: 1, limit: 0 },
        },
        KeySpec {
            notes: None,
            flags: KeyFlags::OW.union(KeyFlags::UPDATE),
            begin: Begin::Keyword { keyword: "STOREDIST", start_from: 5 },
            find: Find::Range { last: 0, step: 1, limit: 0 },
        },
    ],
    group: Group::Geo,
    since: "3.2.0",
    summary: "Returns or stores the places within a distance of another place.",
    complexity: "O(N+log(M)), N being the places in the box around the circle and M those within it",
    doc_flags: &["deprecated"],
    deprecated_since: Some("6.2.0"),
    replaced_by: Some("`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    history: &[("6.2.0", "Option `ANY` behind `COUNT`."), ("7.0.0", "Units in upper case.")],
    args: &[
        Arg::key("key", 0),
        Arg::string("member"),
        Arg::double("radius"),
        Arg::one_of(
            "unit",
            &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
        ),
        Arg::word("withcoord", "WITHCOORD").optional(),
        Arg::word("withdist", "WITHDIST").optional(),
        Arg::word("withhash", "WITHHASH").optional(),
        Arg::block("count-block", &[Arg::integer("count").token("COUNT"), Arg::word("any", "ANY").optional()])
            .optional(),
        Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
        Arg::one_of(
            "store",
            &[
                Arg::key("storekey", 1).token("STORE").display("key"),
                Arg::key("storedistkey", 2).token("STOREDIST").display("key"),
            ],
        )
        .optional(),
    ],
    run: Some(georadiusbymember),
    ..Spec::NEW
};

pub const GEORADIUSBYMEMBER_RO: Spec = Spec {
    name: "georadiusbymember_ro",
    arity: -5,
    flags: Flags::READONLY,
    acl: Acl::READ.union(Acl::GEO).union(Acl::SLOW),
    keys: &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS), 1)],
    group: Group::Geo,
    since: "3.2.10",
    summary: "Returns the places within a distance of another place.",
    complexity: "O(N+log(M)), N being the places in the box around the circle and M those within it",
    doc_flags: &["deprecated"],
    deprecated_since: Some("6.2.0"),
    replaced_by: Some("`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    history: &[("6.2.0", "Option `ANY` behind `COUNT`."), ("7.0.0", "Units in upper case.")],
    args: &[
        Arg::key("key", 0),
        Arg::string("member"),
        Arg::double("radius"),
        Arg::one_of(
            "unit",
            &[Arg::word("m", "M"), Arg::word("km", "KM"), Arg::word("ft", "FT"), Arg::word("mi", "MI")],
        ),
        Arg::word("withcoord", "WITHCOORD").optional(),
        Arg::word("withdist", "WITHDIST").optional(),
        Arg::word("withhash", "WITHHASH").optional(),
        Arg::block("count-block", &[Arg::integer("count").token("COUNT"), Arg::word("any", "ANY").optional()])
            .optional(),
        Arg::one_of("order", &[Arg::word("asc", "ASC"), Arg::word("desc", "DESC")]).optional(),
    ],
    run: Some(georadiusbymember_ro),
    ..Spec::NEW
};

fn geosearch(cx: &mut Ctx<'_>) -> Outcome {
    search(cx, Form::Search)
}

fn geosearchstore(cx: &mut Ctx<'_>) -> Outcome {
    search(cx, Form::SearchStore)
}

fn georadius(cx: &mut Ctx<'_>) -> Outcome {
    search(cx, Form::Radius { of_member: false, may_store: true })
}

fn georadius_ro(cx: &mut Ctx<'_>) -> Outcome {
    search(cx, Form::Radius { of_member: false, may_store: false })
}

fn georadiusbymember(cx: &mut Ctx<'_>) -> Outcome {
    search(cx, Form::Radius { of_member: true, may_store: true })
}

fn georadiusbymember_ro(cx: &mut Ctx<'_>) -> Outcome {
    search(cx, Form::Radius { of_member: true, may_store: false })
}

/// How the command is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Search,
    SearchStore,
    Radius { of_member: bool, may_store: bool },
}

impl Form {
    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }
}

fn search(cx: &mut Ctx<'_>, form: Form) -> Outcome {
    let args = cx.args;
    let source = key_of(cx, args[if form == Form::SearchStore { 2 } else { 1 }])?;
    let set = cx.db.read_as::<SortedSet>(source)?;
    let request = Request::parse(args, form, set.as_deref())?;
    let found = match (&set, &request.shape) {
        (Some(set), Some((shape, _))) => find(set, shape, &request),
        _ => Vec::new(),
    };
    let unit = request.shape.as_ref().map_or(Unit::METER, |(_, unit)| *unit);
    let Some(destination) = request.destination else {
        cx.reply.array(found.len());
        found.iter().for_each(|place| put_place(cx.reply, place, &request, unit));
        return Ok(());
    };
    let mut result = SortedSetBuilder::default();
    let mut buffer = IntBuffer::new();
    for place in &found {
        let score = if request.store_distance { unit.of_meters(place.distance_meters) } else { place.score };
        result.push(place.member.bytes(&mut buffer), score);
    }
    drop(found);
    let destination = key_of(cx, destination)?;
    store(cx, destination, if form.is_search() { "geosearchstore" } else { "georadiusstore" }, result)
}

/// The key of this name. Of several STORE or STOREDIST the last counts, but only the first is declared, and nothing is where one of them
/// ends the command: then it takes the wide side to reach the key.
fn key_of<'a>(cx: &Ctx<'a>, name: &'a [u8]) -> Result<Key<'a>, Stop> {
    match cx.keys.iter().find(|key| key.bytes() == name) {
        Some(&key) => Ok(key),
        None if cx.is_wide() => Ok(cx.db.space.key(name)),
        None => Err(Stop::Wide),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Nearest,
    Farthest,
}

struct Request<'a> {
    /// With the unit of distances. `None` only where the key is not there, and nothing can be found.
    shape: Option<(Shape, Unit)>,
    with_distance: bool,
    with_hash: bool,
    with_point: bool,
    order: Option<Order>,
    /// 0: all.
    count: usize,
    /// The first that are found will do.
    any: bool,
    destination: Option<&'a [u8]>,
    store_distance: bool,
}

/// The parts of a shape, as the words say them one by one.
enum By {
    Radius(f64),
    Box(f64, f64),
    Polygon(Vec<Point>),
}

impl<'a> Request<'a> {
    fn parse(args: &[&'a [u8]], form: Form, set: Option<&SortedSet>) -> Result<Request<'a>, Stop> {
        let mut request = Request {
            shape: None,
            with_distance: false,
            with_hash: false,
            with_point: false,
            order: None,
            count: 0,
            any: false,
            destination: (form == Form::SearchStore).then(|| args[1]),
            store_distance: false,
        };
        let (mut center, mut by): (Option<Option<Point>>, Option<(By, Unit)>) = (None, None);
        let (mut of_member, mut of_point, mut counted) = (false, false, false);
        let mut at = match form {
            Form::Search => 2,
            Form::SearchStore => 3,
            Form::Radius { of_member: false, .. } => {
                center = Some(Some(point(args[2], args[3])?));
                by = Some(radius(args[4], args[5])?);
                6
            }
            Form::Radius { of_member: true, .. } => {
                // Without the key neither member nor radius are looked at (Redis 8.2).
                center = Some(member(set, args[2])?);
                by = set.map(|_| radius(args[3], args[4])).transpose()?;
                5
            }
        };
        while at < args.len() {
            let word = args[at];
            let is = |text: &str| word.eq_ignore_ascii_case(text.as_bytes());
            let rest = args.len() - at - 1;
            let polygon = matches!(by, Some((By::Polygon(_), _)));
            match () {
                () if is("WITHDIST") => request.with_distance = true,
                () if is("WITHHASH") => request.with_hash = true,
                () if is("WITHCOORD") => request.with_point = true,
                () if is("ANY") => request.any = true,
                () if is("ASC") => request.order = Some(Order::Nearest),
                () if is("DESC") => request.order = Some(Order::Farthest),
                () if is("COUNT") && rest >= 1 => {
                    at += 1;
                    match parse_i64(args[at]).ok_or(Error::NotInteger)? {
                        count @ 1.. => request.count = count as usize,
                        _ => return Err(Error::text("ERR COUNT must be > 0").into()),
                    }
                    counted = true;
                }
                () if matches!(form, Form::Radius { may_store: true, .. })
                    && rest >= 1
                    && (is("STORE") || is("STOREDIST")) =>
                {
                    at += 1;
                    request.destination = Some(args[at]);
                    request.store_distance = is("STOREDIST");
                }
                () if form == Form::SearchStore && is("STOREDIST") => request.store_distance = true,
                () if form.is_search() && rest >= 1 && !of_point && !polygon && is("FROMMEMBER") => {
                    at += 1;
                    center = Some(member(set, args[at])?);
                    of_member = true;
                }
                () if form.is_search() && rest >= 2 && !of_member && !polygon && is("FROMLONLAT") => {
                    at += 2;
                    center = Some(Some(point(args[at - 1], args[at])?));
                    of_point = true;
                }
                () if form.is_search()
                    && rest >= 2
                    && matches!(by, None | Some((By::Radius(_), _)))
                    && is("BYRADIUS") =>
                {
                    at += 2;
                    by = Some(radius(args[at - 1], args[at])?);
                }
                () if form.is_search() && rest >= 3 && matches!(by, None | Some((By::Box(..), _))) && is("BYBOX") => {
                    at += 3;
                    by = Some(rectangle(args[at - 2], args[at - 1], args[at])?);
                }
                () if form.is_search()
                    && rest >= 1
                    && center.is_none()
                    && (by.is_none() || polygon)
                    && is("BYPOLYGON") =>
                {
                    let vertices = vertices(&args[at + 1..])?;
                    at += 1 + 2 * vertices.len();
                    by = Some((By::Polygon(vertices), Unit::METER));
                }
                () => return Err(Error::Syntax.into()),
            }
            at += 1;
        }
        if request.destination.is_some() && (request.with_distance || request.with_hash || request.with_point) {
            return Err(Error::text(match form {
                Form::SearchStore => {
                    "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
                }
                _ => "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            })
            .into());
        }
        let polygon = matches!(by, Some((By::Polygon(_), _)));
        // Redis shows the command's name as it was written.
        let called = args[0];
        if center.is_none() && !polygon {
            let text = "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ";
            return Err(Error::quoting(text, called, "").into());
        }
        if by.is_none() && form.is_search() {
            let text = "ERR exactly one of BYRADIUS and BYBOX can be specified for ";
            return Err(Error::quoting(text, called, "").into());
        }
        if request.any && !counted {
            return Err(Error::text("ERR the ANY argument requires COUNT argument").into());
        }
        // The first of many can only be told by their order.
        if request.count > 0 && !request.any && request.order.is_none() {
            request.order = Some(Order::Nearest);
        }
        request.shape = match (by, center.flatten().map(Center::new)) {
            (Some((By::Polygon(vertices), unit)), _) => Some((Shape::polygon(vertices), unit)),
            (Some((By::Radius(radius_meters), unit)), Some(center)) => {
                Some((Shape::Circle { center, radius_meters }, unit))
            }
            (Some((By::Box(width_meters, height_meters), unit)), Some(center)) => {
                Some((Shape::Box { center, width_meters, height_meters }, unit))
            }
            _ => None,
        };
        Ok(request)
    }
}

/// The place of a member; `None` where there is no key.
fn member(set: Option<&SortedSet>, member: &[u8]) -> Result<Option<Point>, Error> {
    let Some(set) = set else { return Ok(None) };
    match set.score(member) {
        Some(score) => Ok(Some(Point::of_score(score))),
        None => Err(Error::text("ERR could not decode requested zset member")),
    }
}

fn length(text: &[u8], error: &'static str) -> Result<f64, Error> {
    parse_f64(text).ok_or(Error::text(error))
}

fn radius(text: &[u8], unit: &[u8]) -> Result<(By, Unit), Error> {
    let radius = length(text, "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(Error::text("ERR radius cannot be negative"));
    }
    let unit = Unit::parse(unit)?;
    Ok((By::Radius(unit.to_meters(radius)), unit))
}

fn rectangle(width: &[u8], height: &[u8], unit: &[u8]) -> Result<(By, Unit), Error> {
    let width = length(width, "ERR need numeric width")?;
    let height = length(height, "ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err(Error::text("ERR height or width cannot be negative"));
    }
    let unit = Unit::parse(unit)?;
    Ok((By::Box(unit.to_meters(width), unit.to_meters(height)), unit))
}

/// A count, and so many places (Valkey 9.1's texts).
fn vertices(args: &[&[u8]]) -> Result<Vec<Point>, Error> {
    let count = parse_i64(args[0]).and_then(|count| i32::try_from(count).ok());
    let count = count.ok_or(Error::text("ERR invalid number of vertices"))?;
    let count = usize::try_from(count).unwrap_or(0);
    if count < 3 || args.len() - 1 < 2 * count {
        return Err(Error::text("ERR GEOSEARCH BYPOLYGON must have at least 3 vertices"));
    }
    args[1..].chunks_exact(2).take(count).map(|place| point(place[0], place[1])).collect()
}

/// A member within the shape.
struct Place<'a> {
    member: Item<'a>,
    score: f64,
    point: Point,
    distance_meters: f64,
}

fn find<'s>(set: &'s SortedSet, shape: &Shape, request: &Request<'_>) -> Vec<Place<'s>> {
    let mut found = Vec::new();
    let enough = if request.any { request.count } else { usize::MAX };
    'cells: for cell in shape.cells() {
        let (min, max) = cell.scores();
        let range = ScoreRange { max_excluded: true, ..ScoreRange::closed(min, max) };
        for (member, score) in set.iter(set.ranks_by_score(&range), Direction::Up) {
            let point = Point::of_score(score);
            if let Some(distance_meters) = shape.distance_within(point) {
                found.push(Place { member, score, point, distance_meters });
                if found.len() >= enough {
                    break 'cells;
                }
            }
        }
    }
    if let Some(order) = request.order {
        let compare = |one: &Place<'_>, other: &Place<'_>| {
            let by_distance = one.distance_meters.total_cmp(&other.distance_meters);
            if order == Order::Nearest { by_distance } else { by_distance.reverse() }
        };
        // Who is first of those at equal distances, and who comes at all, is as in Redis.
        if request.count > 0 && request.count < found.len() {
            partial_sort::sort_first(&mut found, request.count, &compare);
            found.truncate(request.count);
        } else {
            found.sort_by(compare);
        }
    }
    found
}

fn put_place(reply: &mut Reply, place: &Place<'_>, request: &Request<'_>, unit: Unit) {
    let extras =
        [request.with_distance, request.with_hash, request.with_point].into_iter().filter(|&with| with).count();
    if extras > 0 {
        reply.array(1 + extras);
    }
    crate::sorted_set::put_member(reply, &place.member);
    if request.with_distance {
        put_distance(reply, unit.of_meters(place.distance_meters));
    }
    if request.with_hash {
        reply.int(to_i64(place.score));
    }
    if request.with_point {
        put_point(reply, place.point);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::ITALY;
    use crate::sorted_set::testing::encodings;

    #[test]
    fn circles_and_boxes() {
        encodings(&[
            ITALY,
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km", "*3 $9 Agrigento $7 Palermo $7 Catania"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ASC", "*3 $7 Catania $9 Agrigento $7 Palermo"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km DESC", "*3 $7 Palermo $9 Agrigento $7 Catania"),
            (
                "GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHDIST",
                "*3 *2 $7 Catania $7 56.4413 *2 $9 Agrigento $8 130.4235 *2 $7 Palermo $8 190.4424",
            ),
            (
                "GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km WITHCOORD WITHDIST WITHHASH COUNT 1",
                "*1 *4 $7 Catania $7 56.4413 :3479447370796909 *2 $18 15.087267458438873 $17 37.50266842333162",
            ),
            ("GEOSEARCH g FROMMEMBER Palermo BYRADIUS 200 km COUNT 2 ANY", "*2 $7 Trapani $9 Agrigento"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 2 ASC ANY", "*2 $9 Agrigento $7 Palermo"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 2 DESC", "*2 $7 Palermo $9 Agrigento"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS inf km", "*4 $7 Trapani $9 Agrigento $7 Palermo $7 Catania"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 0 km", "*0"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km BYRADIUS 100 km", "*1 $7 Catania"),
            ("GEOSEARCH no FROMMEMBER no BYRADIUS 200 km", "*0"),
            ("GEORADIUS g 15 37 200 km ASC COUNT 1", "*1 $7 Catania"),
            (
                "GEORADIUSBYMEMBER_RO g Palermo 200 km WITHDIST DESC",
                "*4 *2 $7 Catania $8 166.2742 *2 $9 Agrigento $7 90.9778 *2 $7 Trapani $7 76.5261 *2 $7 Palermo $6 0.0000",
            ),
        ]);
    }

    /// As Valkey 9.1, which alone has them; coordinates are shown as Redis 8.2 shows them.
    #[test]
    fn polygons() {
        encodings(&[
            ITALY,
            ("GEOSEARCH g BYPOLYGON 3 12 37 14 37 13 39", "*2 $9 Agrigento $7 Palermo"),
            (
                "GEOSEARCH g BYPOLYGON 3 12 37 14 37 13 39 WITHDIST ASC",
                "*2 *2 $7 Palermo $10 58889.3364 *2 $9 Agrigento $10 64729.8336",
            ),
            (
                "GEOSEARCH g BYPOLYGON 4 12 37 14 37 14 39 12 39 COUNT 2 DESC WITHDIST",
                "*2 *2 $9 Agrigento $10 92122.6859 *2 $7 Trapani $10 43825.1541",
            ),
            ("GEOSEARCH g BYPOLYGON 2 12 37 14 37 ASC", "-ERR GEOSEARCH BYPOLYGON must have at least 3 vertices"),
            ("GEOSEARCH g BYPOLYGON x 12 37 14 37 ASC", "-ERR invalid number of vertices"),
            ("GEOSEARCH g BYPOLYGON 3 12 37 14 37 13 x", "-ERR value is not a valid float"),
            ("GEOSEARCH g BYPOLYGON 3 12 37 14 37 13 390", "-ERR invalid longitude,latitude pair 13.000000,390.000000"),
            ("GEOSEARCH g BYPOLYGON 3 12 37 14 37 13 39 FROMMEMBER Palermo", "-ERR syntax error"),
            ("GEOSEARCH g FROMMEMBER Palermo BYPOLYGON 3 12 37 14 37 13 39", "-ERR syntax error"),
            ("GEOSEARCH g BYPOLYGON 3 12 37 14 37 13 39 BYRADIUS 1 km", "-ERR syntax error"),
            ("GEOSEARCHSTORE d g BYPOLYGON 4 12 37 14 37 14 39 12 39", ":3"),
        ]);
    }

    #[test]
    fn stored() {
        encodings(&[
            ITALY,
            ("GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km", ":3"),
            ("ZRANGE d 0 -1", "*3 $9 Agrigento $7 Palermo $7 Catania"),
            ("GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km STOREDIST", ":3"),
            ("ZRANGE d 0 0 WITHSCORES", "*2 $7 Catania $16 56.4412578701582"),
            ("GEORADIUS g 15 37 200 km STORE d STOREDIST e", ":3"),
            ("ZRANGE e 0 -1", "*3 $7 Catania $9 Agrigento $7 Palermo"),
            ("GEORADIUSBYMEMBER g Palermo 100 km STORE x STORE f", ":3"),
            ("EXISTS x f", ":1"),
            ("GEORADIUS no 15 37 1 km STORE f", ":0"),
            ("EXISTS f", ":0"),
            ("GEOSEARCHSTORE d no FROMMEMBER x BYRADIUS 200 km", ":0"),
            ("EXISTS d", ":0"),
        ]);
    }

    #[test]
    fn errors_and_their_order() {
        encodings(&[
            ITALY,
            ("SET s 1", "+OK"),
            (
                "GEOSEARCH s FROMMEMBER no BYBOX 400 x km",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            ("GEORADIUS s 15 370 1 foo", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km FOO", "-ERR syntax error"),
            ("GEOSEARCH g FROMLONLAT 15 37 FROMMEMBER Palermo BYRADIUS 200 km", "-ERR syntax error"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km BYBOX 1 1 km", "-ERR syntax error"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 1 km STORE x", "-ERR syntax error"),
            (
                "geosearch g ASC DESC ASC DESC ASC",
                "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for geosearch",
            ),
            (
                "GEOSEARCH g FROMLONLAT 15 37 ASC DESC ANY",
                "-ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH",
            ),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS -1 km", "-ERR radius cannot be negative"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS nan km", "-ERR need numeric radius"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 1 foo", "-ERR unsupported unit provided. please use M, KM, FT, MI"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYBOX x 400 km", "-ERR need numeric width"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 x km", "-ERR need numeric height"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYBOX -1 400 km", "-ERR height or width cannot be negative"),
            ("GEOSEARCH g FROMLONLAT x 37 BYBOX 400 400 km", "-ERR value is not a valid float"),
            ("GEOSEARCH g FROMMEMBER no BYBOX 400 400 km", "-ERR could not decode requested zset member"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 0", "-ERR COUNT must be > 0"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT x", "-ERR value is not an integer or out of range"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km COUNT", "-ERR syntax error"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ANY", "-ERR the ANY argument requires COUNT argument"),
            (
                "GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km WITHDIST",
                "-ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            ),
            (
                "GEORADIUS g 15 37 200 km STORE d WITHDIST",
                "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            ),
            ("GEORADIUS g 15 37 200 km STORE", "-ERR syntax error"),
            ("GEORADIUS_RO g 15 37 200 km STORE d", "-ERR syntax error"),
            ("GEORADIUS no 15 370 1 foo", "-ERR invalid longitude,latitude pair 15.000000,370.000000"),
            ("GEORADIUSBYMEMBER no no x km", "*0"),
            ("GEORADIUSBYMEMBER no no x km FOO", "-ERR syntax error"),
            ("GEORADIUSBYMEMBER g no x km", "-ERR could not decode requested zset member"),
        ]);
    }
}
