//! Which rows were answered by whom: one engine, as a rule; several where a run went on on another machine.

use std::collections::HashMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::folder::teacher::Teacher;

/// What ran the teacher. Two that differ in anything may round differently.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answerer {
    /// Engine and its version, like `reference 0.1.0`.
    pub engine: String,
    /// Kind of device, like `cpu`.
    pub device: String,
    /// The commit that was built; none where nobody said, and in manifests where all rows are by the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

/// Rows that one of them answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// The first and the one after the last, in the order of the rows.
    pub rows: [u64; 2],
    /// Who answered them.
    pub by: Answerer,
}

impl Answerer {
    pub(crate) fn new(teacher: &Teacher, build: Option<&String>) -> Answerer {
        Answerer { engine: teacher.engine.clone(), device: teacher.device.clone(), build: build.cloned() }
    }
}

impl fmt::Display for Answerer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.engine, self.device)?;
        self.build.as_ref().map_or(Ok(()), |build| write!(f, ", build {build}"))
    }
}

/// The ranges of a manifest that has the key: a writer leaves it out where one answered all.
pub(crate) fn some<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Answered>, D::Error> {
    let answered = Vec::deserialize(from)?;
    if answered.is_empty() {
        return Err(D::Error::custom("answered: wanted at least 2 ranges, or no such key, found none"));
    }
    Ok(answered)
}

/// Adds the next rows, all by one.
pub(crate) fn push(answered: &mut Vec<Answered>, rows: u64, by: &Answerer) {
    let start = answered.last().map_or(0, |last| last.rows[1]);
    match answered.last_mut() {
        _ if rows == 0 => {}
        Some(last) if last.by == *by => last.rows[1] += rows,
        _ => answered.push(Answered { rows: [start, start + rows], by: by.clone() }),
    }
}

/// The same without what all have in common: builds where there is one, everything where one answered all.
pub(crate) fn condensed(mut answered: Vec<Answered>) -> Vec<Answered> {
    if answered.windows(2).all(|pair| pair[0].by.build == pair[1].by.build) {
        for one in &mut answered {
            one.by.build = None;
        }
    }
    if answered.len() > 1 { answered } else { Vec::new() }
}

/// Each of those who answered, with the number of its rows, in the order of their first ones.
pub(crate) fn totals(answered: &[Answered]) -> Vec<(&Answerer, u64)> {
    let mut totals: Vec<(&Answerer, u64)> = Vec::new();
    let mut places = HashMap::new();
    for Answered { rows: [start, end], by } in answered {
        let rows = end.saturating_sub(*start);
        let place = *places.entry(by).or_insert(totals.len());
        match totals.get_mut(place) {
            Some((_, sum)) => *sum = sum.saturating_add(rows),
            None => totals.push((by, rows)),
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(engine: &str, build: Option<&str>) -> Answerer {
        let mut teacher = Teacher::named("net");
        (teacher.engine, teacher.device) = (engine.into(), "cpu".into());
        Answerer::new(&teacher, build.map(String::from).as_ref())
    }

    fn rows(answered: &[Answered]) -> Vec<[u64; 2]> {
        answered.iter().map(|one| one.rows).collect()
    }

    #[test]
    fn rows_of_one_run_together_and_what_all_share_is_left_out() {
        let (a, b, c) = (by("a", Some("1")), by("b", Some("1")), by("a", Some("2")));
        let mut answered = Vec::new();
        for (count, who) in [(3, &a), (0, &b), (4, &a), (2, &b), (1, &a)] {
            push(&mut answered, count, who);
        }
        assert_eq!(rows(&answered), [[0, 7], [7, 9], [9, 10]]);
        assert_eq!(totals(&answered), [(&a, 8), (&b, 2)]);
        let short = condensed(answered.clone());
        assert_eq!(rows(&short), [[0, 7], [7, 9], [9, 10]]);
        assert!(short.iter().all(|one| one.by.build.is_none()));
        assert!(condensed(answered[..1].to_vec()).is_empty(), "one engine answered all");
        push(&mut answered, 5, &c);
        assert_eq!(condensed(answered.clone()), answered, "builds that differ stay");
    }
}
