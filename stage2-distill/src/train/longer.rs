//! A run that is asked for more epochs than it was begun with: it goes on where it ended, if all that it did is what a run
//! of the new length would have done.

use method::objective::{Epoch, Objective};
use method::schedule::{Milestones, Schedule};
use method::swa::Swa;

use crate::config::Config;
use crate::select;

/// Whether `asked` is `known` and nothing but longer. Where the rate drops is seen by [`obstacle`].
pub(super) fn is_asked(known: &Config, asked: &Config) -> bool {
    let as_long = Config { epochs: asked.epochs, milestones: asked.milestones, ..known.clone() };
    asked.epochs > known.epochs && as_long.differences(asked).is_empty()
}

/// What of `known` would have been otherwise in a run as long as `asked`, with a hint; none if `known` can become it.
pub(super) fn obstacle(known: &Config, asked: &Config, objective: &dyn Objective) -> Option<String> {
    let why = otherwise(known, asked, objective)?;
    let milestones = Milestones::of(known.epochs).to_string();
    // Drops that fall together cannot be asked for.
    let is_scaled = known.schedule() == Schedule::Multistep && milestones.parse::<Milestones>().is_ok();
    Some(if is_scaled {
        format!(
            "{why}\nhint: --milestones {milestones} leaves the drops of the rate where they were; or choose another --out"
        )
    } else {
        format!("{why}\nhint: choose another --out")
    })
}

fn otherwise(known: &Config, asked: &Config, objective: &dyn Objective) -> Option<String> {
    let of = asked.epochs;
    let pace = |config: &Config, number: usize| {
        let schedule = objective.schedule(config.schedule(), config.epochs);
        let epoch = Epoch { number, of: config.epochs, schedule };
        [config.lr * epoch.rate_factor(), schedule.momentum(config.momentum, number, config.epochs)]
    };
    let differs =
        |number: &usize| pace(known, *number).map(f64::to_bits) != pace(asked, *number).map(f64::to_bits);
    if let Some(number) = (0..known.epochs).find(differs) {
        let [ran, would] = [known, asked].map(|config| pace(config, number)[0] as f32);
        return Some(format!(
            "its epoch {} ran at a rate of {ran}, one of {of} would at {would}",
            number + 1
        ));
    }
    if objective.is_paced() {
        let name = &known.objective;
        return Some(format!("what objective {name} does in an epoch depends on how many there are"));
    }
    let first = |config: &Config| config.swa.map(|share| Swa::from_share(share.0, config.epochs).first());
    if let (Some(began), Some(begins)) = (first(known), first(asked))
        && began != begins
        && began <= known.epochs
    {
        return Some(format!("its average began with epoch {began}, one of {of} begins with epoch {begins}"));
    }
    let judged = |config: &Config, epoch| select::judges(config, epoch);
    let epoch = (1..=known.epochs).find(|&epoch| judged(known, epoch) != judged(asked, epoch))?;
    Some(format!(
        "whether it is the best was asked after epoch {epoch} in one of the two and not in the other"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    fn with(assignments: &[&str]) -> Config {
        let mut layers = Layers::defaults();
        for assignment in ["data=sample", "student=tiny-cnn", "objective=sat"].iter().chain(assignments) {
            layers.set(assignment).unwrap();
        }
        layers.resolve().unwrap()
    }

    /// A run of `known` asked to be what `asked` says beside it.
    fn said(known: &[&str], asked: &[&str]) -> Option<String> {
        let (known, asked) = (with(known), with(&[known, asked].concat()));
        assert!(is_asked(&known, &asked), "{asked:?}");
        obstacle(&known, &asked, known.objective().unwrap().as_ref())
    }

    #[test]
    fn more_epochs_are_a_longer_run_and_anything_else_is_another_one() {
        let known = with(&["epochs=4", "milestones=3"]);
        let longer = ["epochs=6", "milestones=3"];
        assert!(is_asked(&known, &with(&longer)));
        for other in [["epochs=4", "milestones=3"], ["epochs=3", "milestones=3"]] {
            assert!(!is_asked(&known, &with(&other)), "{other:?}");
        }
        assert!(!is_asked(&known, &with(&[&longer[..], &["seed=1"]].concat())));
    }

    #[test]
    fn drops_that_stay_where_they_were_let_a_run_be_longer() {
        assert_eq!(said(&["epochs=4", "milestones=3"], &["epochs=6"]), None);
        // A later drop is none that the run has met.
        assert_eq!(said(&["epochs=4", "milestones=3"], &["epochs=6", "milestones=3,5"]), None);
        // RSLAD's 215, 260 and 285 of 300, written out.
        assert_eq!(said(&["epochs=300"], &["epochs=400", "milestones=215,260,285"]), None);
    }

    #[test]
    fn what_would_have_been_otherwise_is_named() {
        let cases: [(&[&str], &[&str], &str); 6] = [
            // 60 * 215 / 300 = 43 epochs at the full rate.
            (
                &["epochs=60"],
                &["epochs=80"],
                "epoch 44 ran at a rate of 0.01, one of 80 would at 0.1\nhint: --milestones 43,52,57",
            ),
            (&["epochs=4", "schedule=cosine"], &["epochs=5"], "epoch 2 ran at a rate of 0.085"),
            (&["epochs=4", "milestones=3"], &["epochs=6", "milestones=2"], "epoch 3 ran at a rate of 0.1"),
            (
                &["epochs=4", "milestones=9", "swa=from:0.5"],
                &["epochs=6"],
                "began with epoch 2, one of 6 begins with epoch 3",
            ),
            (&["epochs=4", "milestones=9", "objective=adr", "ema=0.9"], &["epochs=6"], "objective adr"),
            // The test split is looked at after the last epoch, and after epoch 4 of 6 it is not.
            (
                &["epochs=4", "milestones=9", "paper-selection=true"],
                &["epochs=6"],
                "asked after epoch 4 in one of the two",
            ),
        ];
        for (known, asked, wanted) in cases {
            let found = said(known, asked).unwrap_or_default();
            assert!(found.contains(wanted), "{known:?}: {found}");
        }
    }
}
