//! Auto-PGD: projected gradient ascent that finds its own step size. Source: Croce and Hein, arXiv:2003.01690.

mod ascent;
mod climb;

use self::climb::Climb;
use super::margin::{Loss, fewer_targets, short_ratio};
use super::row::{Attack, Row};
use super::search::{Search, Subject};
use super::word::Wanted;
use crate::options::Choice;

pub(super) static CROSS_ENTROPY: Row = Row {
    name: "apgd-ce",
    summary: "Auto-PGD on cross-entropy, 100 steps (arXiv:2003.01690)",
    example: "apgd-ce",
    options: &[STEPS, RHO],
    make: |wanted| boxed(wanted, "apgd-ce", Climbs::One(Loss::CrossEntropy)),
};

pub(super) static DLR: Row = Row {
    name: "apgd-dlr",
    summary: "Auto-PGD on the difference of logits ratio, 100 steps",
    example: "apgd-dlr",
    options: &[STEPS, RHO],
    make: |wanted| boxed(wanted, "apgd-dlr", Climbs::One(Loss::Dlr)),
};

pub(super) static TARGETED: Row = Row {
    name: "apgd-t",
    summary: "Auto-PGD towards each of the nine likeliest other classes, 100 steps each",
    example: "apgd-t",
    options: &[TARGETS, STEPS, RHO],
    make: |wanted| boxed(wanted, "apgd-t", Climbs::Likeliest(wanted.count("targets"))),
};

pub(super) static NEAREST: Row = Row {
    name: "malt",
    summary: "the same towards the nine nearest of 100, by a first-order margin (arXiv:2407.02240)",
    example: "malt",
    options: &[TARGETS, CANDIDATES, STEPS, RHO],
    make: |wanted| {
        let [targets, candidates] = ["targets", "candidates"].map(|key| wanted.count(key));
        boxed(wanted, "malt", Climbs::Nearest { targets, candidates })
    },
};

const STEPS: Choice = Choice {
    key: "steps",
    default: 100.0,
    least: 1.0,
    most: 1e5,
    is_whole: true,
    help: "steps of an ascent",
};
const RHO: Choice = Choice {
    key: "rho",
    default: 0.75,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "share of the steps to a checkpoint that must raise the loss",
};
const TARGETS: Choice = Choice {
    key: "targets",
    default: 9.0,
    least: 1.0,
    most: 4095.0,
    is_whole: true,
    help: "classes aimed at",
};
const CANDIDATES: Choice = Choice {
    key: "candidates",
    default: 100.0,
    least: 1.0,
    most: 4095.0,
    is_whole: true,
    help: "likeliest other classes that are ranked",
};

fn boxed(wanted: &Wanted, name: &str, climbs: Climbs) -> Option<Box<dyn Attack>> {
    let apgd = || Apgd {
        name: wanted.reported.clone(),
        climbs,
        steps: wanted.count("steps"),
        rho: wanted.options.get("rho") as f32,
    };
    (wanted.name == name).then(|| Box::new(apgd()) as Box<dyn Attack>)
}

/// What the ascents on an image climb, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Climbs {
    /// One loss.
    One(Loss),
    /// The targeted difference of logits ratio, towards this many other classes from the likeliest on.
    Likeliest(usize),
    /// The same, towards this many of the likeliest candidates: those whose boundary is nearest if the network were
    /// linear, `(z_y - z_t) / |gradient of (z_y - z_t)|` in the dual norm. One gradient for each candidate.
    Nearest { targets: usize, candidates: usize },
}

impl Climbs {
    /// A number that no two kinds of ascents share, which sets their draws apart.
    fn kind(self) -> usize {
        match self {
            Self::One(Loss::CrossEntropy) => 0,
            Self::One(Loss::Dlr) => 1,
            Self::One(_) => 2,
            Self::Likeliest(_) => 3,
            Self::Nearest { .. } => 4,
        }
    }
}

/// APGD, in either ball.
#[derive(Clone, Debug)]
pub(super) struct Apgd {
    /// The name under which it is reported.
    pub name: String,
    pub climbs: Climbs,
    /// Steps of an ascent.
    pub steps: usize,
    /// Share of steps since the last checkpoint that must have raised the loss.
    pub rho: f32,
}

impl Attack for Apgd {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn climbs(&self) -> bool {
        true
    }

    fn begin(&self, subject: Subject) -> Box<dyn Search> {
        Box::new(Climb::new(self.clone(), subject))
    }

    fn remark(&self, classes: usize) -> Option<String> {
        match self.climbs {
            Climbs::One(Loss::Dlr) => short_ratio(&self.name, 3, classes),
            Climbs::One(_) => None,
            Climbs::Likeliest(targets) | Climbs::Nearest { targets, .. } => {
                let remarks =
                    [fewer_targets(&self.name, targets, classes), short_ratio(&self.name, 4, classes)];
                let remarks: Vec<String> = remarks.into_iter().flatten().collect();
                (!remarks.is_empty()).then(|| remarks.join("\n"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::attack::{find, known};
    use crate::threat::Threat;

    /// On a linear network the best point is known, so each breaks it just beyond the distance of its boundary and not
    /// just below: scipy's lengths, as in `fab/reach.rs`.
    #[test]
    fn every_kind_breaks_a_linear_network_beyond_the_distance_of_its_boundary_alone() {
        let slope = [-0.55, -0.78, 0.75, 1.63, 0.27, -1.23];
        let from = [0.81, 0.81, 0.52, 0.29, 0.05, 0.38];
        for (ball, distance) in
            [(Threat::linf as fn(f64) -> Threat, 0.076_775_43), (Threat::l2, 0.167_305_45)]
        {
            for name in ["apgd-ce", "apgd-dlr", "apgd-t", "malt"] {
                let broken = |eps: f64| {
                    let network = |point: &[f32]| known::plane(&from, &slope, 0.4, point);
                    known::ended(find(name).unwrap().as_ref(), known::subject(&from, 0, ball(eps)), &network)
                };
                assert!(broken(distance * 0.99).is_none(), "{name}");
                let point = broken(distance * 1.01).unwrap_or_else(|| panic!("{name} at {distance}"));
                let threat = ball(distance * 1.01);
                assert!(threat.norm.between(&from, &point) <= threat.eps + 1e-6, "{name}: {point:?}");
            }
        }
    }
}
