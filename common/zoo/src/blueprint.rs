//! A network's graph as text, for networks that no name in the zoo stands for: their files carry it.
//!
//! It comes back from files of strangers, so that every size is checked before anything is multiplied or made.

mod order;

use engine::Network;
use engine::graph::{Builder, Conv2d, Elementwise, NodeId, Op, Padding, Pool, Shape};
use serde::{Deserialize, Serialize};

/// The nodes after the image, in topological order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Blueprint(Vec<Step>);

/// A node: its name, what it computes, and the places of what it reads, 0 for the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Step(String, Computes, Vec<usize>);

/// [`Op`] as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Computes {
    Normalize {
        mean: Vec<f64>,
        std: Vec<f64>,
    },
    Standardize,
    Conv2d {
        out: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 4],
        groups: usize,
        bias: bool,
    },
    BatchNorm {
        eps: f64,
        momentum: f64,
    },
    MeanSparse,
    Relu,
    Relu6,
    Silu,
    Sigmoid,
    Add,
    Mul,
    Concat,
    PadChannels {
        before: usize,
        after: usize,
    },
    MaxPool {
        kernel: [usize; 2],
        stride: [usize; 2],
    },
    AvgPool {
        kernel: [usize; 2],
        stride: [usize; 2],
    },
    GlobalAvgPool,
    Flatten,
    Linear {
        out: usize,
        bias: bool,
    },
}

/// Nodes of a network, at most.
pub(super) const NODES: usize = 1 << 14;
/// Bytes of a node's name, at most.
const LONGEST_NAME: usize = 512;
/// Channels of a map and features of a layer, at most.
const CHANNELS: usize = 1 << 20;
/// Rows or columns of a window, of its step and of a margin, at most.
const WINDOW: usize = 1 << 10;
/// Values of a node for one image, at most: a gigabyte.
const VALUES: usize = 1 << 28;
/// Parameters of a node, at most.
const PARAMETERS: usize = 1 << 32;

impl Blueprint {
    /// Of this network.
    pub fn of(network: &Network) -> Self {
        let nodes = network.nodes().iter().skip(1);
        Self(
            nodes
                .map(|node| {
                    let from = node.inputs.iter().map(|input| input.index()).collect();
                    Step(node.name.clone(), Computes::of(&node.op), from)
                })
                .collect(),
        )
    }

    /// What tells it from every other graph: 12 digits of its text's BLAKE3.
    pub fn digest(&self) -> String {
        let text = serde_json::to_vec(self).expect("a blueprint is plain data");
        blake3::hash(&text).to_hex()[..12].into()
    }

    /// The network on such images; a text of what is wrong where it is none.
    pub fn network(&self, architecture: &str, input: [usize; 3]) -> Result<Network, String> {
        let (mut builder, image) = Builder::new(input);
        if self.0.len() > NODES {
            return Err(format!("its graph has {} nodes; wanted {NODES} at most", self.0.len()));
        }
        let mut places = vec![image];
        for Step(name, computes, from) in &self.0 {
            let inputs: Option<Vec<NodeId>> = from.iter().map(|&place| places.get(place).copied()).collect();
            let inputs = inputs.ok_or_else(|| format!("node {name} reads what comes after it"))?;
            places.push(add(&mut builder, name, &computes.op(), &inputs)?);
        }
        builder.finish(architecture).map_err(|error| error.to_string())
    }
}

/// Whether a name is one that modules have: it is written into programs and files of other forms.
fn is_plain(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.chars().all(is_of_name);
    name.len() <= LONGEST_NAME && name.split('.').all(is_part)
}

/// Whether a name may have this sign.
pub(super) fn is_of_name(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || matches!(sign, '_' | '-')
}

/// Adds a node whose name and sizes nobody has checked.
pub(super) fn add(builder: &mut Builder, name: &str, op: &Op, inputs: &[NodeId]) -> Result<NodeId, String> {
    if !is_plain(name) {
        return Err(format!(
            "a node is called {name:?}; wanted letters, digits, `_`, `-` and dots between them"
        ));
    }
    let too_large = |what: &str| format!("node {name}: {} with {what}", op.name());
    let windows: &[usize] = match op {
        Op::Conv2d(conv) => {
            let Padding { top, bottom, left, right } = conv.padding;
            &[conv.kernel, conv.stride, [top, bottom], [left, right]].concat()
        }
        Op::MaxPool(pool) | Op::AvgPool(pool) => &[pool.kernel, pool.stride].concat(),
        _ => &[],
    };
    if windows.iter().any(|&size| size > WINDOW) {
        return Err(too_large(&format!("a window, a step or a margin above {WINDOW}")));
    }
    let first = inputs.first().map(|&input| builder.shape(input));
    let elements = first.map_or(0, Shape::elements);
    let (channels, parameters) = match op {
        Op::Conv2d(conv) => {
            let taps = conv.kernel[0] * conv.kernel[1];
            let inputs = first.map_or(0, Shape::channels) / conv.groups.max(1);
            (conv.out, conv.out.saturating_mul(inputs).saturating_mul(taps))
        }
        Op::Linear { out, .. } => (*out, out.saturating_mul(elements)),
        Op::PadChannels { before, after } => (before.saturating_add(*after), 0),
        _ => (0, 0),
    };
    let joined =
        inputs.iter().map(|&input| builder.shape(input).channels()).fold(channels, usize::saturating_add);
    if joined > CHANNELS || parameters > PARAMETERS {
        return Err(too_large(&format!("{channels} channels and {parameters} weights")));
    }
    let made = builder.node(name, op.clone(), inputs).map_err(|error| error.to_string())?;
    match builder.shape(made).elements() {
        0..=VALUES => Ok(made),
        values => Err(too_large(&format!("{values} values for one image"))),
    }
}

impl Computes {
    fn of(op: &Op) -> Self {
        match op {
            Op::Input => unreachable!("the image is the first node alone"),
            Op::Normalize { mean, std } => Self::Normalize { mean: mean.clone(), std: std.clone() },
            Op::Standardize => Self::Standardize,
            Op::Conv2d(conv) => {
                let Conv2d { out, kernel, stride, padding, groups, bias } = *conv;
                let padding = [padding.top, padding.bottom, padding.left, padding.right];
                Self::Conv2d { out, kernel, stride, padding, groups, bias }
            }
            &Op::BatchNorm { eps, momentum } => Self::BatchNorm { eps, momentum },
            Op::MeanSparse => Self::MeanSparse,
            Op::Relu => Self::Relu,
            Op::Relu6 => Self::Relu6,
            Op::Elementwise(Elementwise::Silu) => Self::Silu,
            Op::Elementwise(Elementwise::Sigmoid) => Self::Sigmoid,
            Op::Add => Self::Add,
            Op::Mul => Self::Mul,
            Op::Concat => Self::Concat,
            &Op::PadChannels { before, after } => Self::PadChannels { before, after },
            Op::MaxPool(pool) => Self::MaxPool { kernel: pool.kernel, stride: pool.stride },
            Op::AvgPool(pool) => Self::AvgPool { kernel: pool.kernel, stride: pool.stride },
            Op::GlobalAvgPool => Self::GlobalAvgPool,
            Op::Flatten => Self::Flatten,
            &Op::Linear { out, bias } => Self::Linear { out, bias },
        }
    }

    fn op(&self) -> Op {
        match self {
            Self::Normalize { mean, std } => Op::Normalize { mean: mean.clone(), std: std.clone() },
            Self::Standardize => Op::Standardize,
            &Self::Conv2d { out, kernel, stride, padding: [top, bottom, left, right], groups, bias } => {
                let padding = Padding { top, bottom, left, right };
                Op::Conv2d(Conv2d { out, kernel, stride, padding, groups, bias })
            }
            &Self::BatchNorm { eps, momentum } => Op::BatchNorm { eps, momentum },
            Self::MeanSparse => Op::MeanSparse,
            Self::Relu => Op::Relu,
            Self::Relu6 => Op::Relu6,
            Self::Silu => Op::Elementwise(Elementwise::Silu),
            Self::Sigmoid => Op::Elementwise(Elementwise::Sigmoid),
            Self::Add => Op::Add,
            Self::Mul => Op::Mul,
            Self::Concat => Op::Concat,
            &Self::PadChannels { before, after } => Op::PadChannels { before, after },
            &Self::MaxPool { kernel, stride } => Op::MaxPool(Pool { kernel, stride }),
            &Self::AvgPool { kernel, stride } => Op::AvgPool(Pool { kernel, stride }),
            Self::GlobalAvgPool => Op::GlobalAvgPool,
            Self::Flatten => Op::Flatten,
            &Self::Linear { out, bias } => Op::Linear { out, bias },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::architecture::Task;
    use super::super::table::{ZOO, build};
    use super::*;

    #[test]
    fn every_network_of_the_zoo_comes_back_from_its_text() {
        let task = Task { input: [3, 32, 32], classes: 10 };
        for row in ZOO {
            let (_, network) = build(row.example, task).unwrap();
            let text = serde_json::to_string(&Blueprint::of(&network)).unwrap();
            let again: Blueprint = serde_json::from_str(&text).unwrap();
            let again = again.network(row.example, task.input).unwrap();
            assert_eq!(again.nodes(), network.nodes(), "{}", row.example);
            assert_eq!(again.layout(), network.layout(), "{}", row.example);
        }
    }

    #[test]
    fn sizes_that_no_network_has_are_refused_before_they_are_multiplied() {
        let refused = |steps: &str, text: &str| {
            let read: Blueprint = serde_json::from_str(steps).unwrap();
            let error = read.network("it", [3, 32, 32]).unwrap_err();
            assert!(error.contains(text), "{error}");
        };
        let conv = |out: usize, kernel: usize, stride: usize, padding: usize, groups: usize| {
            format!(
                r#"["c",{{"conv2d":{{"out":{out},"kernel":[{kernel},1],"stride":[{stride},1],"padding":[{padding},0,0,0],"groups":{groups},"bias":false}}}},[0]]"#
            )
        };
        let most = usize::MAX;
        refused(&format!("[{}]", conv(most, 1, 1, 0, 1)), "channels");
        refused(&format!("[{}]", conv(4, most, 1, 0, 1)), "a window, a step or a margin");
        refused(&format!("[{}]", conv(4, 1, 1, most, 1)), "a window, a step or a margin");
        refused(&format!("[{}]", conv(4, 1, 0, 0, 1)), "no smaller than the kernel");
        refused(&format!("[{}]", conv(4, 1, 1, 0, 0)), "groups divide");
        refused(&format!("[{}]", conv(1 << 19, 1, 1, 0, 1)), "values for one image");
        refused(r#"[["p",{"pad-channels":{"before":18446744073709551615,"after":1}},[0]]]"#, "channels");
        refused(
            &format!(r#"[["f","flatten",[0]],["l",{{"linear":{{"out":{},"bias":true}}}},[1]]]"#, 1 << 21),
            "weights",
        );
        refused(r#"[["r","relu",[1]]]"#, "node r reads what comes after it");
        refused(r#"[["r","relu",[]]]"#, "wanted");
        refused(r#"[["r","relu",[0]],["r","relu",[1]]]"#, "taken");
        refused("[]", "wanted a vector of logits");
    }
}
