//! `tiny-imagenet:FOLDER`: Tiny-ImageNet as its archive unpacks it.
//!
//! `train/nXXXX/images/*.JPEG` and `val/images` with `val/val_annotations.txt`; the test part of the data set is its
//! validation part, since the images in test/ have no labels. Classes are numbered by their sorted `WordNet` names, as
//! torchvision's `ImageFolder` numbers them on train/ (wnids.txt has another order). A validation part that was sorted
//! into class folders, as many scripts do, is read, too.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use super::imagefolder;
use crate::dataset::Rows;
use crate::folder::{Passed, folders, nothing, roots};
use crate::published::Published;
use crate::read::{files, table};
use crate::row::{Asked, DatasetRow, Number, Place};
use crate::{DataError, Split};

pub(crate) static ROW: DatasetRow = DatasetRow {
    name: "tiny-imagenet",
    place: Place::Folder,
    form: "tiny-imagenet:FOLDER",
    about: "train/nXXXX/images/*.JPEG and val/val_annotations.txt; 200 classes, 64 x 64, or @N",
    augment: "crop4+flip",
    shape: None,
    class_names: &[],
    number: Number::Side,
    published: Some(&PUBLISHED),
    kept: None,
    read,
};

static PUBLISHED: Published = Published { name: "Tiny-ImageNet", images: [100_000, 10_000], prints: None };

const FOLDERS: [&str; 1] = ["tiny-imagenet-200"];
const LOOKED_FOR: &str = "train/nXXXX/images/*.JPEG and val/val_annotations.txt";

fn read(asked: Asked) -> Result<Rows, DataError> {
    let Asked { path, split, number } = asked;
    let found = roots(path, &FOLDERS)?.into_iter().find(|root| root.join("train").is_dir());
    let Some(root) = found else { return Err(nothing(path, ROW.name, split, LOOKED_FOR, &FOLDERS)) };
    let mut passed = Passed::default();
    let classes = folders(&root.join("train"), &mut passed)?;
    if classes.is_empty() {
        return Err(nothing(path, ROW.name, split, LOOKED_FOR, &FOLDERS));
    }
    if split == Split::Train {
        // Beside each class's images lies a text file with boxes, of which nothing need be said.
        return imagefolder::by_class(&root.join("train"), &classes, number, &mut passed);
    }
    let home = root.join("val");
    if home.join("val_annotations.txt").is_file() {
        return annotated(&home, &classes, number);
    }
    if !home.is_dir() || !folders(&home, &mut passed)?.iter().any(|name| classes.contains(name)) {
        return Err(nothing(path, ROW.name, split, LOOKED_FOR, &FOLDERS));
    }
    imagefolder::by_class(&home, &classes, number, &mut passed)
}

/// The images of val/images in the order of the annotations: name, class and a box, with tabs between.
fn annotated(home: &Path, classes: &[OsString], side: Option<usize>) -> Result<Rows, DataError> {
    let path = home.join("val_annotations.txt");
    let text = table::text(&path)?;
    let names: Vec<String> = classes.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    let numbers: HashMap<&str, i32> = names.iter().map(String::as_str).zip(0..).collect();
    let (mut paths, mut labels) = (Vec::new(), Vec::new());
    for (row, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let mut cells = line.split('\t');
        let name = cells.next().unwrap_or_default();
        let class = cells.next().unwrap_or_default().trim();
        let Some(&label) = numbers.get(class) else {
            return Err(DataError::WrongContent {
                path,
                wanted: format!("a class of train/ in line {}", row + 1),
                found: format!("`{class}`"),
                hint: "the file has a line per image: its name, its class and a box, with tabs between",
            });
        };
        paths.push(home.join("images").join(table::file_name(name, &path, row)?));
        labels.push(label);
    }
    let pixels = files::decode(&paths, side)?;
    let notes = pixels.note().into_iter().collect();
    let (shape, images) = pixels.finish();
    Ok(Rows { shape, images, labels, class_names: Some(names), origin: home.to_owned(), notes })
}
