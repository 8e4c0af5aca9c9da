//! How much is done, how fast, and how long the rest takes, in words.

use std::time::Duration;

/// A rate of less than this is that of a few batches, and the time left that follows from it may be far off.
const MEASURED: Duration = Duration::from_secs(3);

/// How far some work is. Times count from where this process began with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pace {
    /// Done by an earlier process, which says nothing about this one's speed.
    pub before: u64,
    pub done: u64,
    pub total: u64,
    /// When `done` was last told.
    pub told: Duration,
    /// What was done, and when, as the first portion ended: it paid for the start (files read, pages touched, buffers made),
    /// so speed is measured from there.
    pub origin: Option<(u64, Duration)>,
    /// Units of the last portion, and the time it took: what goes on inside the next one is guessed from it.
    pub portion: (u64, Duration),
}

impl Pace {
    /// Counts units that are done by now.
    pub fn tell(&mut self, done: u64, now: Duration) {
        if done > self.done {
            self.portion = (done - self.done, now.saturating_sub(self.told));
            self.told = now;
            self.origin.get_or_insert((done, now));
        }
        self.done = done;
    }

    /// Units a second, of this process after its first portion; none before that was measured for a while.
    pub fn rate(&self) -> Option<f64> {
        let (units, at) = self.origin?;
        let (done, took) = (self.done.saturating_sub(units), self.told.saturating_sub(at));
        (done > 0 && took >= MEASURED).then(|| done as f64 / took.as_secs_f64())
    }

    /// Units done, with the share of the portion under way that its forerunner's time suggests; never all of it.
    fn reached(&self, now: Duration) -> f64 {
        let (units, took) = self.portion;
        let inside = now.saturating_sub(self.told).as_secs_f64() / took.as_secs_f64().max(1e-9);
        let guess = self.done as f64 + units as f64 * inside.min(0.95);
        guess.min(self.total as f64).max(self.done as f64)
    }

    /// From 0 to 1.
    pub fn share(&self, now: Duration) -> f64 {
        (self.reached(now) / self.total.max(1) as f64).min(1.0)
    }

    /// Time to the end, at the rate so far.
    pub fn left(&self, now: Duration) -> Option<Duration> {
        let left = (self.total as f64 - self.reached(now)).max(0.0) / self.rate()?;
        Some(Duration::from_secs_f64(left.min(1e12)))
    }
}

/// A time as people say it: its two largest units.
pub fn time_in_words(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if seconds < 60 {
        format!("{seconds}s")
    } else if minutes < 60 {
        format!("{minutes}m {:02}s", seconds % 60)
    } else if hours < 24 {
        format!("{hours}h {:02}m", minutes % 60)
    } else if days < 100 {
        format!("{days}d {:02}h", hours % 24)
    } else {
        "over 99 days".into()
    }
}

/// A speed as people say it. What takes more than a second a piece is told by the piece: `0 images/s` says nothing.
pub fn rate_in_words(rate: f64, unit: &str) -> String {
    let one = unit.strip_suffix('s').unwrap_or(unit);
    if rate >= 10.0 {
        format!("{rate:.0} {unit}/s")
    } else if rate >= 1.0 {
        format!("{rate:.1} {unit}/s")
    } else if rate * 60.0 >= 1.0 {
        format!("{:.1} s/{one}", 1.0 / rate)
    } else {
        format!("{:.1} min/{one}", (1.0 / rate / 60.0).min(9999.0))
    }
}

/// A whole number with commas: `15,000,000`.
pub fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_rate_is_that_of_this_process_alone_and_without_its_start() {
        let mut pace = Pace { before: 1000, done: 1000, total: 5000, ..Pace::default() };
        assert_eq!((pace.rate(), pace.left(seconds(3))), (None, None), "nothing is done yet");
        // A start of 40 seconds, then 200 a second.
        pace.tell(1016, seconds(40));
        assert_eq!((pace.rate(), pace.left(seconds(40))), (None, None), "a first portion is mostly start");
        pace.tell(1416, seconds(42));
        assert_eq!(pace.rate(), None, "two seconds are a few batches");
        pace.tell(3016, seconds(50));
        assert_eq!(pace.rate(), Some(200.0));
        assert_eq!(pace.left(seconds(50)), Some(Duration::from_millis(9_920)));
    }

    #[test]
    fn one_portion_of_minutes_gives_no_time_left_and_a_second_does() {
        let mut pace = Pace { total: 300, ..Pace::default() };
        pace.tell(100, seconds(600));
        assert_eq!(pace.left(seconds(600)), None);
        pace.tell(200, seconds(1000));
        assert_eq!(pace.left(seconds(1000)), Some(seconds(400)));
    }

    #[test]
    fn inside_a_portion_it_goes_on_as_the_last_one_went_and_waits_before_its_end() {
        let mut pace = Pace { total: 1000, ..Pace::default() };
        assert!(pace.share(seconds(60)).abs() < 1e-9, "of the first portion nothing is known");
        pace.tell(100, seconds(20));
        assert!((pace.share(seconds(30)) - 0.15).abs() < 1e-9);
        assert!((pace.share(seconds(500)) - 0.195).abs() < 1e-9, "a slow portion does not look done");
        pace.tell(200, seconds(40));
        assert_eq!(pace.left(seconds(50)), Some(seconds(150)));
        pace.tell(1000, seconds(600));
        assert_eq!((pace.share(seconds(700)), pace.left(seconds(700))), (1.0, Some(seconds(0))));
    }

    #[test]
    fn times_have_their_two_largest_units_and_no_millennia() {
        for (time, words) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m 01s"),
            (3_599, "59m 59s"),
            (7_380, "2h 03m"),
            (1_080_000, "12d 12h"),
            (338_000_000_000, "over 99 days"),
        ] {
            assert_eq!(time_in_words(seconds(time)), words);
        }
    }

    #[test]
    fn no_rate_is_zero() {
        for (rate, words) in [
            (1234.4, "1234 images/s"),
            (3.44, "3.4 images/s"),
            (0.25, "4.0 s/image"),
            (0.001, "16.7 min/image"),
            (1e-12, "9999.0 min/image"),
        ] {
            assert_eq!(rate_in_words(rate, "images"), words);
        }
    }

    #[test]
    fn commas_stand_between_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (15_000_000, "15,000,000")] {
            assert_eq!(with_commas(number), text);
        }
    }
}
