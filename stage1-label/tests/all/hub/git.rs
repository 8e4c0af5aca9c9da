//! Data sets as the fake Hub keeps them: branches, commits and their trees.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{refused, said};
use crate::web::Reply;

/// Entries of a page; few, so that there are several.
const PAGE: usize = 5;

pub type Tree = BTreeMap<String, File>;

/// A file of a commit.
#[derive(Clone, PartialEq, Eq)]
pub enum File {
    Regular(Vec<u8>),
    /// By its SHA-256.
    Blob(String),
}

/// One data set.
pub struct Repo {
    pub is_private: bool,
    /// The commit that each branch is at.
    pub branches: BTreeMap<String, String>,
    pub commits: BTreeMap<String, Tree>,
    /// A file that no commit has, whoever commits it.
    pub forgets: Option<String>,
}

/// A name of 40 digits, as git gives to what it keeps.
pub fn named(bytes: &[u8]) -> String {
    digits(bytes)[..40].into()
}

/// The digits of a SHA-256.
pub fn digits(bytes: &[u8]) -> String {
    labels::Hex(Sha256::digest(bytes).into()).to_string()
}

impl Repo {
    pub fn new(is_private: bool) -> Repo {
        // What the Hub begins each data set with.
        let attributes = b"*.parquet filter=lfs\n*.safetensors filter=lfs\n".to_vec();
        let tree = Tree::from([(".gitattributes".into(), File::Regular(attributes))]);
        let first = named(b"first");
        Repo {
            is_private,
            branches: BTreeMap::from([("main".into(), first.clone())]),
            commits: BTreeMap::from([(first, tree)]),
            forgets: None,
        }
    }

    /// A branch's or commit's commit, and its files.
    pub fn at(&self, revision: &str) -> Option<(String, &Tree)> {
        let commit = self.branches.get(revision).map_or(revision, String::as_str);
        self.commits.get(commit).map(|tree| (commit.to_owned(), tree))
    }

    pub fn branch(&mut self, name: &str) -> Reply {
        if self.branches.contains_key(name) {
            return said("409 Conflict", &json!({"error": "Reference already exists"}));
        }
        self.branches.insert(name.into(), self.branches["main"].clone());
        said("200 OK", &json!({}))
    }

    /// A page of the entries below a folder, and where the next page is.
    pub fn tree(
        &self,
        stored: &BTreeMap<String, Vec<u8>>,
        commit: &str,
        inside: &str,
        address: &str,
        query: &str,
    ) -> Reply {
        let below = if inside.is_empty() { String::new() } else { format!("{inside}/") };
        let files: Vec<_> =
            self.commits[commit].iter().filter(|(path, _)| path.starts_with(&below)).collect();
        if files.is_empty() && !inside.is_empty() {
            return refused("404 Not Found", "EntryNotFound", "path does not exist on the revision");
        }
        assert!(query.to_lowercase().contains("recursive=true"), "{query}");
        let folders: std::collections::BTreeSet<&str> =
            files.iter().filter_map(|(path, _)| path.rsplit_once('/')).map(|(folder, _)| folder).collect();
        let folders = folders.into_iter().map(
            |folder| json!({"type": "directory", "path": folder, "oid": named(folder.as_bytes()), "size": 0}),
        );
        let entry = |(path, file): &(&String, &File)| match file {
            File::Regular(bytes) => {
                json!({"type": "file", "path": path, "oid": named(bytes), "size": bytes.len()})
            }
            File::Blob(oid) => {
                let size = stored[oid].len();
                let lfs = json!({"oid": oid, "size": size, "pointerSize": 131});
                json!({"type": "file", "path": path, "oid": named(oid.as_bytes()), "size": size, "lfs": lfs})
            }
        };
        let entries: Vec<Value> = folders.chain(files.iter().map(entry)).collect();
        let from = query.split('&').find_map(|part| part.strip_prefix("cursor=")?.parse().ok()).unwrap_or(0);
        let page: Vec<Value> = entries.iter().skip(from).take(PAGE).cloned().collect();
        let mut reply = said("200 OK", &json!(page));
        if from + PAGE < entries.len() {
            let next = from + PAGE;
            let link = format!("Link: <{address}?recursive=true&cursor={next}>; rel=\"next\"\r\n");
            reply.headers.push_str(&link);
        }
        reply
    }

    /// How files go.
    pub fn modes(&self, revision: &str, body: &[u8]) -> Reply {
        let asked: Value = serde_json::from_slice(body).unwrap();
        let (_, tree) = self.at(revision).unwrap();
        let ignored = match tree.get(".gitignore") {
            Some(File::Regular(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        let mode = |file: &Value| {
            let path = file["path"].as_str().unwrap();
            let (sample, size) = (decoded(file["sample"].as_str().unwrap()), file["size"].as_u64().unwrap());
            assert_eq!(sample.len() as u64, size.min(512), "{path}");
            let is_large = [".parquet", ".safetensors"].iter().any(|end| path.ends_with(end))
                || size > 10 << 20
                || sample.contains(&0);
            json!({
                "path": path,
                "uploadMode": if is_large { "lfs" } else { "regular" },
                "shouldIgnore": ignored.lines().any(|line| line == path),
            })
        };
        let files: Vec<Value> = asked["files"].as_array().unwrap().iter().map(mode).collect();
        assert!(files.len() <= 256);
        said("200 OK", &json!({"files": files}))
    }

    /// Makes a commit, whole or not at all; `address` is the data set's page.
    pub fn commit(
        &mut self,
        verified: &[String],
        address: &str,
        revision: &str,
        body: &[u8],
    ) -> Result<Reply, Reply> {
        let Some(head) = self.branches.get(revision).cloned() else {
            return Err(said("400 Bad Request", &json!({"error": "not a branch"})));
        };
        let mut tree = self.commits[&head].clone();
        for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line).unwrap();
            let value = &line["value"];
            let path = || value["path"].as_str().unwrap().to_owned();
            match line["key"].as_str().unwrap() {
                "header" => {
                    assert!(!value["summary"].as_str().unwrap().is_empty());
                    if value["parentCommit"].as_str().is_some_and(|parent| parent != head) {
                        let error = "A commit has happened since. Please refresh and try again.";
                        return Err(said("412 Precondition Failed", &json!({"error": error})));
                    }
                }
                "file" => {
                    assert_eq!(value["encoding"], "base64");
                    tree.insert(path(), File::Regular(decoded(value["content"].as_str().unwrap())));
                }
                "lfsFile" => {
                    assert_eq!(value["algo"], "sha256");
                    let oid = value["oid"].as_str().unwrap().to_owned();
                    if !verified.contains(&oid) {
                        let error = "LFS pointer pointed to a file that does not exist";
                        return Err(said("400 Bad Request", &json!({"error": error})));
                    }
                    tree.insert(path(), File::Blob(oid));
                }
                "deletedFile" => {
                    tree.remove(&path());
                }
                other => panic!("{other}"),
            }
        }
        tree.retain(|path, _| self.forgets.as_ref() != Some(path));
        let commit = named(&[head.as_bytes(), body, &self.commits.len().to_le_bytes()].concat());
        self.branches.insert(revision.into(), commit.clone());
        self.commits.insert(commit.clone(), tree);
        let url = format!("{address}/commit/{commit}");
        Ok(said("200 OK", &json!({"success": true, "commitOid": commit, "commitUrl": url, "hookOutput": ""})))
    }
}

/// The bytes that a text in base64 stands for (RFC 4648).
fn decoded(text: &str) -> Vec<u8> {
    let value = |sign: u8| match sign {
        b'A'..=b'Z' => sign - b'A',
        b'a'..=b'z' => sign - b'a' + 26,
        b'0'..=b'9' => sign - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} is no sign of base64"),
    };
    let mut bytes = Vec::new();
    for four in text.as_bytes().chunks(4) {
        let signs: Vec<u32> =
            four.iter().filter(|&&sign| sign != b'=').map(|&sign| value(sign).into()).collect();
        let number = (0..4).fold(0, |number, at| number << 6 | signs.get(at).copied().unwrap_or(0));
        bytes.extend(&number.to_be_bytes()[1..signs.len()]);
    }
    bytes
}

#[test]
fn base64_is_read_as_the_standard_has_it() {
    // RFC 4648, section 10.
    for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
        assert_eq!(decoded(text), bytes.as_bytes());
    }
}
