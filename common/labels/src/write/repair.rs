//! Bringing back the shards of a published label set that were lost or damaged, to the very bytes they had.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use disk::Existing;

use crate::error::{Error, Result};
use crate::folder::answered::Answerer;
use crate::folder::manifest::Manifest;
use crate::folder::records::FileRecord;
use crate::read::forms::Forms;
use crate::read::open::{check_file, load_manifest, read_shard};
use crate::row::digest::HashingWriter;
use crate::row::dtype::Form;
use crate::shard::parquet;
use crate::shard::rows::Shard;
use crate::write::session::{ShardJob, filled, kept};
use crate::write::spec::Spec;
use crate::write::work::Work;

/// A published label set whose files are looked at, and mended, one shard at a time.
///
/// Only what hashes to the manifest's digest is put in place: a repaired set is the one that was published.
pub struct Repair {
    dir: PathBuf,
    manifest: Manifest,
    /// Held until the value goes.
    work: Option<Work>,
    /// Shards with a file that is not as it was published, and the forms of those files.
    broken: BTreeMap<usize, Vec<Form>>,
    absent: Option<Form>,
}

impl Repair {
    /// Takes the folder's lock and hashes every shard. A form of which no file is there need not have travelled; `with_absent`
    /// takes its files for lost. An error means that the manifest cannot be believed, that a file cannot be read, or that
    /// somebody else writes.
    pub fn open(dir: &Path, with_absent: bool) -> Result<Repair> {
        let (manifest, _) = load_manifest(dir)?;
        let work = Some(Work::lock(dir, None)?);
        let mut repair = Repair { dir: dir.into(), manifest, work, broken: BTreeMap::new(), absent: None };
        let there: Vec<Form> =
            Forms::of(dir, &repair.manifest, &mut Vec::new()).each().map(|(form, _)| form).collect();
        for form in [Form::Parquet, Form::Safetensors] {
            let files = records(&repair.manifest, form);
            if !files.is_empty() && !there.contains(&form) && !with_absent {
                repair.absent = Some(form);
                continue;
            }
            for (index, file) in files.iter().enumerate() {
                match check_file(dir, file) {
                    Ok(_) => {}
                    Err(Error::Io { action, path, source }) => {
                        return Err(Error::Io { action, path, source });
                    }
                    Err(_) => repair.broken.entry(index).or_default().push(form),
                }
            }
        }
        Ok(repair)
    }

    /// What the label set is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The shards with a file that is not as it was published, in order.
    pub fn broken(&self) -> Vec<usize> {
        self.broken.keys().copied().collect()
    }

    /// Who answered the rows of a shard: only the same, and none beside it, gives the same bytes for certain. Rows that the label
    /// set took over from a parent are counted as theirs.
    pub fn answerers(&self, index: usize) -> Vec<Answerer> {
        self.manifest.answerers_of(index)
    }

    /// The form that did not travel, where one did not and was not asked for.
    pub fn absent(&self) -> Option<Form> {
        self.absent
    }

    /// Restores the files of a shard whose other form is whole; `false` where none is.
    pub fn from_other_form(&mut self, index: usize) -> Result<bool> {
        let broken = &self.broken[&index];
        for form in [Form::Safetensors, Form::Parquet] {
            let Some(file) = records(&self.manifest, form).get(index).filter(|_| !broken.contains(&form))
            else {
                continue;
            };
            let Ok(storage) = check_file(&self.dir, file) else { continue };
            let shard = read_shard(&self.dir, &self.manifest, form, file, storage)?;
            self.restore(index, &shard)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// The images and rows of a shard of a label set of this spec, which must be this one's.
    pub fn job(&self, index: usize, spec: &Spec) -> ShardJob {
        let file = self.manifest.files.iter().filter(|file| file.images.is_some()).nth(index);
        let [start, end] = file.and_then(|file| file.images).expect("the shard is one of the set's");
        let images = start as usize..end as usize;
        ShardJob { index, rows: spec.rows.rows_of(images.clone()), images }
    }

    /// Restores the files of a shard from answers to its rows, as [`Session::write`](crate::Session::write) takes them. Refuses
    /// answers that give other bytes than the published ones.
    pub fn from_answers(&mut self, spec: &Spec, job: &ShardJob, answers: &[f32]) -> Result<()> {
        let shard = filled(spec, job, &kept(spec, job, answers)?)?;
        self.restore(job.index, &shard)
    }

    fn restore(&mut self, index: usize, shard: &Shard) -> Result<()> {
        for form in self.broken.get(&index).cloned().unwrap_or_default() {
            self.put(&records(&self.manifest, form)[index], form, shard)?;
            let forms = self.broken.get_mut(&index).expect("looked up above");
            forms.retain(|&other| other != form);
            if forms.is_empty() {
                self.broken.remove(&index);
            }
        }
        Ok(())
    }

    /// Puts one form of a shard in its place, if it hashes to what was published.
    fn put(&self, file: &FileRecord, form: Form, shard: &Shard) -> Result<()> {
        let path = self.dir.join(&file.path);
        let folder = path.parent().expect("shards lie in a folder");
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        disk::sweep_beside(&path).map_err(Error::io("tidy beside", &path))?;
        let mut other = None;
        let written = disk::publish(&path, Existing::Replace, |out| {
            let mut out = HashingWriter::new(out);
            match form {
                Form::Parquet => parquet::write(shard, self.manifest.augment, &mut out)?,
                Form::Safetensors | Form::Both => out.write_all(shard.bytes())?,
            }
            let found = out.finish().blake3;
            if found == file.blake3 {
                return Ok(());
            }
            other = Some(found);
            Err(io::Error::other("it is another file"))
        });
        match other {
            Some(found) => {
                Err(Error::NotTheSame { path, wanted: file.blake3.to_string(), found: found.to_string() })
            }
            None => written.map_err(Error::io("write", &path)),
        }
    }
}

impl Drop for Repair {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            work.remove();
        }
    }
}

fn records(manifest: &Manifest, form: Form) -> &[FileRecord] {
    match form {
        Form::Parquet => manifest.parquet_files(),
        Form::Safetensors | Form::Both => manifest.safetensors_files(),
    }
}
