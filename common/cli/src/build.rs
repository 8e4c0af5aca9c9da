//! Which build this is.

/// The version, as in `--version`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, with `+changes` where the sources were not as committed; none where git did not
/// know.
pub fn commit() -> Option<&'static str> {
    Some(env!("RSLAD_COMMIT")).filter(|commit| !commit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_hexadecimal_digits() {
        let Some(commit) = commit() else { return };
        let digits = commit.strip_suffix("+changes").unwrap_or(commit);
        assert!(digits.len() >= 12 && digits.chars().all(|digit| digit.is_ascii_hexdigit()), "{commit}");
    }
}
