//! `imagefolder:DIR`: a folder per class, as torchvision's `ImageFolder` takes them, in a folder per part.
//!
//! Classes are numbered by the sorted names of the training part's folders, and images come in torchvision's order:
//! class by class, folder by folder, by name. Two differences: hidden entries are passed over (torchvision makes a class
//! of `.ipynb_checkpoints`), and the test part's classes are those of the training part also where it lacks some
//! (torchvision would number them anew).

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::dataset::{MOST_CLASSES, Rows};
use crate::folder::{Passed, folders, images, nothing, roots};
use crate::read::files;
use crate::row::{Asked, DatasetRow, Number, Place};
use crate::{DataError, Split};

pub(crate) static ROW: DatasetRow = DatasetRow {
    name: "imagefolder",
    place: Place::Folder,
    form: "imagefolder:DIR@N",
    about: "DIR/train/CLASS/*.png and DIR/test or DIR/val, as torchvision's ImageFolder: PNG, JPEG, PPM, brought to N x N",
    augment: "none",
    shape: None,
    class_names: &[],
    number: Number::Side,
    published: None,
    kept: None,
    read,
};

/// What people call the two parts, the name that wins first.
const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 5] = ["test", "testing", "val", "valid", "validation"];

fn read(asked: Asked) -> Result<Rows, DataError> {
    let Asked { path, split, number } = asked;
    roots(path, &[])?;
    let mut passed = Passed::default();
    let parts = Parts::of(path)?;
    let (Some(home), said) = parts.of_split(path, split) else {
        return Err(nothing(path, "imagefolder", split, &looked_for(split), &[]));
    };
    let own = folders(&home, &mut passed)?;
    let classes = match parts.of_split(path, Split::Train).0 {
        Some(train) if train != home => {
            let classes = folders(&train, &mut Passed::default())?;
            if let Some(stranger) = own.iter().find(|name| !classes.contains(name)) {
                return Err(DataError::WrongContent {
                    path: home.join(stranger),
                    wanted: format!("a class of {}", train.display()),
                    found: "a folder of another name".to_owned(),
                    hint: "both parts number their classes by the folders of the training part; name them alike",
                });
            }
            classes
        }
        _ => own,
    };
    if classes.is_empty() || classes.len() > MOST_CLASSES {
        return Err(nothing(path, "imagefolder", split, &looked_for(split), &[]));
    }
    let mut rows = by_class(&home, &classes, number, &mut passed)?;
    rows.notes.extend(said);
    rows.notes.extend(passed.note().map(|note| format!("{}: {note}", home.display())));
    Ok(rows)
}

/// The images in these folders of a folder, each a class in their order.
pub(super) fn by_class(
    home: &Path,
    classes: &[OsString],
    side: Option<usize>,
    passed: &mut Passed,
) -> Result<Rows, DataError> {
    let (mut paths, mut labels, mut empty) = (Vec::new(), Vec::new(), Vec::new());
    for (label, class) in classes.iter().enumerate() {
        let folder = home.join(class);
        let found = if folder.is_dir() { images(&folder, passed)? } else { Vec::new() };
        if found.is_empty() {
            empty.push(class.to_string_lossy());
        }
        labels.resize(labels.len() + found.len(), label as i32);
        paths.extend(found);
    }
    let pixels = files::decode(&paths, side)?;
    let mut notes: Vec<String> = pixels.note().into_iter().collect();
    if let Some(first) = empty.first() {
        let (home, count, all) = (home.display(), empty.len(), classes.len());
        notes.push(format!("{home}: no images in {count} of {all} classes, such as {first}"));
    }
    let (shape, images) = pixels.finish();
    let class_names = Some(classes.iter().map(|name| name.to_string_lossy().into_owned()).collect());
    Ok(Rows { shape, images, labels, class_names, origin: home.to_owned(), notes })
}

/// The folders of the parts; neither where the folder's own are classes.
struct Parts {
    train: Vec<PathBuf>,
    test: Vec<PathBuf>,
}

impl Parts {
    /// A class may be called `train`, too, but then it holds images, not folders.
    fn of(folder: &Path) -> Result<Self, DataError> {
        let names = folders(folder, &mut Passed::default())?;
        let called = |wanted: &[&str]| {
            let named = |wanted: &&str| names.iter().find(|name| is_called(name, wanted));
            let found = wanted.iter().filter_map(named).map(|name| folder.join(name));
            let found = found.map(|path| Ok((!folders(&path, &mut Passed::default())?.is_empty(), path)));
            let found = found.collect::<Result<Vec<_>, DataError>>()?;
            Ok::<_, DataError>(
                found.into_iter().filter_map(|(is_part, path)| is_part.then_some(path)).collect(),
            )
        };
        Ok(Self { train: called(&TRAIN)?, test: called(&TEST)? })
    }

    /// The folder of a part, and what is to be said of the choice.
    fn of_split(&self, folder: &Path, split: Split) -> (Option<PathBuf>, Option<String>) {
        if self.train.is_empty() && self.test.is_empty() {
            let said = format!(
                "{}: no folder train or test: its folders are the classes of the {split} part, which was asked for",
                folder.display()
            );
            return (Some(folder.to_owned()), Some(said));
        }
        let found = if split == Split::Train { &self.train } else { &self.test };
        match &found[..] {
            [] => (None, None),
            [only] => (Some(only.clone()), None),
            [first, others @ ..] => {
                let others: Vec<_> = others.iter().map(|path| path.display().to_string()).collect();
                let said =
                    format!("the {split} part is {}; not read: {}", first.display(), others.join(", "));
                (Some(first.clone()), Some(said))
            }
        }
    }
}

fn is_called(name: &OsStr, wanted: &str) -> bool {
    name.to_str().is_some_and(|name| name.eq_ignore_ascii_case(wanted))
}

fn looked_for(split: Split) -> String {
    match split {
        Split::Train => "train/CLASS/*.png, or CLASS/*.png without parts".to_owned(),
        Split::Test => "test/CLASS/*.png or val/CLASS/*.png, or CLASS/*.png without parts".to_owned(),
    }
}
