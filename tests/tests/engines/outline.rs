//! How much of a pass runs at once, as the plan has it: operations beside PyTorch's count, chains beside counts by hand.

use engine::graph::{Builder, Conv2d};
use engine::{Cpu, Keep, Network, Norm, Outline};
use zoo::Task;

const FORWARD: (Norm, Keep) = (Norm::Running, Keep::Nothing);
const ATTACK: (Norm, Keep) = (Norm::Running, Keep::ForImage);
const TRAIN: (Norm, Keep) = (Norm::Batch, Keep::ForParams);

fn network(name: &str) -> Network {
    zoo::build(name, Task { input: [3, 32, 32], classes: 10 }).unwrap().1
}

fn outline(network: &Network, (norm, keep): (Norm, Keep), images: usize, threads: usize) -> Outline {
    Cpu::new(1).unwrap().outline(network, norm, keep, images, threads)
}

/// `torch.utils.flop_counter.FlopCounterMode` of PyTorch 2.15 over two images on the networks of `bench/networks.py`: a forward,
/// with the images' gradient, with the parameters'. It counts the weight gradient of grouped convolutions as if they were dense,
/// so a training pass of MobileNetV2 is not among them.
const PYTORCH: [(&str, (Norm, Keep), u64); 11] = [
    ("resnet18", FORWARD, 2_221_690_880),
    ("resnet18", ATTACK, 4_443_381_760),
    ("resnet18", TRAIN, 6_657_994_752),
    ("wrn-34-10", FORWARD, 26_635_625_472),
    ("wrn-34-10", ATTACK, 53_271_250_944),
    ("wrn-34-10", TRAIN, 79_905_106_944),
    ("mobilenet-v2", FORWARD, 364_619_776),
    ("mobilenet-v2", ATTACK, 729_239_552),
    ("resnet8", FORWARD, 50_006_528),
    ("resnet8", ATTACK, 100_013_056),
    ("resnet8", TRAIN, 148_250_112),
];

#[test]
fn operations_of_convolutions_are_those_that_pytorch_counts() {
    for (name, mode, wanted) in PYTORCH {
        assert_eq!(outline(&network(name), mode, 2, 1).flop as u64, wanted, "{name}, {mode:?}");
    }
}

#[test]
fn one_thread_does_all_of_the_work_and_more_never_more_than_their_share() {
    for name in ["resnet18", "wrn-34-10", "mobilenet-v2"] {
        let network = network(name);
        for mode in [FORWARD, ATTACK, TRAIN] {
            let one = outline(&network, mode, 128, 1);
            assert!((one.chain() / one.work() - 1.0).abs() < 1e-9, "{name}, {mode:?}");
            for threads in [2, 3, 8, 16, 64] {
                let several = outline(&network, mode, 128, threads);
                assert!((several.work() / one.work() - 1.0).abs() < 1e-9);
                let share = several.work() / threads as f64;
                assert!(several.chain() >= share * (1.0 - 1e-9), "{name}, {mode:?}, {threads} threads");
                assert!(several.chain() < one.chain(), "{name}, {mode:?}, {threads} threads");
                assert!(several.waits() >= several.segments.len());
            }
        }
    }
}

#[test]
fn a_forward_of_few_images_is_cut_as_it_is_by_hand() {
    let (mut b, x) = Builder::new([16, 4, 4]);
    let x = b.conv("conv", Conv2d::new(16, 1), x).unwrap();
    let x = b.max_pool(4, x).unwrap();
    let x = b.node("flat", engine::graph::Op::Flatten, &[x]).unwrap();
    b.linear("classifier", 2, x).unwrap();
    let network = b.finish("by-hand").unwrap();
    // Nothing is summed over the batch, so a thread takes half of its share at a time: of 8 images, 2 by two threads, as by
    // three, of which one has two pairs; 1 by five threads, of which three have two.
    for (threads, longest) in [(1, 8.0), (2, 4.0), (3, 4.0), (5, 2.0), (8, 1.0), (64, 1.0)] {
        let outline = outline(&network, FORWARD, 8, threads);
        let images = 8.0 * outline.chain() / outline.work();
        assert!((images - longest).abs() < 1e-9, "{threads} threads: {images} images one after the other");
    }
}

#[test]
fn threads_beyond_the_parts_of_a_sum_still_shorten_the_chain() {
    // ResNet-18's weight gradients of 256 to 512 channels at stride 2 are summed in four parts, those of 128 channels in eight.
    let network = network("resnet18");
    for (name, parts) in [("layer4.0.conv1", 4.0), ("layer2.1.conv2", 8.0)] {
        let outline = outline(&network, TRAIN, 128, 64);
        let is_it = |segment: &&engine::Stretch| segment.name.ends_with(&format!(" gradient of {name}"));
        let segment = outline.segments.iter().find(is_it).unwrap_or_else(|| panic!("no segment for {name}"));
        let chain = segment.chain / segment.work;
        assert!(chain < 0.5 / parts, "{name}: {chain} of its work one after the other");
    }
}
