//! Pages as a strict reader sees them: XML's rules, which HTML's readers accept as well, and nothing loaded from anywhere.
//!
//! Included by path where a page is made.

/// An element of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    /// All text in it, elements within included.
    pub text: String,
}

#[allow(dead_code, reason = "each target that includes this file asks for its own part of it")]
impl Element {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn is(&self, name: &str, class: &str) -> bool {
        let classes = self.attribute("class").unwrap_or_default();
        self.name == name && classes.split(' ').any(|one| one == class)
    }
}

/// The elements of a page in the order in which they end; panics where the page is not well formed.
pub fn elements(page: &str) -> Vec<Element> {
    let rest = page.strip_prefix("<!DOCTYPE html>").expect("a page begins with its doctype");
    let (mut open, mut closed): (Vec<Element>, Vec<Element>) = (Vec::new(), Vec::new());
    let mut rest = rest;
    while let Some((text, tag)) = rest.split_once('<') {
        let text = unescaped(text);
        assert!(!open.is_empty() || text.trim().is_empty(), "text outside of the page: {text}");
        for element in &mut open {
            element.text += &text;
        }
        if let Some(comment) = tag.strip_prefix("!--") {
            rest = comment.split_once("-->").expect("a comment ends").1;
            continue;
        }
        let (tag, after) = split_tag(tag);
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            let element = open.pop().unwrap_or_else(|| panic!("</{name}> ends nothing"));
            assert_eq!(element.name, name, "elements nest");
            closed.push(element);
        } else {
            let (tag, is_void) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let element = element(tag);
            if is_void { closed.push(element) } else { open.push(element) }
        }
    }
    assert!(open.is_empty(), "left open: {:?}", open.iter().map(|element| &element.name).collect::<Vec<_>>());
    assert!(rest.trim().is_empty(), "behind the page: {rest}");
    closed
}

/// Up to the `>` that is in no attribute, and what follows it.
fn split_tag(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '<' => panic!("a `<` in a tag: {}", &text[..at]),
            '>' if !quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    panic!("a tag does not end: {text:.60}")
}

fn element(tag: &str) -> Element {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric()) && !name.is_empty(), "a name: {name}");
    let mut attributes: Vec<(String, String)> = Vec::new();
    while !rest.trim().is_empty() {
        let (key, value) =
            rest.split_once("=\"").unwrap_or_else(|| panic!("an attribute without value: {tag}"));
        let (value, after) = value.split_once('"').expect("an attribute ends");
        assert!(after.is_empty() || after.starts_with(' '), "attributes are apart: {tag}");
        assert!(key.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "a key: {key}");
        assert!(attributes.iter().all(|(known, _)| known != key.trim()), "{key} twice: {tag}");
        attributes.push((key.trim().into(), unescaped(value)));
        rest = after;
    }
    Element { name: name.into(), attributes, text: String::new() }
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut parts = text.split('&');
    out += parts.next().unwrap_or_default();
    for part in parts {
        let (name, after) = part.split_once(';').unwrap_or_else(|| panic!("a bare `&`: {text}"));
        out += match name {
            "amp" => "&",
            "lt" => "<",
            "gt" => ">",
            "quot" => "\"",
            "#39" => "'",
            other => panic!("no such character: &{other};"),
        };
        out += after;
    }
    out
}

/// Panics where a page would load anything, or could run anything.
pub fn asks_nothing_of_the_network(page: &str) {
    for element in elements(page) {
        let name = &element.name;
        for program in ["script", "iframe", "object", "embed", "base", "form", "foreignObject", "use"] {
            assert_ne!(name, program);
        }
        for (key, value) in &element.attributes {
            assert!(!key.starts_with("on"), "<{name} {key}>");
            let is_address =
                ["src", "href", "srcset", "data", "action", "poster", "style"].contains(&key.as_str());
            assert!(
                !is_address || value.starts_with("data:") || value.starts_with('#'),
                "<{name} {key}=\"{value}\">"
            );
        }
        if name == "style" {
            assert!(!element.text.contains("url(") && !element.text.contains("@import"));
        }
    }
}
