//! The end of writing: rows read back, hashed and counted, then card, SHA256SUMS and the manifest put in place.

use crate::error::{Error, Result};
use crate::folder::card;
use crate::folder::manifest::Manifest;
use crate::folder::names::{CARD, MANIFEST, SUMS};
use crate::folder::plain::map_plain;
use crate::folder::records::{FileRecord, RightAnswers};
use crate::folder::sums;
use crate::row::digest::{FileDigest, Hex};
use crate::row::dtype::Form;
use crate::shard::content::ContentHasher;
use crate::shard::parquet;
use crate::shard::rows::Shard;
use crate::write::publish::Publisher;
use crate::write::session::{Session, State};

impl Session {
    /// Publishes the label set: card, SHA256SUMS, and last of all the manifest. Every shard must have been written.
    pub fn finish(self) -> Result<Manifest> {
        if let State::Finished { manifest, .. } = self.state {
            return Ok(*manifest);
        }
        let pending = self.pending().len();
        if pending > 0 {
            return Err(Error::Pending { shards: self.shards(), dir: self.dir, pending });
        }
        let (content_hash, right) = self.read_back()?;
        let (format, format_version) = Manifest::format(self.spec.features.is_some());
        let mut manifest = Manifest {
            format,
            format_version,
            id: Hex([0; 32]),
            content_hash,
            dataset: self.parameters.dataset.clone(),
            augment: self.spec.augment,
            views: self.spec.views,
            rows: self.parameters.rows,
            dtype: self.spec.dtype,
            features: self.spec.features.clone(),
            form: self.spec.form,
            shard_images: self.shard_images as u64,
            teacher: self.spec.teacher.clone(),
            right,
            robust: self.robust.clone(),
            license: self.spec.license.clone(),
            author: self.spec.author.clone(),
            files: Vec::new(),
        };
        let publisher = Publisher::new(&self.dir);
        let card = publisher.publish_bytes(CARD, card::text(&manifest).as_bytes())?;
        let mut digests = vec![(CARD.to_string(), card)];
        for form in [Form::Parquet, Form::Safetensors] {
            for (&index, record) in &self.done {
                let path = self.shard_path(form, index);
                digests.extend(record.files.iter().filter(|(inside, _)| *inside == path).cloned());
            }
        }
        manifest.files = self.file_records(&digests);
        let bytes = manifest.seal();
        let mut sums: Vec<_> = digests.into_iter().map(|(path, digest)| (path, digest.sha256)).collect();
        sums.push((MANIFEST.into(), FileDigest::of(&bytes).sha256));
        publisher.publish_bytes(SUMS, sums::text(sums).as_bytes())?;
        // The commit. Everything it names is on the disk, synced, under its final name.
        publisher.publish_bytes(MANIFEST, &bytes)?;
        if let State::Writing(work) = self.state {
            work.remove();
        }
        Ok(manifest)
    }

    fn file_records(&self, digests: &[(String, FileDigest)]) -> Vec<FileRecord> {
        let shards = self.shards();
        let mut records = Vec::with_capacity(digests.len());
        for (position, (path, digest)) in digests.iter().enumerate() {
            // The card, then each form's shards in order.
            let job = (position > 0).then(|| self.job((position - 1) % shards));
            records.push(FileRecord {
                path: path.clone(),
                rows: job.as_ref().map(|job| job.rows.len() as u64),
                images: job.map(|job| [job.images.start as u64, job.images.end as u64]),
                bytes: digest.bytes,
                blake3: digest.blake3,
            });
        }
        records
    }

    /// Reads the rows back from the disk: what is hashed and counted is what was published.
    fn read_back(&self) -> Result<(Hex, RightAnswers)> {
        let spec = &self.spec;
        let mut content = ContentHasher::new(spec.dtype, spec.dataset.classes, spec.features.as_ref());
        let mut right = RightAnswers::none(spec.dataset.classes);
        for (&index, record) in &self.done {
            let (inside, digest) = record.files.last().expect("a shard has a file");
            let path = self.dir.join(inside);
            let (job, storage) = (self.job(index), map_plain(&self.dir, inside, digest.bytes)?);
            let (layout, first) = (self.layout(&job), job.images.start as u64);
            let shard = if spec.form.has_safetensors() {
                Shard::read(&path, storage, layout, first)?
            } else {
                parquet::read(&path, storage, layout, first, spec.augment)?
            };
            shard.validate(&path, spec.augment, spec.views)?;
            content.add(&shard);
            for (row, _, _, label) in shard.rows() {
                right.add(label, shard.logits(row..row + 1).argmax());
            }
        }
        Ok((content.finish(), right))
    }
}
