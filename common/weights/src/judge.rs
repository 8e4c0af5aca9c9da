//! What lies beside a network that was found: judged, and a normalisation among it read.

use std::collections::HashMap;

use super::checkpoint::Checkpoint;
use super::error::LocateError;
use super::fit::is_counter;
use super::kept;
use super::leftover::{harmless, some};
use super::locate::{Located, Sought};
use super::normaliser::{Normaliser, NotOne, Pair, is_constant, lone_mean, pairs, per_channel};
use super::part::{Listed, Part};
use super::spot::Spot;

/// Of constants that the user's word replaces.
const NOT_ASKED: &str = "named like a normalisation, and not used: another word was given";

impl Checkpoint<'_> {
    /// Says of everything beside the network why it is harmless, or refuses.
    pub(super) fn judge(
        &mut self,
        chosen: &Spot,
        copies: &[Spot],
        sought: &Sought,
        is_named: bool,
        located: &mut Located,
    ) -> Result<(), LocateError> {
        let part = &self.parts[chosen.part];
        let (copied, elsewhere): (Vec<&Spot>, Vec<&Spot>) =
            copies.iter().partition(|copy| copy.part == chosen.part);
        let wants = |name: &str| sought.wanted.iter().any(|one| one.name == name);
        let is_used = |one: &Listed, spot: &Spot| {
            let name = one.bare.strip_prefix(&spot.prefix);
            name.is_some_and(|name| {
                wants(name) || sought.unused.iter().any(|unused| name.starts_with(unused))
            })
        };
        let is_left = |place: usize| {
            let one = &part.tensors[place];
            !is_used(one, chosen) && !copied.iter().any(|copy| is_used(one, copy))
        };
        let channels = sought.input[0];
        let found = pairs(part, is_left, channels);
        let of_pair = |place: usize| found.iter().any(|pair| pair.mean == place || pair.std == place);
        let mut unknown: Vec<String> = Vec::new();
        let mut inside = false;
        let mut known: HashMap<&'static str, Vec<String>> = HashMap::new();
        for place in (0..part.tensors.len()).filter(|&place| is_left(place) && !of_pair(place)) {
            let one = &part.tensors[place];
            let not_asked = sought.is_normalised && is_constant(one, channels);
            match harmless(one).or(not_asked.then_some(NOT_ASKED)) {
                Some(why) if !is_counter(&one.bare) => {
                    known.entry(why).or_default().push(one.name.clone());
                }
                Some(_) => {}
                None => {
                    inside |= one.bare.starts_with(&chosen.prefix);
                    unknown.push(one.name.clone());
                }
            }
        }
        if inside {
            return Err(self.nothing_fits(std::slice::from_ref(chosen), sought));
        }
        if !unknown.is_empty() && !is_named {
            let part = located.part.clone();
            return Err(LocateError::Beside { part, names: some(&unknown) });
        }
        match self.normaliser(chosen.part, &found, sought.input) {
            Err(LocateError::Normaliser { .. }) if sought.is_normalised => {
                let part = &self.parts[chosen.part];
                let names = found.iter().flat_map(|pair| [pair.mean, pair.std]);
                known
                    .entry(NOT_ASKED)
                    .or_default()
                    .extend(names.map(|place| part.tensors[place].name.clone()));
            }
            normaliser => located.normaliser = normaliser?,
        }
        let mut left: Vec<String> =
            known.into_iter().map(|(why, names)| format!("{} ({why})", some(&names))).collect();
        left.sort();
        if !unknown.is_empty() {
            left.push(format!("{} (not of the part that --weights-key names)", some(&unknown)));
        }
        for copy in copied.iter().chain(&elsewhere) {
            left.push(format!("{} (an equal copy)", self.shown(copy)));
        }
        located.left = left;
        located.beside = self.beside(chosen, sought)?;
        let others = self.parts.iter().enumerate().filter(|&(place, _)| place != chosen.part);
        let half = || others.into_iter().find_map(|(_, part)| Some(within(part, lone_mean(part, channels)?)));
        located.half = kept::lone_mean(&self.kept, channels).or_else(half);
        Ok(())
    }

    /// The normalisations in other parts of the file, and among its plain numbers. Those that cannot be one are an error
    /// until the user says what is true.
    fn beside(&mut self, chosen: &Spot, sought: &Sought) -> Result<Vec<Normaliser>, LocateError> {
        let mut all: Vec<Normaliser> = Vec::new();
        let mut add = |one: Option<Normaliser>| {
            let Some(one) = one else { return };
            let is_none =
                one.mean.iter().all(|&m| m == 0.0) && one.std.iter().all(|&s| (s - 1.0).abs() == 0.0);
            if !is_none && all.iter().all(|known| known.mean != one.mean || known.std != one.std) {
                all.push(one);
            }
        };
        for other in (0..self.parts.len()).filter(|&other| other != chosen.part) {
            for pair in pairs(&self.parts[other], |_| true, sought.input[0]) {
                match self.normaliser(other, &[pair], sought.input) {
                    Err(LocateError::Normaliser { .. }) if sought.is_normalised => {}
                    found => {
                        let path = self.parts[other].path.join(".");
                        add(found?.map(|one| one.within(&path)));
                    }
                }
            }
        }
        kept::normalisers(&self.kept, sought.input[0]).into_iter().map(Some).for_each(add);
        Ok(all)
    }

    /// The one normalisation of these pairs.
    fn normaliser(
        &mut self,
        part: usize,
        pairs: &[Pair],
        input: [usize; 3],
    ) -> Result<Option<Normaliser>, LocateError> {
        let mut found: Option<Normaliser> = None;
        for pair in pairs {
            let read = self.read(part, &[pair.mean, pair.std])?;
            let names = [pair.mean, pair.std].map(|place| self.parts[part].tensors[place].name.clone());
            let refused = |what: &str| LocateError::Normaliser {
                what: format!(
                    "its tensors {} and {} are named like a normalisation, and {what}",
                    names[0], names[1]
                ),
            };
            let mut each = Vec::new();
            for tensor in &read {
                each.push(per_channel(tensor, input).map_err(|why| match why {
                    NotOne::Differ => refused("differ within a channel"),
                    NotOne::Shape(shape) => refused(&format!(
                        "one has the shape {shape:?}, wanted one number for each channel of {input:?}"
                    )),
                })?);
            }
            let [mean, std] = <[Vec<f32>; 2]>::try_from(each).expect("a pair is two");
            let is_one = mean.iter().all(|m| m.is_finite()) && std.iter().all(|s| s.is_finite() && *s > 0.0);
            if !is_one {
                return Err(refused("hold numbers that nothing can be divided by"));
            }
            match &found {
                Some(known) if known.mean != mean || known.std != std => {
                    return Err(refused(&format!("differ from {} and {}", known.names[0], known.names[1])));
                }
                Some(_) => {}
                None => found = Some(Normaliser { names, mean, std }),
            }
        }
        Ok(found)
    }
}

/// A tensor's name with the keys that lead to its part.
fn within(part: &Part, name: &str) -> String {
    part.path.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".")
}
