//! The two runs as one picture: SVG, by itself or within a page.
//!
//! Offered load is ten times the capacity at its height; on one axis with goodput it would press
//! both curves into the lowest tenth. So it has a strip of its own above, on the same time axis.
//! The curves differ in stroke as well as in colour, and every bin has its figures as a tooltip.

use std::fmt::Write as _;

use super::report::{BIN, Bin, Results, Side};
use super::table::count;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 520.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 936.0;
/// The strip of the offered load, from top to bottom.
const STRIP: (f64, f64) = (84.0, 144.0);
/// The curves.
const CURVES: (f64, f64) = (184.0, 456.0);

/// As it stands within a page. Colours are spelt out for each scheme, since not everything that
/// shows an SVG knows CSS variables.
pub(super) const STYLE: &str = "\
.sw{font:14px system-ui,sans-serif}\
.sw text{fill:#1f2328}.sw .faint{fill:#59636e}.sw .paper{fill:#fff}.sw .name{font-weight:600}\
.sw path{fill:none}.sw .grid{stroke:#d1d9e0}.sw .burst{fill:#818b98;opacity:.12}\
.sw .load{fill:#818b98;opacity:.6}.sw .offered{stroke:#818b98;stroke-width:2;stroke-dasharray:2 4}\
.sw .capacity{stroke:#1f2328;stroke-width:1.5;stroke-dasharray:8 5}\
.sw .with{stroke:#0550ae;stroke-width:3;stroke-linejoin:round}\
.sw .without{stroke:#bc4c00;stroke-width:2.5;stroke-dasharray:7 3;stroke-linejoin:round}\
.sw .hit{fill:#818b98;opacity:0}.sw .hit:hover{opacity:.25}\
@media(prefers-color-scheme:dark){\
.sw text{fill:#f0f6fc}.sw .faint{fill:#9198a1}.sw .paper{fill:#0d1117}.sw .grid{stroke:#3d444d}\
.sw .capacity{stroke:#f0f6fc}.sw .with{stroke:#58a6ff}.sw .without{stroke:#f0883e}}";

/// A picture that stands by itself.
pub(super) fn standalone(results: &Results) -> String {
    let picture = inner(results);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"sw\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" aria-labelledby=\"sw-title sw-desc\">\
         <style>{STYLE}</style>{picture}</svg>\n"
    )
}

/// A picture as a part of a page that has [`STYLE`].
pub(super) fn inline(results: &Results) -> String {
    let picture = inner(results);
    format!(
        "<svg class=\"sw\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-labelledby=\"sw-title sw-desc\">{picture}</svg>"
    )
}

/// Where seconds and rates lie.
struct Scale {
    seconds: f64,
    /// Top of the curves' axis, a second.
    most: f64,
    /// Top of the strip's.
    offered: f64,
}

impl Scale {
    fn of(results: &Results) -> Self {
        let bins = || results.without.bins.iter().chain(&results.with.bins);
        let goodput = bins()
            .map(|bin| bin.goodput)
            .fold(results.capacity, f64::max);
        Self {
            seconds: results.seconds().max(f64::MIN_POSITIVE),
            most: ceiling(goodput * 1.1),
            offered: ceiling(bins().map(|bin| bin.offered).fold(1.0, f64::max)),
        }
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * seconds / self.seconds
    }

    fn y(&self, rate: f64) -> f64 {
        CURVES.1 - (CURVES.1 - CURVES.0) * (rate / self.most).min(1.0)
    }

    fn strip(&self, rate: f64) -> f64 {
        STRIP.1 - (STRIP.1 - STRIP.0) * (rate / self.offered).min(1.0)
    }
}

/// The next round number that leaves room for round steps.
fn ceiling(value: f64) -> f64 {
    let step = step(value);
    (value / step).ceil() * step
}

/// 1, 2 or 5 times a power of ten, four to eight of which make `value`.
fn step(value: f64) -> f64 {
    let rough = value.max(1e-9) / 6.0;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= rough);
    factor.unwrap_or(10.0) * power
}

fn inner(results: &Results) -> String {
    let scale = Scale::of(results);
    let mut out = String::new();
    titles(&mut out, results);
    axes(&mut out, results, &scale);
    strip(&mut out, results, &scale);
    curve(&mut out, &results.without, "without", &scale);
    curve(&mut out, &results.with, "with", &scale);
    tooltips(&mut out, results, &scale);
    out
}

// Below, writing to a string does not fail.

fn titles(out: &mut String, results: &Results) {
    let (from, to) = results.burst();
    let in_burst = |side: &Side| side.phases.get(1).map_or(0.0, |phase| phase.goodput);
    let _ = write!(
        out,
        "<title id=\"sw-title\">Goodput over time with and without Seawall</title>\
         <desc id=\"sw-desc\">From second {from:.0} to {to:.0} an origin that can serve {:.0} requests a second is \
         offered ten times that. Without Seawall {:.0} a second are served in the burst, with Seawall {:.0}.</desc>\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>",
        results.capacity,
        in_burst(&results.without),
        in_burst(&results.with),
    );
    // The legend, in the strokes of the curves.
    let mut x = LEFT;
    for (class, name, width) in [
        ("with", "goodput with Seawall", 225.0),
        ("without", "goodput without Seawall", 250.0),
        ("capacity", "capacity of the origin", 225.0),
        ("offered", "offered", 100.0),
    ] {
        let text = x + 40.0;
        let _ = write!(
            out,
            "<path class=\"{class}\" d=\"M{x} 28h32\"/><text class=\"name\" x=\"{text}\" y=\"33\">{name}</text>"
        );
        x += width;
    }
}

fn axes(out: &mut String, results: &Results, scale: &Scale) {
    let (from, to) = results.burst();
    let (left, width) = (scale.x(from), scale.x(to) - scale.x(from));
    let height = CURVES.1 - STRIP.0;
    let _ = write!(
        out,
        "<rect class=\"burst\" x=\"{left:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{height}\"/>",
        STRIP.0
    );
    let rates = step(scale.most);
    let mut rate = 0.0;
    while rate <= scale.most + rates / 2.0 {
        let (y, label) = (scale.y(rate), count(rate.round() as u64));
        let (text_x, text_y) = (LEFT - 10.0, y + 5.0);
        let _ = write!(
            out,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
             <text class=\"faint\" x=\"{text_x}\" y=\"{text_y:.1}\" text-anchor=\"end\">{label}</text>"
        );
        rate += rates;
    }
    let seconds = step(scale.seconds);
    let mut second = 0.0;
    while second <= scale.seconds + seconds / 1e3 {
        let x = scale.x(second);
        let y = CURVES.1 + 22.0;
        let _ = write!(
            out,
            "<text class=\"faint\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{second:.4}</text>",
            second = Trimmed(second)
        );
        second += seconds;
    }
    let (middle, bottom) = (f64::midpoint(LEFT, RIGHT), HEIGHT - 14.0);
    let (strip_label, curves_label) = (STRIP.0 - 12.0, CURVES.0 - 12.0);
    let _ = write!(
        out,
        "<text class=\"faint\" x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">seconds</text>\
         <text class=\"faint\" x=\"{LEFT}\" y=\"{strip_label}\">offered load, requests a second</text>\
         <text class=\"faint\" x=\"{LEFT}\" y=\"{curves_label}\">answers in full and in time, a second</text>"
    );
    let y = scale.y(results.capacity);
    let _ = write!(
        out,
        "<path class=\"capacity\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>"
    );
}

/// A number without needless digits.
struct Trimmed(f64);

impl std::fmt::Display for Trimmed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{:.1}", self.0);
        f.write_str(text.strip_suffix(".0").unwrap_or(&text))
    }
}

/// The offered load: as an area in its strip, and as it stands to the goodput among the curves.
fn strip(out: &mut String, results: &Results, scale: &Scale) {
    let (left, bottom) = (scale.x(0.0), STRIP.1);
    let mut area = format!("M{left:.1} {bottom}");
    for bin in &results.with.bins {
        let (from, to) = (scale.x(bin.from_s), scale.x(end(bin)));
        let y = scale.strip(bin.offered);
        let _ = write!(area, "L{from:.1} {y:.1}H{to:.1}");
    }
    let _ = write!(out, "<path class=\"load\" d=\"{area}V{bottom}Z\"/>");
    let most = count(scale.offered.round() as u64);
    for (label, y) in [(most.as_str(), STRIP.0 + 5.0), ("0", STRIP.1 + 5.0)] {
        let x = LEFT - 10.0;
        let _ = write!(
            out,
            "<text class=\"faint\" x=\"{x}\" y=\"{y}\" text-anchor=\"end\">{label}</text>"
        );
    }
    let _ = write!(out, "<path class=\"grid\" d=\"M{LEFT} {bottom}H{RIGHT}\"/>");
    let mut from = 0.0;
    for phase in &results.phases {
        let to = from + phase.seconds;
        let rate = phase.multiple * results.capacity;
        if rate <= scale.most {
            let (left, right, y) = (scale.x(from), scale.x(to), scale.y(rate));
            let _ = write!(
                out,
                "<path class=\"offered\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>"
            );
        }
        let (middle, y) = (scale.x(f64::midpoint(from, to)), STRIP.0 - 12.0);
        // Clear of the strip's own label, which stands to the left.
        if from > 0.0 {
            let _ = write!(
                out,
                "<text class=\"name\" x=\"{middle:.1}\" y=\"{y}\" text-anchor=\"middle\">{}× the capacity</text>",
                phase.multiple
            );
        }
        from = to;
    }
}

fn curve(out: &mut String, side: &Side, class: &str, scale: &Scale) {
    let mut line = String::new();
    for (at, bin) in side.bins.iter().enumerate() {
        let command = if at == 0 { 'M' } else { 'L' };
        let x = scale.x(f64::midpoint(bin.from_s, end(bin)));
        let _ = write!(line, "{command}{x:.1} {:.1}", scale.y(bin.goodput));
    }
    let _ = write!(out, "<path class=\"{class}\" d=\"{line}\"/>");
}

/// Over everything, so that the pointer finds them.
fn tooltips(out: &mut String, results: &Results, scale: &Scale) {
    let height = CURVES.1 - STRIP.0;
    for (with, without) in results.with.bins.iter().zip(&results.without.bins) {
        let x = scale.x(with.from_s);
        let width = scale.x(end(with)) - x;
        let _ = write!(
            out,
            "<rect class=\"hit\" x=\"{x:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{height}\">\
             <title>second {:.1}: offered {}/s, served with Seawall {}/s, without {}/s</title></rect>",
            STRIP.0,
            with.from_s,
            count(with.offered.round() as u64),
            count(with.goodput.round() as u64),
            count(without.goodput.round() as u64),
        );
    }
}

fn end(bin: &Bin) -> f64 {
    bin.from_s + BIN.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::report::tests::fixed;
    use super::*;

    #[test]
    fn it_has_both_curves_capacity_load_and_a_tooltip_a_bin() {
        let picture = standalone(&fixed());
        for part in [
            "class=\"with\" d=\"M",
            "class=\"without\" d=\"M",
            "class=\"capacity\"",
            "class=\"load\"",
        ] {
            assert!(picture.contains(part), "{part}");
        }
        assert_eq!(picture.matches("class=\"hit\"").count(), 100);
        assert!(
            picture.contains("second 12.0: offered 500/s, served with Seawall 500/s, without 0/s")
        );
        assert!(
            picture
                .contains("Without Seawall 30 a second are served in the burst, with Seawall 985.")
        );
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }

    #[test]
    fn it_needs_nothing_from_elsewhere() {
        let picture = standalone(&fixed());
        let elsewhere = picture.replace("http://www.w3.org/2000/svg", "");
        assert!(
            !elsewhere.contains("http")
                && !elsewhere.contains("url(")
                && !elsewhere.contains("href")
        );
    }

    #[test]
    fn a_run_without_anything_is_drawn_too() {
        let mut results = fixed();
        results.capacity = 0.0;
        for side in [&mut results.with, &mut results.without] {
            side.bins.clear();
        }
        let picture = standalone(&results);
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
    }

    proptest! {
        #[test]
        fn axes_have_a_few_round_steps(value in 0.01f64..1e7) {
            let (step, top) = (step(value), ceiling(value));
            prop_assert!((2.0..=8.0).contains(&(value / step)), "{} of {step} in {value}", value / step);
            prop_assert!(top >= value * (1.0 - 1e-9) && top <= value + step * (1.0 + 1e-9));
        }
    }
}
