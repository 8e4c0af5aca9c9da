//! What stands in a label set's folder and does not belong there.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::names::{DATA, MANIFEST, SHARDS, SUMS, WORK};
use crate::folder::plain::{not_plain, read_dir};

/// What stands in the folder that the manifest does not list, or is a link. `.work` may remain from a writer that was
/// interrupted after its commit.
pub(crate) fn strangers(dir: &Path, manifest: &Manifest) -> Result<Vec<Error>> {
    let listed: HashSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    let mut found = Vec::new();
    let mut look = |folder: &str| -> Result<()> {
        let at = dir.join(folder);
        for (name, kind) in read_dir(&at)? {
            let path = at.join(&name);
            let inside = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let is_folder = folder.is_empty()
                && ((name == WORK)
                    || (name == DATA && manifest.form.has_parquet())
                    || (name == SHARDS && manifest.form.has_safetensors()));
            let is_file = listed.contains(inside.as_str()) || inside == MANIFEST || inside == SUMS;
            if !is_folder && !is_file {
                found.push(Error::ExtraFile { path });
            } else if (is_folder && !kind.is_dir()) || (is_file && !kind.is_file()) {
                found.push(not_plain(&path, kind));
            }
        }
        Ok(())
    };
    look("")?;
    for (folder, present) in [(DATA, manifest.form.has_parquet()), (SHARDS, manifest.form.has_safetensors())]
    {
        // A link or an absent folder is reported by what should be inside it.
        if present && fs::symlink_metadata(dir.join(folder)).is_ok_and(|meta| meta.is_dir()) {
            look(folder)?;
        }
    }
    Ok(found)
}
