//! The Hugging Face Hub: files of a data set by its HTTP interface, under the names and the token that `hf` uses.
//!
//! Large files go there as blobs of Git LFS, which the Hub takes from whoever does not speak its own protocol (Xet) and
//! brings into that by itself: <https://huggingface.co/docs/hub/xet/legacy-git-lfs>.
//!
//! Source: <https://huggingface.co/docs/hub/datasets-downloading> and
//! <https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables>.

use std::env;
use std::fs;
use std::path::PathBuf;

use crate::redact::keep_secret;
use repo::Repo;

mod client;
pub(super) mod push;
mod repo;
mod upload;
mod wire;

/// Where the files of `ORG/NAME[@REVISION][/PATH]` are.
pub(super) fn files_of(path: &str) -> String {
    let repo = Repo::of(path);
    files_at(&repo, &repo.revision)
}

/// Where the files of a label set are at a revision.
fn files_at(repo: &Repo, revision: &str) -> String {
    address(&endpoint(), repo, revision)
}

fn address(endpoint: &str, repo: &Repo, revision: &str) -> String {
    let inside = if repo.inside.is_empty() { String::new() } else { format!("/{}", repo.inside) };
    format!("{endpoint}/datasets/{}/resolve/{revision}{inside}", repo.id())
}

/// Where the Hub is, without `/` at the end.
fn endpoint() -> String {
    let hub = said("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
    hub.trim_end_matches('/').into()
}

/// The user's token, where there is one that may be used without being asked for. It is shown nowhere from here on.
pub(super) fn token() -> Option<String> {
    let token = token_of_user()?;
    keep_secret(&token);
    Some(token)
}

fn token_of_user() -> Option<String> {
    if let Some(token) = said("HF_TOKEN") {
        return Some(token);
    }
    if said("HF_HUB_DISABLE_IMPLICIT_TOKEN")
        .is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()))
    {
        return None;
    }
    let home = || {
        said("HF_HOME").map(PathBuf::from).or_else(|| {
            let cache = said("XDG_CACHE_HOME").map(PathBuf::from);
            Some(cache.or_else(|| Some(PathBuf::from(said("HOME")?).join(".cache")))?.join("huggingface"))
        })
    };
    let path = said("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(home()?.join("token")))?;
    let token = fs::read_to_string(path).ok()?.trim().to_owned();
    (!token.is_empty()).then_some(token)
}

fn said(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty()).map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_the_addresses_that_the_hub_gives_them() {
        // huggingface_hub.hf_hub_url(REPO, FILE, repo_type="dataset", revision=..) without the file.
        let files_of = |path: &str| {
            let repo = Repo::of(path);
            address("https://huggingface.co", &repo, &repo.revision)
        };
        assert_eq!(files_of("org/name"), "https://huggingface.co/datasets/org/name/resolve/main");
        assert_eq!(files_of("org/name@v1"), "https://huggingface.co/datasets/org/name/resolve/v1");
        assert_eq!(files_of("org/name/a/b"), "https://huggingface.co/datasets/org/name/resolve/main/a/b");
    }
}
