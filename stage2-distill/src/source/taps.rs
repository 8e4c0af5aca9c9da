//! Where a run takes feature maps: the modules that its settings name, or the last stages of both networks. The teacher's
//! come from a network, or from a label set that holds them.

use engine::{Network, NodeId};
use labels::Manifest;
use method::objective::Needs;
use method::taps::{self, TapError, Taps};
use zoo::Task;

use crate::config::Config;
use crate::error::RunError;

/// How many stages are compared where nobody names any: as many as the paper's runs on CIFAR do.
const USUAL: usize = 2;

/// Who gives the teacher's maps.
#[derive(Clone, Copy)]
pub(super) enum Giver<'a> {
    Nobody,
    Network(&'a Network),
    /// A label set: the numbers of the maps there, as [`held`] found them.
    Labels(&'a [usize]),
}

/// The maps of a label set that a run compares, by their numbers there and in the run's order. Where the set does not hold
/// all of them: the modules that were wanted, none of them where nobody named any.
pub(crate) fn held(config: &Config, manifest: &Manifest) -> Result<Vec<usize>, Vec<String>> {
    let named = config.teacher_taps.as_ref().or(config.taps.as_ref());
    let wanted = match named {
        // A list that is none was refused by `check`.
        Some(list) => taps::names(list).unwrap_or_default().into_iter().map(str::to_owned).collect(),
        None => usual(manifest),
    };
    let find = |name: &String| manifest.features.as_ref()?.find(name);
    let found: Option<Vec<usize>> = wanted.iter().map(find).collect();
    found.filter(|found| !found.is_empty()).ok_or(wanted)
}

/// The last stages of a label set's teacher, the very last one first; none where its architecture is not known here, or has
/// none.
fn usual(manifest: &Manifest) -> Vec<String> {
    let data = &manifest.dataset;
    let input = [data.channels, data.height, data.width].map(|side| side as usize);
    let built = zoo::build(&manifest.teacher.architecture, Task { input, classes: data.classes });
    let Ok((_, network)) = built else { return Vec::new() };
    let stages = network.stages();
    if stages.len() < USUAL { Vec::new() } else { last(&stages).map(str::to_owned).collect() }
}

fn last<'a>(stages: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    stages.iter().rev().take(USUAL).copied()
}

/// The taps of both networks; none where the objective reads no maps, and none of the teacher where a label set has its
/// maps. Refuses names that a network does not have, and settings that nobody reads.
pub(super) fn choose(
    config: &Config,
    needs: &Needs,
    student: &Network,
    giver: Giver,
) -> Result<Taps, RunError> {
    let given = [(&config.taps, "taps"), (&config.teacher_taps, "teacher-taps")];
    if !needs.teacher.wants_maps() || matches!(giver, Giver::Nobody) {
        let unread = given.into_iter().find(|(names, _)| names.is_some());
        return match unread {
            None => Ok(Taps::default()),
            Some((_, setting)) => Err(RunError::Refused(format!(
                "objective {} compares no feature maps, and {setting} says where to take some\nhint: drop --{setting}, or add --set dpk=0.3",
                config.named_objective()
            ))),
        };
    }
    let [names, of_teacher] = [&config.taps, &config.teacher_taps].map(Option::as_deref);
    let taps = Taps {
        student: nodes(student, names, "taps")?,
        teacher: match giver {
            Giver::Network(teacher) => nodes(teacher, of_teacher.or(names), "teacher-taps")?,
            Giver::Nobody | Giver::Labels(_) => Vec::new(),
        },
    };
    let of_teacher: Vec<usize> = match giver {
        Giver::Labels(numbers) => numbers.to_vec(),
        Giver::Nobody | Giver::Network(_) => taps.teacher.iter().map(|node| node.index()).collect(),
    };
    if taps.student.len() != of_teacher.len() {
        return Err(RunError::Refused(format!(
            "{} modules of the student and {} of the teacher to compare\nhint: name one of the teacher's for each of the student's: --taps A,B --teacher-taps C,D",
            taps.student.len(),
            of_teacher.len()
        )));
    }
    let pair = |place: usize| (taps.student[place], of_teacher[place]);
    if (0..taps.student.len()).any(|place| (0..place).any(|before| pair(before) == pair(place))) {
        let twice = given.iter().filter_map(|(names, _)| names.as_deref()).collect::<Vec<_>>().join(" and ");
        return Err(RunError::Refused(format!(
            "taps: {twice} compares the same two maps twice\nhint: name each module once"
        )));
    }
    Ok(taps)
}

/// Refuses a list that has an empty name, before any file is opened.
pub(super) fn check(config: &Config) -> Result<(), RunError> {
    for (list, setting) in [(&config.taps, "taps"), (&config.teacher_taps, "teacher-taps")] {
        list.as_deref().map(taps::names).transpose().map_err(|error| refused(setting, &error))?;
    }
    Ok(())
}

fn refused(setting: &str, error: &TapError) -> RunError {
    RunError::Refused(format!("{setting}: {error}"))
}

fn nodes(network: &Network, list: Option<&str>, setting: &str) -> Result<Vec<NodeId>, RunError> {
    let find = |names: &[&str]| taps::find(network, names.iter().copied());
    if let Some(list) = list {
        return taps::names(list).and_then(|names| find(&names)).map_err(|error| refused(setting, &error));
    }
    let stages = network.stages();
    if stages.len() < USUAL {
        return Err(RunError::Refused(format!(
            "{} has no stages of its own, and nobody says where to take its feature maps\nhint: name modules with --{setting}, the last one first, such as {}",
            network.architecture(),
            taps::examples(network)
        )));
    }
    taps::find(network, last(&stages)).map_err(|error| refused(setting, &error))
}

#[cfg(test)]
mod tests {
    use method::objective::Asked;
    use method::objective::Forward;
    use zoo::Task;

    use super::*;

    fn network(name: &str) -> Network {
        zoo::build(name, Task { input: [3, 32, 32], classes: 10 }).unwrap().1
    }

    fn chosen(given: [Option<&str>; 2], student: &str, teacher: &str) -> Result<[Vec<String>; 2], String> {
        let [taps, teacher_taps] = given.map(|names| names.map(str::to_owned));
        let config = Config { objective: "kd".into(), taps, teacher_taps, ..Config::default() };
        let needs = Needs::teacher(Asked::for_maps([Forward::Clean]));
        let [student, teacher] = [student, teacher].map(network);
        let taps =
            choose(&config, &needs, &student, Giver::Network(&teacher)).map_err(|error| error.to_string())?;
        let names = |network: &Network, taps: &[NodeId]| {
            taps.iter().map(|&tap| network.node(tap).name.clone()).collect::<Vec<_>>()
        };
        Ok([names(&student, &taps.student), names(&teacher, &taps.teacher)])
    }

    #[test]
    fn the_last_two_stages_of_both_are_compared_unless_others_are_named() {
        let last = ["layer3.0.bn2.add.relu", "layer2.0.bn2.add.relu"];
        let [student, teacher] = chosen([None, None], "resnet8", "wrn-10-1").unwrap();
        assert_eq!((student, teacher.len()), (last.map(String::from).to_vec(), 2));
        assert!(teacher[0].starts_with("block3.") && teacher[1].starts_with("block2."), "{teacher:?}");
        let [student, teacher] = chosen([Some("layer2"), None], "resnet8", "resnet20").unwrap();
        assert_eq!((student[0].as_str(), teacher[0].as_str()), (last[1], "layer2.2.bn2.add.relu"));
        let [student, teacher] =
            chosen([Some("layers.16"), Some("block3")], "mobilenet-v2", "wrn-10-1").unwrap();
        assert!(student[0].starts_with("layers.16.") && teacher[0].starts_with("block3."));
    }

    #[test]
    fn taps_that_do_not_fit_are_refused_with_a_way_out() {
        let refused = |given, student, teacher| chosen(given, student, teacher).unwrap_err();
        let text = refused([None, None], "mobilenet-v2", "resnet8");
        assert!(text.contains("no stages of its own") && text.contains("--taps"), "{text}");
        let text = refused([Some("layer3,layer2"), None], "resnet8", "wrn-10-1");
        assert!(text.starts_with("teacher-taps: wrn-10-1 has no module `layer3`"), "{text}");
        let text = refused([Some("layer3"), Some("layer3,layer2")], "resnet8", "resnet8");
        assert!(text.contains("1 modules of the student and 2 of the teacher\u{20}"), "{text}");
        for twice in [Some("layer3,layer3"), Some("layer3, layer2,layer3")] {
            let text = refused([twice, None], "resnet8", "resnet20");
            assert!(text.contains("compares the same two maps twice\nhint: name each module once"), "{text}");
        }
        // One map of the student may learn from two of the teacher's.
        assert!(chosen([Some("layer3,layer3"), Some("layer3,layer2")], "resnet8", "resnet20").is_ok());
        let config = Config { objective: "rslad".into(), taps: Some("layer3".into()), ..Config::default() };
        let error = choose(&config, &Needs::cached_labels(), &network("resnet8"), Giver::Nobody).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("rslad compares no feature maps") && text.contains("drop --taps"), "{text}");
    }
}
