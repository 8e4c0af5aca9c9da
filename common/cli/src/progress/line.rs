//! The line about some work: as a bar that fits a terminal, as plain text, as JSON.

use std::time::Duration;

use serde_json::json;

use super::pace::{Pace, rate_in_words, time_in_words};

/// Cells of a bar where there is room.
const CELLS: usize = 12;
/// What turns while a batch is under way.
const TURNING: [char; 4] = ['|', '/', '-', '\\'];

/// The line that is drawn again, short of `columns` by what a terminal needs to echo `^C` behind it without wrapping.
///
/// What matters least goes first where room is short: the bar, the end of what is said about the work, the rate.
pub(super) fn bar(pace: &Pace, unit: &str, about: &str, now: Duration, columns: usize) -> String {
    let room = columns.saturating_sub(3);
    if pace.total == 0 {
        let line = format!("{} {about}, {}", turning(now), time_in_words(now));
        return line.chars().take(room).collect();
    }
    let share = pace.share(now);
    let percent = format!("{} {:>3.0}%", turning(now), (100.0 * share).floor());
    let about = if about.is_empty() { format!("{}/{} {unit}", pace.done, pace.total) } else { about.into() };
    let rate = pace.rate().map(|rate| rate_in_words(rate, unit));
    let left = match pace.left(now) {
        Some(left) => format!("{} left", time_in_words(left)),
        // The first portion may take minutes, and its length is unknown.
        None => format!("{} so far", time_in_words(now)),
    };
    let parts = |rate: Option<&str>| -> String {
        [Some(percent.as_str()), Some(left.as_str()), rate]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("  ")
    };
    let mut head = parts(rate.as_deref());
    if head.len() + 2 + about.chars().count().min(16) > room {
        head = parts(None);
    }
    let mut line = head;
    let free = room.saturating_sub(line.chars().count() + 2);
    if free > 0 {
        line = format!("{line}  {}", about.chars().take(free).collect::<String>());
    }
    if room >= line.chars().count() + CELLS + 3 {
        let full = (share * CELLS as f64).round() as usize;
        line = format!("[{}{}] {line}", "=".repeat(full), " ".repeat(CELLS - full));
    }
    line.chars().take(room).collect()
}

fn turning(now: Duration) -> char {
    TURNING[(now.as_millis() / 250) as usize % TURNING.len()]
}

/// A line that stays.
pub(super) fn plain(pace: &Pace, unit: &str, about: &str, now: Duration) -> String {
    if pace.total == 0 {
        return format!("{about}, {} so far", time_in_words(now));
    }
    let percent = (100.0 * pace.share(now)).floor();
    let so_far = if about.is_empty() {
        format!("{}/{} {unit}", pace.done, pace.total)
    } else {
        format!("{about}: {percent:.0} %")
    };
    match (pace.rate(), pace.left(now)) {
        (Some(rate), Some(left)) => {
            format!("{so_far}, {}, {} left", rate_in_words(rate, unit), time_in_words(left))
        }
        _ => format!("{so_far}, {} so far", time_in_words(now)),
    }
}

/// An object for programs; seconds and rates are null before anything is done.
pub(super) fn object(pace: &Pace, unit: &str, about: &str, now: Duration) -> String {
    let left = pace.left(now).map(|left| left.as_secs_f64());
    json!({
        "event": "progress", "unit": unit, "before": pace.before, "done": pace.done, "total": pace.total,
        "about": about, "seconds": now.as_secs_f64(), "units_per_second": pace.rate(), "seconds_left": left,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: &str = "epoch 299/300 loss 0.1234 best 45.1";

    fn pace() -> Pace {
        let mut pace = Pace { total: 15_000_000, ..Pace::default() };
        pace.origin = Some((0, Duration::ZERO));
        pace.tell(7_500_000, Duration::from_secs(640_000));
        pace.portion = (0, Duration::ZERO);
        pace
    }

    #[test]
    fn every_width_shows_what_is_done_and_how_long_the_rest_takes() {
        let now = Duration::from_secs(640_000);
        for columns in [30, 40, 54, 80, 100, 200] {
            let line = bar(&pace(), "images", ABOUT, now, columns);
            assert!(line.chars().count() + 2 < columns, "{columns}: {line}");
            assert!(line.contains("50%") && line.contains("7d 09h left"), "{columns}: {line}");
        }
        assert_eq!(
            bar(&pace(), "images", ABOUT, now, 56),
            "|  50%  7d 09h left  12 images/s  epoch 299/300 loss "
        );
        let wide = bar(&pace(), "images", ABOUT, now, 100);
        assert_eq!(wide, format!("[======      ] |  50%  7d 09h left  12 images/s  {ABOUT}"));
    }

    #[test]
    fn before_anything_is_done_the_time_so_far_shows_that_it_lives() {
        let pace = Pace { before: 1000, done: 1000, total: 5000, ..Pace::default() };
        let line = |milliseconds| bar(&pace, "rows", "epoch 1/5", Duration::from_millis(milliseconds), 56);
        assert_eq!(line(12_000), "[==          ] |  20%  12s so far  epoch 1/5");
        assert_ne!(line(12_000), line(12_250), "it turns");
        assert_eq!(plain(&pace, "rows", "", Duration::from_secs(12)), "1000/5000 rows, 12s so far");
    }

    #[test]
    fn work_of_unknown_length_shows_what_it_is_and_how_long_it_has_taken() {
        let now = Duration::from_secs(12);
        assert_eq!(bar(&Pace::default(), "", "reading the data", now, 54), "| reading the data, 12s");
        assert_eq!(plain(&Pace::default(), "", "reading the data", now), "reading the data, 12s so far");
    }

    #[test]
    fn plain_lines_fit_eighty_columns() {
        let line = plain(&pace(), "images", ABOUT, Duration::from_secs(640_000));
        assert_eq!(line, format!("{ABOUT}: 50 %, 12 images/s, 7d 09h left"));
        assert!(line.len() <= 80, "{line}");
    }

    #[test]
    fn programs_get_numbers() {
        let value: serde_json::Value =
            serde_json::from_str(&object(&pace(), "images", ABOUT, Duration::from_secs(640_000))).unwrap();
        assert_eq!((&value["event"], &value["done"]), (&"progress".into(), &7_500_000.into()));
        assert_eq!(value["seconds_left"], 640_000.0);
    }
}
