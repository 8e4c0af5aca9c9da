//! Finding a network in a file of others: the part and the prefix under which everything it wants lies, what lies
//! beside it, and whether that matters.

use super::checkpoint::Checkpoint;
use super::error::{LocateError, Problem};
use super::fit::{Mismatch, Wanted};
use super::leftover::{harmless, hidden_member};
use super::nesting::several;
use super::normaliser::Normaliser;
use super::part::{Listed, Part};
use super::spot::{Spot, spots};
use super::state::TensorData;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'w> {
    /// What the network wants.
    pub wanted: &'w [Wanted],
    /// Prefixes of tensors in published files that it does not use.
    pub unused: &'w [&'w str],
    /// Channels, height and width of its images, for a normalisation.
    pub input: [usize; 3],
    /// Where to look, where the user says.
    pub key: Option<&'w str>,
    /// Whether the user says what it normalises with: constants that cannot be are no error then.
    pub is_normalised: bool,
}

/// A network's tensors, and what was seen on the way.
#[derive(Debug)]
pub struct Located {
    /// Index into what was wanted, and the tensor.
    pub tensors: Vec<(usize, TensorData)>,
    /// The keys and names that lead to the network, such as `state_dict.module`; empty for a bare state dict.
    pub part: String,
    /// The normalisation whose constants lie in the network's own part.
    pub normaliser: Option<Normaliser>,
    /// Constants of normalisations in other parts, or kept as plain numbers, each once: nothing says whether the network
    /// applies them.
    pub beside: Vec<Normaliser>,
    /// The same of a mean without a deviation.
    pub half: Option<String>,
    /// A member of the sequence that the network is in, before it and without any tensor.
    pub hidden: Option<String>,
    /// What was left over and is harmless, in words.
    pub left: Vec<String>,
}

impl Checkpoint<'_> {
    /// Finds what is sought, reads it, and judges what else is there.
    ///
    /// Names are seen through one common prefix, whatever it is (`module.`, `net.`, `1.`), and through `_orig_mod.`
    /// anywhere. Equal copies are one; two parts that fit and differ are an error until a key names one.
    ///
    /// Errors: [`LocateError`].
    pub fn locate(&mut self, sought: &Sought) -> Result<Located, LocateError> {
        let all = spots(&self.parts, sought.wanted);
        let fitting: Vec<Spot> = all.iter().filter(|spot| self.fits(spot, sought)).cloned().collect();
        if fitting.is_empty() {
            return Err(self.nothing_fits(&all, sought));
        }
        let meant = match sought.key {
            None => fitting.clone(),
            Some(key) => self.named(&fitting, key).ok_or_else(|| self.no_such(key, &fitting))?,
        };
        let chosen = meant[0].clone();
        let tensors = self.tensors(&chosen, sought)?;
        let mut copies = Vec::new();
        for other in fitting.iter().filter(|other| **other != chosen) {
            if self.tensors(other, sought)? == tensors {
                copies.push(other.clone());
            } else if meant.contains(other) {
                // The file itself has no name; a dot stands for it, and is understood.
                let named = |spot: &Spot| Some(self.shown(spot)).filter(|name| !name.is_empty());
                let parts =
                    meant.iter().take(4).map(|spot| named(spot).unwrap_or_else(|| ".".into())).collect();
                return Err(LocateError::Several(parts));
            }
        }
        let part = self.shown(&chosen);
        let is_named = sought.key.is_some_and(|key| !chosen.prefix.is_empty() && plain(key) == part);
        let mut located = Located {
            tensors,
            hidden: hidden_member(&self.parts[chosen.part], &chosen.prefix),
            part,
            normaliser: None,
            beside: Vec::new(),
            half: None,
            left: Vec::new(),
        };
        self.judge(&chosen, &copies, sought, is_named, &mut located)?;
        Ok(located)
    }

    /// Where something may lie, the spots with most tensors first, and of those that a key names, if it is given: for
    /// whoever looks for an architecture.
    ///
    /// Errors: [`LocateError::Key`] where it names none.
    pub fn spots(&self, key: Option<&str>) -> Result<Vec<Spot>, LocateError> {
        let all = Spot::every(&self.parts);
        match key {
            None => Ok(all),
            Some(key) => self.named(&all, key).ok_or_else(|| self.no_such(key, &[])),
        }
    }

    /// The first names and shapes of the part with most tensors, in a line.
    pub fn beginning(&self) -> String {
        let part = self.parts.iter().max_by_key(|part| part.tensors.len());
        let tensors = part.map_or(&[][..], |part| &part.tensors);
        let shown = |one: &Listed| {
            let name: String = one.name.chars().take(60).collect();
            format!("{name} {:?}", one.shape().unwrap_or_default())
        };
        let first: Vec<String> = tensors.iter().take(3).map(shown).collect();
        let more = tensors.len().saturating_sub(first.len());
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("{}{more}", first.join("; "))
    }

    /// Why the first tensor of that part that cannot be read cannot: its shape is hidden, and with it the architecture.
    pub fn unreadable(&self) -> Option<&Problem> {
        let part = self.parts.iter().max_by_key(|part| part.tensors.len())?;
        part.tensors.iter().find_map(|one| one.place.as_ref().err())
    }

    /// The shape of the tensor of that bare name at a spot.
    pub fn shape_at(&self, spot: &Spot, name: &str) -> Option<Vec<usize>> {
        let part = &self.parts[spot.part];
        let place = part.find(&format!("{}{name}", spot.prefix))?;
        part.tensors[place].shape().map(<[usize]>::to_vec)
    }

    /// The keys and names that lead to a spot.
    pub fn shown(&self, spot: &Spot) -> String {
        let mut words = self.parts[spot.part].path.clone();
        words.extend(spot.prefix.strip_suffix('.').map(str::to_owned));
        words.join(".")
    }

    /// A tensor that cannot be read counts as there: reading it says why it cannot.
    fn fits(&self, spot: &Spot, sought: &Sought) -> bool {
        let part = &self.parts[spot.part];
        sought.wanted.iter().all(|one| match part.find(&format!("{}{}", spot.prefix, one.name)) {
            Some(place) => part.tensors[place].shape().is_none_or(|shape| one.takes(shape)),
            None => one.may_be_missing(),
        })
    }

    fn tensors(&mut self, spot: &Spot, sought: &Sought) -> Result<Vec<(usize, TensorData)>, Problem> {
        let part = &self.parts[spot.part];
        let find = |(index, one): (usize, &Wanted)| {
            Some((index, part.find(&format!("{}{}", spot.prefix, one.name))?))
        };
        let (indices, places): (Vec<usize>, Vec<usize>) =
            sought.wanted.iter().enumerate().filter_map(find).unzip();
        Ok(indices.into_iter().zip(self.read(spot.part, &places)?).collect())
    }

    /// The spots that a key names: by all that leads to them, by how that begins, or by any part of it.
    fn named(&self, among: &[Spot], key: &str) -> Option<Vec<Spot>> {
        let key = plain(key);
        let rules: [&dyn Fn(&str) -> bool; 3] = [
            &|shown| shown == key,
            &|shown| shown.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.')),
            &|shown| format!(".{shown}.").contains(&format!(".{key}.")),
        ];
        let by = |rule: &&dyn Fn(&str) -> bool| -> Option<Vec<Spot>> {
            let found: Vec<Spot> = among.iter().filter(|spot| rule(&self.shown(spot))).cloned().collect();
            (!found.is_empty()).then_some(found)
        };
        rules.iter().find_map(by)
    }

    /// The error of a key that names nothing, with what there is.
    fn no_such(&self, key: &str, fitting: &[Spot]) -> LocateError {
        let fits = fitting.iter().map(|spot| format!("{} (fits)", self.shown(spot)));
        let others = self.parts.iter().map(|part| part.path.join("."));
        let there = fits.chain(others).filter(|shown| !shown.is_empty() && shown != " (fits)");
        let mut there: Vec<String> = there.take(6).collect();
        if there.is_empty() {
            there.push("none but the file itself; drop --weights-key".into());
        }
        LocateError::Key { key: plain(key), there }
    }

    /// The error of a network that nothing fits: what the nearest spot lacks, and has too much.
    pub(super) fn nothing_fits(&self, all: &[Spot], sought: &Sought) -> LocateError {
        let most = |part: &Part| part.tensors.len();
        let nearest = all.first().cloned().unwrap_or_else(|| {
            // Nothing of any wanted name: the largest part is what was meant.
            let part = (0..self.parts.len()).rev().max_by_key(|&part| most(&self.parts[part])).unwrap_or(0);
            Spot { part, prefix: String::new() }
        });
        if let (true, Some((path, count))) = (all.is_empty(), self.lists.first()) {
            return several(path, *count).into();
        }
        let part = &self.parts[nearest.part];
        let listed = |name: &str| {
            let place = part.find(&format!("{}{name}", nearest.prefix))?;
            part.tensors[place].shape()
        };
        let under = part.tensors.iter().filter_map(|one| {
            let name = one.bare.strip_prefix(&nearest.prefix)?;
            let counts =
                harmless(one).is_none() && !sought.unused.iter().any(|unused| name.starts_with(unused));
            counts.then_some((name, one.shape().unwrap_or_default()))
        });
        LocateError::Mismatch(Mismatch::between(sought.wanted, listed, under))
    }
}

/// A key as it is compared: parts of a path may be written with slashes, and a trailing dot is a prefix's.
fn plain(key: &str) -> String {
    key.replace('/', ".").trim_matches('.').to_owned()
}
