//! Values with their intervals, one below the other: what differs, and what may be chance.

use super::{Anchor, LOOKS, Scale, WIDTH, dot, figure, fitted, line, text, tick_label, ticks};
use crate::Html;

const ROW: f64 = 22.0;
const FOOT: f64 = 22.0;
const NAMES: f64 = 128.0;
const FIGURE: f64 = 52.0;

/// A chart of values with intervals.
#[derive(Clone, Debug)]
pub struct Intervals {
    /// What it shows.
    pub title: String,
    /// Ends of the axis.
    pub range: [f64; 2],
    /// The values, from above.
    pub rows: Vec<Interval>,
}

/// A value with its interval.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Whose it is.
    pub name: String,
    /// The value.
    pub value: f64,
    /// The interval.
    pub ends: [f64; 2],
    /// Place of its look among those of lines: the same thing looks the same in all charts.
    pub look: usize,
}

impl Intervals {
    /// As markup; nothing without rows.
    pub fn draw(&self) -> Html {
        if self.rows.is_empty() {
            return Html::none();
        }
        let right = WIDTH - FIGURE;
        let scale = Scale::new(self.range, [NAMES, right]);
        let floor = 4.0 + ROW * self.rows.len() as f64;
        let mut drawing = Html::none();
        for value in ticks(self.range, 4) {
            drawing.push(line([scale.at(value), 0.0], [scale.at(value), floor], "grid"));
            drawing.push(text(scale.at(value), floor + 14.0, Anchor::Middle, "q", &tick_label(value)));
        }
        for (place, row) in self.rows.iter().enumerate() {
            let (middle, look) = (4.0 + ROW * (place as f64 + 0.5), row.look % LOOKS);
            let [low, high] = row.ends.map(|end| scale.at(end));
            let words = format!("{}: {:.2}, {:.2} to {:.2}", row.name, row.value, row.ends[0], row.ends[1]);
            drawing.push(text(NAMES - 8.0, middle + 4.0, Anchor::End, "", &fitted(&row.name, NAMES - 10.0)));
            drawing.push(line([low, middle], [high, middle], &format!("whisker l{look}")));
            drawing.push(dot([scale.at(row.value), middle], &format!("f{look}"), &words));
            drawing.push(text(WIDTH - 2.0, middle + 4.0, Anchor::End, "", &format!("{:.2}", row.value)));
        }
        let words: Vec<String> =
            self.rows.iter().map(|row| format!("{} {:.2}", row.name, row.value)).collect();
        figure(&self.title, &format!("{}. {}", self.title, words.join("; ")), floor + FOOT, drawing)
    }
}
