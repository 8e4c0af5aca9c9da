//! SNORD: few labels, a strong view and the student's own average.

use candle_core::{Device, Tensor};
use method::average::Average;
use method::objective::{Objective, Snord, UNLABELLED};
use method::optim::Sgd;
use method::threat::Threat;
use rslad_tests::{Golden, reference_of, relative, summaries, values};
use stage2_distill::step::{Moving, TrainStep};

use crate::run::{BOUND, File, Visit, agrees, file};

/// `golden_snord.py`: one image of four has its label, and the strong view is another one of the 162.
#[test]
fn snord_trains_resnet8_with_few_labels_as_in_pytorch() {
    const DECAY: f64 = 0.75;
    let (File { settings, .. }, golden) = (file("trajectories").0, Golden::open("snord.safetensors"));
    let (dataset, engine) = (settings.dataset(None), reference_of(8));
    let (network, params) = settings.network("resnet8", settings.seed);
    let objective = Snord { threshold: 0.25, beta: 2.0, warm_epochs: 1, ..Snord::default() };
    let step = TrainStep {
        engine: &engine,
        network: &network,
        objective: &objective,
        taps: None,
        teacher: None,
        second: None,
        threat: Threat::linf(settings.eps),
        steps: settings.attack_steps,
        step_size: settings.step_size,
        seed: settings.seed,
    };
    let sgd = Sgd::new(&params, settings.momentum, settings.weight_decay);
    let average = Some(Average::new(DECAY, &params));
    let mut moving = Moving { average, ..Moving::new(params, sgd, objective.memory(settings.classes)) };
    let place = "snord/resnet8";
    let (losses, attacked) =
        (golden.values(&format!("{place}/losses")), golden.rows(&format!("{place}/adversarial")));
    for (number, visit) in settings.visits(8).iter().enumerate() {
        let mut batch = settings.batch(&dataset, visit, 0.0);
        let views = visit.views.iter().map(|&view| (3 * view + 1) % settings.views as u16).collect();
        let strong = Visit { epoch: visit.epoch, images: visit.images.clone(), views };
        batch.strong = Some(settings.batch(&dataset, &strong, 0.0).clean.images);
        let known = |&image: &usize| if image % 4 == 0 { dataset.labels()[image] as u32 } else { UNLABELLED };
        batch.labels = Tensor::new(visit.images.iter().map(known).collect::<Vec<_>>(), &Device::Cpu).unwrap();
        let outcome = step.run(&mut moving, batch, 0.05).unwrap();
        let adversarial = values(outcome.adversarial.unwrap().tensor().unwrap());
        let adversarial = [(format!("step {}", number + 1), adversarial)];
        summaries(&adversarial, &attacked[number..=number]).at_most(BOUND, place);
        let apart = relative(&[outcome.loss], &losses[number..=number]);
        assert!(apart <= BOUND, "{place}: the loss of step {} is off by {apart:.1e}", number + 1);
        if golden.has(&format!("{place}/step{}/average", number + 1)) {
            agrees(&moving, &golden, place, number + 1);
        }
    }
    assert!(golden.has(&format!("{place}/step20/average")), "the end is compared");
}
