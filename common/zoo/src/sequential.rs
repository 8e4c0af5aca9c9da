//! `sequential-..`: plain stacks of convolutions and fully connected layers with ReLU between them, as PyTorch's
//! `nn.Sequential` numbers them: convolution 0, ReLU 1, .., flatten, layer, ReLU, layer.
//!
//! Such a file says neither strides nor padding, so the name does: `sequential-16k4s2p1-32k4s2p1-100` has a convolution
//! to 16 channels with a 4x4 kernel, stride 2 and padding 1, another to 32, a layer of 100 features, and the classifier.
//! Where nobody names it, the form is worked out: every choice, equal for equal kernels, of stride 1 or 2 and padding up
//! to half the kernel that leads from the images to as many features as the first layer reads. Two such choices are two
//! names for the same tensors. VNN-COMP's `cifar_wide` (oval21) is recognised this way, and has one.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, Op};

use super::architecture::{Architecture, Task};
use super::stages::number;
use super::tensors::Tensors;

pub(super) static ROW: Architecture = Architecture {
    example: "sequential-8k4s2p1-12k4s2p1-20",
    names,
    ..Architecture::new(
        "sequential-..",
        "plain stack, such as sequential-16k4s2p1-32k4s2p1-100: channels, kernel, stride, padding; features",
        build,
    )
};

/// The most layers of a name.
const LAYERS: usize = 64;

/// A convolution of the stack.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Conv {
    out: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
}

impl Conv {
    /// `16k4s2p1`.
    fn parse(text: &str) -> Option<Self> {
        let (out, rest) = text.split_once('k')?;
        let (kernel, rest) = rest.split_once('s')?;
        let (stride, padding) = rest.split_once('p')?;
        let [out, kernel, stride] = [number(out)?, number(kernel)?, number(stride)?];
        let padding = if padding == "0" { 0 } else { number(padding)? };
        (kernel <= 64 && stride <= kernel && padding < kernel).then_some(Self {
            out,
            kernel,
            stride,
            padding,
        })
    }

    fn graph(self) -> Conv2d {
        Conv2d::new(self.out, self.kernel).stride(self.stride).padding(self.padding).bias()
    }
}

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    let parts: Vec<&str> = name.strip_prefix("sequential-")?.split('-').collect();
    let convs: Vec<Conv> = parts.iter().map_while(|part| Conv::parse(part)).collect();
    let layers: Option<Vec<usize>> = parts[convs.len()..].iter().map(|part| number(part)).collect();
    (!convs.is_empty() && parts.len() <= LAYERS).then_some(())?;
    Some(network(name, &convs, &layers?, task))
}

fn network(name: &str, convs: &[Conv], layers: &[usize], task: Task) -> Result<Network, GraphError> {
    let (mut b, mut x) = Builder::new(task.input);
    let mut place = 0;
    for conv in convs {
        x = b.conv(&place.to_string(), conv.graph(), x)?;
        x = b.relu(x)?;
        place += 2;
    }
    x = b.node("flatten", Op::Flatten, &[x])?;
    place += 1;
    for &features in layers {
        x = b.linear(&place.to_string(), features, x)?;
        x = b.relu(x)?;
        place += 2;
    }
    b.linear(&place.to_string(), task.classes, x)?;
    b.finish(name)
}

/// Every form that leads from the images to the features that the first layer reads.
fn names(_: &'static str, tensors: &Tensors<'_>) -> Vec<String> {
    let shape = |place: usize| (tensors.shape_of)(&format!("{place}.weight")).unwrap_or_default();
    let found = (0..LAYERS).map(|i| shape(2 * i)).map_while(|shape| match shape[..] {
        [out, _, high, across] if high == across => Some((out, high)),
        _ => None,
    });
    let convs: Vec<(usize, usize)> = found.collect();
    let first = 2 * convs.len() + 1;
    let widths = (0..LAYERS).map(|i| shape(first + 2 * i)).map_while(|shape| match shape[..] {
        [out, inputs] => Some((out, inputs)),
        _ => None,
    });
    let layers: Vec<(usize, usize)> = widths.collect();
    let (Some(&(last, _)), Some(&(_, features))) = (convs.last(), layers.first()) else { return vec![] };
    let mut kernels: Vec<usize> = convs.iter().map(|&(_, kernel)| kernel).collect();
    kernels.sort_unstable();
    kernels.dedup();
    // Three kinds of kernel have a few hundred forms already.
    if kernels.len() > 3 || kernels.last() > Some(&16) {
        return vec![];
    }
    let hidden = layers[..layers.len() - 1].iter().map(|(out, _)| out.to_string());
    let hidden: Vec<String> = hidden.collect();
    let [_, height, width] = tensors.input;
    forms(&kernels)
        .into_iter()
        .filter_map(|form| {
            let conv = |&(out, kernel): &(usize, usize)| {
                let (stride, padding) = form[kernels.iter().position(|&known| known == kernel)?];
                Some(Conv { out, kernel, stride, padding })
            };
            let stack: Vec<Conv> = convs.iter().map(conv).collect::<Option<_>>()?;
            let [h, w] = stack.iter().try_fold([height, width], |[h, w], conv| conv.graph().output(h, w))?;
            (last * h * w == features).then(|| {
                let text = |c: &Conv| format!("{}k{}s{}p{}", c.out, c.kernel, c.stride, c.padding);
                let parts: Vec<String> = stack.iter().map(text).chain(hidden.iter().cloned()).collect();
                format!("sequential-{}", parts.join("-"))
            })
        })
        .collect()
}

/// Every choice of a stride and a padding for each kind of kernel.
fn forms(kernels: &[usize]) -> Vec<Vec<(usize, usize)>> {
    let mut all = vec![vec![]];
    for &kernel in kernels {
        let choices = (1..=kernel.min(2)).flat_map(|stride| {
            (0..=kernel / 2).filter(move |&p| p < kernel).map(move |padding| (stride, padding))
        });
        let choices: Vec<(usize, usize)> = choices.collect();
        all = all
            .iter()
            .flat_map(|form: &Vec<(usize, usize)>| {
                choices.iter().map(|&choice| form.iter().copied().chain([choice]).collect())
            })
            .collect();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect;

    const CIFAR: Task = Task { input: [3, 32, 32], classes: 10 };

    /// The shapes of VNN-COMP's `cifar_wide.pth`, as PyTorch lists them.
    fn cifar_wide(name: &str) -> Option<Vec<usize>> {
        let shape: &[usize] = match name {
            "0.weight" => &[16, 3, 4, 4],
            "2.weight" => &[32, 16, 4, 4],
            "5.weight" => &[100, 2048],
            "7.weight" => &[10, 100],
            "0.bias" => &[16],
            "2.bias" => &[32],
            "5.bias" => &[100],
            "7.bias" => &[10],
            _ => return None,
        };
        Some(shape.to_vec())
    }

    #[test]
    fn strides_and_padding_are_worked_out_from_the_features_of_the_first_layer() {
        assert_eq!(detect(&cifar_wide, Some(CIFAR)), ["sequential-16k4s2p1-32k4s2p1-100"]);
    }

    #[test]
    fn two_forms_that_give_as_many_features_are_two_names() {
        // PyTorch's floor rule: a 5x5 kernel over 28x28 at stride 2 gives 14x14 with padding 2, with 1 it gives 13x13.
        let shapes = |kernel: usize, features: usize| {
            move |name: &str| match name {
                "0.weight" => Some(vec![8, 1, kernel, kernel]),
                "0.bias" => Some(vec![8]),
                "3.weight" => Some(vec![10, features]),
                "3.bias" => Some(vec![10]),
                _ => None,
            }
        };
        let digits = |side| Some(Task { input: [1, side, side], classes: 10 });
        assert_eq!(detect(&shapes(5, 8 * 14 * 14), digits(28)), ["sequential-8k5s2p2"]);
        // A 2x2 kernel over 2x2 gives one value without padding, whatever the stride.
        assert_eq!(detect(&shapes(2, 8), digits(2)), ["sequential-8k2s1p0", "sequential-8k2s2p0"]);
    }

    #[test]
    fn a_name_is_read_in_one_way_only() {
        for bad in [
            "sequential-",
            "sequential-100",
            "sequential-016k4s2p1-10",
            "sequential-16k4s2p1-",
            "sequential-16k4s2p4",
            "sequential-16k4s0p1",
            "sequential-16k4s2p1-0",
            "sequential-100-16k4s2p1",
            "sequential-99999999999999999999k4s2p1",
        ] {
            assert!(build(bad, CIFAR).is_none(), "{bad}");
        }
        assert!(build("sequential-16k4s2p1", CIFAR).is_some());
    }
}
