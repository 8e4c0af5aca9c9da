//! An estimate as text, in 80 columns.

use std::fmt;

use super::super::inspect::bytes;
use super::{Estimate, Memory, OnGpu, Sizes, Step, TopSizes, Weight};

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mega = |macs: u64| format!("{:.2} M", macs as f64 / 1e6);
        let mut line = |name: &str, value: String| writeln!(f, "{name:<28}{value}");
        line("images", self.images.to_string())?;
        line("views", format!("{} of {}", self.views, self.augment))?;
        line("rows = teacher forwards", self.rows.to_string())?;
        line(
            "online teacher forwards",
            format!("{} in a run of {} epochs", self.online_forwards, self.epochs),
        )?;
        if self.step.cached_forwards > 0 {
            line("labelling / one online run", format!("{:.1} %", self.share_of_online))?;
            line(
                "pays off after",
                format!("{} epochs of training, over all runs and students", self.break_even_epochs),
            )?;
        }
        if let Some(Weight { maps, bytes_per_row, bytes: all, wants_yes, .. }) = &self.features {
            for (number, map) in maps.to_string().split(", ").enumerate() {
                line(if number == 0 { "feature maps" } else { "" }, map.into())?;
            }
            let each = bytes(*bytes_per_row);
            line(
                &format!("their size in {}", maps.dtype),
                format!("{}: {each} a row, in each form", bytes(*all)),
            )?;
            match wants_yes {
                [true, _] => line("", "`label run` wants --yes for so many".into())?,
                [_, true] => line("", "`label run` wants --yes, or --format safetensors".into())?,
                [false, false] => {}
            }
        }
        let Sizes { f16, f32, u8, top_k } = &self.bytes;
        let mut sizes =
            vec![("f16".to_owned(), *f16), ("f32".to_owned(), Some(*f32)), ("u8".to_owned(), *u8)];
        if let Some(TopSizes { n, f16, f32, .. }) = top_k {
            sizes.extend([
                (format!("f16, {n} largest"), Some(*f16)),
                (format!("f32, {n} largest"), Some(*f32)),
            ]);
        }
        for (name, size) in sizes.into_iter().filter_map(|(name, size)| Some((name, size?))) {
            let both = bytes(size.both);
            let parts = format!("{} safetensors, {} parquet", bytes(size.safetensors), bytes(size.parquet));
            line(&format!("size in {name}"), format!("{both}: {parts}"))?;
        }
        line("teacher forward", format!("{} MAC", mega(self.teacher_macs)))?;
        line("student forward", format!("{} MAC", mega(self.student_macs)))?;
        let Step { attack_steps, student_forwards, cached_forwards, needs, .. } = &self.step;
        line("objective", format!("{}, {attack_steps} attack steps", self.objective))?;
        for (number, part) in needs.split("; ").enumerate() {
            line(if number == 0 { "a step needs" } else { "" }, part.into())?;
        }
        line("a step's student part", format!("{student_forwards} forwards"))?;
        line("teacher's share of a step", format!("{:.1} %, which labels take away", self.teacher_share))?;
        if self.live_share > 0.0 {
            line("and of a live teacher", format!("{:.1} %, whatever is labelled", self.live_share))?;
        }
        if *cached_forwards == 0 {
            line("but", "no label set serves this objective: it asks about nothing that".into())?;
            return line("", "a label set holds".into());
        }
        line(
            "compute saved",
            format!(
                "{:.1} % in the first run, {:.1} % in every later one",
                self.saved_in_first_run, self.saved_in_later_runs
            ),
        )?;
        if let Some(OnGpu { label, train }) = &self.gpu {
            let need = |memory: &Memory| {
                format!("{} in {}, {} images at a time", bytes(memory.bytes), memory.precision, memory.batch)
            };
            line("memory on the GPU to label", need(label))?;
            line("memory on the GPU to train", need(train))?;
        }
        if self.features.as_ref().is_some_and(|features| !features.are_read) {
            line("but", format!("{} reads no feature maps", self.objective))?;
        }
        if !self.serves_all_epochs {
            line("but", format!("{} does not serve a run of {} epochs", self.views, self.epochs))?;
        }
        Ok(())
    }
}
