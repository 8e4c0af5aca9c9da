//! The frame that every page has.

use crate::Html;

/// How every page begins; what begins so may be written over by a newer one.
pub(crate) const BEGINNING: &str = "<!DOCTYPE html>\n<!-- a page of rslad -->\n";

/// Nothing on a page is loaded: not even what a browser would look for by itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// A page under construction.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    made_by: String,
    lead: Html,
    sections: Vec<(String, Html)>,
}

impl Page {
    /// A page with this title; its foot says what made it.
    pub fn new(title: impl Into<String>, made_by: impl Into<String>) -> Self {
        Self { title: title.into(), made_by: made_by.into(), lead: Html::none(), sections: Vec::new() }
    }

    /// Adds to what stands under the title.
    pub fn lead(&mut self, part: Html) {
        self.lead.push(part);
    }

    /// Adds a section.
    pub fn section(&mut self, heading: impl Into<String>, inside: Html) {
        self.sections.push((heading.into(), inside));
    }

    /// The page as the text of a file.
    pub fn finish(&self) -> String {
        let meta = |key: &'static str, name: &str, content: &str| {
            Html::void("meta", &[(key, name), ("content", content)]).and("\n")
        };
        let head = Html::void("meta", &[("charset", "utf-8")])
            .and("\n")
            .and(meta("http-equiv", "Content-Security-Policy", POLICY))
            .and(meta("name", "viewport", "width=device-width, initial-scale=1"))
            .and(meta("name", "color-scheme", "light dark"))
            // An empty icon of the page's own, or browsers ask its server for one.
            .and(Html::void("link", &[("rel", "icon"), ("href", "data:,")]))
            .and(Html::element("title", &[], self.title.as_str()))
            .and(Html::element("style", &[], Html::own(include_str!("style.css"))));
        let mut body = Html::element(
            "header",
            &[],
            Html::element("h1", &[], self.title.as_str()).and(self.lead.clone()),
        );
        body.push("\n");
        body.push(self.contents());
        for (place, (heading, inside)) in self.sections.iter().enumerate() {
            let id = anchor(place);
            let heading = Html::element("h2", &[("id", &format!("{id}-title"))], heading.as_str());
            let named = [("id", id.as_str()), ("aria-labelledby", &format!("{id}-title"))];
            body.push(Html::element("section", &named, heading.and(inside.clone())).and("\n"));
        }
        body.push(Html::element("footer", &[], self.made_by.as_str()));
        let main = Html::element("main", &[], body);
        let page = Html::element("head", &[], head).and("\n").and(Html::element("body", &[], main));
        format!("{BEGINNING}{}\n", Html::element("html", &[("lang", "en")], page).as_str())
    }

    /// Links to the sections, where there are several.
    fn contents(&self) -> Html {
        if self.sections.len() < 3 {
            return Html::none();
        }
        let links = self.sections.iter().enumerate().map(|(place, (heading, _))| {
            let link = Html::element("a", &[("href", &format!("#{}", anchor(place)))], heading.as_str());
            Html::element("li", &[], link)
        });
        let list = Html::element("ul", &[], links.collect::<Html>());
        Html::element("nav", &[("aria-label", "contents")], list).and("\n")
    }
}

fn anchor(place: usize) -> String {
    format!("s{}", place + 1)
}
