//! A whole attack in one call of an engine.

use candle_core::{DType, Device, Tensor};
use engine::params::Precision;
use engine::{Ascent, AttackLoss, Engine, EngineError, Images, host};
use method::attack::{Answers, Field, Pgd, Start, Starts, Victim};
use method::rng::Purpose;
use method::soft::{kl, softmax};
use method::threat::Threat;
use rslad_tests::{cpu, reference, values};

use crate::small::{Small, network, uniform};

const IDS: [usize; 3] = [0, 1, 2];
const EPS: f64 = 8.0 / 255.0;
const BY: Ascent = Ascent { steps: 5, step_size: 2.0 / 255.0, eps: EPS };

fn teacher(small: &Small) -> Tensor {
    let logits = Tensor::from_vec(uniform(810, 30), (3, 10), &Device::Cpu).unwrap();
    (logits * 4.0).unwrap().to_dtype(small.params.precision().dtype()).unwrap()
}

fn attacked(engine: &dyn Engine, small: &Small, start: &Images, by: Ascent) -> Result<Images, EngineError> {
    let clean = small.images(&IDS).into();
    engine.attack(&small.network, &small.params, &clean, start, (&softmax(&teacher(small))?).into(), by)
}

#[test]
fn fleeing_a_distribution_is_climbing_the_kl_from_it() {
    let engine = reference(2);
    let small = network("resnet8", [3, 16, 16], Precision::F64);
    let student = Victim::new(&engine, &small.network, &small.params);
    let (images, teacher) = (small.images(&IDS).into(), teacher(&small));
    let starts = Starts { seed: 4, purpose: Purpose::Start, epoch: 0, images: &IDS };
    let pgd = |steps| Pgd { threat: Threat::linf(EPS), steps, step_size: 2.0 / 255.0, start: Start::Uniform };
    let value = |answers: &Answers| kl(&teacher, &answers.student);
    let field = Field { student, teacher: None, value: &value };
    for steps in [0, 5] {
        let climbed = pgd(steps).perturb(&field, &images, &starts, &mut |_| Ok(())).unwrap();
        let fled = pgd(steps).flee(&student, &softmax(&teacher).unwrap(), &images, &starts).unwrap();
        let [fled, climbed] = [fled, climbed].map(|images| values(images.tensor().unwrap()));
        let apart = fled.iter().zip(&climbed).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-12, "after {steps} steps they are {apart:.1e} apart");
    }
}

/// The value by candle's autograd, in f64; ties of logits, of which the first counts, do not occur.
#[test]
fn attacks_on_the_margin_and_the_ratio_climb_what_autograd_climbs() {
    type Value<'a> = &'a dyn Fn(&Tensor) -> candle_core::Result<Tensor>;

    let engine = reference(2);
    let small = network("resnet8", [3, 16, 16], Precision::F64);
    let student = Victim::new(&engine, &small.network, &small.params);
    let (images, labels) = (small.images(&IDS).into(), [3, 0, 7]);
    let starts = Starts { seed: 4, purpose: Purpose::Start, epoch: 0, images: &IDS };
    let pgd = Pgd { threat: Threat::linf(EPS), steps: 5, step_size: 2.0 / 255.0, start: Start::Uniform };
    let rows: Vec<u32> = labels.map(|label| label as u32).to_vec();
    let of_label = Tensor::new(rows, &Device::Cpu).unwrap().unsqueeze(1).unwrap();
    let gap = |logits: &Tensor| {
        let own = logits.gather(&of_label, 1)?;
        // The label's own logit, out of the way.
        let away = own.ones_like()?.broadcast_as((3, 10))?.contiguous()?.zeros_like()?.scatter_add(
            &of_label,
            &(own.ones_like()? * -1e9)?,
            1,
        )?;
        (logits + away)?.max(1)? - own.squeeze(1)?
    };
    let ratio = |logits: &Tensor| {
        let (sorted, _) = logits.sort_last_dim(false)?;
        gap(logits)? / ((sorted.narrow(1, 0, 1)? - sorted.narrow(1, 2, 1)?)? + 1e-12)?.squeeze(1)?
    };
    for (loss, value) in
        [(AttackLoss::Margin(&labels), &gap as Value), (AttackLoss::Dlr(&labels), &ratio as Value)]
    {
        let field = Field { student, teacher: None, value: &|answers: &Answers| value(&answers.student) };
        let climbed = pgd.perturb(&field, &images, &starts, &mut |_| Ok(())).unwrap();
        let whole = pgd.flee(&student, loss, &images, &starts).unwrap();
        let [whole, climbed] = [whole, climbed].map(|images| values(images.tensor().unwrap()));
        let apart = whole.iter().zip(&climbed).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-12, "{loss:?}: they are {apart:.1e} apart");
    }
}

#[test]
fn an_attack_of_many_steps_is_as_many_attacks_of_one_and_images_do_not_meet() {
    let small = network("resnet8", [3, 16, 16], Precision::F32);
    let start: Images = small.images(&IDS).into();
    let engines: [&dyn Engine; 2] = [&reference(2), &cpu(2)];
    for engine in engines {
        let at_once = attacked(engine, &small, &start, BY).unwrap();
        let one = |from: Images, _| attacked(engine, &small, &from, Ascent { steps: 1, ..BY }).unwrap();
        let step_by_step = (0..BY.steps).fold(start.clone(), one);
        let at_once = values(at_once.tensor().unwrap());
        assert_eq!(at_once, values(step_by_step.tensor().unwrap()), "{}", engine.name());
        let moved = values(start.tensor().unwrap());
        let moved = at_once.iter().zip(moved).filter(|(a, b)| (*a - b).abs() > 0.0).count();
        assert!(moved > at_once.len() / 2, "{} moves {moved} pixels", engine.name());
        // The second image alone, with its own target.
        let target = softmax(&teacher(&small)).unwrap().narrow(0, 1, 1).unwrap();
        let second = small.images(&[1]).into();
        let alone =
            engine.attack(&small.network, &small.params, &second, &second, (&target).into(), BY).unwrap();
        let size = at_once.len() / 3;
        assert_eq!(values(alone.tensor().unwrap()), at_once[size..2 * size], "{}", engine.name());
    }
}

#[test]
fn an_attack_on_what_does_not_fit_together_is_refused() {
    let small = network("tiny-cnn", [1, 12, 12], Precision::F32);
    let engines: [&dyn Engine; 2] = [&reference(1), &cpu(1)];
    for engine in engines {
        for steps in [0, 1] {
            let by = Ascent { steps, ..BY };
            let error = attacked(engine, &small, &small.images(&[0, 1]).into(), by).err().unwrap();
            assert!(matches!(error, EngineError::Attack { what: "start", .. }), "{error}");
            let wide = small.images(&IDS).to_dtype(DType::F64).unwrap().into();
            let error = attacked(engine, &small, &wide, by).err().unwrap();
            assert!(matches!(error, EngineError::Precision { .. }), "{error}");
            let images = small.images(&IDS).into();
            let target = Tensor::ones((3, 9), DType::F32, &Device::Cpu).unwrap();
            let error =
                engine.attack(&small.network, &small.params, &images, &images, (&target).into(), by).err();
            let error = error.unwrap().to_string();
            assert_eq!(error, "the attack's target is [3, 9]; wanted [3, 10]");
            for (labels, wanted) in [
                (&[1, 2][..], "the attack's number of labels is [2]; wanted [3]"),
                (&[1, 10, 2], "image 1 of an attack has label 10; there are 10 classes, from 0"),
            ] {
                for loss in [AttackLoss::Margin(labels), AttackLoss::Dlr(labels)] {
                    let error = engine.attack(&small.network, &small.params, &images, &images, loss, by);
                    assert_eq!(error.err().unwrap().to_string(), wanted);
                }
            }
        }
    }
}

#[test]
fn state_of_other_parameters_is_refused() {
    use engine::params::{Params, Values};
    use engine::{Descent, Grads};

    let small = network("resnet8", [3, 16, 16], Precision::F32);
    let other = network("tiny-cnn", [3, 16, 16], Precision::F32);
    let len = small.params.trainable().len();
    let by = Descent { momentum: 0.9, weight_decay: 0.0, rate: 0.1, nesterov: false };
    let descend = |grads: &Grads, mut velocity: Values| {
        let error = host::descend(&mut small.params.clone(), grads, &mut velocity, by);
        error.err().map(|error| error.to_string())
    };
    let fresh = || Values::zeros(len, Precision::F32);
    assert_eq!(descend(&small.grads(), fresh()), None);
    assert!(descend(&other.grads(), fresh()).unwrap().starts_with("the gradients: "));
    let wide = Grads::zeros(small.network.layout(), Precision::F64);
    assert!(descend(&wide, fresh()).unwrap().starts_with("the gradients: "));
    for velocity in [Values::zeros(len - 1, Precision::F32), Values::zeros(len, Precision::F64)] {
        assert!(descend(&small.grads(), velocity).unwrap().starts_with("the velocity: "));
    }
    let average = |mut average: Params| host::follow(&mut average, &small.params, 0.5).err();
    assert!(average(small.params.clone()).is_none());
    for wrong in [other.params.clone(), small.params.to_precision(Precision::F64)] {
        assert!(matches!(average(wrong), Some(EngineError::State { what: "average", .. })));
    }
    let stats = small.run(&reference(1), &[0, 1], engine::Norm::Batch).stats;
    let moved = |network, mut params: Params| host::move_statistics(network, &mut params, &stats).err();
    assert!(moved(&small.network, small.params.clone()).is_none());
    assert!(matches!(moved(&other.network, small.params.clone()), Some(EngineError::Params { .. })));
    let wide = small.params.to_precision(Precision::F64);
    assert!(matches!(moved(&small.network, wide), Some(EngineError::State { .. })));
}
