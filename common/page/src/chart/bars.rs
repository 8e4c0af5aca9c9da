//! Bars of names, such as classes: a pale one, and in it a strong one for the harder question.

use super::{Anchor, Scale, WIDTH, figure, fitted, line, rectangle, text, width};
use crate::Html;

const ROW: f64 = 19.0;
const BAR: f64 = 13.0;
const HEAD: f64 = 20.0;
const NAMES: f64 = 108.0;
/// Least and most width of a column of figures.
const FIGURE: [f64; 2] = [44.0, 76.0];

/// A chart of bars from 0 to `most`.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What it shows.
    pub title: String,
    /// Names of the pale and the strong bars; one alone is strong.
    pub heads: Vec<String>,
    /// What a whole bar stands for.
    pub most: f64,
    /// Decimals of the figures.
    pub decimals: usize,
    /// The bars, from above.
    pub rows: Vec<Row>,
}

/// The bars of one name.
#[derive(Clone, Debug)]
pub struct Row {
    /// The name.
    pub name: String,
    /// A value for each head; none where nothing was measured.
    pub values: Vec<Option<f64>>,
}

impl Bars {
    /// As markup; nothing without rows.
    pub fn draw(&self) -> Html {
        if self.rows.is_empty() {
            return Html::none();
        }
        let longest = self.heads.iter().map(|head| width(head) + 8.0).fold(0.0, f64::max);
        let column = longest.clamp(FIGURE[0], FIGURE[1]);
        let right = WIDTH - 6.0 - column * self.heads.len() as f64;
        let scale = Scale::new([0.0, self.most], [NAMES, right]);
        let height = HEAD + ROW * self.rows.len() as f64 + 2.0;
        let end = |place: usize| right + 6.0 + column * (place + 1) as f64;
        let mut drawing = line([NAMES, HEAD - 2.0], [NAMES, height], "grid");
        drawing.push(line([right, HEAD - 2.0], [right, height], "grid"));
        for (place, head) in self.heads.iter().enumerate() {
            drawing.push(text(end(place), 12.0, Anchor::End, "q", &fitted(head, column)));
        }
        for (place, row) in self.rows.iter().enumerate() {
            let top = HEAD + ROW * place as f64;
            drawing.push(text(NAMES - 6.0, top + 11.0, Anchor::End, "", &fitted(&row.name, NAMES - 8.0)));
            for (place, value) in row.values.iter().enumerate() {
                let is_strong = place + 1 == self.heads.len();
                let (class, inset) = if is_strong && place > 0 {
                    ("f0", 3.0)
                } else if is_strong {
                    ("f0", 0.0)
                } else {
                    ("pale", 0.0)
                };
                let shown = value.map_or_else(|| "–".into(), |value| format!("{value:.0$}", self.decimals));
                if let Some(value) = value {
                    let words = format!("{}, {}: {shown}", row.name, self.heads[place]);
                    let size = [scale.at(value.min(self.most)) - NAMES, BAR - 2.0 * inset];
                    drawing.push(rectangle([NAMES, top + inset], size, class, &words));
                }
                drawing.push(text(end(place), top + 11.0, Anchor::End, "", &shown));
            }
        }
        figure(&self.title, &self.words(), height, drawing)
    }

    /// The drawing in words: the ends.
    fn words(&self) -> String {
        let last = self.heads.len() - 1;
        let mut known: Vec<(&str, f64)> =
            self.rows.iter().filter_map(|row| Some((row.name.as_str(), row.values[last]?))).collect();
        known.sort_by(|a, b| a.1.total_cmp(&b.1));
        let said = |(name, value): &(&str, f64)| format!("{name} {value:.0$}", self.decimals);
        match (known.first(), known.last()) {
            (Some(low), Some(high)) => {
                format!("{}, {}: least {}, most {}", self.title, self.heads[last], said(low), said(high))
            }
            _ => self.title.clone(),
        }
    }
}
