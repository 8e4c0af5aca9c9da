//! A comparison as one picture: an SVG that needs nothing else, in light and in dark.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use disk::Existing;

use super::text::letter;
use super::{Comparison, Side};
use crate::verb::inspect::text::shortened;
use crate::{Error, Result};

/// Width of the picture, in its own units: a page's column.
const WIDTH: usize = 760;
/// Panels beside each other.
const ACROSS: usize = 3;
/// Room around everything.
const MARGIN: usize = 16;
/// Width of a panel with the gap after it.
const PANEL: usize = (WIDTH - 2 * MARGIN) / ACROSS;
/// Height of a bar with the gap after it.
const BAR: usize = 20;
/// Height of a panel's heading.
const HEAD: usize = 22;
/// Width of the longest bar: what a letter before it and a figure behind it leave.
const LONGEST: f64 = 150.0;

/// Hues of the sets, apart from each other for all kinds of sight (Okabe and Ito, 2008); letters say the same.
const HUES: [&str; 7] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999"];

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#222}.b{font-weight:600}.q{fill:#666}\
.p{fill:#fff}.c{fill:#0072b2}\
@media(prefers-color-scheme:dark){text{fill:#e6e6e6}.q{fill:#a0a0a0}.p{fill:#16191d}}";

/// A figure of every set, as one panel of bars.
struct Panel {
    title: &'static str,
    /// What the longest bar stands for; the largest value where it is none.
    most: Option<f64>,
    decimals: usize,
    values: Vec<Option<f64>>,
}

/// How every picture of this kind begins.
const BEGINNING: &str = "<svg ";

/// Refuses a place where no picture can be written, or where something lies that is none, before any row is read.
pub(crate) fn refuse_place(path: &Path) -> Result<()> {
    let there = fs::read(path).unwrap_or_default();
    if !there.is_empty() && !there.starts_with(BEGINNING.as_bytes()) {
        return Err(Error::Usage {
            what: format!("--picture {}: a file is there that is no picture of a comparison", path.display()),
            hint: "choose another name; only an earlier picture is written over".into(),
        });
    }
    disk::probe(path).map_err(Error::io("write", path))
}

/// Writes the picture, whole or not at all.
pub(crate) fn write(path: &Path, comparison: &Comparison) -> Result<()> {
    let svg = picture(comparison);
    disk::publish(path, Existing::Replace, |out| out.write_all(svg.as_bytes()))
        .map_err(Error::io("write", path))
}

/// The picture as the text of an SVG file.
pub fn picture(comparison: &Comparison) -> String {
    let panels = panels(comparison);
    let sets = comparison.sets.len();
    let head = MARGIN + 24 + sets * BAR + 12;
    let panel = HEAD + sets * BAR + 14;
    let lines = panels.len().div_ceil(ACROSS);
    let matrix = head + lines * panel;
    let height = matrix + if sets > 1 { HEAD + (sets + 1) * BAR + MARGIN } else { 0 };
    let mut svg = format!(
        "{BEGINNING}xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n<title>Label sets compared</title>\n<style>{STYLE}</style>\n<rect class=\"p\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    legend(&mut svg, comparison);
    for (place, drawn) in panels.iter().enumerate() {
        let (x, y) = (MARGIN + place % ACROSS * PANEL, head + place / ACROSS * panel);
        bars(&mut svg, drawn, x, y);
    }
    if sets > 1 {
        divergences(&mut svg, comparison, matrix);
    }
    svg + "</svg>\n"
}

fn panels(comparison: &Comparison) -> Vec<Panel> {
    let panel = |title, most, decimals, value: &dyn Fn(&Side) -> Option<f64>| Panel {
        title,
        most,
        decimals,
        values: comparison.sets.iter().map(value).collect(),
    };
    let attacked =
        |side: &Side| side.robust.as_ref().map(|found| 100.0 * found.right as f64 / found.images as f64);
    let mut panels = vec![
        panel("right, %", Some(100.0), 1, &|side| Some(side.accuracy)),
        panel("right under attack, %", Some(100.0), 1, &attacked),
        panel("worst class, %", Some(100.0), 1, &|side| Some(side.worst_class.accuracy)),
        panel("entropy, nats", None, 2, &|side| Some(side.mean_entropy)),
        panel("entropy, others wrong, nats", None, 2, &|side| side.hard_entropy),
        panel("confidence where wrong", Some(1.0), 2, &|side| side.wrong_confidence),
        panel("calibration error (ECE)", None, 3, &|side| Some(side.calibration_error)),
    ];
    if let Some(student) = &comparison.student {
        let of = |value: &dyn Fn(&super::student::Distance) -> f64| {
            student.gaps.iter().map(|gap| Some(value(gap))).collect()
        };
        let kl = of(&|gap| gap.kl);
        panels.push(Panel { title: "KL(teacher || student), nats", most: None, decimals: 3, values: kl });
        let agreement = of(&|gap| gap.agreement);
        panels.push(Panel {
            title: "agreement with the student, %",
            most: Some(100.0),
            decimals: 1,
            values: agreement,
        });
    }
    panels
}

fn legend(svg: &mut String, comparison: &Comparison) {
    let Comparison { dataset, split, rows, sets, .. } = comparison;
    let title = format!("{dataset} ({split}), on the {rows} rows that all label sets hold");
    text(svg, MARGIN, MARGIN + 12, "b", &shortened(&title, 90));
    for (place, side) in sets.iter().enumerate() {
        let y = MARGIN + 24 + place * BAR;
        swatch(svg, MARGIN, y, 12.0, place);
        let named = format!("{}  {}: {}", letter(place), side.dir, side.teacher);
        text(svg, MARGIN + 20, y + 11, "", &shortened(&named, 95));
    }
}

fn bars(svg: &mut String, panel: &Panel, x: usize, y: usize) {
    text(svg, x, y + 12, "b", panel.title);
    let largest = panel.values.iter().flatten().fold(0.0, |most: f64, &value| most.max(value));
    let most = panel.most.unwrap_or(largest).max(f64::MIN_POSITIVE);
    for (place, value) in panel.values.iter().enumerate() {
        let y = y + HEAD + place * BAR;
        text(svg, x, y + 11, "q", &letter(place).to_string());
        let length = value.map_or(0.0, |value| LONGEST * (value / most).clamp(0.0, 1.0));
        swatch(svg, x + 16, y, length, place);
        let shown =
            value.map_or_else(|| "not measured".into(), |value| format!("{value:.0$}", panel.decimals));
        text(svg, x + 22 + length as usize, y + 11, "q", &shown);
    }
}

/// KL of each set, a row, from each other one, a column: the darker, the farther.
fn divergences(svg: &mut String, comparison: &Comparison, y: usize) {
    const CELL: usize = 58;
    text(svg, MARGIN, y + 12, "b", "KL(row || column), nats");
    let largest = comparison.pairs.iter().fold(0.0, |most: f64, pair| most.max(pair.kl).max(pair.kl_back));
    let sets = comparison.sets.len();
    let side = |place: usize| MARGIN + 20 + place * CELL.min((WIDTH - 2 * MARGIN - 20) / sets);
    for place in 0..sets {
        text(svg, side(place) + 4, y + HEAD + 11, "q", &letter(place).to_string());
        text(svg, MARGIN, y + HEAD + (place + 1) * BAR + 14, "q", &letter(place).to_string());
    }
    for pair in &comparison.pairs {
        let [a, b] = pair.sets;
        for (row, column, kl) in [(a, b, pair.kl), (b, a, pair.kl_back)] {
            let (x, y) = (side(column), y + HEAD + (row + 1) * BAR);
            let (width, shade) = (side(1) - side(0) - 2, 0.5 * kl / largest.max(f64::MIN_POSITIVE));
            writeln!(
                svg,
                "<rect class=\"c\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" opacity=\"{shade:.3}\"/>",
                BAR - 2
            )
            .expect("a string takes text");
            text(svg, x + 4, y + 14, "", &format!("{kl:.2}"));
        }
    }
}

fn swatch(svg: &mut String, x: usize, y: usize, width: f64, place: usize) {
    let hue = HUES[place % HUES.len()];
    writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{width:.1}\" height=\"13\" fill=\"{hue}\"/>")
        .expect("a string takes text");
}

fn text(svg: &mut String, x: usize, y: usize, class: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    writeln!(svg, "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{words}</text>").expect("a string takes text");
}
