//! How far a long command is: a bar on a terminal, a plain line now and then elsewhere. All of it on stderr.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::say;

/// Time between plain lines.
const BETWEEN_LINES: Duration = Duration::from_secs(10);
/// Time between two drawings of a bar whose work has not moved.
const TICK: Duration = Duration::from_millis(250);

/// Counts units of work towards a total.
pub struct Progress {
    shown: Shown,
    unit: &'static str,
    pace: Pace,
    last_line: Instant,
}

enum Shown {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

/// How much is done, and since when.
struct Pace {
    started: Instant,
    /// Done by an earlier process, which says nothing about this one's speed.
    before: u64,
    done: u64,
    total: u64,
}

impl Progress {
    /// Shows a bar if stderr is a terminal, else a line every ten seconds.
    pub fn on_stderr(unit: &'static str) -> Self {
        let bar = || {
            let style = ProgressStyle::with_template("{bar:12} {wide_msg}");
            ProgressBar::new(0).with_style(style.expect("the template is well-formed"))
        };
        Self::new(unit, if std::io::stderr().is_terminal() { Shown::Bar(bar()) } else { Shown::Lines })
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self::new("", Shown::Nothing)
    }

    fn new(unit: &'static str, shown: Shown) -> Self {
        let now = Instant::now();
        let pace = Pace { started: now, before: 0, done: 0, total: 0 };
        Self { shown, unit, pace, last_line: now }
    }

    /// Starts the clock on `total` units of work, of which an earlier process did `before`.
    pub fn begin(&mut self, before: u64, total: u64) {
        let now = Instant::now();
        self.pace = Pace { started: now, before, done: before, total };
        self.last_line = now;
        match &self.shown {
            Shown::Bar(bar) => bar.enable_steady_tick(TICK),
            Shown::Lines if before > 0 => {
                say(format_args!("resuming after {before} of {total} {}", self.unit));
            }
            Shown::Lines | Shown::Nothing => {}
        }
        self.draw("");
    }

    /// The work is another amount than was thought: an attack only visits the images that still stand.
    pub fn of(&mut self, total: u64) {
        self.pace.total = total;
    }

    /// Counts units that are done.
    pub fn add(&mut self, units: u64) {
        self.set(self.pace.done + units, "");
    }

    /// Units done so far, and what to say about them.
    pub fn set(&mut self, done: u64, about: &str) {
        self.pace.done = done;
        self.draw(about);
    }

    fn draw(&mut self, about: &str) {
        let elapsed = self.pace.started.elapsed();
        match &self.shown {
            Shown::Bar(bar) => {
                bar.set_length(self.pace.total);
                bar.set_position(self.pace.done);
                bar.set_message(self.pace.in_bar(self.unit, about, elapsed));
            }
            Shown::Lines if self.last_line.elapsed() >= BETWEEN_LINES => {
                self.last_line = Instant::now();
                say(self.pace.line(self.unit, about, elapsed));
            }
            Shown::Lines | Shown::Nothing => {}
        }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        match &self.shown {
            Shown::Bar(bar) => bar.println(text),
            Shown::Lines => say(text),
            Shown::Nothing => {}
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

impl Pace {
    fn percent(&self) -> u64 {
        100 * self.done.min(self.total) / self.total.max(1)
    }

    /// Units a second and the time left, of this process alone; none before anything is done.
    fn rate_and_rest(&self, elapsed: Duration) -> Option<(f64, HumanDuration)> {
        let done = self.done.saturating_sub(self.before);
        let rate = done as f64 / elapsed.as_secs_f64().max(1e-9);
        let left = self.total.saturating_sub(self.done) as f64 / rate.max(1e-9);
        (done > 0).then(|| (rate, HumanDuration(Duration::from_secs_f64(left.min(1e9)))))
    }

    /// What stands beside a bar: rate and rest first, as what comes after may be cut off.
    fn in_bar(&self, unit: &str, about: &str, elapsed: Duration) -> String {
        let Self { done, total, .. } = self;
        let about = if about.is_empty() { format!("{done}/{total} {unit}") } else { about.into() };
        let Some((rate, left)) = self.rate_and_rest(elapsed) else {
            return format!("{:>3}%  {about}", self.percent());
        };
        format!("{:>3}%  {rate:.0} {unit}/s  {left:#} left  {about}", self.percent())
    }

    fn line(&self, unit: &str, about: &str, elapsed: Duration) -> String {
        let Self { done, total, .. } = self;
        let so_far = if about.is_empty() {
            format!("{done}/{total} {unit}")
        } else {
            format!("{about}: {} %", self.percent())
        };
        match self.rate_and_rest(elapsed) {
            Some((rate, left)) => format!("{so_far}  {rate:.0} {unit}/s  {left} left"),
            None => so_far,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(before: u64, done: u64, total: u64) -> Pace {
        Pace { started: Instant::now(), before, done, total }
    }

    #[test]
    fn a_line_gives_the_rate_of_this_run_alone() {
        let line = pace(1000, 3000, 5000).line("rows", "", Duration::from_secs(10));
        assert_eq!(line, "3000/5000 rows  200 rows/s  10 seconds left");
    }

    #[test]
    fn nothing_is_said_of_the_speed_before_anything_is_done() {
        let pace = pace(1000, 1000, 5000);
        assert_eq!(pace.line("rows", "", Duration::from_secs(10)), "1000/5000 rows");
        assert_eq!(pace.in_bar("rows", "epoch 1/5", Duration::from_secs(10)), " 20%  epoch 1/5");
    }

    #[test]
    fn the_longest_lines_fit_eighty_columns() {
        let (pace, about) = (pace(0, 14_990_000, 15_000_000), "epoch 299/300 loss 0.1234 best 45.1");
        let elapsed = Duration::from_mins(50);
        let line = pace.line("images", about, elapsed);
        assert_eq!(line, format!("{about}: 99 %  4997 images/s  2 seconds left"));
        assert!(line.len() <= 80, "{line}");
        let beside = pace.in_bar("images", about, elapsed);
        assert!("{bar:12} ".len() + 4 + beside.len() <= 80, "{beside}");
    }
}
