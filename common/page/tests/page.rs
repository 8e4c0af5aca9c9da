//! Whole pages, read as strictly as XML.

use page::{
    Bars, Cell, Histogram, Html, Interval, Intervals, Lines, Page, Pixels, Row, Series, Table, Tile, facts,
    picture, tiles,
};

#[path = "../../../tests/src/markup.rs"]
mod markup;

use markup::{Element, asks_nothing_of_the_network, elements};

const HOSTILE: &str = "</svg></title><script src=\"http://example.org/x.js\">alert('&')</script>";

fn lines(points: Vec<[f64; 2]>) -> Lines {
    let series = Series {
        name: HOSTILE.into(),
        intervals: points.iter().map(|[_, y]| [y - 1.0, y + 1.0]).collect(),
        points,
    };
    Lines {
        title: HOSTILE.into(),
        across: HOSTILE.into(),
        unit: HOSTILE.into(),
        marks: vec![(1.0, HOSTILE.into())],
        ticks: vec![(0.0, HOSTILE.into()), (1.0, "1".into())],
        series: vec![series.clone(), series],
        range: None,
    }
}

/// A page with one of everything, and foreign text wherever there may be some.
fn page() -> String {
    let mut page = Page::new(HOSTILE, HOSTILE);
    page.lead(tiles(&[Tile::new(HOSTILE, HOSTILE, HOSTILE)]));
    page.lead(Html::paragraph(HOSTILE).and(Html::remark(HOSTILE)).and(Html::missing(HOSTILE, HOSTILE)));
    let mut table = Table::new(HOSTILE).text(HOSTILE).number(HOSTILE);
    table.row([Cell::Code(HOSTILE.into()), Cell::Strong(HOSTILE.into())]);
    table.row([Cell::Text(HOSTILE.into()), Cell::Nothing]);
    page.section(HOSTILE, table.draw().and(facts([(HOSTILE, HOSTILE.to_owned())])));
    let row = Row { name: HOSTILE.into(), values: vec![Some(90.0), None] };
    let bars = Bars {
        title: HOSTILE.into(),
        heads: vec![HOSTILE.into(); 2],
        most: 100.0,
        decimals: 1,
        rows: vec![row],
    };
    let interval = Interval { name: HOSTILE.into(), value: 50.0, ends: [40.0, 60.0], look: 9 };
    let intervals = Intervals { title: HOSTILE.into(), range: [0.0, 100.0], rows: vec![interval] };
    let histogram =
        Histogram { title: HOSTILE.into(), across: HOSTILE.into(), range: [0.0, 1.0], counts: vec![1, 0, 3] };
    let charts =
        [lines(vec![[0.0, 1.0], [1.0, 3.0]]).draw(), bars.draw(), intervals.draw(), histogram.draw()];
    page.section(HOSTILE, Html::side_by_side(charts));
    let pixels = Pixels { shape: [1, 2, 2], values: vec![0.0, 0.5, 1.0, 0.25] };
    page.section("images", Html::folded(HOSTILE, picture(&pixels, HOSTILE)).and(Html::heading(HOSTILE)));
    page.finish()
}

#[test]
fn a_page_is_well_formed_and_asks_nothing_whatever_text_it_is_given() {
    let page = page();
    asks_nothing_of_the_network(&page);
    let found = elements(&page);
    assert_eq!(found.last().unwrap().name, "html");
    assert!(found.iter().any(|element| element.name == "title" && element.text == HOSTILE));
    for name in ["meta", "style", "h1", "h2", "nav", "table", "dl", "img", "figure", "details", "footer"] {
        assert!(found.iter().any(|element| element.name == name), "{name}");
    }
}

#[test]
fn every_drawing_says_in_words_what_it_shows_and_links_lead_somewhere() {
    let found = elements(&page());
    let of = |name: &'static str| found.iter().filter(move |element| element.name == name);
    for drawing in of("svg").chain(of("img")) {
        let words = drawing.attribute("aria-label").or(drawing.attribute("alt")).unwrap_or_default();
        assert!(!words.is_empty(), "{drawing:?}");
    }
    assert_eq!(of("svg").count(), 4);
    for link in of("a") {
        let to = link.attribute("href").and_then(|to| to.strip_prefix('#')).unwrap();
        assert!(of("section").any(|section| section.attribute("id") == Some(to)), "{to}");
    }
    assert_eq!(of("a").count(), 3);
}

fn of_class<'a>(
    found: &'a [Element],
    name: &'static str,
    class: &'static str,
) -> impl Iterator<Item = &'a Element> {
    found.iter().filter(move |element| element.is(name, class))
}

/// From 0 at the left edge 46 to 2 at the right end of 400 less the least room for names, 20; from 10 at the foot 192 to
/// 20 at the top 10: by hand.
#[test]
fn lines_go_through_their_points() {
    let series = Series {
        name: String::new(),
        points: vec![[0.0, 10.0], [1.0, 20.0], [2.0, 15.0]],
        intervals: vec![],
    };
    let chart = Lines { range: Some([10.0, 20.0]), series: vec![series], ..Lines::default() };
    let page = format!("<!DOCTYPE html>{}", chart.draw().as_str());
    let found = elements(&page);
    let drawn = of_class(&found, "polyline", "line").next().unwrap();
    assert_eq!(drawn.attribute("points"), Some("46,192 213,10 380,101"));
}

/// The names take 10 letters of 6.5 and 8, which are 73; a quarter of the way from 108 to 400 - 6 - 2 * 73 is 35.
#[test]
fn bars_are_as_long_as_their_values_and_say_them() {
    let row = Row { name: "cat".into(), values: vec![Some(100.0), Some(25.0)] };
    let heads = vec!["clean".into(), "autoattack".into()];
    let bars = Bars { title: "by class".into(), heads, most: 100.0, decimals: 1, rows: vec![row] };
    let found = elements(&format!("<!DOCTYPE html>{}", bars.draw().as_str()));
    let bar = of_class(&found, "rect", "f0").next().unwrap();
    assert_eq!((bar.attribute("width"), bar.text.as_str()), (Some("35"), "cat, autoattack: 25.0"));
    assert!(of_class(&found, "text", "").any(|text| text.text == "25.0"));
}

#[test]
fn nothing_is_drawn_of_nothing() {
    assert!(Lines::default().draw().is_empty());
    assert!(lines(vec![]).draw().is_empty());
    // One value has no extent in either direction, and is still drawn where it can be seen.
    let found = elements(&format!("<!DOCTYPE html>{}", lines(vec![[3.0, 0.0]]).draw().as_str()));
    let dot = found.iter().find(|element| element.name == "circle").unwrap();
    for key in ["cx", "cy"] {
        assert!(dot.attribute(key).unwrap().parse::<f64>().unwrap().is_finite());
    }
}
