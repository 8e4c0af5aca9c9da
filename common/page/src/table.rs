//! Tables: text to the left, numbers to the right in figures of one width.

use crate::Html;

/// A table with a heading for each column.
#[derive(Clone, Debug)]
pub struct Table {
    caption: String,
    heads: Vec<(String, bool)>,
    rows: Vec<Vec<Cell>>,
}

/// What a cell holds.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Text, to the left.
    Text(String),
    /// A number, to the right.
    Number(String),
    /// A number that is the row's point.
    Strong(String),
    /// Text of programs: names of files, digests.
    Code(String),
    /// Nothing was measured.
    Nothing,
}

impl Table {
    /// A table without columns; its caption says what it is.
    pub fn new(caption: impl Into<String>) -> Self {
        Self { caption: caption.into(), heads: Vec::new(), rows: Vec::new() }
    }

    /// With another column of text.
    #[must_use]
    pub fn text(mut self, head: impl Into<String>) -> Self {
        self.heads.push((head.into(), false));
        self
    }

    /// With another column of numbers.
    #[must_use]
    pub fn number(mut self, head: impl Into<String>) -> Self {
        self.heads.push((head.into(), true));
        self
    }

    /// Adds a row: a cell for each column. The first cell heads it.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let cells: Vec<Cell> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.heads.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// As markup; where it is wider than the window it can be moved, and the page cannot.
    pub fn draw(&self) -> Html {
        let class = |is_number: bool| if is_number { "n" } else { "t" };
        let heads = self.heads.iter().map(|(head, is_number)| {
            Html::element("th", &[("scope", "col"), ("class", class(*is_number))], head.as_str())
        });
        let head = Html::element("thead", &[], Html::element("tr", &[], heads.collect::<Html>()));
        let rows = self.rows.iter().map(|row| {
            let cells = row.iter().zip(&self.heads).enumerate().map(|(place, (cell, (_, is_number)))| {
                let inside = cell.draw();
                let class = ("class", class(*is_number));
                if place == 0 {
                    Html::element("th", &[("scope", "row"), class], inside)
                } else {
                    Html::element("td", &[class], inside)
                }
            });
            Html::element("tr", &[], cells.collect::<Html>())
        });
        let body = Html::element("tbody", &[], rows.collect::<Html>());
        let label = self.caption.as_str();
        let table = Html::element("table", &[("aria-label", label)], head.and(body));
        // Beside the table and not in it: a wide table moves, and what it is stays in sight.
        let caption = Html::element("p", &[("class", "caption")], label);
        let wide = [("class", "wide"), ("role", "region"), ("tabindex", "0"), ("aria-label", label)];
        Html::element("div", &[("class", "table")], caption.and(Html::element("div", &wide, table)))
    }
}

impl Cell {
    fn draw(&self) -> Html {
        match self {
            Self::Text(text) | Self::Number(text) => text.as_str().into(),
            Self::Strong(text) => Html::element("strong", &[], text.as_str()),
            Self::Code(text) => Html::element("code", &[], text.as_str()),
            Self::Nothing => Html::element("span", &[("class", "nothing"), ("title", "not measured")], "–"),
        }
    }
}

/// Names and what they stand for, such as settings: two columns that need no headings.
pub fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> Html {
    let row =
        |(name, value): (&str, String)| Html::element("dt", &[], name).and(Html::element("dd", &[], value));
    Html::element("dl", &[], facts.into_iter().map(row).collect::<Html>())
}
