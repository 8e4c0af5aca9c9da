//! `distill bench --plan`: how much of a pass runs at once, by the engine's plan of it; nothing is timed.

use std::fmt;

use engine::{Cpu, Engine, Keep, Norm, Outline};
use serde::Serialize;
use zoo::Task;

use super::{Mode, STEPS};
use crate::error::RunError;

/// Threads that the table has a row for.
const THREADS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Segments that are named.
const NAMED: usize = 5;

/// What is asked.
pub struct Planning<'a> {
    /// The architecture.
    pub student: &'a str,
    /// Image size and classes.
    pub task: Task,
    /// Images at a time.
    pub batch: usize,
    /// What would be timed.
    pub mode: Mode,
    /// Whose plan.
    pub engine: &'a Cpu,
}

/// What is answered.
#[derive(Clone, Debug, Serialize)]
pub struct Parallelism {
    /// The architecture.
    pub student: String,
    /// The engine.
    pub engine: &'static str,
    /// What would be timed.
    pub mode: Mode,
    /// Images at a time.
    pub batch: usize,
    /// 10^9 operations of convolutions and fully connected layers, as direct ones (two per multiply-accumulate).
    pub gflop: f64,
    /// 10^9 operations of all kinds: the same, and one for each value that another instruction reads or writes.
    pub work: f64,
    /// A row for each number of threads.
    pub threads: Vec<Threads>,
    /// The segments with the longest chains at the most threads, longest first; a segment of each pass of a kind counts once
    /// for each.
    pub longest: Vec<Longest>,
}

/// What so many threads leave to do one after the other.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Threads {
    /// So many.
    pub threads: usize,
    /// The longest chain, in percent of the work.
    pub chain_percent: f64,
    /// How many times as fast as one thread they can be at most.
    pub at_most: f64,
    /// How often they wait for one another, one time after the other.
    pub waits: usize,
}

/// A segment of the plan.
#[derive(Clone, Debug, Serialize)]
pub struct Longest {
    /// Its costliest instruction.
    pub name: String,
    /// In percent of all work.
    pub work_percent: f64,
    /// In percent of the longest chain at the most threads.
    pub chain_percent: f64,
}

/// Reads it off the plans.
pub fn plan(asked: &Planning<'_>) -> Result<Parallelism, RunError> {
    let (_, network) = zoo::build(asked.student, asked.task)?;
    let of = |threads| {
        let pass = |norm, keep| asked.engine.outline(&network, norm, keep, asked.batch, threads);
        let attack = || pass(Norm::Running, Keep::ForImage);
        let train = || pass(Norm::Batch, Keep::ForParams);
        match asked.mode {
            Mode::Forward => vec![(1, pass(Norm::Running, Keep::Nothing))],
            Mode::Attack => vec![(1, attack())],
            Mode::Train => vec![(1, train())],
            Mode::Step => vec![(STEPS, attack()), (2, train())],
        }
    };
    let total = |passes: &[(usize, Outline)], what: fn(&Outline) -> f64| -> f64 {
        passes.iter().map(|(times, pass)| *times as f64 * what(pass)).sum()
    };
    let rows = THREADS.map(|threads| (threads, of(threads)));
    let work = total(&rows[0].1, Outline::work);
    let threads = rows.iter().map(|(threads, passes)| {
        let chain = total(passes, Outline::chain);
        let waits = passes.iter().map(|(times, pass)| times * pass.waits()).sum();
        Threads { threads: *threads, chain_percent: 100.0 * chain / work, at_most: work / chain, waits }
    });
    let (_, most) = rows.last().expect("the table has rows");
    let chain = total(most, Outline::chain);
    let mut longest: Vec<Longest> = most
        .iter()
        .flat_map(|(times, pass)| pass.segments.iter().map(move |segment| (*times as f64, segment)))
        .map(|(times, segment)| Longest {
            name: segment.name.clone(),
            work_percent: 100.0 * times * segment.work / work,
            chain_percent: 100.0 * times * segment.chain / chain,
        })
        .collect();
    longest.sort_by(|a, b| b.chain_percent.total_cmp(&a.chain_percent));
    longest.truncate(NAMED);
    Ok(Parallelism {
        student: asked.student.into(),
        engine: asked.engine.name(),
        mode: asked.mode,
        batch: asked.batch,
        gflop: total(&rows[0].1, |pass| pass.flop) / 1e9,
        work: work / 1e9,
        threads: threads.collect(),
        longest,
    })
}

impl fmt::Display for Parallelism {
    /// A table, at most 80 columns wide.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { student, engine, mode, batch, gflop, work, .. } = self;
        writeln!(
            f,
            "{}",
            format!("{student}, {mode:?} of {batch} images, {engine}, by its plan").to_lowercase()
        )?;
        writeln!(
            f,
            "{gflop:.1} GFLOP of direct convolution, {:.1} % of all operations",
            100.0 * gflop / work
        )?;
        writeln!(f, "\nthreads  longest chain  at most  waits")?;
        for row in &self.threads {
            let Threads { threads, chain_percent, at_most, waits } = row;
            writeln!(f, "{threads:>7}  {chain_percent:>11.2} %  {at_most:>6.1}x  {waits:>5}")?;
        }
        let most = THREADS.last().expect("the table has rows");
        writeln!(f, "\n{:<44}  of the chain  of the work", format!("longest with {most} threads"))?;
        for Longest { name, work_percent, chain_percent } in &self.longest {
            writeln!(f, "{name:<44}  {chain_percent:>10.2} %  {work_percent:>9.2} %")?;
        }
        Ok(())
    }
}
