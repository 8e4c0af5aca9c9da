//! Laying a state dict against the names and shapes a network wants.

use std::collections::BTreeMap;
use std::fmt;

use super::state::{StateDict, TensorData, shared_prefix};

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

/// BatchNorm's counter came with PyTorch 0.4.1, and nothing computes with it: it may be missing, and it may
/// be there.
const COUNTER: &str = "num_batches_tracked";
/// How many names of a kind an error lists.
const LISTED: usize = 12;

/// Pairs each wanted tensor with the one of its name: `(index into wanted, tensor)`, in the order of
/// `wanted`.
///
/// Tensors whose names begin with one of `ignored_prefixes` are left aside (a normalisation that lives in the
/// file). Prefixes that all others carry (`module.`, `model.`, `_orig_mod.`) are seen through, unless wanted
/// names carry them too. `num_batches_tracked` is always optional.
///
/// Errors: one [`Mismatch`] with every missing, extra and misshapen tensor.
pub fn fit<'s>(
    state: &'s StateDict,
    wanted: &[Wanted],
    ignored_prefixes: &[&str],
) -> Result<Vec<(usize, &'s TensorData)>, Mismatch> {
    let considered: Vec<(&str, &TensorData)> = state
        .iter()
        .filter(|(name, _)| !ignored_prefixes.iter().any(|ignored| name.starts_with(ignored)))
        .collect();
    let names: Vec<&str> = considered.iter().map(|&(name, _)| name).collect();
    let prefix = shared_prefix(&names, |prefix| wanted.iter().any(|one| one.name.starts_with(prefix)));
    let mut found: BTreeMap<&str, &TensorData> =
        considered.iter().map(|&(name, tensor)| (&name[prefix..], tensor)).collect();

    let mut pairs = Vec::with_capacity(wanted.len());
    let mut mismatch = Mismatch::default();
    for (index, one) in wanted.iter().enumerate() {
        match found.remove(one.name.as_str()) {
            Some(tensor) if tensor.shape() == one.shape => pairs.push((index, tensor)),
            Some(tensor) => mismatch.misshapen.push(Misshapen {
                name: one.name.clone(),
                wanted: one.shape.clone(),
                found: tensor.shape().to_vec(),
            }),
            None if one.optional || is_counter(&one.name) => {}
            None => mismatch.missing.push((one.name.clone(), one.shape.clone())),
        }
    }
    // In the file's order, which is the order of the layers.
    for (name, tensor) in considered {
        let name = &name[prefix..];
        if found.contains_key(name) && !is_counter(name) {
            mismatch.extra.push((name.to_owned(), tensor.shape().to_vec()));
        }
    }
    if mismatch == Mismatch::default() { Ok(pairs) } else { Err(mismatch) }
}

fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some(COUNTER)
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

/// Every disagreement between a state dict and a network. Its text lists at most twelve names of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Mismatch {
    /// Names and shapes that the network wants and the file lacks.
    pub missing: Vec<(String, Vec<usize>)>,
    /// Names and shapes that the file has and the network does not know.
    pub extra: Vec<(String, Vec<usize>)>,
    /// Tensors of another shape.
    pub misshapen: Vec<Misshapen>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, extra, misshapen } = self;
        write!(
            f,
            "the weights are not this network's: {} missing, {} unknown, {} of another shape",
            missing.len(),
            extra.len(),
            misshapen.len()
        )?;
        list(f, missing, |f, (name, shape)| write!(f, "missing {name}: wanted {shape:?}"))?;
        list(f, extra, |f, (name, shape)| write!(f, "unknown {name}: found {shape:?}"))?;
        list(f, misshapen, |f, one| {
            write!(f, "shape of {}: wanted {:?}, found {:?}", one.name, one.wanted, one.found)
        })?;
        let hint = if missing.is_empty() && extra.is_empty() {
            "the architecture is right, its size is not; check the dataset's number of classes, channels and pixels"
        } else {
            "name the architecture that these weights were trained with"
        };
        write!(f, "\nhint: {hint}")
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    all: &[T],
    write_one: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for one in all.iter().take(LISTED) {
        write!(f, "\n  ")?;
        write_one(f, one)?;
    }
    if all.len() > LISTED {
        write!(f, "\n  and {} more", all.len() - LISTED)?;
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
        let pairs = fit(&state, &wanted(&[("a", &[3]), ("b", &[2])]), &[]).unwrap();
        let shapes: Vec<_> = pairs.iter().map(|(index, tensor)| (*index, tensor.shape())).collect();
        assert_eq!(shapes, [(0, &[3][..]), (1, &[2][..])]);
    }

    #[test]
    fn every_disagreement_is_listed_at_once() {
        let state = state(&[("fc.weight", &[100, 8]), ("old", &[1]), ("mu", &[3])]);
        let mismatch =
            fit(&state, &wanted(&[("conv.weight", &[4, 3]), ("fc.weight", &[10, 8])]), &["mu"]).unwrap_err();
        assert_eq!(
            mismatch.to_string(),
            "the weights are not this network's: 1 missing, 1 unknown, 1 of another shape\
             \n  missing conv.weight: wanted [4, 3]\
             \n  unknown old: found [1]\
             \n  shape of fc.weight: wanted [10, 8], found [100, 8]\
             \nhint: name the architecture that these weights were trained with"
        );
    }

    #[test]
    fn long_lists_are_cut_after_twelve() {
        let names: Vec<String> = (0..43).map(|i| format!("w{i:02}")).collect();
        let all: Vec<(&str, &[usize])> = names.iter().map(|name| (name.as_str(), &[1][..])).collect();
        let text = fit(&StateDict::default(), &wanted(&all), &[]).unwrap_err().to_string();
        assert!(text.contains("w11") && !text.contains("w12"), "{text}");
        assert!(text.contains("\n  and 31 more\n"), "{text}");
    }

    #[test]
    fn the_batch_counter_may_be_missing_or_be_there() {
        let with = state(&[("bn.weight", &[2]), ("bn.num_batches_tracked", &[])]);
        let without = state(&[("bn.weight", &[2])]);
        let wants = wanted(&[("bn.weight", &[2]), ("bn.num_batches_tracked", &[])]);
        assert_eq!(fit(&with, &wants, &[]).unwrap().len(), 2);
        assert_eq!(fit(&without, &wants, &[]).unwrap().len(), 1);
        assert_eq!(fit(&with, &wants[..1], &[]).unwrap().len(), 1);
    }

    #[test]
    fn an_optional_tensor_may_be_missing_but_not_misshapen() {
        let mut wants = wanted(&[("a", &[2])]);
        wants[0].optional = true;
        assert_eq!(fit(&StateDict::default(), &wants, &[]).unwrap(), []);
        assert_eq!(fit(&state(&[("a", &[3])]), &wants, &[]).unwrap_err().misshapen.len(), 1);
    }

    #[test]
    fn a_wrapper_beside_ignored_tensors_is_seen_through() {
        let state = state(&[("mu", &[3]), ("model.a", &[1]), ("model.b", &[2])]);
        assert_eq!(fit(&state, &wanted(&[("a", &[1]), ("b", &[2])]), &["mu"]).unwrap().len(), 2);
        assert_eq!(fit(&state, &wanted(&[("model.a", &[1]), ("model.b", &[2])]), &["mu"]).unwrap().len(), 2);
    }
}
