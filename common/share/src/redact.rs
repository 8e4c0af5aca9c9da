//! Texts without the credentials that may be in them.

use std::sync::{Mutex, PoisonError};

/// What a store, a library or a person wrote, as it may be shown: without users and passwords in URLs, without the
/// values of queries, fragments, and of the environment's variables that hold secrets.
pub fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        shown.push_str(before);
        let is_end = |c: char| c.is_whitespace() || "\"'`<>()".contains(c);
        let (url, after) = behind.split_at(behind.find(is_end).unwrap_or(behind.len()));
        shown.push_str(&without_secrets(url));
        rest = after;
    }
    shown.push_str(rest);
    for secret in secrets() {
        shown = shown.replace(&secret, "***");
    }
    shown
}

/// A URL behind its `://`.
fn without_secrets(url: &str) -> String {
    let end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let (host, rest) = url.split_at(end);
    let host = host.rsplit_once('@').map_or(host.into(), |(_, host)| format!("***@{host}"));
    match rest.find(['?', '#']) {
        Some(at) => format!("{host}{}***", &rest[..=at]),
        None => format!("{host}{rest}"),
    }
}

/// How the variables end that conventionally hold what nobody should read.
const SECRET: &[&str] = &["_KEY", "_KEY_ID", "_SECRET", "_TOKEN", "_PASSWORD", "_CREDENTIAL", "_SIGNATURE"];

/// Secrets that were read from files.
static KEPT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Has a secret that stands in no variable be shown nowhere.
#[cfg(feature = "remote")]
pub(crate) fn keep_secret(secret: &str) {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if secret.len() >= 6 && !kept.iter().any(|known| known == secret) {
        kept.push(secret.into());
    }
}

/// The values of the variables that hold secrets, those of the stores, by the ends of their names; and those that were
/// read from files.
fn secrets() -> Vec<String> {
    let is_ours =
        |name: &str| ["AWS_", "AZURE_", "GOOGLE_", "HF_", "HUGGING"].iter().any(|of| name.starts_with(of));
    let is_secret = |name: &str| is_ours(name) && SECRET.iter().any(|end| name.ends_with(end));
    let values = std::env::vars_os().filter_map(|(name, value)| {
        let value = value.into_string().ok()?;
        // What is shorter is in every other text, too.
        (value.len() >= 6 && is_secret(name.to_str()?)).then_some(value)
    });
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    values.chain(kept.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_in_a_url_is_not_shown_and_the_rest_is() {
        for (text, wanted) in [
            ("GET https://u:p@h:1/a?sig=x&b=2 failed", "GET https://***@h:1/a?*** failed"),
            ("(https://h/a#x): \"s3://k@b\"", "(https://h/a#***): \"s3://***@b\""),
            ("https://h?x", "https://h?***"),
            ("https://u:p@q@h/a", "https://***@h/a"),
            ("no url, a@b?c", "no url, a@b?c"),
            ("two http://a/b http://c:d@e", "two http://a/b http://***@e"),
        ] {
            assert_eq!(redacted(text), wanted);
        }
    }
}
