//! `gtsrb:FOLDER@N`: German traffic signs as torchvision lays them out, and as their archives unpack.
//!
//! `GTSRB/Training/00000/*.ppm` and so on, the classes by the numbers of the folders; `GTSRB/Final_Test/Images/*.ppm`
//! with `GT-final_test.csv`, in its order. Images are whole, not cut to the boxes of the CSV files, as torchvision gives them.

use std::path::{Path, PathBuf};

use crate::dataset::{Rows, checked_label};
use crate::folder::{Passed, folders, images, nothing, roots};
use crate::read::{files, table};
use crate::row::{Asked, DatasetRow, Number, Place};
use crate::{DataError, Split};

pub(crate) static ROW: DatasetRow = DatasetRow {
    name: "gtsrb",
    place: Place::Folder,
    form: "gtsrb:FOLDER@N",
    about: "GTSRB/Training/00000/*.ppm .. and GTSRB/Final_Test/Images with GT-final_test.csv; brought to N x N",
    augment: "none",
    shape: None,
    class_names: &CLASS_NAMES,
    number: Number::Side,
    published: None,
    kept: None,
    read,
};

/// The signs, by their numbers in the competition.
#[rustfmt::skip]
static CLASS_NAMES: [&str; 43] = [
    "speed limit 20", "speed limit 30", "speed limit 50", "speed limit 60", "speed limit 70", "speed limit 80",
    "end of speed limit 80", "speed limit 100", "speed limit 120", "no passing", "no passing for lorries",
    "right of way at the next crossing", "priority road", "yield", "stop", "no vehicles", "no lorries", "no entry",
    "danger", "bend to the left", "bend to the right", "double bend", "bumpy road", "slippery road",
    "road narrows on the right", "road works", "traffic signals", "pedestrians", "children", "bicycles",
    "ice or snow", "wild animals", "end of all limits", "turn right ahead", "turn left ahead", "ahead only",
    "ahead or right", "ahead or left", "keep right", "keep left", "roundabout", "end of no passing",
    "end of no passing for lorries",
];

/// torchvision's folder, that in it, and those of the archives.
const FOLDERS: [&str; 3] = ["gtsrb/GTSRB", "GTSRB", "gtsrb"];
const TRAIN: [&str; 2] = ["Training", "Final_Training/Images"];

fn read(asked: Asked) -> Result<Rows, DataError> {
    let Asked { path, split, number } = asked;
    for root in roots(path, &FOLDERS)? {
        if split == Split::Train {
            if let Some(home) = TRAIN.iter().map(|name| root.join(name)).find(|home| home.is_dir()) {
                return train(&home, number);
            }
        } else if root.join("Final_Test/Images").is_dir() {
            return test(&root, number);
        }
    }
    let looked_for = match split {
        Split::Train => TRAIN.join(", "),
        Split::Test => "Final_Test/Images with GT-final_test.csv".to_owned(),
    };
    Err(nothing(path, ROW.name, split, &looked_for, &FOLDERS))
}

fn train(home: &Path, side: Option<usize>) -> Result<Rows, DataError> {
    let mut passed = Passed::default();
    let (mut paths, mut labels) = (Vec::new(), Vec::new());
    for name in folders(home, &mut passed)? {
        let class = name.to_str().and_then(|name| name.parse::<usize>().ok());
        let Some(class) = class.filter(|&class| class < CLASS_NAMES.len()) else {
            return Err(DataError::WrongContent {
                path: home.join(name),
                wanted: "folders 00000 to 00042".to_owned(),
                found: "one of another name".to_owned(),
                hint: "move it away, or read other classes with `imagefolder:DIR@N`",
            });
        };
        // The list of boxes beside the images is no image, and nothing need be said of it.
        let found = images(&home.join(name), &mut passed)?;
        labels.resize(labels.len() + found.len(), class as i32);
        paths.extend(found);
    }
    rows(&paths, labels, side, home)
}

fn test(root: &Path, side: Option<usize>) -> Result<Rows, DataError> {
    let home = root.join("Final_Test/Images");
    // torchvision unpacks the list beside GTSRB, the archive of the images has one without classes.
    let places = [Some(root), root.parent(), Some(&home)];
    let places: Vec<PathBuf> =
        places.into_iter().flatten().map(|place| place.join("GT-final_test.csv")).collect();
    let Some(list) = places.iter().find(|list| list.is_file()) else {
        return Err(DataError::MissingPart {
            folder: root.to_owned(),
            missing: "GT-final_test.csv".to_owned(),
            found: "Final_Test/Images".to_owned(),
        });
    };
    let (mut paths, mut labels) = (Vec::new(), Vec::new());
    for (row, [name, class]) in table::columns(list, ["Filename", "ClassId"])?.into_iter().enumerate() {
        paths.push(home.join(table::file_name(&name, list, row + 1)?));
        labels.push(checked_label(list, row, class.trim().parse().unwrap_or(-1), CLASS_NAMES.len())?);
    }
    rows(&paths, labels, side, &home)
}

fn rows(paths: &[PathBuf], labels: Vec<i32>, side: Option<usize>, origin: &Path) -> Result<Rows, DataError> {
    let pixels = files::decode(paths, side)?;
    let notes = pixels.note().into_iter().collect();
    let (shape, images) = pixels.finish();
    Ok(Rows { shape, images, labels, class_names: None, origin: origin.to_owned(), notes })
}
