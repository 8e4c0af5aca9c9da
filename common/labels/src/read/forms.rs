//! Which of a label set's forms lie in its folder. One whole form suffices, so the other need not have travelled.

use std::path::Path;

use crate::folder::manifest::Manifest;
use crate::folder::plain::nothing_at;
use crate::folder::records::FileRecord;
use crate::read::note::Note;
use crate::row::dtype::Form;

/// The shards of each form that lie in a folder: all that the manifest lists, or none of them.
pub(crate) struct Forms<'a> {
    pub parquet: &'a [FileRecord],
    pub safetensors: &'a [FileRecord],
}

impl<'a> Forms<'a> {
    /// Looks which forms are there. A form is absent where none of its files is: one of which a part is there is
    /// damaged, and so is a label set of which nothing is there. An absent form is noted.
    pub fn of(dir: &Path, manifest: &'a Manifest, notes: &mut Vec<Note>) -> Forms<'a> {
        let mut forms =
            Forms { parquet: manifest.parquet_files(), safetensors: manifest.safetensors_files() };
        if manifest.form != Form::Both {
            return forms;
        }
        let absent = |files: &[FileRecord]| files.iter().all(|file| nothing_at(&dir.join(&file.path)));
        let form = match (absent(forms.parquet), absent(forms.safetensors)) {
            (true, false) => {
                forms.parquet = &[];
                Form::Parquet
            }
            (false, true) => {
                forms.safetensors = &[];
                Form::Safetensors
            }
            _ => return forms,
        };
        notes.push(Note::FormAbsent { dir: dir.into(), form });
        forms
    }

    /// Each form that is there, with its files: Parquet, then safetensors.
    pub fn each(&self) -> impl Iterator<Item = (Form, &'a [FileRecord])> + use<'a> {
        let both = [(Form::Parquet, self.parquet), (Form::Safetensors, self.safetensors)];
        both.into_iter().filter(|(_, files)| !files.is_empty())
    }

    /// The form that is read: the one that can be mapped, where it is there.
    pub fn read(&self) -> Form {
        if self.safetensors.is_empty() { Form::Parquet } else { Form::Safetensors }
    }
}
