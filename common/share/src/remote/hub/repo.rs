//! One data set of the Hub's, as it is named, found, made and changed.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::json;

use crate::error::{Error, Result};
use crate::location::Location;
use crate::remote::hub::client::{Client, Said};
use crate::remote::hub::wire::{Asked, Entry, Mode, Modes, Revision};

/// Files that are asked about at once.
const AT_ONCE: usize = 256;

/// Where a label set lies on the Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repo {
    pub org: String,
    pub name: String,
    /// As it stands in addresses.
    pub revision: String,
    /// The folder in it, without `/` at either end; empty for all of it.
    pub inside: String,
}

impl Repo {
    /// `ORG/NAME[@REVISION][/PATH]`.
    pub fn of(path: &str) -> Repo {
        let mut parts = path.splitn(3, '/');
        let (org, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        Repo {
            org: org.into(),
            name: name.into(),
            revision: revision.into(),
            inside: parts.next().unwrap_or_default().into(),
        }
    }

    /// Refuses what can only be read.
    pub fn require_branch(&self, location: &Location) -> Result<()> {
        let is_commit = self.revision.len() == 40 && self.revision.bytes().all(|b| b.is_ascii_hexdigit());
        if is_commit {
            let hint = "name a branch, which is made if it is not there, or leave the revision out";
            return Err(Error::ReadOnly { place: location.to_string(), hint: hint.into() });
        }
        Ok(())
    }

    pub fn id(&self) -> String {
        format!("{}/{}", self.org, self.name)
    }

    /// A file's path in the data set.
    pub fn path(&self, file: &str) -> String {
        if self.inside.is_empty() { file.into() } else { format!("{}/{file}", self.inside) }
    }

    fn interface(&self, client: &Client, what: &str) -> String {
        client.address(&format!("api/datasets/{}/{}/{what}", self.org, self.name))
    }

    /// The commit that the branch is at. A data set that is not there is made, for its owner alone to see; so is a branch.
    pub fn head(&self, client: &Client) -> Result<String> {
        let address = self.interface(client, &format!("revision/{}", self.revision));
        for _ in 0..3 {
            let said = client.get(&address)?;
            let made = match (said.status, said.code()) {
                (404, "RevisionNotFound") => self.make_branch(client)?,
                // Who has no right to see a private one is told the same.
                (404, "RepoNotFound") => self.make(client)?,
                _ => return client.read::<Revision>(&said).map(|said| said.sha),
            };
            // Another push may have been faster.
            if !made.is_fine() && made.status != 409 {
                return Err(client.refusal(&made));
            }
        }
        Err(client.broken("it was made, and is not there".into()))
    }

    fn make(&self, client: &Client) -> Result<Said> {
        let what = json!({"type": "dataset", "organization": self.org, "name": self.name, "private": true});
        client.post(&client.address("api/repos/create"), &what)
    }

    fn make_branch(&self, client: &Client) -> Result<Said> {
        client.post(&self.interface(client, &format!("branch/{}", self.revision)), &json!({}))
    }

    /// The files of a commit below the folder.
    pub fn files(&self, client: &Client, commit: &str) -> Result<Vec<Entry>> {
        let inside = if self.inside.is_empty() { String::new() } else { format!("/{}", self.inside) };
        let mut next = Some(self.interface(client, &format!("tree/{commit}{inside}?recursive=true")));
        let mut files = Vec::new();
        while let Some(address) = next {
            let said = client.get(&address)?;
            // No folder is there yet, or no file at all.
            if said.status == 404 && said.code() == "EntryNotFound" {
                break;
            }
            let entries: Vec<Entry> = client.read(&said)?;
            files.extend(entries.into_iter().filter(|entry| entry.kind == "file"));
            next = next_page(said.header("link")).map(|address| client.given(address));
        }
        Ok(files)
    }

    /// How files go, each with its first 512 bytes.
    pub fn modes(&self, client: &Client, files: &[(String, u64, Vec<u8>)]) -> Result<Vec<Mode>> {
        let address = self.interface(client, &format!("preupload/{}", self.revision));
        let mut modes = Vec::new();
        for some in files.chunks(AT_ONCE) {
            let ask = |(path, size, sample): &(String, u64, Vec<u8>)| Asked {
                path: path.clone(),
                sample: BASE64_STANDARD.encode(sample),
                size: *size,
            };
            let asked: Vec<Asked> = some.iter().map(ask).collect();
            let said = client.post(&address, &json!({"files": asked}))?;
            modes.extend(client.read::<Modes>(&said)?.files);
        }
        Ok(modes)
    }

    /// Makes a commit of its lines. `false`, and nothing is changed, where the branch is not at its parent any more.
    pub fn commit(&self, client: &Client, lines: &str) -> Result<bool> {
        let address = self.interface(client, &format!("commit/{}", self.revision));
        let said = client.ask(&|| {
            let request = client.request(Method::POST, &address);
            Ok(request.header("content-type", "application/x-ndjson").body(lines.to_owned()))
        })?;
        match said.status {
            409 | 412 => Ok(false),
            _ if said.is_fine() => Ok(true),
            _ => Err(client.refusal(&said)),
        }
    }
}

/// The address of the next page: `<https://..>; rel="next"`.
fn next_page(links: &str) -> Option<&str> {
    links.split(',').find_map(|link| {
        let (address, relation) = link.split_once(';')?;
        let is_next = relation.trim() == "rel=\"next\"";
        is_next.then(|| address.trim().strip_prefix('<')?.strip_suffix('>'))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_on_the_hub_is_read_from_its_path() {
        let repo = Repo::of("org/name@v1/a/b");
        assert_eq!((repo.id().as_str(), repo.revision.as_str()), ("org/name", "v1"));
        assert_eq!(repo.path("shards/x"), "a/b/shards/x");
        let repo = Repo::of("org/name");
        assert_eq!((repo.revision.as_str(), repo.path("x").as_str()), ("main", "x"));
    }

    #[test]
    fn the_next_page_is_the_one_that_the_header_calls_so() {
        // RFC 8288, section 3.5.
        let links = "<https://h/a?cursor=x>; rel=\"previous\", <https://h/b?cursor=y>; rel=\"next\"";
        assert_eq!(next_page(links), Some("https://h/b?cursor=y"));
        assert_eq!(next_page("<https://h/a>; rel=\"prev\""), None);
        assert_eq!(next_page(""), None);
    }
}
