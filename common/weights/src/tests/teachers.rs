//! Two published teachers, where `RSLAD_DATA` names the folder that holds them.
//!
//! The numbers are PyTorch 2.15's, in f64: the sum of a tensor, and the sum with its elements times their
//! place modulo 97, counted from 1, which tells a transposed tensor from a right one.

use super::*;

type Row = (&'static str, &'static [usize], f64, f64);

const RESNET4B: [Row; 26] = [
    ("conv1.weight", &[16, 3, 3, 3], -0.6218435556220356, 120.04364134927164),
    ("conv1.bias", &[16], -0.6978646256029606, -0.5563440136611462),
    ("layer1.0.conv1.weight", &[32, 16, 3, 3], 19.66411691290523, 1108.1191700406198),
    ("layer1.0.conv1.bias", &[32], -0.3410655914340168, -25.115071553504094),
    ("layer1.0.conv2.weight", &[32, 32, 3, 3], 11.912324190385789, 702.078878065663),
    ("layer1.0.conv2.bias", &[32], 1.407978891627863, 15.918419738532975),
    ("layer1.0.shortcut.0.weight", &[32, 16, 1, 1], 1.1312663949720445, 6.794774342233723),
    ("layer1.0.shortcut.0.bias", &[32], 1.3395637429784983, 14.735850956523791),
    ("layer1.1.conv1.weight", &[32, 32, 3, 3], -30.58908229246731, -1104.979269546215),
    ("layer1.1.conv1.bias", &[32], -2.193222007197619, -33.987846148411336),
    ("layer1.1.conv2.weight", &[32, 32, 3, 3], -25.72306932277661, -1180.603365556428),
    ("layer1.1.conv2.bias", &[32], -3.188912281766534, -59.706750221550465),
    ("layer2.0.conv1.weight", &[32, 32, 3, 3], 23.293026650683714, 793.9091967623308),
    ("layer2.0.conv1.bias", &[32], 1.1842375677078962, 15.608436605427414),
    ("layer2.0.conv2.weight", &[32, 32, 3, 3], 17.667709299162198, 1071.9502578071833),
    ("layer2.0.conv2.bias", &[32], 3.283758617937565, 39.107930144295096),
    ("layer2.0.shortcut.0.weight", &[32, 32, 1, 1], 5.848856379682275, 293.2263609728566),
    ("layer2.0.shortcut.0.bias", &[32], 3.3118184935301542, 39.67770453169942),
    ("layer2.1.conv1.weight", &[32, 32, 3, 3], -38.90656262950142, -1837.402926877301),
    ("layer2.1.conv1.bias", &[32], -4.900666607543826, -88.46751508489251),
    ("layer2.1.conv2.weight", &[32, 32, 3, 3], -78.69784438450779, -3776.607471659208),
    ("layer2.1.conv2.bias", &[32], -3.0286328331567347, -61.29407256608829),
    ("linear1.weight", &[100, 512], -49.35258220679435, -1957.0725620533374),
    ("linear1.bias", &[100], 5.3253125968331005, 231.23502202381496),
    ("linear2.weight", &[10, 100], 0.06476549962826539, 10.492011867900146),
    ("linear2.bias", &[10], 0.0018573664128780365, -0.6189013514667749),
];

const SMALL_CNN: [Row; 14] = [
    ("feature_extractor.conv1.weight", &[32, 1, 3, 3], -18.946480975509985, -437.65553985337465),
    ("feature_extractor.conv1.bias", &[32], -14.224965246859938, -206.6903064851649),
    ("feature_extractor.conv2.weight", &[32, 32, 3, 3], -49.83863827960022, -2165.302821943002),
    ("feature_extractor.conv2.bias", &[32], -1.2746795293060131, -16.510782989440486),
    ("feature_extractor.conv3.weight", &[64, 32, 3, 3], -162.2441171516059, -6959.853755769771),
    ("feature_extractor.conv3.bias", &[64], 3.088469935071771, 103.01305439473072),
    ("feature_extractor.conv4.weight", &[64, 64, 3, 3], -502.75610117252313, -24909.839513125266),
    ("feature_extractor.conv4.bias", &[64], 7.484439284191467, 230.8610267486656),
    ("classifier.fc1.weight", &[200, 1024], -852.9342663144388, -39582.47990093649),
    ("classifier.fc1.bias", &[200], 4.0341195321816485, 230.14296570621082),
    ("classifier.fc2.weight", &[200, 200], -748.6387123214433, -35928.421386370464),
    ("classifier.fc2.bias", &[200], 80.65033674892038, 3920.4650150397792),
    ("classifier.fc3.weight", &[10, 200], 0.014977427868871018, 8.651856751093874),
    ("classifier.fc3.bias", &[10], 0.0003674643812701106, -1.032002089661546),
];

#[test]
fn the_cifar10_teacher_in_zip_form_reads_as_pytorch_reads_it() {
    agrees("resnet4b_cifar10.pth", &["state_dict"], &RESNET4B);
}

#[test]
fn the_mnist_teacher_in_the_form_before_1_6_reads_as_pytorch_reads_it() {
    agrees("small_cnn_mnist.pt", &[], &SMALL_CNN);
}

fn agrees(file: &str, nesting: &[&str], rows: &[Row]) {
    let Some(folder) = std::env::var_os("RSLAD_DATA") else {
        eprintln!("skipped: RSLAD_DATA is not set, and {file} is not part of the repository");
        return;
    };
    let state = read(&PathBuf::from(folder).join("teachers").join(file)).unwrap();
    assert_eq!(state.nesting, nesting);
    assert_eq!(state.len(), rows.len());
    for ((name, tensor), (wanted_name, shape, sum, placed)) in state.iter().zip(rows) {
        assert_eq!((name, tensor.shape(), tensor.dtype()), (*wanted_name, *shape, Dtype::F32));
        let values = tensor.to_f64();
        let found: f64 = values.iter().sum();
        let found_placed: f64 =
            values.iter().enumerate().map(|(i, value)| value * ((i + 1) % 97) as f64).sum();
        // Only the order of summation may differ.
        let slack = 1e-13 * values.iter().map(|value| value.abs()).sum::<f64>();
        assert!((found - sum).abs() <= slack, "{name}: wanted the sum {sum}, found {found}");
        assert!(
            (found_placed - placed).abs() <= 97.0 * slack,
            "{name}: wanted {placed}, found {found_placed}"
        );
    }
}
