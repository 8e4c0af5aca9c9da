//! How many there are of each size.

use super::{Anchor, Scale, WIDTH, figure, line, rectangle, text, tick_label, ticks};
use crate::Html;

const HEIGHT: f64 = 170.0;
const LEFT: f64 = 40.0;
const TOP: f64 = 8.0;
const FOOT: f64 = 38.0;

/// A histogram of equal bins.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// What it shows.
    pub title: String,
    /// What the bins are of.
    pub across: String,
    /// The lower end of the first bin, the upper end of the last.
    pub range: [f64; 2],
    /// How many fell into each bin.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// As markup, in percent of all; nothing without bins.
    pub fn draw(&self) -> Html {
        let all = self.counts.iter().sum::<u64>().max(1) as f64;
        let shares: Vec<f64> = self.counts.iter().map(|&count| 100.0 * count as f64 / all).collect();
        let Some(most) = shares.iter().copied().reduce(f64::max) else { return Html::none() };
        let (right, floor) = (WIDTH - 8.0, HEIGHT - FOOT);
        let x = Scale::new(self.range, [LEFT, right]);
        let y = Scale::new([0.0, most], [floor, TOP]);
        let mut drawing = Html::none();
        for value in ticks([0.0, most], 3) {
            drawing.push(line([LEFT, y.at(value)], [right, y.at(value)], "grid"));
            let label = format!("{} %", tick_label(value));
            drawing.push(text(LEFT - 4.0, y.at(value) + 4.0, Anchor::End, "q", &label));
        }
        let bin = (self.range[1] - self.range[0]) / shares.len() as f64;
        let edge = |place: usize| self.range[0] + bin * place as f64;
        for (place, &share) in shares.iter().enumerate() {
            let (left, next) = (x.at(edge(place)), x.at(edge(place + 1)));
            let words = format!(
                "{} to {}: {share:.2} %, {} rows",
                crate::significant(edge(place), 3),
                crate::significant(edge(place + 1), 3),
                self.counts[place]
            );
            let size = [next - left - 1.0, floor - y.at(share)];
            drawing.push(rectangle([left, y.at(share)], size, "f0", &words));
        }
        for value in ticks(self.range, 4) {
            drawing.push(text(x.at(value), floor + 15.0, Anchor::Middle, "q", &tick_label(value)));
        }
        drawing.push(text(f64::midpoint(LEFT, right), floor + 32.0, Anchor::Middle, "q", &self.across));
        let fullest = shares.iter().position(|share| *share >= most).unwrap_or(0);
        let words = format!(
            "{}. Most, {most:.2} %, lie between {} and {}",
            self.title,
            crate::significant(edge(fullest), 3),
            crate::significant(edge(fullest + 1), 3)
        );
        figure(&self.title, &words, HEIGHT, drawing)
    }
}
