//! Whether a label set that others began or answered rows of may go on here, and who they were.

use crate::error::{Error, Result};
use crate::folder::answered::{Answered, Answerer};
use crate::folder::manifest::Manifest;
use crate::write::answers::Answers;
use crate::write::session::Session;
use crate::write::work::{answers_of, record_of};

impl Session {
    /// Refuses answers of others where the spec is content with none but our own.
    pub(crate) fn require_ours(&self, shard: usize, answered: &[Answered]) -> Result<()> {
        match answered.iter().find(|one| one.by != self.us) {
            Some(other) if !self.spec.any_engine => Err(Error::OtherEngine {
                dir: self.dir.clone(),
                rows: format!("rows of shard {shard}"),
                wanted: self.us.to_string(),
                found: other.by.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// The same of the shards that other parts have written so far, and of the answers that they keep.
    pub(crate) fn require_ours_elsewhere(&self) -> Result<()> {
        if self.spec.any_engine {
            return Ok(());
        }
        for index in (0..self.shards()).filter(|index| !self.ours.contains(index)) {
            if let Some(record) = record_of(&self.dir, index, &self.parameters)? {
                self.require_ours(index, &record.answered)?;
                continue;
            }
            let sizes = [self.job(index).rows.len(), self.spec.coding().kept()];
            let begun = self.parameters.answerer();
            let kept = Answers::kept_by_others(&answers_of(&self.dir, index), sizes, &begun)?;
            self.require_ours(index, &kept)?;
        }
        Ok(())
    }

    /// The same of a label set that is published.
    pub(crate) fn require_ours_in(&self, manifest: &Manifest) -> Result<()> {
        // Where all are of one build, none is named.
        let builds = manifest.answered.iter().any(|one| one.by.build.is_some());
        let ours = Answerer { build: self.us.build.clone().filter(|_| builds), ..self.us.clone() };
        let other = manifest.answered.iter().find(|one| one.by != ours);
        match other {
            Some(other) if !self.spec.any_engine => Err(Error::OtherEngine {
                dir: self.dir.clone(),
                rows: format!("rows {} to {}", other.rows[0], other.rows[1] - 1),
                wanted: self.us.to_string(),
                found: other.by.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// Those who began the label set or answered rows of this session's shards, and are not what answers in this session.
    pub fn others(&self) -> Result<Vec<Answerer>> {
        let mut all = vec![self.parameters.answerer()];
        for index in self.ours() {
            match self.done.get(&index) {
                Some(record) => all.extend(record.answered.iter().map(|one| one.by.clone())),
                None => {
                    all.extend(self.answers(&self.job(index))?.answered().iter().map(|one| one.by.clone()));
                }
            }
        }
        let mut others: Vec<Answerer> = Vec::new();
        for one in all {
            if one != self.us && !others.contains(&one) {
                others.push(one);
            }
        }
        Ok(others)
    }

    /// What answers in this session.
    pub fn answerer(&self) -> &Answerer {
        &self.us
    }
}
