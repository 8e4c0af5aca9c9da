//! `label inspect --html`: the page says what the JSON says.

use std::fs;

use serde_json::Value;

#[path = "../../../tests/src/markup.rs"]
mod markup;

use self::markup::{Element, asks_nothing_of_the_network, elements};
use crate::fixture::{Place, label};

fn page(place: &Place, name: &str) -> Vec<Element> {
    let page = fs::read_to_string(place.path(name)).unwrap();
    asks_nothing_of_the_network(&page);
    elements(&page)
}

fn texts<'a>(page: &'a [Element], name: &'a str) -> Vec<&'a str> {
    page.iter().filter(|element| element.name == name).map(|element| element.text.as_str()).collect()
}

#[test]
fn a_card_as_a_page_has_the_numbers_of_the_card_as_json_and_writes_over_nothing_else() {
    let place = Place::new();
    let set = place.path("<script>labels & co");
    let run = place.run(&set, 40).args(["--license", "<b>CC-BY & co</b>"]);
    run.succeeds();
    let draw = |file: &str| label().args(["inspect", "--json", "--html"]).arg(place.path(file)).arg(&set);
    let found: Value = serde_json::from_str(&draw("card.html").succeeds()).unwrap();
    let page = page(&place, "card.html");
    let facts = texts(&page, "dd");
    assert!(facts.contains(&found["content_hash"].as_str().unwrap()), "{facts:?}");
    assert!(facts.contains(&"<b>CC-BY & co</b>"), "{facts:?}");
    let accuracy = format!("{:.2} %", found["accuracy"].as_f64().unwrap());
    assert!(texts(&page, "div").contains(&accuracy.as_str()), "{accuracy}");
    for class in found["classes"].as_array().unwrap() {
        let bar =
            format!("{}, right: {:.2}", class["name"].as_str().unwrap(), class["accuracy"].as_f64().unwrap());
        assert!(texts(&page, "rect").contains(&bar.as_str()), "{bar}");
    }
    for histogram in ["entropy_histogram", "confidence_histogram"] {
        let bins = found[histogram].as_array().unwrap();
        let rows: u64 = bins.iter().map(|count| count.as_u64().unwrap()).sum();
        let most = bins.iter().map(|count| count.as_u64().unwrap()).max().unwrap();
        let fullest = format!("{:.2} %, {most} rows", 100.0 * most as f64 / rows as f64);
        assert!(texts(&page, "rect").iter().any(|words| words.ends_with(&fullest)), "{histogram}: {fullest}");
    }
    draw("card.html").succeeds();
    fs::write(place.path("thesis.html"), "<p>mine").unwrap();
    draw("thesis.html").fails(2, &["--html", "thesis.html: a file is there that is no page", "hint:"]);
    assert_eq!(fs::read(place.path("thesis.html")).unwrap(), b"<p>mine");
}

#[test]
fn label_sets_beside_each_other_are_a_page_with_the_numbers_of_their_json() {
    let place = Place::new();
    let sets = [(1, "one"), (2, "two")].map(|(seed, name)| {
        crate::fixture::save_teacher(&place.teacher(), crate::fixture::DIGITS, seed, |value| value);
        place.run(&place.path(name), 24).succeeds();
        place.path(name)
    });
    let draw = label().args(["inspect", "--json", "--html"]).arg(place.path("both.html")).args(&sets);
    let found: Value = serde_json::from_str(&draw.succeeds()).unwrap();
    let page = page(&place, "both.html");
    let cells = texts(&page, "td");
    for side in found["sets"].as_array().unwrap() {
        for (key, decimals) in [("accuracy", 2), ("mean_entropy", 3), ("calibration_error", 4)] {
            let figure = format!("{:.decimals$}", side[key].as_f64().unwrap());
            assert!(cells.contains(&figure.as_str()), "{key} {figure} in {cells:?}");
        }
    }
    let pair = &found["pairs"][0];
    for key in ["kl", "kl_back"] {
        let figure = format!("{:.4}", pair[key].as_f64().unwrap());
        assert!(cells.contains(&figure.as_str()), "{key} {figure} in {cells:?}");
    }
    assert!(cells.contains(&"B two"), "{cells:?}");
}
