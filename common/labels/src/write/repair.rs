//! Bringing back the shards of a published label set that were lost or damaged, to the very bytes they had.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::names::WORK;
use crate::folder::records::FileRecord;
use crate::read::forms::Forms;
use crate::read::open::{check_file, load_manifest, read_shard};
use crate::row::dtype::Form;
use crate::shard::parquet;
use crate::shard::rows::Shard;
use crate::write::publish::{Out, sync_folder};
use crate::write::session::{ShardJob, filled};
use crate::write::spec::Spec;
use crate::write::work::Work;

/// A published label set whose files are looked at, and mended, one shard at a time.
///
/// Only what hashes to the manifest's digest is put in place: a repaired set is the one that was published.
pub struct Repair {
    dir: PathBuf,
    manifest: Manifest,
    work: Work,
    /// Shards with a file that is not as it was published, and the forms of those files.
    broken: BTreeMap<usize, Vec<Form>>,
}

impl Repair {
    /// Hashes every shard. An error means that the manifest itself cannot be believed, or that somebody else writes.
    pub fn open(dir: &Path) -> Result<Repair> {
        let (manifest, _) = load_manifest(dir)?;
        let mut broken: BTreeMap<usize, Vec<Form>> = BTreeMap::new();
        // A form that did not travel is not missed: one suffices.
        for (form, files) in Forms::of(dir, &manifest, &mut Vec::new()).each() {
            for (index, file) in files.iter().enumerate() {
                match check_file(dir, file, true) {
                    Ok(_) => {}
                    Err(Error::Io { action, path, source }) => {
                        return Err(Error::Io { action, path, source });
                    }
                    Err(_) => broken.entry(index).or_default().push(form),
                }
            }
        }
        let work = Work::lock(dir, None)?;
        Ok(Repair { dir: dir.into(), manifest, work, broken })
    }

    /// What the label set is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The shards with a file that is not as it was published, in order.
    pub fn broken(&self) -> Vec<usize> {
        self.broken.keys().copied().collect()
    }

    /// Restores the files of a shard whose other form is whole; `false` where none is.
    pub fn from_other_form(&mut self, index: usize) -> Result<bool> {
        let broken = &self.broken[&index];
        for form in [Form::Safetensors, Form::Parquet] {
            let Some(file) = records(&self.manifest, form).get(index).filter(|_| !broken.contains(&form))
            else {
                continue;
            };
            let Ok((storage, _)) = check_file(&self.dir, file, true) else { continue };
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
        let shard = filled(spec, job, answers)?;
        self.restore(job.index, &shard)
    }

    fn restore(&mut self, index: usize, shard: &Shard) -> Result<()> {
        while let Some(&form) = self.broken.get(&index).and_then(|forms| forms.first()) {
            let file = &records(&self.manifest, form)[index];
            let staged = format!("{WORK}/repaired");
            let write = |out: &mut Out| match form {
                Form::Parquet => parquet::write(shard, self.manifest.augment, out),
                Form::Safetensors | Form::Both => std::io::Write::write_all(out, shard.bytes()),
            };
            let digest = self.work.publisher().publish(&staged, write)?;
            let (from, to) = (self.dir.join(staged), self.dir.join(&file.path));
            if digest.blake3 != file.blake3 {
                fs::remove_file(&from).map_err(Error::io("remove", &from))?;
                return Err(Error::NotTheSame {
                    path: to,
                    wanted: file.blake3.to_string(),
                    found: digest.blake3.to_string(),
                });
            }
            fs::rename(&from, &to).map_err(Error::io("move into place", &to))?;
            sync_folder(to.parent().expect("shards lie in a folder"))?;
            let forms = self.broken.get_mut(&index).expect("looked up above");
            forms.remove(0);
            if forms.is_empty() {
                self.broken.remove(&index);
            }
        }
        Ok(())
    }

    /// Tidies up.
    pub fn finish(self) {
        self.work.remove();
    }
}

fn records(manifest: &Manifest, form: Form) -> &[FileRecord] {
    match form {
        Form::Parquet => manifest.parquet_files(),
        Form::Safetensors | Form::Both => manifest.safetensors_files(),
    }
}
