//! Where people keep the published data sets, for `cifar10` without a place.

use std::env::var_os;
use std::fs;
use std::path::{Path, PathBuf};

use crate::dataset::Rows;
use crate::row::{Asked, DatasetRow};
use crate::{DataError, Split};

/// The names under which a data set lies.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Folders of the names that it is unpacked or downloaded under.
    pub folders: &'static [&'static str],
    /// Its repository on the Hugging Face hub.
    pub hub: &'static str,
}

/// Folders that hold data sets.
struct Shelves {
    /// As people choose them: here, `$RSLAD_DATA`, and those of torchvision's and keras' users in the home folder.
    plain: Vec<PathBuf>,
    /// The hub's cache.
    hub: Option<PathBuf>,
}

impl Shelves {
    /// Of this process: its folder and its environment.
    fn here() -> Self {
        let place = |name: &str| var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = place("HOME").or_else(|| place("USERPROFILE"));
        let mut plain = vec![PathBuf::new(), "data".into(), "datasets".into()];
        plain.extend(place("RSLAD_DATA"));
        let at_home = ["data", "datasets", ".cache", ".keras/datasets"];
        plain.extend(home.iter().flat_map(|home| at_home.map(|name| home.join(name))));
        let cache = || Some(place("XDG_CACHE_HOME").or(Some(home?.join(".cache")))?.join("huggingface"));
        let hub = place("HF_HUB_CACHE").or_else(|| Some(place("HF_HOME").or_else(cache)?.join("hub")));
        Self { plain, hub }
    }

    /// The places where a data set may lie, those that are there.
    fn places(&self, kept: &Kept) -> Vec<PathBuf> {
        let plain = self.plain.iter().flat_map(|shelf| kept.folders.iter().map(|name| shelf.join(name)));
        let hub = self
            .hub
            .iter()
            .flat_map(|hub| snapshots(&hub.join(format!("datasets--{}", kept.hub.replace('/', "--")))));
        plain.chain(hub).filter(|path| path.is_dir()).collect()
    }
}

/// The snapshots of a repository in the hub's cache, the one that `main` stands for first.
fn snapshots(repository: &Path) -> Vec<PathBuf> {
    let main = fs::read_to_string(repository.join("refs/main")).unwrap_or_default();
    let entries = fs::read_dir(repository.join("snapshots")).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.sort_by_key(|path| (!path.ends_with(main.trim()), path.clone()));
    found
}

/// The split of a data set that was named without a place, from the first place that holds it, which is said.
///
/// Errors: it lies nowhere; what lies there is damaged.
pub(crate) fn find(row: &DatasetRow, kept: &Kept, split: Split) -> Result<Rows, DataError> {
    find_on(&Shelves::here(), row, kept, split)
}

fn find_on(shelves: &Shelves, row: &DatasetRow, kept: &Kept, split: Split) -> Result<Rows, DataError> {
    for path in shelves.places(kept) {
        match (row.read)(Asked { path: &path, split, number: None }) {
            Err(DataError::NothingFound { .. }) => {}
            Err(error) => return Err(error),
            Ok(mut rows) => {
                rows.notes.insert(0, format!("{} is {}:{}", row.name, row.name, path.display()));
                return Ok(rows);
            }
        }
    }
    let shown = |path: &PathBuf| {
        if path.as_os_str().is_empty() { "here".to_owned() } else { path.display().to_string() }
    };
    let shelves: Vec<String> = shelves.plain.iter().chain(&shelves.hub).map(shown).collect();
    Err(DataError::NotKept {
        dataset: row.name,
        folders: kept.folders.join(" or "),
        shelves: shelves.join(", "),
        hub: kept.hub,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::form::DATASETS;

    fn find_in(plain: &[&Path], hub: Option<&Path>) -> Result<Rows, DataError> {
        let row = names::find(DATASETS, "cifar10").unwrap();
        let plain = plain.iter().map(|path| path.to_path_buf()).collect();
        find_on(&Shelves { plain, hub: hub.map(Path::to_owned) }, row, row.kept.unwrap(), Split::Train)
    }

    /// Files of `tests/golden`, copied under another name.
    fn put(from: &str, to: &Path) {
        fs::create_dir_all(to).unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/files/cifar10").join(from);
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }

    /// torchvision: `CIFAR10(root="data", download=True)` makes data/cifar-10-batches-py.
    #[test]
    fn a_name_alone_finds_torchvisions_folder_and_says_where() {
        let home = tempfile::tempdir().unwrap();
        let (empty, root) = (home.path().join("empty"), home.path().join("data"));
        fs::create_dir_all(empty.join("cifar10")).unwrap();
        put("python", &root.join("cifar-10-batches-py"));
        let rows = find_in(&[&empty, &root], None).unwrap();
        let found = format!("cifar10 is cifar10:{}", root.join("cifar-10-batches-py").display());
        assert_eq!((rows.labels.len(), &rows.notes[..]), (5, &[found][..]));
    }

    /// The layout of `huggingface_hub`'s cache: refs/main holds the name of the snapshot that was downloaded last.
    #[test]
    fn a_name_alone_finds_the_hubs_snapshot_that_main_stands_for() {
        let home = tempfile::tempdir().unwrap();
        let repository = home.path().join("datasets--uoft-cs--cifar10");
        fs::create_dir_all(repository.join("refs")).unwrap();
        fs::write(repository.join("refs/main"), "beef\n").unwrap();
        put("binary", &repository.join("snapshots/aaaa"));
        put("parquet", &repository.join("snapshots/beef/plain_text"));
        let rows = find_in(&[], Some(home.path())).unwrap();
        assert!(rows.notes[0].ends_with("snapshots/beef"), "{:?}", rows.notes);
        fs::remove_dir_all(repository.join("snapshots/beef")).unwrap();
        let rows = find_in(&[], Some(home.path())).unwrap();
        assert!(rows.notes[0].ends_with("snapshots/aaaa"), "{:?}", rows.notes);
    }

    #[test]
    fn a_name_that_lies_nowhere_is_answered_with_the_line_that_downloads_it() {
        let home = tempfile::tempdir().unwrap();
        let text = find_in(&[Path::new(""), home.path()], None).unwrap_err().to_string();
        let line = "hint: `hf download uoft-cs/cifar10 --repo-type dataset --local-dir cifar10` puts it here";
        assert!(text.contains(line) && text.contains("looked for cifar10 or cifar-10-batches-py"), "{text}");
        let damaged = home.path().join("cifar10");
        fs::create_dir(&damaged).unwrap();
        fs::write(damaged.join("data_batch_1.bin"), "").unwrap();
        let text = find_in(&[home.path()], None).unwrap_err().to_string();
        assert!(text.contains("part data_batch_2.bin is missing"), "{text}");
    }
}
