//! What a store answered, sorted by what is to be done about it. Its own words are shown without secrets.

use std::error::Error as _;

use crate::error::{Error, Result};
use crate::redact::redacted;

/// An answer that came.
pub(super) enum Answer<T> {
    /// What was asked for.
    Given(T),
    /// There is nothing of this name.
    Absent,
    /// There is something of this name, or something else than was expected.
    Exists,
    /// The store does not know how.
    CannotDo(String),
}

impl<T> Answer<T> {
    /// What was asked for; none where nothing is there.
    pub(super) fn there(self) -> Result<Option<T>> {
        match self {
            Answer::Absent => Ok(None),
            other => other.or_denied("the store").map(Some),
        }
    }

    /// What was asked for; anything else is a refusal.
    pub(super) fn or_denied(self, place: &str) -> Result<T> {
        let what = match self {
            Answer::Given(given) => return Ok(given),
            Answer::Absent => "there is no such bucket, container or path".into(),
            Answer::Exists => "something else is there".into(),
            Answer::CannotDo(what) => what,
        };
        let hint = "check the URL, and that the bucket or container is there".into();
        Err(Error::Denied { place: place.into(), what, hint })
    }
}

/// Sorts what a store answered to a request for `place`.
pub(super) fn answer<T>(place: &str, answered: object_store::Result<T>) -> Result<Answer<T>> {
    use object_store::Error as Said;
    let error = match answered {
        Ok(given) => return Ok(Answer::Given(given)),
        Err(error) => error,
    };
    match &error {
        Said::NotFound { .. } => return Ok(Answer::Absent),
        Said::AlreadyExists { .. } | Said::Precondition { .. } => return Ok(Answer::Exists),
        Said::NotImplemented { .. } | Said::NotSupported { .. } => {
            return Ok(Answer::CannotDo(in_words(&error)));
        }
        _ => {}
    }
    let (place, what) = (place.to_owned(), in_words(&error));
    let denied = matches!(error, Said::PermissionDenied { .. } | Said::Unauthenticated { .. });
    if denied || is_refusal(&what) {
        let hint =
            "check the URL and the credentials in the environment's variables: docs/sharing.md lists them";
        return Err(Error::Denied { place, what, hint: hint.into() });
    }
    Err(Error::Broken { place, what })
}

/// What a store or a library says, in a line.
pub(super) fn in_words(error: &object_store::Error) -> String {
    let mut words = error.to_string();
    // The last cause is the one that helps, and not always in the text of the first.
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    if let Some(last) = causes.last().map(ToString::to_string).filter(|last| !words.contains(last.as_str())) {
        words = format!("{words}: {last}");
    }
    let line: Vec<&str> = words.split_whitespace().collect();
    let line = redacted(&line.join(" "));
    match line.char_indices().nth(600) {
        Some((end, _)) => format!("{}..", &line[..end]),
        None => line,
    }
}

/// Whether a server said that the request itself is wrong: asked again, it would say so again. 408 and 429 are not such.
fn is_refusal(what: &str) -> bool {
    let status = what.split("status code: ").nth(1).and_then(|rest| rest.get(..3));
    status.is_some_and(|status| status.starts_with('4') && status != "408" && status != "429")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_tried_again_is_told_from_what_may_not() {
        for (what, refused) in [
            ("Server returned non-2xx status code: 400 Bad Request: ", true),
            ("Server returned non-2xx status code: 403 Forbidden: ", true),
            ("Server returned non-2xx status code: 429 Too Many Requests: ", false),
            ("Server returned non-2xx status code: 503 Service Unavailable: ", false),
            ("error sending request", false),
        ] {
            assert_eq!(is_refusal(what), refused, "{what}");
        }
    }
}
