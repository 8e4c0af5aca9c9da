//! Places in a file of settings, as people find them.

/// The line, from 1, that a byte lies in.
pub fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}

/// What is wrong and where: line and column, the line itself, and a caret below the place.
pub fn pointed_at(text: &str, error: &toml::de::Error) -> String {
    let Some(span) = error.span() else { return error.message().into() };
    // At the end of a text there is no character; the caret goes behind the last one.
    let at = (0..=span.start.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let shown: String = text[start..].lines().next().unwrap_or_default().chars().take(70).collect();
    let (number, column) = (line(text, at), text[start..at].chars().count() + 1);
    let margin = " ".repeat(number.to_string().len());
    let caret = " ".repeat(column - 1);
    format!(
        "line {number}, column {column}: {}\n{number} | {shown}\n{margin} | {caret}^",
        error.message().lines().next().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_stands_below_the_place() {
        let text = "lr = 0.1\n\nthen decay\n";
        let error = toml::de::DeTable::parse(text).unwrap_err();
        let shown = pointed_at(text, &error);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].starts_with("line 3, column "), "{shown}");
        assert_eq!(lines[1], "3 | then decay");
        let column: usize = lines[0]["line 3, column ".len()..].split(':').next().unwrap().parse().unwrap();
        assert_eq!(lines[2].find('^'), Some("3 | ".len() + column - 1), "{shown}");
        let unfinished = "name = \"ü";
        let error = toml::de::DeTable::parse(unfinished).unwrap_err();
        assert!(pointed_at(unfinished, &error).contains("1 | name = \"ü"));
    }
}
