//! What stands in a label set's folder and does not belong there.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::names::{DATA, MANIFEST, SHARDS, SUMS};
use crate::folder::plain::{not_plain, visible};

/// What stands in the folder, or among its shards, and the manifest does not list. Names that start with a dot are
/// nobody's business: git, the hub's tools and file managers leave such, and no reader of either form takes them.
pub(crate) fn strangers(dir: &Path, manifest: &Manifest) -> Result<Vec<Error>> {
    let listed: HashSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    let folders = [(DATA, manifest.form.has_parquet()), (SHARDS, manifest.form.has_safetensors())];
    let is_folder = |name: &str| folders.contains(&(name, true));
    let mut found = Vec::new();
    for name in visible(dir)? {
        let ours = is_folder(&name) || listed.contains(name.as_str()) || name == MANIFEST || name == SUMS;
        if !ours && !is_document(&name) {
            found.push(Error::ExtraFile { path: dir.join(&name) });
        }
    }
    for folder in [DATA, SHARDS].into_iter().filter(|folder| is_folder(folder)) {
        let at = dir.join(folder);
        // An absent folder is reported by what should be inside it.
        let Ok(meta) = fs::metadata(&at) else { continue };
        if !meta.is_dir() {
            found.push(not_plain(&at, "a folder", meta.file_type()));
            continue;
        }
        for name in visible(&at)? {
            if !listed.contains(format!("{folder}/{name}").as_str()) {
                found.push(Error::ExtraFile { path: at.join(&name) });
            }
        }
    }
    Ok(found)
}

/// Whether a name is that of what hosts of repositories put beside a README, like `LICENSE.txt`.
pub(crate) fn is_document(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_uppercase();
    ["LICENSE", "LICENCE", "COPYING", "NOTICE", "CITATION"].contains(&stem.as_str())
}
