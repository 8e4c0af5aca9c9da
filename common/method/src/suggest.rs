//! "did you mean": the known name nearest to a mistyped one.

/// The known name most like `given`, where one is close enough to be meant.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| *distance <= (name.len().max(given.len()) / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// `hint: did you mean NAME? ` where a name is near, then the known names.
pub fn hint(given: &str, known: &[&str]) -> String {
    let list = known.join(", ");
    match nearest(given, known.iter().copied()) {
        Some(name) => format!("hint: did you mean `{name}`? known: {list}"),
        None => format!("hint: known: {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_nonsense_is_not() {
        let known = ["resnet18", "mobilenet-v2", "wrn-34-10"];
        assert_eq!(nearest("resnet81", known), Some("resnet18"));
        assert_eq!(nearest("mobilenetv2", known), Some("mobilenet-v2"));
        assert_eq!(nearest("transformer", known), None);
    }
}
