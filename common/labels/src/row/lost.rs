//! What a label set's storage costs its rows, in whole numbers: sums that no order of adding changes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far what is stored of the logits is from what the teacher answered, over all rows. Only label sets that do not store
/// every logit as a float have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// KL of the stored softmax from the teacher's, summed over the rows, in billionths of a nat.
    pub nanonats: u64,
    /// That of the row that lost most. A row counts at most 4,294,967,295.
    pub largest_nanonats: u64,
    /// Rows in which another class comes first than in the teacher's answer.
    pub turned: u64,
}

impl Lost {
    /// Adds a row.
    pub(crate) fn add(&mut self, nanonats: u32, turned: bool) {
        let nanonats = u64::from(nanonats);
        self.add_all(&Lost { nanonats, largest_nanonats: nanonats, turned: turned.into() });
    }

    /// Adds other rows.
    pub(crate) fn add_all(&mut self, other: &Lost) {
        self.nanonats = self.nanonats.saturating_add(other.nanonats);
        self.largest_nanonats = self.largest_nanonats.max(other.largest_nanonats);
        self.turned += other.turned;
    }

    /// Whether so many rows may have lost this.
    pub(crate) fn is_of(&self, rows: u64) -> bool {
        let most = self.largest_nanonats.saturating_mul(rows);
        let largest = self.largest_nanonats <= u32::MAX.into();
        largest && self.turned <= rows && (self.largest_nanonats..=most).contains(&self.nanonats)
    }

    /// In words, of so many rows: `KL 0.000012345 nats a row, 0.000400000 at most; another class first in 0 of 100 rows`.
    pub fn text(&self, rows: u64) -> String {
        let Lost { nanonats, largest_nanonats, turned } = *self;
        let (mean, most) = (Nats(nanonats / rows.max(1)), Nats(largest_nanonats));
        format!("KL {mean} nats a row, {most} at most; another class first in {turned} of {rows} rows")
    }
}

/// Billionths of a nat as nats.
struct Nats(u64);

impl fmt::Display for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}
