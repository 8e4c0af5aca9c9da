//! Charts as inline SVG: what axes and labels have in common. Numbers go from the data to the drawing by [`Scale`] alone.
//!
//! A chart is as wide as a telephone's window; wider windows show several beside each other, so that its text is as large
//! as the page's everywhere.

pub mod bars;
pub mod histogram;
pub mod intervals;
pub mod lines;

use crate::Html;

/// Width of a chart, in its own units: about pixels.
const WIDTH: f64 = 400.0;
/// Looks of series that can be told apart by all kinds of sight, and without colour by their dashes.
const LOOKS: usize = 7;
/// Width of a character of a label.
const LETTER: f64 = 6.5;

/// A way from values to places along an axis.
#[derive(Clone, Copy, Debug)]
struct Scale {
    from: [f64; 2],
    to: [f64; 2],
}

impl Scale {
    /// Takes values between `from`'s ends to places between `to`'s. Ends that are one value are moved apart.
    fn new(from: [f64; 2], to: [f64; 2]) -> Self {
        let [low, high] = from;
        let apart = match low {
            _ if high > low => 0.0,
            0.0 => 1.0,
            low => low.abs() * 0.5,
        };
        Self { from: [low - apart, high + apart], to }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value - self.from[0]) / (self.from[1] - self.from[0]);
        self.to[0] + share * (self.to[1] - self.to[0])
    }
}

/// Values at which an axis has a line: about `count` of them, a round number apart.
fn ticks([low, high]: [f64; 2], count: usize) -> Vec<f64> {
    let rough = (high - low).max(f64::MIN_POSITIVE) / count as f64;
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(10.0 * power);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|place| place as f64 * step).collect()
}

/// A number beside an axis.
fn tick_label(value: f64) -> String {
    crate::significant(value, 3)
}

/// A number of the drawing: a tenth of a pixel is enough.
fn n(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[derive(Clone, Copy, Debug)]
enum Anchor {
    Start,
    Middle,
    End,
}

fn text(x: f64, y: f64, anchor: Anchor, class: &str, words: &str) -> Html {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    Html::element("text", &[("x", &n(x)), ("y", &n(y)), ("text-anchor", anchor), ("class", class)], words)
}

fn line(from: [f64; 2], to: [f64; 2], class: &str) -> Html {
    let [[x1, y1], [x2, y2]] = [from, to].map(|point| point.map(n));
    Html::void("line", &[("x1", &x1), ("y1", &y1), ("x2", &x2), ("y2", &y2), ("class", class)])
}

/// A rectangle that says what it stands for where a pointer rests on it.
fn rectangle([x, y]: [f64; 2], [width, height]: [f64; 2], class: &str, words: &str) -> Html {
    let [x, y, width, height] = [x, y, width.max(0.0), height.max(0.0)].map(n);
    let attributes = [("x", x.as_str()), ("y", &y), ("width", &width), ("height", &height), ("class", class)];
    Html::element("rect", &attributes, Html::element("title", &[], words))
}

fn dot([x, y]: [f64; 2], class: &str, words: &str) -> Html {
    let attributes = [("cx", n(x)), ("cy", n(y)), ("r", "3".into())];
    let attributes: Vec<(&str, &str)> =
        attributes.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let attributes = [&attributes[..], &[("class", class)]].concat();
    Html::element("circle", &attributes, Html::element("title", &[], words))
}

/// A drawing with its title over it; the words say to those who cannot see it what it shows.
fn figure(title: &str, words: &str, height: f64, drawing: Html) -> Html {
    let view = format!("0 0 {} {}", n(WIDTH), n(height));
    let named = Html::element("title", &[], words);
    let svg = Html::element(
        "svg",
        &[("viewBox", &view), ("role", "img"), ("aria-label", words)],
        named.and(drawing),
    );
    Html::element("figure", &[], Html::element("figcaption", &[], title).and(svg))
}

/// Text in so much room.
fn fitted(text: &str, room: f64) -> String {
    let most = (room / LETTER) as usize;
    if text.chars().count() <= most {
        return text.into();
    }
    text.chars().take(most.saturating_sub(1)).chain("…".chars()).collect()
}

/// Width of a text.
fn width(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What matplotlib's `MaxNLocator(nbins=5, steps=[1, 2, 5, 10]).tick_values` gives within the ends.
    #[test]
    fn ticks_are_round_numbers_between_the_ends() {
        let labels = |ends, count| ticks(ends, count).into_iter().map(tick_label).collect::<Vec<_>>();
        assert_eq!(labels([0.0, 100.0], 5), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels([0.9, 2.2], 5), ["1", "1.5", "2"]);
        assert_eq!(labels([1.0, 4.0], 3), ["1", "2", "3", "4"]);
        assert_eq!(ticks([0.0, 0.3], 3).len(), 4);
    }

    #[test]
    fn a_scale_keeps_its_ends_and_bears_a_single_value() {
        let scale = Scale::new([0.0, 50.0], [100.0, 0.0]);
        let alone = Scale::new([3.0, 3.0], [0.0, 10.0]).at(3.0);
        for (found, wanted) in
            [(scale.at(0.0), 100.0), (scale.at(25.0), 50.0), (scale.at(50.0), 0.0), (alone, 5.0)]
        {
            assert!((found - wanted).abs() < 1e-9, "{found}, wanted {wanted}");
        }
    }
}
