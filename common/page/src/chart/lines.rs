//! Lines: values over steps, epochs or radii, each line named at its end.

use super::{Anchor, LOOKS, Scale, WIDTH, dot, figure, fitted, line, n, text, tick_label, ticks, width};
use crate::Html;

const HEIGHT: f64 = 230.0;
/// Room above, below and to the left of the field.
const EDGE: [f64; 3] = [10.0, 38.0, 46.0];
/// Least and most room for the names at the ends of lines.
const NAMES: [f64; 2] = [20.0, 130.0];
/// Least distance of two names.
const APART: f64 = 13.0;
/// Points from which on a line has no dots.
const MANY: usize = 40;

/// A chart of lines.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// What it shows.
    pub title: String,
    /// What the horizontal axis counts.
    pub across: String,
    /// Unit of the values, for those who cannot see the drawing.
    pub unit: String,
    /// Ends of the vertical axis; those of the values where there are none.
    pub range: Option<[f64; 2]>,
    /// Values of the horizontal axis that have a line, with their names; round numbers where there are none.
    pub ticks: Vec<(f64, String)>,
    /// Values of the horizontal axis that have a mark, with what is there.
    pub marks: Vec<(f64, String)>,
    /// The lines.
    pub series: Vec<Series>,
}

/// A line.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name, at its end.
    pub name: String,
    /// Its points.
    pub points: Vec<[f64; 2]>,
    /// Intervals of the values at the points; none, or one for each.
    pub intervals: Vec<[f64; 2]>,
}

impl Lines {
    /// As markup; nothing where there are no points.
    pub fn draw(&self) -> Html {
        let points = || self.series.iter().flat_map(|series| &series.points);
        if points().next().is_none() {
            return Html::none();
        }
        let intervals = self.series.iter().flat_map(|series| &series.intervals).flatten().copied();
        let across = ends(points().map(|point| point[0]).chain(self.marks.iter().map(|mark| mark.0)));
        let up = self.range.unwrap_or_else(|| padded(ends(points().map(|point| point[1]).chain(intervals))));
        let names = self.series.iter().map(|series| width(&series.name) + 8.0).fold(0.0, f64::max);
        let names = names.clamp(NAMES[0], NAMES[1]);
        let [top, bottom, left] = EDGE;
        let (right, floor) = (WIDTH - names, HEIGHT - bottom);
        let (x, y) = (Scale::new(across, [left, right]), Scale::new(up, [floor, top]));
        let mut drawing = self.axes(x, y, [left, right, top, floor]);
        for (place, series) in self.series.iter().enumerate() {
            drawing.push(series.draw(place % LOOKS, x, y, &self.across));
        }
        drawing.push(self.names(y, right, [top, floor], names));
        figure(&self.title, &self.words(), HEIGHT, drawing)
    }

    fn axes(&self, x: Scale, y: Scale, [left, right, top, floor]: [f64; 4]) -> Html {
        let mut drawing = Html::none();
        for value in ticks(y.from, 4) {
            drawing.push(line([left, y.at(value)], [right, y.at(value)], "grid"));
            drawing.push(text(left - 6.0, y.at(value) + 4.0, Anchor::End, "q", &tick_label(value)));
        }
        let mut own = ticks(x.from, 5);
        if self.series.iter().flat_map(|series| &series.points).all(|point| point[0].fract() == 0.0) {
            // There is no half of an epoch.
            own.retain(|value| value.fract() == 0.0);
        }
        let own: Vec<(f64, String)> = own.into_iter().map(|value| (value, tick_label(value))).collect();
        let mut free = f64::NEG_INFINITY;
        for (value, name) in if self.ticks.is_empty() { &own } else { &self.ticks } {
            let at = x.at(*value);
            drawing.push(line([at, floor], [at, floor + 4.0], "grid"));
            // Names that would touch are left out.
            if at - width(name) / 2.0 > free {
                drawing.push(text(at, floor + 16.0, Anchor::Middle, "q", name));
                free = at + width(name) / 2.0 + 4.0;
            }
        }
        for (value, name) in &self.marks {
            let at = x.at(*value);
            drawing.push(line([at, top], [at, floor], "mark"));
            let anchor = if at > f64::midpoint(left, right) { Anchor::End } else { Anchor::Start };
            let beside = if at > f64::midpoint(left, right) { at - 4.0 } else { at + 4.0 };
            drawing.push(text(beside, top + 9.0, anchor, "q", name));
        }
        drawing.and(text(f64::midpoint(left, right), floor + 33.0, Anchor::Middle, "q", &self.across))
    }

    /// The names at the lines' ends, moved apart where they would touch.
    fn names(&self, y: Scale, right: f64, [top, floor]: [f64; 2], room: f64) -> Html {
        let drawn = self.series.iter().enumerate().filter(|(_, series)| !series.name.is_empty());
        let mut places: Vec<(usize, f64)> =
            drawn.filter_map(|(place, series)| Some((place, y.at(series.points.last()?[1]) + 4.0))).collect();
        places.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut lowest = top + 4.0;
        for (_, at) in &mut places {
            *at = at.max(lowest);
            lowest = *at + APART;
        }
        let mut highest = floor + 4.0;
        for (_, at) in places.iter_mut().rev() {
            *at = at.min(highest);
            highest = *at - APART;
        }
        let name = |(place, at): (usize, f64)| {
            let class = format!("f{}", place % LOOKS);
            text(right + 6.0, at, Anchor::Start, &class, &fitted(&self.series[place].name, room - 6.0))
        };
        places.into_iter().map(name).collect()
    }

    /// The drawing in words: where each line begins and ends.
    fn words(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
        let said = self.series.iter().filter_map(|series| {
            let ([from, first], [to, last]) = (series.points.first()?, series.points.last()?);
            let name = if series.name.is_empty() { String::new() } else { format!("{}: ", series.name) };
            let [first, last, from, to] = [first, last, from, to].map(|value| crate::significant(*value, 4));
            Some(format!("{name}{first}{unit} at {} {from}, {last}{unit} at {to}", self.across))
        });
        format!("{}. {}", self.title, said.collect::<Vec<_>>().join("; "))
    }
}

impl Series {
    fn draw(&self, look: usize, x: Scale, y: Scale, across: &str) -> Html {
        let places: Vec<[f64; 2]> = self.points.iter().map(|[at, value]| [x.at(*at), y.at(*value)]).collect();
        let mut drawing = Html::none();
        for ([at, _], [low, high]) in places.iter().zip(&self.intervals) {
            let class = format!("whisker l{look}");
            drawing.push(line([*at, y.at(*low)], [*at, y.at(*high)], &class));
        }
        let points: Vec<String> = places.iter().map(|[x, y]| format!("{},{}", n(*x), n(*y))).collect();
        drawing.push(Html::void(
            "polyline",
            &[("points", &points.join(" ")), ("class", &format!("line l{look}"))],
        ));
        if places.len() <= MANY {
            for (place, [at, value]) in places.iter().zip(&self.points) {
                let [at, value] = [*at, *value].map(|value| crate::significant(value, 4));
                let words = format!("{} {across} {at}: {value}", self.name);
                drawing.push(dot(*place, &format!("f{look}"), words.trim_start()));
            }
        }
        drawing
    }
}

/// The least and the largest value.
fn ends(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)])
}

fn padded([low, high]: [f64; 2]) -> [f64; 2] {
    let by = 0.05 * (high - low);
    [low - by, high + by]
}
