//! Where a label set lies that is not in a folder of this machine's: a URL, without anything secret in it.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::redact::redacted;

/// A place for one label set: `s3://BUCKET/PATH`, `gs://BUCKET/PATH`, `az://CONTAINER/PATH`, `file:///PATH`,
/// `https://HOST/PATH`, `hf://datasets/ORG/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    scheme: Scheme,
    /// Bucket, container or host.
    host: String,
    /// What is behind it, without `/` at either end.
    path: String,
}

/// What stands before `://`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// A folder.
    File,
    /// Amazon S3, or whatever speaks its language.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
    /// A web server, read only.
    Http,
    /// A web server by TLS, read only.
    Https,
    /// A data set of the Hugging Face Hub.
    Hf,
}

/// Each scheme with its name and how it is written.
const SCHEMES: [(Scheme, &str, &str); 7] = [
    (Scheme::S3, "s3", "s3://BUCKET/PATH"),
    (Scheme::Gs, "gs", "gs://BUCKET/PATH"),
    (Scheme::Az, "az", "az://CONTAINER/PATH"),
    (Scheme::Hf, "hf", "hf://datasets/ORG/NAME"),
    (Scheme::Https, "https", "https://HOST/PATH"),
    (Scheme::Http, "http", "http://HOST/PATH"),
    (Scheme::File, "file", "file:///PATH"),
];

impl Location {
    /// Whether a text is a URL rather than a path.
    pub fn is_url(text: &str) -> bool {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| {
            !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        })
    }

    /// Reads a URL. One with a user, a password or a query is refused, and not repeated in the message: credentials
    /// come from the environment.
    pub fn parse(text: &str) -> Result<Location> {
        let wrong = |what: &str, hint: String| {
            Err(Error::Location { place: redacted(text), what: what.into(), hint })
        };
        let forms = || format!("write {}", SCHEMES.map(|(_, _, form)| form).join(", "));
        let Some((scheme, rest)) = text.split_once("://").filter(|_| Location::is_url(text)) else {
            return wrong("it is no URL", forms());
        };
        let Some(&(scheme, _, form)) = SCHEMES.iter().find(|(_, name, _)| *name == scheme) else {
            return wrong("its scheme is not known", forms());
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') || text.contains(['?', '#']) {
            let hint = format!(
                "write {form}; credentials come from the environment's variables, which docs/sharing.md lists"
            );
            return wrong("a user, a password, a query or a fragment has no place in it", hint);
        }
        let path = path.trim_end_matches('/');
        let is_bad = |part: &str| part.is_empty() || part == "." || part == "..";
        if text.chars().any(char::is_control) || (!path.is_empty() && path.split('/').any(is_bad)) {
            return wrong("its path has an empty part, `.` or `..`", format!("write {form}"));
        }
        if scheme == Scheme::Hf && path.contains('%') {
            return wrong("the Hub takes names as they are, and has none with `%`", format!("write {form}"));
        }
        let is_host_wrong = match scheme {
            Scheme::File => !host.is_empty() && host != "localhost",
            Scheme::Hf => host != "datasets" || path.split('/').count() < 2,
            _ => host.is_empty(),
        };
        if is_host_wrong {
            return wrong("it names no place", format!("write {form}"));
        }
        Ok(Location { scheme, host: host.into(), path: path.into() })
    }

    /// What stands before `://`.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The bucket, container or host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path behind it, without `/` at either end.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The folder that a `file://` URL means; none for others. `%20` is a space there, as in every such URL.
    pub fn folder(&self) -> Option<PathBuf> {
        (self.scheme == Scheme::File).then(|| PathBuf::from(format!("/{}", decoded(&self.path))))
    }

    /// What moves a label set there, or from there, without this program.
    #[cfg(not(feature = "remote"))]
    pub(crate) fn by_other_means(&self) -> String {
        match self.scheme {
            Scheme::S3 => "`aws s3 cp --recursive`".into(),
            Scheme::Gs => "`gcloud storage cp --recursive`".into(),
            Scheme::Az => "`az storage blob download-batch` and `upload-batch`".into(),
            Scheme::Hf => {
                let name = self.path.split('@').next().unwrap_or_default();
                format!(
                    "`hf download {name} --repo-type dataset --local-dir labels` and `hf upload {name} labels . --repo-type dataset`"
                )
            }
            _ => "`wget`".into(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = SCHEMES.iter().find(|row| row.0 == self.scheme).map_or("", |row| row.1);
        write!(f, "{name}://{}", self.host)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, "/{}", self.path) }
    }
}

/// A text whose `%XX` are bytes; what does not decode stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let value =
            digits.filter(|_| bytes[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8(out).unwrap_or_else(|_| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_as_they_are_written() {
        for text in [
            "s3://bucket/a/b",
            "s3://bucket",
            "gs://bucket/labels",
            "az://container/labels",
            "file:///data/labels",
            "https://example.org:8443/a",
            "hf://datasets/org/name",
            "hf://datasets/org/name@v1/labels",
        ] {
            assert_eq!(Location::parse(text).unwrap().to_string(), text);
            assert_eq!(Location::parse(&format!("{text}/")).unwrap().to_string(), text);
            assert!(Location::is_url(text));
        }
        for path in ["labels", "/data/labels", "a:/b", "C://", "://x", "a b://c"] {
            assert_eq!(Location::is_url(path), path == "C://", "{path}");
        }
    }

    #[test]
    fn a_place_that_is_none_is_refused_with_how_it_is_written() {
        for (text, hint) in [
            ("ftp://host/labels", "s3://BUCKET/PATH"),
            ("s3:///labels", "write s3://BUCKET/PATH"),
            ("file://labels", "write file:///PATH"),
            ("hf://models/org/name", "write hf://datasets/ORG/NAME"),
            ("hf://datasets/name", "write hf://datasets/ORG/NAME"),
            ("hf://datasets/org/name/a%20b", "write hf://datasets/ORG/NAME"),
            ("s3://bucket/../other", "write s3://BUCKET/PATH"),
            ("s3://bucket//a", "write s3://BUCKET/PATH"),
            ("s3://bucket/a\nb", "write s3://BUCKET/PATH"),
        ] {
            let error = Location::parse(text).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn secrets_in_a_url_are_refused_and_not_repeated() {
        for text in [
            "https://user:hunter2@example.org/labels",
            "s3://key:hunter2@bucket/labels",
            "https://example.org/labels?X-Amz-Signature=hunter2",
            "az://container/labels?sig=hunter2",
            "ftp://user:hunter2@example.org/labels",
            "https://example.org/labels#hunter2",
        ] {
            let error = Location::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_file_url_means_the_folder_that_every_other_program_takes_it_for() {
        // Python: urllib.request.url2pathname('/a%20b/%C3%A9') == '/a b/é'
        assert_eq!(Location::parse("file:///a%20b/%C3%A9").unwrap().folder(), Some("/a b/é".into()));
        assert_eq!(Location::parse("file://localhost/a").unwrap().folder(), Some("/a".into()));
        assert_eq!(Location::parse("s3://a/b").unwrap().folder(), None);
    }
}
