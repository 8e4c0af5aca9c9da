//! What an interrupted writer left: which shards are finished, and what is nobody's.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::names::{CARD, DATA, SHARDS, SUMS};
use crate::folder::parameters::Parameters;
use crate::folder::plain::visible;
use crate::row::dtype::Form;
use crate::write::publish::sync_folder;
use crate::write::work::{ShardRecord, Work, remove_if_there};

const FORMS: [Form; 2] = [Form::Parquet, Form::Safetensors];

/// The finished shards among ours, which have so many rows; removes what belongs to none of them. Shards that are not ours are
/// left as they are. None where it was stopped.
pub(crate) fn take_stock(
    dir: &Path,
    work: &Work,
    parameters: &Parameters,
    ours: Range<usize>,
    rows: impl Fn(usize) -> u64,
    stop: &dyn Fn() -> bool,
) -> Result<Option<BTreeMap<usize, ShardRecord>>> {
    for folder in folders(parameters.form) {
        let path = dir.join(folder);
        fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
    }
    sync_folder(dir)?;
    if work.is_of_all() {
        clear_commit(dir)?;
    }
    let mut done = BTreeMap::new();
    for index in ours.clone() {
        // To hash a shard takes a while; to see that there is none does not.
        if work.has_shard(index) && stop() {
            return Ok(None);
        }
        if let Some(mut record) = work.shard(index, parameters)? {
            record.rows = Some(rows(index));
            remove_if_there(&work.answers(index))?;
            done.insert(index, record);
            continue;
        }
        work.forget_shard(index)?;
        for form in FORMS {
            remove_if_there(&dir.join(parameters.shard_path(form, index)))?;
        }
    }
    let of_others = (0..parameters.shards()).filter(|index| !ours.contains(index));
    let of_others = of_others.flat_map(|index| FORMS.map(|form| parameters.shard_path(form, index)));
    let of_done = done.values().flat_map(|record| record.files.iter().map(|(path, _)| path.clone()));
    refuse_strangers(dir, parameters.form, &of_done.chain(of_others).collect())?;
    Ok(Some(done))
}

/// Removes what a `finish` wrote that was interrupted before its commit.
pub(crate) fn clear_commit(dir: &Path) -> Result<()> {
    [CARD, SUMS].iter().try_for_each(|name| remove_if_there(&dir.join(name)))
}

/// The folders of a form's shards.
fn folders(form: Form) -> impl Iterator<Item = &'static str> {
    let both = [(DATA, form.has_parquet()), (SHARDS, form.has_safetensors())];
    both.into_iter().filter(|(_, present)| *present).map(|(folder, _)| folder)
}

/// Refuses a folder with something else in it than these shards, and what a `finish` began.
pub(crate) fn refuse_strangers(dir: &Path, form: Form, known: &HashSet<String>) -> Result<()> {
    refuse_occupied(dir, |name| [CARD, SUMS].contains(&name) || folders(form).any(|folder| folder == name))?;
    for folder in folders(form) {
        for name in visible(&dir.join(folder))? {
            let entry = format!("{folder}/{name}");
            if !known.contains(&entry) {
                return Err(Error::Occupied { dir: dir.into(), entry });
            }
        }
    }
    Ok(())
}

/// Refuses a folder with something in it that is not ours. Names that start with a dot are nobody's business.
pub(crate) fn refuse_occupied(dir: &Path, ours: impl Fn(&str) -> bool) -> Result<()> {
    match visible(dir)?.into_iter().find(|name| !ours(name)) {
        None => Ok(()),
        Some(entry) => Err(Error::Occupied { dir: dir.into(), entry }),
    }
}
