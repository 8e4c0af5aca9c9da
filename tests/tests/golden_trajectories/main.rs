//! Twenty training steps of each method, in f64, against PyTorch: attack, loss, parameters, statistics, momentum.
//!
//! The step is the trainer's own, the order and views of the images are those of a run, and views are cut by the dataset.

mod run;
mod snord;

use rslad_tests::{relative, summaries};

use run::{AUGMENT, File, file, follow, follow_in, follow_live};

#[test]
fn the_data_is_what_pytorch_was_given() {
    let (File { settings, labels, pixels0, teacher0, .. }, _) = file("trajectories");
    let dataset = settings.dataset(None);
    assert_eq!(AUGMENT.views(), settings.views);
    assert_eq!(dataset.labels(), labels);
    let pixels = dataset.pixels(0).iter().map(|&pixel| f64::from(pixel)).collect();
    summaries(&[("image 0".into(), pixels)], &[&pixels0]).at_most(1e-15, "pixels");
    let apart = relative(&settings.teacher(0, 0), &teacher0);
    assert!(apart <= 1e-15, "teacher logits are off by {apart:.1e}");
}

#[test]
fn rslad_trains_resnet8_as_in_pytorch() {
    follow("rslad", "resnet8");
}

#[test]
fn trades_trains_resnet8_as_in_pytorch() {
    follow("trades", "resnet8");
}

#[test]
fn sat_trains_resnet8_as_in_pytorch() {
    follow("sat", "resnet8");
}

#[test]
fn rslad_trains_a_narrow_mobilenet_as_in_pytorch() {
    follow("rslad", "mobilenet-v2-x0.25");
}

#[test]
fn trades_trains_a_narrow_mobilenet_as_in_pytorch() {
    follow("trades", "mobilenet-v2-x0.25");
}

#[test]
fn sat_trains_a_narrow_mobilenet_as_in_pytorch() {
    follow("sat", "mobilenet-v2-x0.25");
}

#[test]
fn adaad_trains_resnet8_beside_a_teacher_as_in_pytorch() {
    follow("adaad", "resnet8");
}

#[test]
fn absld_trains_resnet8_with_the_temperatures_of_pytorch() {
    follow("absld", "resnet8");
}

#[test]
fn absld_as_published_divides_both_targets_by_both_temperatures() {
    follow("absld+as-published", "resnet8");
}

#[test]
fn ard_trains_resnet8_as_in_pytorch() {
    follow("ard", "resnet8");
}

#[test]
fn fair_ard_trains_resnet8_with_the_weights_of_pytorch() {
    follow("fair-ard", "resnet8");
}

#[test]
fn fair_rslad_trains_resnet8_with_the_weights_of_pytorch() {
    follow("fair-rslad", "resnet8");
}

#[test]
fn iad_trains_resnet8_as_in_pytorch_before_and_after_it_begins_to_listen_to_itself() {
    follow_live("iad");
}

#[test]
fn iad_ii_trains_resnet8_beside_two_teachers_as_in_pytorch() {
    follow_live("iad-ii");
}

#[test]
fn adaiad_trains_resnet8_beside_a_teacher_as_in_pytorch() {
    follow_live("adaiad");
}

#[test]
fn mtard_trains_resnet8_with_the_weights_of_pytorch() {
    follow_live("mtard");
}

#[test]
fn saad_trains_resnet8_beside_a_teacher_as_in_pytorch() {
    follow_live("saad");
}

#[test]
fn igdm_on_rslad_trains_resnet8_with_the_ramp_of_pytorch() {
    follow_live("rslad+igdm");
}

#[test]
fn igdm_on_adaad_trains_resnet8_with_the_ramp_of_pytorch() {
    follow_live("adaad+igdm");
}

#[test]
fn adr_trains_resnet8_on_the_annealed_answers_of_its_own_average_as_in_pytorch() {
    follow_live("adr");
}

#[test]
fn mart_trains_resnet8_as_in_pytorch() {
    follow("mart", "resnet8");
}

#[test]
fn sat_under_weight_perturbation_trains_resnet8_as_in_pytorch() {
    follow("sat+awp", "resnet8");
}

#[test]
fn trades_under_weight_perturbation_trains_resnet8_as_in_pytorch() {
    follow("trades+awp", "resnet8");
}

/// Clean distillation, heads of two blocks, and maps of another size and width than the teacher's.
#[test]
fn dpk_on_kd_trains_resnet8_and_its_heads_as_in_pytorch() {
    follow_in("dpk", "kd+dpk", "resnet8");
}

#[test]
#[ignore = "minutes: `cargo test --workspace --test golden_trajectories -- --ignored`"]
fn dpk_on_rslad_trains_resnet8_and_its_heads_as_in_pytorch() {
    follow_in("dpk", "rslad+dpk", "resnet8");
}

/// Its clean forward is there for the maps alone, and moves the running statistics after the adversarial one.
#[test]
#[ignore = "minutes: `cargo test --workspace --test golden_trajectories -- --ignored`"]
fn dpk_on_sat_trains_resnet8_and_its_heads_as_in_pytorch() {
    follow_in("dpk", "sat+dpk", "resnet8");
}
