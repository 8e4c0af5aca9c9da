//! What a person sees while a run goes on: bars on a terminal, plain lines elsewhere. All of it on stderr.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Seconds between plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// One bar, or lines in its place.
pub struct Progress {
    bar: Option<ProgressBar>,
    unit: &'static str,
    total: u64,
    began: Instant,
    /// Work done before this process began, which says nothing about its speed.
    before: u64,
    spoke: Instant,
}

impl Progress {
    /// A bar over `total` units of work, `before` of which are done already.
    pub fn new(total: usize, before: usize, unit: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "{bar:24} {percent:>3}% {per_sec:>14} eta {eta:>4}  {wide_msg}";
            let style = ProgressStyle::with_template(style).expect("the template is well formed");
            let style = style.with_key(
                "per_sec",
                move |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                    write!(out, "{:.0} {unit}/s", state.per_sec()).expect("a bar's text can be written");
                },
            );
            let bar = ProgressBar::new(total as u64).with_style(style).with_position(before as u64);
            bar.reset_eta();
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self {
            bar,
            unit,
            total: total as u64,
            began: Instant::now(),
            before: before as u64,
            spoke: Instant::now(),
        }
    }

    /// The work is another amount than was thought: an attack only visits the images that still stand.
    pub fn of(&mut self, total: usize) {
        if self.total != total as u64 {
            self.total = total as u64;
            if let Some(bar) = &self.bar {
                bar.set_length(self.total);
            }
        }
    }

    /// Work done so far, and what to say about it.
    pub fn set(&mut self, done: usize, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(message.to_string());
            return;
        }
        if self.spoke.elapsed() < PLAIN_EVERY {
            return;
        }
        self.spoke = Instant::now();
        let rate =
            (done as u64).saturating_sub(self.before) as f64 / self.began.elapsed().as_secs_f64().max(1e-9);
        let left = self.total.saturating_sub(done as u64) as f64 / rate.max(1e-9);
        let left = if rate > 0.0 {
            format!("{:.0} {}/s, {} left", rate, self.unit, duration(left))
        } else {
            "starting".into()
        };
        eprintln!("{message}: {:.0} %, {left}", 100.0 * done as f64 / self.total.max(1) as f64);
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// Removes the bar.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Seconds as people say them.
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}
