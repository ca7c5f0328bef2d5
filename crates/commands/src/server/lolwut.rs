//! `LOLWUT`.

use crate::context::{Ctx, Outcome};
use crate::spec::{Acl, Arg, Flags, Group, Spec};

pub const SPEC: Spec = Spec {
    name: "lolwut",
    arity: -1,
    flags: Flags::READONLY.union(Flags::FAST),
    acl: Acl::READ.union(Acl::FAST),
    group: Group::Server,
    since: "5.0.0",
    summary: "Draws a picture and tells the version.",
    args: &[Arg::integer("version").token("VERSION").optional()],
    run: Some(run),
    ..Spec::NEW
};

fn run(cx: &mut Ctx<'_>) -> Outcome {
    // LOLWUT VERSION n [arguments …]: one picture serves all versions; what follows are its width and height.
    let (mut first, mut numbers_needed) = (1, 0);
    if cx.word(1, "VERSION") && cx.args.len() >= 3 {
        first = 3;
        // The pictures of these versions took so many numbers; those of others, Redis 8.2's too, pass over anything.
        numbers_needed = match cx.int(2)? {
            5 => 3,
            6 => 2,
            _ => 0,
        };
    }
    for index in (first..cx.args.len()).take(numbers_needed) {
        cx.int(index)?;
    }
    let mut sizes = [9, 2];
    for (size, index) in sizes.iter_mut().zip(first..cx.args.len()) {
        *size = cx.int(index).map_or(*size, |wanted| wanted.clamp(1, 40) as usize);
    }
    let mut picture = gems(sizes[0], sizes[1], rand::random());
    picture.push_str(&format!("\nSpinel ver. {}\n", env!("CARGO_PKG_VERSION")));
    cx.reply.verbatim("txt", picture.as_bytes());
    Ok(())
}

/// Octahedra, the shape that spinel grows in, each cut at another angle.
fn gems(columns: usize, rows: usize, mut seed: u64) -> String {
    const HALF: usize = 4;
    let mut picture = String::new();
    for _ in 0..rows {
        let edges: Vec<usize> = (0..columns)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) as usize % 5
            })
            .collect();
        for line in 0..2 * HALF {
            let width = if line < HALF { line } else { 2 * HALF - 1 - line };
            for edge in &edges {
                picture.push_str(&" ".repeat(HALF - width));
                picture.push(if line < HALF { '/' } else { '\\' });
                for column in 0..2 * width {
                    // The front edge leans with the cut, and light falls on what lies left of it.
                    let front = width * 2 * edge / 4;
                    picture.push(if column < front { '.' } else { ':' });
                }
                picture.push(if line < HALF { '\\' } else { '/' });
                picture.push_str(&" ".repeat(HALF - width));
            }
            picture.truncate(picture.trim_end_matches(' ').len());
            picture.push('\n');
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use crate::testing::{Rig, script};

    #[test]
    fn draws_and_tells_the_version() {
        script(&[
            ("LOLWUT VERSION a", "-ERR value is not an integer or out of range"),
            ("LOLWUT VERSION 5 1 x", "-ERR value is not an integer or out of range"),
            ("LOLWUT VERSION 6 x", "-ERR value is not an integer or out of range"),
        ]);
        for command in ["LOLWUT VERSION 5 2 1", "LOLWUT VERSION 6 2 1 x", "LOLWUT x", "LOLWUT VERSION 8 x"] {
            let reply = Rig::new().run(command);
            assert!(reply.contains("Spinel ver. "), "{command}: {reply}");
        }
    }
}
