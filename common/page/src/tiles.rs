//! Figures that are read first, beside each other under a page's title.

use crate::Html;

/// A figure, what it is, and what must be said with it.
#[derive(Clone, Debug)]
pub struct Tile {
    /// What it is.
    pub name: String,
    /// The figure, with its unit.
    pub figure: String,
    /// What must be said with it: of how much, how sure.
    pub about: String,
}

impl Tile {
    /// From its three parts.
    pub fn new(name: impl Into<String>, figure: impl Into<String>, about: impl Into<String>) -> Self {
        Self { name: name.into(), figure: figure.into(), about: about.into() }
    }

    fn draw(&self) -> Html {
        let part = |class: &str, text: &str| Html::element("div", &[("class", class)], text);
        let inside =
            part("name", &self.name).and(part("figure", &self.figure)).and(part("about", &self.about));
        Html::element("div", &[("class", "tile")], inside)
    }
}

/// Tiles in a line, or in as many as the window needs.
pub fn tiles(tiles: &[Tile]) -> Html {
    Html::element("div", &[("class", "tiles")], tiles.iter().map(Tile::draw).collect::<Html>())
}
