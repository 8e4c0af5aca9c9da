//! Label sets that were fetched to be read here: a folder for each, by its id, so that it is fetched once.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use labels::{Form, Manifest};

use crate::error::{Error, Result};
use crate::location::Location;
use crate::pull::{Wanted, fetch, manifest_bytes};
use crate::store::{Watch, open};

/// Time between two looks at whether another process is done fetching.
const PATIENCE: Duration = Duration::from_millis(250);

/// Where label sets are kept that were fetched to be read: `$RSLAD_CACHE`, else `rslad` in `$XDG_CACHE_HOME` or
/// `~/.cache`. None where the environment names no home.
pub fn cache_folder() -> Option<PathBuf> {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let usual =
        || Some(named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")))?.join("rslad"));
    named("RSLAD_CACHE").or_else(usual)
}

/// The folder with the label set of a place, fetched now or before: the form that is mapped, where it has that.
///
/// What is there is hashed, and fetched again where it is damaged. A second process waits for the one that fetches.
pub fn cached(location: &Location, watch: &Arc<dyn Watch>) -> Result<PathBuf> {
    let store = open(location, watch)?;
    let bytes = manifest_bytes(store.as_ref())?;
    let manifest = Manifest::of_bytes(&format!("{location}/manifest.json"), &bytes)?;
    let no_home = || Error::Location {
        place: location.to_string(),
        what: "there is no folder to fetch it into".into(),
        hint: "set RSLAD_CACHE to one, or `label pull` it and name its folder".into(),
    };
    let dir = cache_folder().ok_or_else(no_home)?.join("labels").join(manifest.id.to_string());
    let mapped = manifest.shards_of(Form::Safetensors).into_iter().next();
    let is_mapped = match mapped {
        Some(file) => store.look(&file.path)?.is_some(),
        None => false,
    };
    let form = is_mapped.then_some(Form::Safetensors);
    loop {
        match fetch(store.as_ref(), &bytes, &dir, Wanted { form, ..Wanted::default() }, watch.as_ref()) {
            Ok(_) => return Ok(dir),
            Err(Error::Labels(labels::Error::Locked { .. })) if !watch.stop() => thread::sleep(PATIENCE),
            Err(Error::Labels(labels::Error::Locked { .. })) => return Err(Error::Interrupted),
            Err(error) => return Err(error),
        }
    }
}
