//! The Hugging Face Hub: files of a data set by its HTTP interface, under the names and the token that `hf` uses.
//!
//! Source: <https://huggingface.co/docs/hub/datasets-downloading> and
//! <https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables>.

use std::env;
use std::fs;
use std::path::PathBuf;

/// Where the files of `ORG/NAME[@REVISION][/PATH]` are.
pub(super) fn files_of(path: &str) -> String {
    let mut parts = path.splitn(3, '/');
    let (org, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    let inside = parts.next().map_or(String::new(), |inside| format!("/{inside}"));
    let hub = said("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
    format!("{}/datasets/{org}/{name}/resolve/{revision}{inside}", hub.trim_end_matches('/'))
}

/// The user's token, where there is one that may be used without being asked for.
pub(super) fn token() -> Option<String> {
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
        if env::var_os("HF_ENDPOINT").is_some() {
            return;
        }
        assert_eq!(files_of("org/name"), "https://huggingface.co/datasets/org/name/resolve/main");
        assert_eq!(files_of("org/name@v1"), "https://huggingface.co/datasets/org/name/resolve/v1");
        assert_eq!(files_of("org/name/a/b"), "https://huggingface.co/datasets/org/name/resolve/main/a/b");
    }
}
