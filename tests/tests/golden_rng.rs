//! Random numbers, the orders and views that follow from them, initial values, and the pixels of views, against an
//! independent implementation in NumPy.

#![allow(clippy::float_cmp)] // Equal bits are the promise here.

use candle_core::{DType, Device, Tensor};
use data::{ImageShape, cut};
use engine::params::Precision;
use labels::Augment;
use method::attack::{Answers, Field, Pgd, Start, Starts, Victim};
use method::init::initialise;
use method::rng::{Purpose, Stream};
use method::threat::Threat;
use method::view::{drawn_view, epoch_order, picked_views};
use rslad_tests::{json, reference};
use serde::Deserialize;
use serde_json::Value;
use zoo::Task;

const PURPOSES: [(&str, Purpose); 7] = [
    ("init", Purpose::Init),
    ("order", Purpose::Order),
    ("view", Purpose::View),
    ("pick", Purpose::Pick),
    ("start", Purpose::Start),
    ("holdout", Purpose::Holdout),
    ("eval", Purpose::Eval),
];

fn purpose(name: &str) -> Purpose {
    PURPOSES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("purpose {name}")).1
}

/// One section of `rng.json`.
fn section<T: for<'a> Deserialize<'a>>(name: &str) -> Vec<T> {
    let mut all: Value = json("rng.json");
    let rows: Vec<T> = serde_json::from_value(all[name].take()).unwrap();
    assert!(!rows.is_empty(), "{name} has rows");
    rows
}

#[test]
fn purposes_have_their_documented_numbers() {
    let all: Value = json("rng.json");
    for (name, purpose) in PURPOSES {
        assert_eq!(all["purposes"][name], purpose as u32, "{name}");
    }
    assert_eq!(all["purposes"].as_object().unwrap().len(), PURPOSES.len());
}

#[test]
fn words_of_every_seed_agree() {
    #[derive(Deserialize)]
    struct Row {
        counter: [usize; 4],
        key: [u64; 2],
        words: [u64; 4],
    }
    let mut tried = 0;
    for row in section::<Row>("philox") {
        let [number, epoch, image, block] = row.counter;
        // A published counter that starts with no purpose's number is tried beside the function itself.
        let Some((_, purpose)) = PURPOSES.get(number) else { continue };
        let stream = Stream::new(row.key[0] | row.key[1] << 32, *purpose, epoch, image);
        let [a, b, c, d] = row.words;
        assert_eq!(stream.draws(block), [a | b << 32, c | d << 32], "counter {:?}", row.counter);
        tried += 1;
    }
    assert!(tried >= 5, "only {tried} rows fit");
}

#[test]
fn draws_of_every_purpose_agree() {
    #[derive(Deserialize)]
    struct Row {
        seed: u64,
        purpose: String,
        epoch: usize,
        image: usize,
        block: usize,
        lo: u64,
        hi: u64,
    }
    for Row { seed, purpose: name, epoch, image, block, lo, hi } in section("draws") {
        let stream = Stream::new(seed, purpose(&name), epoch, image);
        assert_eq!(stream.draws(block), [lo, hi], "{name} of seed {seed}");
    }
}

#[derive(Deserialize)]
struct Vector {
    seed: u64,
    purpose: String,
    epoch: usize,
    image: usize,
    values: [f64; 7],
    bits: [String; 7],
}

impl Vector {
    fn stream(&self) -> Stream {
        Stream::new(self.seed, purpose(&self.purpose), self.epoch, self.image)
    }

    fn wanted(&self) -> [f64; 7] {
        let bits = self.bits.each_ref().map(|bits| f64::from_bits(u64::from_str_radix(bits, 16).unwrap()));
        assert_eq!(bits, self.values, "decimals read back exactly");
        bits
    }
}

#[test]
fn uniforms_agree_in_every_bit() {
    for row in section::<Vector>("uniforms") {
        let mut found = [f64::NAN; 7];
        row.stream().uniforms(&mut found);
        assert_eq!(found, row.wanted(), "{} of seed {}", row.purpose, row.seed);
    }
}

/// Ours are the same bits everywhere because logarithm, cosine and sine come from `libm`. NumPy's come from the C library of the
/// machine that wrote the file: each may round once differently, and a product of two rounds again.
#[test]
fn normals_agree_but_for_the_last_digit_of_a_logarithm_or_cosine() {
    let mut equal = 0;
    for row in section::<Vector>("normals") {
        let mut found = [f64::NAN; 7];
        row.stream().normals(&mut found);
        for (found, wanted) in found.into_iter().zip(row.wanted()) {
            let apart = found.to_bits().abs_diff(wanted.to_bits());
            assert!(apart <= 2, "{found} and {wanted} are {apart} units apart, seed {}", row.seed);
            equal += usize::from(apart == 0);
        }
    }
    assert!(equal >= 60, "most of the 84 are equal, here {equal}");
}

#[test]
fn attacks_start_where_they_should() {
    #[derive(Deserialize)]
    struct Row {
        seed: u64,
        epoch: usize,
        image: usize,
        eps: f64,
        gaussian: [f64; 7],
        uniform: [f64; 7],
    }
    let task = Task { input: [1, 28, 28], classes: 10 };
    let (row, network) = zoo::build("tiny-cnn", task).unwrap();
    let params = initialise(&network, row.init, 0, Precision::F64);
    let engine = reference(1);
    let value = |_: &Answers| unreachable!("there is no step");
    let field = Field { student: Victim::new(&engine, &network, &params), teacher: None, value: &value };
    // From a black image the start itself is left.
    let black = Tensor::zeros((1, 1, 28, 28), DType::F64, &Device::Cpu).unwrap().into();
    for row in section::<Row>("starts") {
        let starts =
            Starts { seed: row.seed, purpose: Purpose::Start, epoch: row.epoch, images: &[row.image] };
        for (start, wanted) in
            [(Start::Gaussian { sigma: 0.001 }, row.gaussian), (Start::Uniform, row.uniform)]
        {
            let pgd = Pgd { threat: Threat::linf(row.eps), steps: 0, step_size: 0.0, start };
            let begun = pgd.perturb(&field, &black, &starts, &mut |_| Ok(())).unwrap();
            let begun = begun.tensor().unwrap().flatten_all().unwrap();
            let found = begun.narrow(0, 0, 7).unwrap().to_vec1::<f64>().unwrap();
            for (found, wanted) in found.iter().zip(wanted) {
                assert!((found - wanted).abs() <= 1e-15 * wanted.abs(), "{start:?}: {found}, not {wanted}");
            }
        }
    }
}

#[test]
fn epochs_have_their_order() {
    #[derive(Deserialize)]
    struct Row {
        seed: u64,
        epoch: usize,
        images: usize,
        order: Vec<usize>,
    }
    for Row { seed, epoch, images, order } in section("orders") {
        let all: Vec<usize> = (0..images).collect();
        assert_eq!(epoch_order(seed, epoch, &all), order, "epoch {epoch} of seed {seed}");
    }
}

fn with_views(views: u32) -> Augment {
    let all = ["none", "flip", "crop2", "crop4", "crop4+flip"].map(|name| name.parse::<Augment>().unwrap());
    all.into_iter().find(|augment| augment.views() == views).unwrap()
}

#[test]
fn images_have_their_views() {
    #[derive(Deserialize)]
    struct Row {
        seed: u64,
        epoch: usize,
        views: u32,
        of_image: Vec<u16>,
    }
    for Row { seed, epoch, views, of_image } in section("views") {
        let found: Vec<u16> =
            (0..16).map(|image| drawn_view(with_views(views), seed, epoch, image)).collect();
        assert_eq!(found, of_image, "{views} views, epoch {epoch} of seed {seed}");
    }
}

#[test]
fn random_views_are_those_with_the_smallest_draws() {
    #[derive(Deserialize)]
    struct Row {
        seed: u64,
        image: usize,
        views: u32,
        count: u32,
        picked: Vec<u16>,
    }
    for Row { seed, image, views, count, picked } in section("picks") {
        assert_eq!(picked_views(with_views(views), count, seed, image), picked, "{count} of {views}");
    }
}

#[test]
fn initial_values_are_pytorchs_distributions_drawn_from_the_streams() {
    #[derive(Deserialize)]
    struct Row {
        architecture: String,
        input: [usize; 3],
        classes: usize,
        seed: u64,
        tensor: usize,
        name: String,
        shape: Vec<usize>,
        at: [usize; 4],
        values: [f64; 4],
    }
    for row in section::<Row>("initial") {
        let task = Task { input: row.input, classes: row.classes };
        let (known, network) = zoo::build(&row.architecture, task).unwrap();
        let params = initialise(&network, known.init, row.seed, Precision::F64);
        let entry = &network.layout().trainable()[row.tensor];
        let place = format!("{} {}", row.architecture, row.name);
        assert_eq!((&entry.name, &entry.shape), (&row.name, &row.shape), "{place}");
        for (at, wanted) in row.at.into_iter().zip(row.values) {
            let found = params.trainable().get(entry.range.start + at);
            assert!((found - wanted).abs() <= 1e-15 * wanted.abs(), "{place}[{at}]: {found}, not {wanted}");
        }
    }
}

#[test]
fn views_have_pytorchs_pixels() {
    #[derive(Deserialize)]
    struct Image {
        augmentation: String,
        hwc: [usize; 3],
        pixels: Vec<u8>,
    }
    #[derive(Deserialize)]
    struct Cut {
        augmentation: String,
        view: u16,
        chw: Vec<f32>,
    }
    #[derive(Deserialize)]
    struct File {
        images: Vec<Image>,
        cuts: Vec<Cut>,
    }
    let file: File = json("views.json");
    assert!(file.cuts.len() > 10);
    for Cut { augmentation, view, chw } in file.cuts {
        let image = file.images.iter().find(|image| image.augmentation == augmentation).unwrap();
        let [height, width, channels] = image.hwc;
        let augment: Augment = augmentation.parse().unwrap();
        let mut found = vec![f32::NAN; chw.len()];
        let shape = ImageShape::new(height, width, channels);
        cut(&image.pixels, shape, augment, augment.view(view).unwrap(), &mut found);
        assert_eq!(found, chw, "{augmentation} view {view}");
    }
}
