//! Which architectures a file's tensors fit, by their names and shapes.

use std::collections::HashSet;

use engine::Network;
use engine::graph::Op;

use super::architecture::{Architecture, Task};
use super::table::{ZOO, build};
use super::tensors::Tensors;

/// Sides of the images that published networks are for: tried where nobody says.
const SIDES: [usize; 4] = [32, 28, 64, 224];

/// Every architecture whose tensors are all there in their shapes, numbers filled in, in the order of the table.
///
/// `shape_of` gives the shape of a tensor by its bare name, as PyTorch's module calls it. Without a `task` the number
/// of classes and of channels are the tensors' own. An architecture that another one contains is left out: a ResNet-34
/// has every tensor of a ResNet-18. So two names in the answer have the same tensors and compute another function
/// of them: no file can say which.
pub fn detect(shape_of: &dyn Fn(&str) -> Option<Vec<usize>>, task: Option<Task>) -> Vec<String> {
    let mut fitting: Vec<(String, HashSet<String>)> = vec![];
    for row in ZOO {
        for (name, network) in candidates(row, shape_of, task) {
            let layout = network.layout();
            let mut wanted = layout.trainable().iter().chain(layout.statistics());
            if wanted.all(|entry| shape_of(&entry.name).as_ref() == Some(&entry.shape))
                && fitting.iter().all(|(known, _)| *known != name)
            {
                let wanted = layout.trainable().iter().chain(layout.statistics());
                fitting.push((name, wanted.map(|entry| entry.name.clone()).collect()));
            }
        }
    }
    let contained = |names: &HashSet<String>| {
        fitting.iter().any(|(_, others)| others.len() > names.len() && names.is_subset(others))
    };
    fitting.iter().filter(|(_, names)| !contained(names)).map(|(name, _)| name.clone()).collect()
}

/// The networks of a row that the tensors may belong to.
fn candidates(
    row: &'static Architecture,
    shape_of: &dyn Fn(&str) -> Option<Vec<usize>>,
    task: Option<Task>,
) -> Vec<(String, Network)> {
    let inputs = match task {
        Some(task) => vec![task.input],
        None => SIDES.map(|side| [3, side, side]).into(),
    };
    let mut found = vec![];
    for input in inputs {
        for name in (row.names)(row.name, &Tensors { shape_of, input }) {
            let network = match task {
                Some(task) => build(&name, task).ok(),
                None => own_task(&name, input, shape_of).and_then(|task| build(&name, task).ok()),
            };
            found.extend(network.map(|(_, network)| (name, network)));
        }
    }
    found
}

/// The task that the tensors themselves are for: channels of the first convolution, outputs of the last layer.
fn own_task(name: &str, input: [usize; 3], shape_of: &dyn Fn(&str) -> Option<Vec<usize>>) -> Option<Task> {
    let (_, network) = build(name, Task { input, classes: 10 }).ok()?;
    let weight = |node: Option<&engine::graph::Node>| shape_of(&format!("{}.weight", node?.name));
    let first = weight(network.nodes().iter().find(|node| matches!(node.op, Op::Conv2d(_))))?;
    let last = weight(network.nodes().last())?;
    let [_, height, width] = input;
    Some(Task { input: [*first.get(1)?, height, width], classes: *last.first()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIFAR: Task = Task { input: [3, 32, 32], classes: 10 };

    /// The shapes that a network of this name has, and `more`.
    fn shapes(name: &str, task: Task, more: &[&str]) -> impl Fn(&str) -> Option<Vec<usize>> {
        let (_, network) = build(name, task).unwrap();
        let layout = network.layout().clone();
        let more: Vec<String> = more.iter().map(|name| (*name).into()).collect();
        move |wanted| {
            let entry = layout.trainable().iter().chain(layout.statistics()).find(|e| e.name == wanted);
            entry.map(|e| e.shape.clone()).or_else(|| more.iter().any(|m| m == wanted).then(|| vec![3]))
        }
    }

    #[test]
    fn every_architecture_is_recognised_by_its_own_tensors() {
        let hundred = Task { input: [3, 32, 32], classes: 100 };
        for row in ZOO {
            for task in [CIFAR, hundred] {
                let shapes = shapes(row.example, task, &["mean", "num_batches_tracked"]);
                let names = (row.names)(row.name, &Tensors { shape_of: &shapes, input: task.input });
                for told in [Some(task), None] {
                    let found = detect(&shapes, told);
                    let wanted = !names.is_empty();
                    assert_eq!(found.iter().any(|name| name == row.example), wanted, "{found:?}");
                }
            }
        }
    }

    /// The pairs are facts of the published classes: a shortcut may be fed before or after the activation, and neither
    /// leaves a trace in the file.
    #[test]
    fn only_architectures_that_share_all_their_tensors_are_confused() {
        for row in ZOO {
            let found = detect(&shapes(row.example, CIFAR, &[]), Some(CIFAR));
            let with = |base: &str| row.example.replace(row.name, base);
            let alike = match row.name {
                "preact-resnet18" | "preact-resnet18-raw" => {
                    vec![with("preact-resnet18"), with("preact-resnet18-raw")]
                }
                "preact-resnet18-bn" | "preact-resnet18-raw-bn" => {
                    vec![with("preact-resnet18-bn"), with("preact-resnet18-raw-bn")]
                }
                // What happens to the image leaves no trace.
                "mma-wrn-D-W" => vec!["wrn-10-1".into()],
                _ => vec![row.example.to_owned()],
            };
            assert_eq!(found, alike, "{}", row.name);
        }
    }

    #[test]
    fn numbers_in_a_name_are_read_from_the_tensors() {
        for name in
            ["wrn-28-10", "wrn-34-20", "wrn-16-1", "mobilenet-v2", "mobilenet-v2-x0.35", "tiny-cnn-x4"]
        {
            assert_eq!(detect(&shapes(name, CIFAR, &[]), Some(CIFAR)), [name]);
        }
    }

    #[test]
    fn a_wide_resnet_of_the_size_that_mma_training_published_may_standardise_its_images() {
        let found = detect(&shapes("wrn-28-4", CIFAR, &[]), Some(CIFAR));
        assert_eq!(found, ["wrn-28-4", "mma-wrn-28-4"]);
    }

    #[test]
    fn another_number_of_classes_fits_only_where_nobody_says_how_many() {
        let shapes = shapes("resnet18", Task { input: [3, 32, 32], classes: 100 }, &[]);
        assert_eq!(detect(&shapes, Some(CIFAR)), [""; 0]);
        assert_eq!(detect(&shapes, None), ["resnet18"]);
    }

    #[test]
    fn a_file_that_answers_to_every_name_ends() {
        assert_eq!(detect(&|_| Some(vec![16, 16, 3, 3]), Some(CIFAR)), [""; 0]);
        assert_eq!(detect(&|_| Some(vec![]), None), [""; 0]);
    }
}
