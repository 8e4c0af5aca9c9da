//! Which build this is.

use std::sync::LazyLock;

/// The version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, with `+changes` where the sources were not as committed; none where git did not
/// know.
pub fn commit() -> Option<&'static str> {
    Some(env!("RSLAD_COMMIT")).filter(|commit| !commit.is_empty())
}

/// Version and commit, as `--version` says them: `0.2.0 (1dda30595c8e)`.
pub static SAID: LazyLock<String> = LazyLock::new(|| match commit() {
    Some(commit) => format!("{VERSION} ({commit})"),
    None => VERSION.into(),
});

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
