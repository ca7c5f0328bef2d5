//! Line charts as SVG, small enough to draw by hand: a frame, ticks that people would choose, lines, a legend above the frame.
//!
//! Colours are classes; the page says what they are in light and in dark.

use std::fmt::Write;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 280.0;
/// Room for the labels of the axes and, above, for the legend.
const LEFT: f64 = 84.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 48.0;

/// A place on an axis and what is written there.
pub struct Tick {
    pub at: f64,
    pub label: String,
}

/// An axis that maps values to 0…1.
pub struct Axis {
    pub title: &'static str,
    pub ticks: Vec<Tick>,
    pub scale: Scale,
}

pub enum Scale {
    Linear { low: f64, high: f64 },
    Logarithmic { low: f64, high: f64 },
}

impl Scale {
    fn place(&self, value: f64) -> f64 {
        let place = match self {
            Scale::Linear { low, high } => (value - low) / (high - low),
            Scale::Logarithmic { low, high } => (value.max(*low) / low).ln() / (high / low).ln(),
        };
        place.clamp(0.0, 1.0)
    }
}

impl Axis {
    /// From 0 to at least `high`, in four to ten round steps.
    pub fn linear(title: &'static str, high: f64, label: impl Fn(f64) -> String) -> Axis {
        let high = high.max(1e-9);
        let rough = high / 5.0;
        let magnitude = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * magnitude).into_iter().find(|step| *step >= rough);
        let step = step.expect("ten times the magnitude is larger");
        let steps = (high / step).ceil().max(1.0);
        let ticks = (0..=steps as u32)
            .map(|index| f64::from(index) * step)
            .map(|value| Tick { at: value, label: label(value) })
            .collect();
        Axis { title, ticks, scale: Scale::Linear { low: 0.0, high: steps * step } }
    }

    /// From 0 to exactly `high`, with round steps inside.
    pub fn linear_exact(title: &'static str, high: f64, label: impl Fn(f64) -> String) -> Axis {
        let mut axis = Axis::linear(title, high, label);
        axis.ticks.retain(|tick| tick.at <= high * 1.000_001);
        axis.scale = Scale::Linear { low: 0.0, high };
        axis
    }

    /// From one of 1, 2 and 5 times a power of ten to another, around `low` and `high`; where the decades between are many, only they
    /// get ticks.
    pub fn logarithmic(title: &'static str, low: f64, high: f64, label: impl Fn(f64) -> String) -> Axis {
        let steps = |decade: i32| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(decade));
        let (first, last) = (low.log10().floor() as i32, high.log10().floor() as i32 + 1);
        let round: Vec<f64> = (first..=last).flat_map(steps).collect();
        let below = round.iter().copied().rfind(|step| *step <= low * 1.000_001).unwrap_or(round[0]);
        // A flat line still needs some height to lie in.
        let above = round.iter().copied().find(|step| *step >= high && *step > below * 1.5).unwrap_or(below * 10.0);
        let all = (above / below).log10() <= 3.001;
        let is_decade = |value: f64| (value.log10() - value.log10().round()).abs() < 1e-9;
        let ticks = round
            .into_iter()
            .filter(|value| (below * 0.999..=above * 1.001).contains(value) && (all || is_decade(*value)))
            .map(|value| Tick { at: value, label: label(value) })
            .collect();
        Axis { title, ticks, scale: Scale::Logarithmic { low: below, high: above } }
    }
}

/// A line: its class (its colour), its name in the legend, its points; where there is none the line is broken.
pub struct Line {
    pub class: &'static str,
    pub name: &'static str,
    pub points: Vec<Option<(f64, f64)>>,
}

/// A chart with its description for those who do not see it.
pub fn chart(description: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let mut svg = String::new();
    write_chart(&mut svg, description, x, y, lines).expect("writing to a string");
    svg
}

fn write_chart(svg: &mut String, description: &str, x: &Axis, y: &Axis, lines: &[Line]) -> std::fmt::Result {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let place_x = |value: f64| LEFT + x.scale.place(value) * (right - LEFT);
    let place_y = |value: f64| bottom - y.scale.place(value) * (bottom - TOP);
    let description = escape(description);
    write!(
        svg,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{description}\" xmlns=\"http://www.w3.org/2000/svg\">"
    )?;
    for tick in &y.ticks {
        let at = place_y(tick.at);
        write!(svg, "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>")?;
        let (text_x, text_y) = (LEFT - 8.0, at + 4.0);
        write!(svg, "<text x=\"{text_x}\" y=\"{text_y:.1}\" text-anchor=\"end\">{}</text>", escape(&tick.label))?;
    }
    for tick in &x.ticks {
        let at = place_x(tick.at);
        let (tick_end, text_y) = (bottom + 5.0, bottom + 19.0);
        write!(svg, "<line class=\"axis\" x1=\"{at:.1}\" y1=\"{bottom}\" x2=\"{at:.1}\" y2=\"{tick_end}\"/>")?;
        write!(svg, "<text x=\"{at:.1}\" y=\"{text_y}\" text-anchor=\"middle\">{}</text>", escape(&tick.label))?;
    }
    write!(svg, "<line class=\"axis\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\"/>")?;
    let (middle, title_y) = ((LEFT + right) / 2.0, HEIGHT - 8.0);
    write!(svg, "<text class=\"title\" x=\"{middle}\" y=\"{title_y}\" text-anchor=\"middle\">{}</text>", x.title)?;
    write!(svg, "<text class=\"title\" x=\"8\" y=\"16\">{}</text>", y.title)?;
    // The legend from the right, so that it never meets the axis's title.
    let mut legend_x = right;
    for line in lines.iter().rev().filter(|line| !line.name.is_empty()) {
        let text_width = line.name.chars().count() as f64 * 7.0;
        legend_x -= text_width;
        write!(svg, "<text x=\"{legend_x:.1}\" y=\"16\">{}</text>", escape(line.name))?;
        let (from, to) = (legend_x - 24.0, legend_x - 6.0);
        write!(svg, "<line class=\"{}\" x1=\"{from:.1}\" y1=\"12\" x2=\"{to:.1}\" y2=\"12\"/>", line.class)?;
        legend_x -= 44.0;
    }
    for line in lines {
        for piece in line.points.split(Option::is_none).filter(|piece| !piece.is_empty()) {
            let points = piece.iter().flatten().map(|&(x, y)| format!("{:.1},{:.1}", place_x(x), place_y(y)));
            write!(svg, "<polyline class=\"{}\" points=\"{}\"/>", line.class, points.collect::<Vec<_>>().join(" "))?;
        }
    }
    svg.push_str("</svg>");
    Ok(())
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        let labels = |axis: &Axis| axis.ticks.iter().map(|tick| tick.label.clone()).collect::<Vec<_>>();
        let axis = Axis::linear("", 83_000.0, |value| value.to_string());
        assert_eq!(labels(&axis), ["0", "20000", "40000", "60000", "80000", "100000"]);
        let axis = Axis::logarithmic("", 0.03, 1.2, |value| format!("{value:.2}"));
        assert_eq!(labels(&axis), ["0.02", "0.05", "0.10", "0.20", "0.50", "1.00", "2.00"]);
        let axis = Axis::logarithmic("", 0.011, 1013.0, |value| format!("{value}"));
        assert_eq!(labels(&axis), ["0.01", "0.1", "1", "10", "100", "1000"]);
        let axis = Axis::linear_exact("", 2.5, |value| value.to_string());
        assert_eq!(labels(&axis), ["0", "0.5", "1", "1.5", "2", "2.5"]);
    }

    #[test]
    fn no_point_leaves_the_frame() {
        let x = Axis::linear_exact("x", 10.0, |value| value.to_string());
        let y = Axis::logarithmic("y", 0.1, 10.0, |value| value.to_string());
        let line = Line { class: "a", name: "a", points: vec![Some((-5.0, 0.0)), Some((20.0, 1e9)), None] };
        let svg = chart("a <b>", &x, &y, &[line]);
        assert!(svg.contains("points=\"84.0,232.0 836.0,34.0\""), "{svg}");
        assert!(svg.contains("a &lt;b&gt;"));
    }
}
