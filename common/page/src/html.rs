//! Markup that is well formed by the way it is made.

use std::fmt::Write;

/// A piece of a page. It reads as HTML and as XML: every element is closed, every attribute quoted, all text escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Html(String);

impl Html {
    /// Nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Text as it is to be read.
    pub fn text(text: impl AsRef<str>) -> Self {
        let mut out = String::new();
        escape(text.as_ref(), &mut out);
        Self(out)
    }

    /// An element with these attributes around what is in it.
    pub fn element(name: &'static str, attributes: &[(&'static str, &str)], inside: impl Into<Self>) -> Self {
        let mut out = Self::opened(name, attributes);
        write!(out, ">{}</{name}>", inside.into().0).expect("a string takes text");
        Self(out)
    }

    /// An element that never has anything in it, such as `img`, or a shape of a drawing.
    pub fn void(name: &'static str, attributes: &[(&'static str, &str)]) -> Self {
        Self(Self::opened(name, attributes) + "/>")
    }

    fn opened(name: &'static str, attributes: &[(&'static str, &str)]) -> String {
        let mut out = format!("<{name}");
        for (key, value) in attributes {
            write!(out, " {key}=\"").expect("a string takes text");
            escape(value, &mut out);
            out.push('"');
        }
        out
    }

    /// A paragraph.
    pub fn paragraph(text: impl AsRef<str>) -> Self {
        Self::element("p", &[], Self::text(text))
    }

    /// A paragraph in the lesser tone: what explains, and does not inform.
    pub fn remark(text: impl AsRef<str>) -> Self {
        Self::element("p", &[("class", "remark")], Self::text(text))
    }

    /// A heading below a section's.
    pub fn heading(text: impl AsRef<str>) -> Self {
        Self::element("h3", &[], Self::text(text))
    }

    /// A paragraph that says what is missing, and the command that would bring it.
    pub fn missing(what: impl AsRef<str>, command: impl AsRef<str>) -> Self {
        let command = Self::element("code", &[], Self::text(command));
        let inside = Self::text(what).and(Self::text(" Run ")).and(command);
        Self::element("p", &[("class", "missing")], inside)
    }

    /// Something that is seen when its summary is chosen, such as the numbers behind a drawing.
    pub fn folded(summary: impl AsRef<str>, inside: Self) -> Self {
        let summary = Self::element("summary", &[], Self::text(summary));
        Self::element("details", &[], summary.and(inside))
    }

    /// Charts or pictures beside each other where the window is wide enough.
    pub fn side_by_side(parts: impl IntoIterator<Item = Self>) -> Self {
        Self::element("div", &[("class", "beside")], parts.into_iter().collect::<Self>())
    }

    /// This and then that.
    #[must_use]
    pub fn and(mut self, other: impl Into<Self>) -> Self {
        self.0.push_str(&other.into().0);
        self
    }

    /// Puts something behind this.
    pub fn push(&mut self, other: impl Into<Self>) {
        self.0.push_str(&other.into().0);
    }

    /// The markup.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Markup that the program itself wrote, such as its style sheet.
    pub(crate) fn own(markup: &'static str) -> Self {
        Self(markup.into())
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(parts: I) -> Self {
        parts.into_iter().fold(Self::none(), Self::and)
    }
}

impl From<&str> for Html {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Html {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

/// Escapes what would end a text or an attribute; control characters, which no page may hold, and signs that turn the text around them become spaces.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('\n'),
            c if names::acts(c) || ('\u{fdd0}'..='\u{fdef}').contains(&c) || c as u32 & 0xfffe == 0xfffe => {
                out.push(' ');
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `html.escape(text)` of Python 3.13 gives the same but for the quote, which it writes `&#x27;`.
    #[test]
    fn text_and_attributes_cannot_leave_their_place() {
        let hostile = "</p><script a=\"b\">it's & \u{1b}[2J";
        let found = Html::element("p", &[("title", hostile)], hostile);
        let escaped = "&lt;/p&gt;&lt;script a=&quot;b&quot;&gt;it&#39;s &amp;  [2J";
        assert_eq!(found.as_str(), format!("<p title=\"{escaped}\">{escaped}</p>"));
    }
}
