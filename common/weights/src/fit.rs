//! Laying a state dict against the names and shapes a network wants.

use std::collections::HashSet;
use std::fmt;

use super::state::{StateDict, TensorData};

/// One tensor a network wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// PyTorch's name.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    /// Whether the network can do without.
    pub optional: bool,
}

/// BatchNorm's counter came with PyTorch 0.4.1, and nothing computes with it: it may be missing, it may be there, and
/// some files have it as a list of one.
const COUNTER: &str = "num_batches_tracked";
/// How many names of a kind an error lists.
const LISTED: usize = 3;

/// Pairs each wanted tensor with the one of its name: `(index into wanted, tensor)`, in the order of
/// `wanted`. Names are taken as they are; [`Checkpoint::locate`](crate::Checkpoint::locate) finds them in files of others.
/// `num_batches_tracked` is always optional.
///
/// Errors: one [`Mismatch`] with every missing, extra and misshapen tensor.
pub fn fit<'s>(state: &'s StateDict, wanted: &[Wanted]) -> Result<Vec<(usize, &'s TensorData)>, Mismatch> {
    let mismatch = Mismatch::between(
        wanted,
        |name| state.get(name).map(TensorData::shape),
        state.iter().map(|(name, tensor)| (name, tensor.shape())),
    );
    if !mismatch.is_empty() {
        return Err(mismatch);
    }
    let pair = |(index, one): (usize, &Wanted)| Some((index, state.get(&one.name)?));
    Ok(wanted.iter().enumerate().filter_map(pair).collect())
}

/// Whether a tensor of that name is a counter of BatchNorm.
pub(super) fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some(COUNTER)
}

impl Wanted {
    /// Whether a network can do without.
    pub(super) fn may_be_missing(&self) -> bool {
        self.optional || is_counter(&self.name)
    }

    /// Whether a tensor of that shape will do.
    pub(super) fn takes(&self, shape: &[usize]) -> bool {
        self.shape == shape || (is_counter(&self.name) && shape.iter().product::<usize>() == 1)
    }
}

/// A tensor that has another shape than the network wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name.
    pub name: String,
    /// The shape the network wants.
    pub wanted: Vec<usize>,
    /// The shape in the file.
    pub found: Vec<usize>,
}

/// Every disagreement between a file and a network. Its text has at most four lines, with three names of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Mismatch {
    /// Names and shapes that the network wants and the file lacks.
    pub missing: Vec<(String, Vec<usize>)>,
    /// Names and shapes that the file has and the network does not know.
    pub extra: Vec<(String, Vec<usize>)>,
    /// Tensors of another shape.
    pub misshapen: Vec<Misshapen>,
}

impl Mismatch {
    /// What is wrong with tensors of these shapes, `all` in the file's order, for a network that wants `wanted`.
    pub(super) fn between<'s>(
        wanted: &[Wanted],
        shape_of: impl Fn(&str) -> Option<&'s [usize]>,
        all: impl Iterator<Item = (&'s str, &'s [usize])>,
    ) -> Self {
        let mut mismatch = Self::default();
        for one in wanted {
            match shape_of(&one.name) {
                Some(shape) if one.takes(shape) => {}
                Some(shape) => mismatch.misshapen.push(Misshapen {
                    name: one.name.clone(),
                    wanted: one.shape.clone(),
                    found: shape.to_vec(),
                }),
                None if one.may_be_missing() => {}
                None => mismatch.missing.push((one.name.clone(), one.shape.clone())),
            }
        }
        let known: HashSet<&str> = wanted.iter().map(|one| one.name.as_str()).collect();
        // In the file's order, which is the order of the layers.
        let extra = all.filter(|&(name, _)| !known.contains(name) && !is_counter(name));
        mismatch.extra = extra.map(|(name, shape)| (name.to_owned(), shape.to_vec())).collect();
        mismatch
    }

    /// Whether there is nothing wrong.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.misshapen.is_empty()
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, extra, misshapen } = self;
        write!(
            f,
            "{} missing, {} unknown, {} of another shape",
            missing.len(),
            extra.len(),
            misshapen.len()
        )?;
        list(f, "missing: ", missing, |f, (name, shape)| write!(f, "{name} {shape:?}"))?;
        list(f, "unknown: ", extra, |f, (name, shape)| write!(f, "{name} {shape:?}"))?;
        list(f, "of another shape: ", misshapen, |f, one| {
            write!(f, "{}, wanted {:?}, found {:?}", one.name, one.wanted, one.found)
        })
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    heading: &str,
    all: &[T],
    write_one: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (place, one) in all.iter().take(LISTED).enumerate() {
        f.write_str(if place == 0 { "\n  " } else { "; " })?;
        f.write_str(if place == 0 { heading } else { "" })?;
        write_one(f, one)?;
    }
    if all.len() > LISTED {
        write!(f, " and {} more", all.len() - LISTED)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dtype;

    fn state(tensors: &[(&str, &[usize])]) -> StateDict {
        let mut state = StateDict::default();
        for (name, shape) in tensors {
            let values = vec![0; shape.iter().product::<usize>() * 4];
            state.insert((*name).into(), TensorData::new(Dtype::F32, shape.to_vec(), values).unwrap());
        }
        state
    }

    fn wanted(tensors: &[(&str, &[usize])]) -> Vec<Wanted> {
        let one = |&(name, shape): &(&str, &[usize])| Wanted {
            name: name.into(),
            shape: shape.to_vec(),
            optional: false,
        };
        tensors.iter().map(one).collect()
    }

    #[test]
    fn tensors_are_paired_by_name_whatever_their_order() {
        let state = state(&[("b", &[2]), ("a", &[3])]);
        let pairs = fit(&state, &wanted(&[("a", &[3]), ("b", &[2])])).unwrap();
        let shapes: Vec<_> = pairs.iter().map(|(index, tensor)| (*index, tensor.shape())).collect();
        assert_eq!(shapes, [(0, &[3][..]), (1, &[2][..])]);
    }

    #[test]
    fn every_disagreement_is_listed_at_once() {
        let state = state(&[("fc.weight", &[100, 8]), ("old", &[1])]);
        let mismatch =
            fit(&state, &wanted(&[("conv.weight", &[4, 3]), ("fc.weight", &[10, 8])])).unwrap_err();
        assert_eq!(
            mismatch.to_string(),
            "1 missing, 1 unknown, 1 of another shape\
             \n  missing: conv.weight [4, 3]\
             \n  unknown: old [1]\
             \n  of another shape: fc.weight, wanted [10, 8], found [100, 8]"
        );
    }

    #[test]
    fn long_lists_take_a_line_each() {
        let names: Vec<String> = (0..43).map(|i| format!("w{i:02}")).collect();
        let all: Vec<(&str, &[usize])> = names.iter().map(|name| (name.as_str(), &[1][..])).collect();
        let text = fit(&StateDict::default(), &wanted(&all)).unwrap_err().to_string();
        assert_eq!(text.lines().nth(1), Some("  missing: w00 [1]; w01 [1]; w02 [1] and 40 more"));
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn the_batch_counter_may_be_missing_or_be_there_in_any_shape() {
        let wants = wanted(&[("bn.weight", &[2]), ("bn.num_batches_tracked", &[])]);
        for shape in [&[][..], &[1], &[1, 1]] {
            let with = state(&[("bn.weight", &[2]), ("bn.num_batches_tracked", shape)]);
            assert_eq!(fit(&with, &wants).unwrap().len(), 2);
            assert_eq!(fit(&with, &wants[..1]).unwrap().len(), 1);
        }
        let without = state(&[("bn.weight", &[2])]);
        assert_eq!(fit(&without, &wants).unwrap().len(), 1);
        let several = state(&[("bn.weight", &[2]), ("bn.num_batches_tracked", &[2])]);
        assert_eq!(fit(&several, &wants).unwrap_err().misshapen.len(), 1);
    }

    #[test]
    fn an_optional_tensor_may_be_missing_but_not_misshapen() {
        let mut wants = wanted(&[("a", &[2])]);
        wants[0].optional = true;
        assert_eq!(fit(&StateDict::default(), &wants).unwrap(), []);
        assert_eq!(fit(&state(&[("a", &[3])]), &wants).unwrap_err().misshapen.len(), 1);
    }
}
