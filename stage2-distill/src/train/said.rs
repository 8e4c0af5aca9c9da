//! What a run says of itself: before its first step, and when an epoch is done.

use std::fmt::Write;

use cli::{Progress, detail, note, rate_in_words, time_in_words, with_commas};

use super::{Run, State};
use crate::config::SETTINGS;
use crate::select::{self, PAPER_EVERY, SELECTED_BY};

impl Run<'_> {
    /// What will run, on what, for how many steps, and where it begins; then the clock starts.
    pub(super) fn announce(&self, state: &State, progress: &mut Progress) {
        let config = self.config;
        let ([labelled, unlabelled], steps) = (self.course.images(), self.course.steps());
        let images = match unlabelled {
            0 => format!("{} images", with_commas(labelled as u64)),
            _ => format!(
                "{} images with a label and {} without",
                with_commas(labelled as u64),
                with_commas(unlabelled as u64)
            ),
        };
        let eps = self.objective.inner().map_or_else(String::new, |_| format!(", eps {}", config.eps));
        note(format_args!(
            "{} learns {} on {}{eps}, into {}\n{images}, {} epochs of {} steps, on {}{}",
            self.network.architecture(),
            config.objective,
            config.data,
            self.around.out.display(),
            config.epochs,
            with_commas(steps as u64),
            cli::whereabouts(self.around.engine, self.around.threads),
            self.shared(),
        ));
        for input in &state.inputs {
            detail(format_args!("reads {input}"));
        }
        for setting in SETTINGS {
            if let Some(value) = config.value(setting) {
                detail(format_args!("{} = {value}", setting.key));
            }
        }
        if !self.selection.places.is_empty() {
            let which = if config.paper_selection { "test images" } else { "held-out images" };
            let judges = with_commas(self.selection.places.len() as u64);
            let when = if config.paper_selection {
                format!("each {PAPER_EVERY}th epoch and each from {} on is", select::judges_each_from(config))
            } else {
                "each epoch is".into()
            };
            note(format_args!("{when} judged by {SELECTED_BY} on {judges} {which}"));
        }
        if state.step > 0 {
            let all = (steps * config.epochs) as u64;
            note(format_args!(
                "resumed at step {} of {}, in epoch {} of {}",
                with_commas(state.step as u64),
                with_commas(all),
                state.epoch + 1,
                config.epochs
            ));
        }
        let visits = self.course.visits();
        let in_epoch = (state.batches * config.batch).min(visits);
        progress.about(&format!("epoch {}/{}", state.epoch + 1, config.epochs));
        progress.begin_at((state.epoch * visits + in_epoch) as u64, (config.epochs * visits) as u64);
    }

    /// How its steps are shared, where a batch is cut into parts.
    fn shared(&self) -> String {
        let parts = |parts| match self.around.collective.ranks() {
            1 => format!(", each batch in {parts} parts"),
            ranks => format!(", each of {ranks} ranks; each batch in {parts} parts"),
        };
        self.config.parts.map_or_else(String::new, parts)
    }

    /// The end of an epoch's line: how long its steps took, and how fast they were.
    pub(super) fn pace(&self, line: &mut String, seconds: f64) {
        let rate = rate_in_words(self.course.visits() as f64 / seconds.max(1e-9), "images");
        let time = time_in_words(std::time::Duration::from_secs_f64(seconds));
        write!(line, ", {time}, {rate}").expect("a string takes text");
    }
}
