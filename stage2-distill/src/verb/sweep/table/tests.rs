use super::*;

/// `numpy.std([48.54, 48.1, 49.0], ddof=1)` is 0.4500370. One seed has no deviation.
#[test]
fn a_spread_is_the_mean_and_the_deviation_of_a_sample() {
    let spread = Spread::of(&[48.54, 48.1, 49.0]);
    assert!((spread.mean - 48.546_666_666_666_67).abs() < 1e-9, "{spread:?}");
    assert!((spread.standard_deviation.unwrap() - 0.450_037_035_513_003_9).abs() < 1e-9, "{spread:?}");
    assert_eq!(Spread::of(&[1.0]), Spread { mean: 1.0, standard_deviation: None });
}

fn row(name: &str, precision: Option<&str>) -> Row {
    let accuracy: BTreeMap<String, f64> = [("clean".to_owned(), 90.0), ("pgd20".to_owned(), 50.0)].into();
    let trained = super::super::outcome::Trained {
        epochs: 1,
        steps: 3,
        train_images: 130,
        best_epoch: None,
        minutes: 0.1,
        teacher_forwards: 0,
    };
    Row {
        name: name.into(),
        group: name.split("-seed").next().unwrap_or_default().into(),
        folder: name.into(),
        settings: Config::default(),
        figures: Some(Figures {
            trained,
            images: 60,
            split: "test".into(),
            eps: Some("8/255".into()),
            precision: precision.map(str::to_owned),
            attacks: vec!["clean".into(), "pgd20".into()],
            worst_class: accuracy.clone(),
            accuracy,
        }),
        error: None,
    }
}

#[test]
fn a_verdict_of_a_lesser_precision_has_it_beside_itself_and_others_have_nothing() {
    let fine = Table::of(vec![row("sat-seed0", None)]);
    assert!(!format!("{fine}{}", fine.markdown()).contains("precision"));
    let long = "a-method-with-a-name-that-is-longer-than-the-line-has-room-for-it";
    let runs = vec![
        row("sat-seed0", None),
        row("sat-seed1", Some("bf16")),
        row(&format!("{long}-seed0"), Some("tf32")),
        row("ard-seed0", None),
    ];
    let table = Table::of(runs);
    let texts = [format!("{table:80}"), table.markdown()];
    for text in &texts {
        for wanted in ["sat (bf16, f32)", " (tf32)", "in brackets: the precision of attacks"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert!(!text.contains("ard ("), "{text}");
    }
    assert!(texts[0].lines().all(|line| line.chars().count() <= 80), "{}", texts[0]);
}

#[test]
fn counts_have_few_digits_and_a_unit() {
    assert_eq!([9_999.0, 12_345.0, 1_118_830.0, 3e9].map(short), ["9999", "12.3k", "1.1M", "3.0G"]);
}
