//! How far a long command is: a line that is drawn again on a terminal, a plain line now and then elsewhere, JSON for
//! programs. All of it on stderr, and by a thread of its own, so that it moves while a batch is under way.

mod line;
mod pace;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

pub use pace::{rate_in_words, time_in_words, with_commas};

use crate::screen;
use crate::talk::{Form, talk};
use crate::{note, say};
use pace::Pace;

/// Time between two drawings of a line.
const TICK: Duration = Duration::from_millis(250);
/// Time between plain lines in the first minute, and after it: a run of days should not fill a log.
const BETWEEN_LINES: [Duration; 2] = [Duration::from_secs(10), Duration::from_mins(1)];
/// Time between objects for programs.
const BETWEEN_OBJECTS: Duration = Duration::from_secs(1);
/// A run that takes longer than this is told so as soon as its rate is known.
const LONG: Duration = Duration::from_mins(2);

/// Counts units of work towards a total.
pub struct Progress {
    work: Arc<Mutex<Work>>,
    form: Form,
    ticker: Option<JoinHandle<()>>,
}

/// What the ticker shows.
struct Work {
    unit: &'static str,
    pace: Pace,
    about: String,
    started: Instant,
    /// When the last line was written, counted from `started`.
    last_line: Duration,
    /// Whether the time it will take was said.
    forecast: bool,
    over: bool,
}

impl Progress {
    /// Shown as `--progress` says.
    pub fn on_stderr(unit: &'static str) -> Self {
        Self::new(unit, talk().form)
    }

    /// Work of unknown length, such as reading files; shown until the value goes.
    pub fn busy(about: &str) -> Self {
        let mut progress = Self::on_stderr("");
        progress.about(about);
        progress.begin_at(0, 0);
        progress
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self::new("", Form::None)
    }

    fn new(unit: &'static str, form: Form) -> Self {
        let work = Work {
            unit,
            pace: Pace::default(),
            about: String::new(),
            started: Instant::now(),
            last_line: Duration::ZERO,
            forecast: false,
            over: false,
        };
        Self { work: Arc::new(Mutex::new(work)), form, ticker: None }
    }

    /// Starts the clock on `total` units of work, of which an earlier process did `before`, and says so.
    pub fn begin(&mut self, before: u64, total: u64) {
        let unit = self.work().unit;
        if before > 0 && self.form != Form::None {
            note(format_args!("resuming after {before} of {total} {unit}"));
        }
        self.begin_at(before, total);
    }

    /// Starts the clock; the caller has said what an earlier process did.
    pub fn begin_at(&mut self, before: u64, total: u64) {
        let mut work = self.work();
        work.pace = Pace { before, done: before, total, ..Pace::default() };
        work.started = Instant::now();
        work.last_line = Duration::ZERO;
        drop(work);
        if self.form != Form::None && self.ticker.is_none() {
            let (work, form) = (Arc::clone(&self.work), self.form);
            let ticker = thread::Builder::new().name("progress".into()).spawn(move || tick(&work, form));
            // Without a thread there is no progress to see; the work is done all the same.
            self.ticker = ticker.ok();
        }
    }

    /// The work is another amount than was thought: an attack only visits the images that still stand.
    pub fn of(&mut self, total: u64) {
        self.work().pace.total = total;
    }

    /// Counts units that are done.
    pub fn add(&mut self, units: u64) {
        let done = self.work().pace.done + units;
        self.set(done, "");
    }

    /// Units done so far, and what to say about them.
    pub fn set(&mut self, done: u64, about: &str) {
        let mut work = self.work();
        let now = work.started.elapsed();
        work.pace.tell(done, now);
        work.about = about.into();
        let left = work.pace.left(now).filter(|left| !work.forecast && *left > LONG);
        work.forecast |= work.pace.rate().is_some();
        let rate = work.pace.rate().map(|rate| rate_in_words(rate, work.unit));
        drop(work);
        if let (Some(left), Some(rate), true) = (left, rate, matches!(self.form, Form::Bar | Form::Lines)) {
            note(format_args!("about {} to go at {rate}", time_in_words(left)));
        }
    }

    /// What to say about the work from now on.
    pub fn about(&mut self, about: &str) {
        self.work().about = about.into();
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        match self.form {
            Form::Bar | Form::Lines => say(text),
            Form::Json => screen::write_raw(&json!({ "event": "line", "text": text }).to_string()),
            Form::None => {}
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        lock(&self.work)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.work().over = true;
        if let Some(ticker) = self.ticker.take() {
            ticker.thread().unpark();
            let _ = ticker.join();
        }
    }
}

fn lock(work: &Mutex<Work>) -> MutexGuard<'_, Work> {
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows the work until it is over.
fn tick(work: &Mutex<Work>, form: Form) {
    loop {
        let mut now = lock(work);
        if now.over {
            break;
        }
        let said = now.say(form);
        drop(now);
        match (form, said) {
            (Form::Bar, Some(line)) => screen::draw(line),
            (_, Some(line)) if form == Form::Json => screen::write_raw(&line),
            (_, Some(line)) => say(line),
            (_, None) => {}
        }
        thread::park_timeout(TICK);
    }
    if form == Form::Bar {
        screen::wipe();
    }
}

impl Work {
    /// What is due now.
    fn say(&mut self, form: Form) -> Option<String> {
        let now = self.started.elapsed();
        let Self { unit, pace, about, last_line, .. } = self;
        let between = match form {
            Form::Bar => return Some(line::bar(pace, unit, about, now, screen::columns())),
            Form::None => return None,
            Form::Json => BETWEEN_OBJECTS,
            Form::Lines => BETWEEN_LINES[usize::from(now >= Duration::from_mins(1))],
        };
        if now.saturating_sub(*last_line) < between {
            return None;
        }
        *last_line = now;
        let line = if form == Form::Json { line::object } else { line::plain };
        Some(line(pace, unit, about, now))
    }
}
