use super::*;

fn args(teacher: &str, student: &str, views: &str, epochs: usize) -> EstimateArgs {
    let data = "cifar10:unread".parse().unwrap();
    EstimateArgs {
        teacher_arch: teacher.into(),
        student: student.into(),
        data: DataArgs { data, size: None, split: data::Split::Train, limit: None },
        images: NonZeroUsize::new(50_000),
        views: ViewArgs { augment: None, views: views.parse().unwrap() },
        taps: TapArgs::default(),
        top_k: None,
        epochs: NonZeroUsize::new(epochs).unwrap(),
        batch: NonZeroUsize::new(512).unwrap(),
        student_batch: NonZeroUsize::new(128).unwrap(),
        objective: "rslad".into(),
        set: Vec::new(),
        steps: NonZeroUsize::new(10).unwrap(),
        json: false,
    }
}

fn estimate_on(device: &str, teacher: &str, student: &str, views: &str, epochs: usize) -> Estimate {
    let machine = MachineArgs { engine: Some(device.parse().unwrap()), ..MachineArgs::default() };
    run(&args(teacher, student, views, epochs), &machine.machine()).unwrap()
}

fn estimate(teacher: &str, student: &str, views: &str, epochs: usize) -> Estimate {
    estimate_on("cpu", teacher, student, views, epochs)
}

fn near(found: f64, wanted: f64, within: f64) {
    assert!((found - wanted).abs() <= within, "{found}, wanted {wanted}");
}

/// Teacher's shares and total savings computed from published MACs: 6.659 G, 555.42 M and 91.15 M.
#[test]
fn shares_of_the_teacher_are_those_of_the_macs() {
    let resnet = estimate("wrn-34-10", "resnet18", "all", 300);
    near(resnet.teacher_share, 31.6, 0.05);
    near(resnet.saved_in_first_run, 14.5, 0.05);
    let mobile = estimate("wrn-34-10", "mobilenet-v2", "all", 300);
    near(mobile.teacher_share, 73.8, 0.05);
    near(mobile.saved_in_first_run, 33.9, 0.05);
    near(estimate("wrn-28-10", "resnet18", "all", 300).teacher_share, 26.6, 0.05);
}

#[test]
fn all_views_break_even_after_their_number() {
    let all = estimate("resnet4b", "resnet8", "all", 300);
    assert_eq!((all.rows, all.online_forwards), (8_100_000, 15_000_000));
    assert_eq!(all.break_even_epochs, 162);
    near(all.share_of_online, 54.0, 1e-9);
    // 10 halves a row are 162 MB; views, offsets, labels, hashes and headers come on top.
    near(all.bytes.f16.unwrap().safetensors as f64, 162e6 + 16.2e6 + 1.4e6, 0.1e6);
}

/// 162 (1 - (161/162)^300) = 136.72 distinct views per image.
#[test]
fn a_plan_has_as_many_rows_as_chance_gives() {
    let plan = estimate("resnet4b", "resnet8", "plan:300@0", 300);
    near(plan.rows as f64, 6.836e6, 0.01e6);
    near(plan.share_of_online, 45.6, 0.05);
    assert!(plan.serves_all_epochs);
    assert!(!estimate("resnet4b", "resnet8", "plan:10@0", 11).serves_all_epochs);
    assert_eq!(estimate("resnet4b", "resnet8", "random:3@1", 300).rows, 150_000);
}

/// 65,025 views are all seen after some 800,000 epochs; a billion images of that are not counted one by one.
#[test]
fn a_plan_beyond_all_measure_is_estimated_from_its_first_images() {
    let plan = ViewPlan { augment: "crop127".parse().unwrap(), views: "plan:4294967295@0".parse().unwrap() };
    assert_eq!(count_rows(plan, 1_000_000_000), 65_025_000_000_000);
    let plan = ViewPlan { augment: "crop4+flip".parse().unwrap(), views: "plan:300@0".parse().unwrap() };
    let share = count_rows(plan, 1_000_000_000) as f64 / 1e9;
    near(share, 136.72, 0.03);
}

fn estimate_of(objective: &str, set: &[(&str, f64)]) -> Estimate {
    let args = EstimateArgs {
        objective: objective.into(),
        set: set.iter().map(|&(key, value)| (key.into(), value)).collect(),
        ..args("wrn-34-10", "resnet18", "all", 300)
    };
    run(&args, &MachineArgs::default().machine()).unwrap()
}

/// GMAC an image of ResNet-18 beside WRN-34-10: IGDM on RSLAD 37.8, of which 17.6 % can be cached and 35.3 % cannot;
/// AdaAD 152.6, of which 91.6 % is the live teacher; 1 T and 20 T of 6.659 G, 26 and 29 F of 555.42 M by hand.
#[test]
fn what_a_live_teacher_costs_stays_in_every_step() {
    let igdm = estimate_of("rslad", &[("igdm", 0.9)]);
    let whole = 3.0 * 6.659 + 29.0 * 0.55542;
    near(igdm.teacher_share, 100.0 * 6.659 / whole, 0.05);
    near(igdm.live_share, 200.0 * 6.659 / whole, 0.05);
    let adaad = estimate_of("adaad", &[]);
    near(adaad.live_share, 100.0 * 21.0 * 6.659 / (21.0 * 6.659 + 26.0 * 0.55542), 0.05);
    near(adaad.teacher_share, 0.0, 1e-12);
    assert!(adaad.to_string().contains("no label set serves this objective"), "{adaad}");
    // Labels cost what they cost, and save nothing here.
    assert!(adaad.saved_in_first_run < 0.0);
}

/// WRN-34-10's last block is 640 maps of 8x8 (arXiv:1605.07146, table 1): 81,920 bytes a row in halves, 4.1 GB of one view
/// of 50,000 images, 663.6 GB of 162. The one forward of zongdaoming/dpk's loop is then read.
#[test]
fn feature_maps_are_weighed_and_take_the_live_forward_away() {
    let weighed = |taps: &str, views: &str, objective: &str, tap_dtype| {
        let args = EstimateArgs {
            objective: objective.into(),
            set: vec![("dpk".into(), 0.3)],
            taps: TapArgs { taps: Some(taps.into()), tap_dtype },
            ..args("wrn-34-10", "resnet18", views, 300)
        };
        run(&args, &MachineArgs::default().machine()).unwrap()
    };
    let one = weighed("block3", "random:1@0", "rslad", None);
    let features = one.features.as_ref().unwrap();
    assert_eq!((features.bytes_per_row, features.bytes), (81_920, 4_096_000_000));
    assert_eq!(features.wants_yes, [false, false]);
    let plain = estimate("wrn-34-10", "resnet18", "random:1@0", 300).bytes.f16.unwrap();
    let with = one.bytes.f16.unwrap();
    near(with.safetensors as f64, plain.safetensors as f64 + 4.096e9, 0.5e6);
    near(with.parquet as f64, plain.parquet as f64 + 4.096e9, 0.5e6);
    assert_eq!((one.step.cached_forwards, one.step.live_forwards), (1, 0));
    near(one.live_share, 0.0, 1e-12);
    near(one.teacher_share, 31.6, 0.05);
    assert!(one.to_string().contains("cached labels and feature maps"), "{one}");

    let sat = weighed("block3", "random:1@0", "sat", None);
    assert_eq!((sat.step.cached_forwards, sat.step.live_forwards), (1, 0));
    let all = weighed("block3,block2", "all", "rslad", Some(Dtype::F32));
    let features = all.features.as_ref().unwrap();
    assert_eq!((features.bytes_per_row, features.wants_yes), (491_520, [true, true]));
    assert!(all.bytes.f16.is_none(), "halves do not stand before wider maps");
    for text in [one.to_string(), all.to_string()] {
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
    let unread = EstimateArgs {
        taps: TapArgs { taps: Some("block3".into()), tap_dtype: None },
        ..args("wrn-34-10", "resnet18", "all", 300)
    };
    let text = run(&unread, &MachineArgs::default().machine()).unwrap().to_string();
    assert!(text.contains("rslad reads no feature maps") && text.contains("wants --yes"), "{text}");
}

#[test]
fn an_objective_that_there_is_not_is_refused_with_the_known_ones() {
    let args = EstimateArgs { objective: "rslda".into(), ..args("resnet4b", "resnet8", "all", 3) };
    let error = run(&args, &MachineArgs::default().machine()).unwrap_err().to_string();
    assert!(error.contains("unknown objective `rslda`") && error.contains("`rslad`"), "{error}");
    assert_eq!(error.lines().count(), 2, "{error}");
    assert!(assignment("igdm").unwrap_err().contains("key=value"));
    assert!(assignment("igdm=much").unwrap_err().contains("not a number"));
}

#[test]
fn an_estimate_fits_eighty_columns() {
    let text = estimate_on("cuda", "wrn-34-10", "mobilenet-v2", "plan:10@0", 300).to_string();
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    assert!(text.contains("memory on the GPU to train"), "{text}");
}
