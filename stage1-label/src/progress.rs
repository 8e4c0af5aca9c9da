//! How far a long command is: a bar on a terminal, a plain line now and then elsewhere. All of it on stderr.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

/// Time between plain lines.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Counts rows towards a total.
pub struct Progress {
    shown: Shown,
    started: Instant,
    last_line: Instant,
    before: u64,
    done: u64,
    total: u64,
}

enum Shown {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

impl Progress {
    /// Shows a bar if stderr is a terminal, else a line every ten seconds.
    pub fn on_stderr() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = || {
            let template = "{bar:30} {pos}/{len} rows  {per_sec}  {eta} left";
            let style = ProgressStyle::with_template(template).expect("the template is well-formed");
            ProgressBar::new(0).with_style(style)
        };
        Self::new(if terminal { Shown::Bar(bar()) } else { Shown::Lines })
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self::new(Shown::Nothing)
    }

    fn new(shown: Shown) -> Self {
        let now = Instant::now();
        Self { shown, started: now, last_line: now, before: 0, done: 0, total: 0 }
    }

    /// Starts the clock on `total` rows, of which an earlier run did `before`.
    pub fn begin(&mut self, before: u64, total: u64) {
        (self.before, self.done, self.total) = (before, before, total);
        (self.started, self.last_line) = (Instant::now(), Instant::now());
        match &self.shown {
            Shown::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(before);
                // The rate is this run's: rows that were there already took it no time.
                bar.reset_eta();
            }
            Shown::Lines if before > 0 => eprintln!("resuming after {before} of {total} rows"),
            Shown::Lines | Shown::Nothing => {}
        }
    }

    /// Counts rows that are done.
    pub fn add(&mut self, rows: u64) {
        self.done += rows;
        match &self.shown {
            Shown::Bar(bar) => bar.set_position(self.done),
            Shown::Lines if self.last_line.elapsed() >= BETWEEN_LINES => {
                self.last_line = Instant::now();
                eprintln!("{}", line(self.done, self.before, self.total, self.started.elapsed()));
            }
            Shown::Lines | Shown::Nothing => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn line(done: u64, before: u64, total: u64, elapsed: Duration) -> String {
    let rate = (done - before) as f64 / elapsed.as_secs_f64().max(1e-9);
    let left = Duration::from_secs_f64((total.saturating_sub(done) as f64 / rate.max(1e-9)).min(1e9));
    format!("{done}/{total} rows  {rate:.0} rows/s  {} left", HumanDuration(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_the_rate_of_this_run_alone() {
        let line = line(3000, 1000, 5000, Duration::from_secs(10));
        assert_eq!(line, "3000/5000 rows  200 rows/s  10 seconds left");
    }
}
