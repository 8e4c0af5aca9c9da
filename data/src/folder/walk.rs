//! All images under a folder, in the order in which torchvision's `make_dataset` lists them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::DataError;

/// The endings that torchvision takes for images, `IMG_EXTENSIONS` of `torchvision.datasets.folder`.
const ENDINGS: [&str; 9] = ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp"];
/// More folders under one class come of links that lead to each other.
const MOST_FOLDERS: usize = 4096;

/// What was passed over: hidden entries, files that are no images by their endings, images that lie in no class.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    hidden: usize,
    others: usize,
    outside: usize,
    example: Option<PathBuf>,
}

impl Passed {
    /// What is to be said of them.
    pub(crate) fn note(&self) -> Option<String> {
        let example = self.example.as_ref()?.display();
        let counted = |count: usize, one: &str, several: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {several}")),
        };
        let parts = [
            counted(self.hidden, "hidden entry", "hidden entries"),
            counted(self.others, "file that is no image", "files that are no images"),
            counted(self.outside, "image outside of the classes", "images outside of the classes"),
        ];
        let parts = parts.into_iter().flatten().collect::<Vec<_>>().join(" and ");
        Some(format!("passed over {parts}, such as {example}"))
    }
}

/// The folders in a folder, links to folders among them, sorted by their bytes as Python sorts names.
pub(crate) fn folders(folder: &Path, passed: &mut Passed) -> Result<Vec<OsString>, DataError> {
    let (folders, files) = entries(folder, passed)?;
    for name in files.iter().filter(|name| is_image(name)) {
        passed.outside += 1;
        passed.example.get_or_insert_with(|| folder.join(name));
    }
    Ok(folders)
}

/// The images under a folder, however deep: folder by folder in the order of their paths, by name in each.
///
/// Links are followed. Errors: one leads back to where it lies, a folder cannot be listed.
pub(crate) fn images(folder: &Path, passed: &mut Passed) -> Result<Vec<PathBuf>, DataError> {
    let mut walk = Walk { passed, above: Vec::new(), folders: Vec::new() };
    walk.enter(folder)?;
    let mut folders = walk.folders;
    // As texts, not part by part: Python sorts `a-b/` before `a/b`.
    folders.sort_by(|(a, _), (b, _)| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
    Ok(folders
        .into_iter()
        .flat_map(|(home, names)| names.into_iter().map(move |name| home.join(name)))
        .collect())
}

struct Walk<'a> {
    passed: &'a mut Passed,
    /// The folders around the one that is listed, as they are without links.
    above: Vec<PathBuf>,
    /// The folders listed and the images in each.
    folders: Vec<(PathBuf, Vec<OsString>)>,
}

impl Walk<'_> {
    fn enter(&mut self, folder: &Path) -> Result<(), DataError> {
        let real = fs::canonicalize(folder).map_err(|source| DataError::io(folder, source))?;
        let endless = |found: String| DataError::WrongContent {
            path: folder.to_owned(),
            wanted: "folders that end somewhere".to_owned(),
            found,
            hint: "remove the link, or the folder that it is in",
        };
        if self.above.contains(&real) {
            return Err(endless(format!("a link back to {}", real.display())));
        }
        if self.folders.len() >= MOST_FOLDERS {
            return Err(endless(format!("more than {MOST_FOLDERS} of them under one class")));
        }
        let (inner, names) = entries(folder, self.passed)?;
        let mut images = Vec::new();
        for name in names {
            if is_image(&name) {
                images.push(name);
            } else {
                self.passed.others += 1;
                self.passed.example.get_or_insert_with(|| folder.join(name));
            }
        }
        self.folders.push((folder.to_owned(), images));
        self.above.push(real);
        for name in inner {
            self.enter(&folder.join(name))?;
        }
        self.above.pop();
        Ok(())
    }
}

/// The folders and the files in a folder that are not hidden, each sorted. A link that leads nowhere is a file, whose
/// reader will say so.
fn entries(folder: &Path, passed: &mut Passed) -> Result<(Vec<OsString>, Vec<OsString>), DataError> {
    let failed = |source| DataError::io(folder, source);
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            passed.hidden += 1;
            passed.example.get_or_insert_with(|| entry.path());
            continue;
        }
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() || kind.is_symlink() && entry.path().is_dir() { &mut folders } else { &mut files }
            .push(name);
    }
    folders.sort();
    files.sort();
    Ok((folders, files))
}

fn is_image(name: &OsStr) -> bool {
    let ending = Path::new(name).extension().and_then(OsStr::to_str);
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}
