//! What a run is: every setting that can change its result, and where each came from.
//!
//! Settings are laid over one another: defaults, then a preset, then a file, then `--set`, then flags. The table
//! [`SETTINGS`] is the only list of them: flags, `--set`, files, `--help`, the record in `config.toml` and the error for
//! an unknown key all read it.

mod error;
mod fields;
mod layers;
mod place;
mod preset;
mod record;
mod setting;
mod value;

pub use error::ConfigError;
pub(crate) use error::listed;
pub use fields::Config;
pub use layers::Layers;
pub(crate) use layers::as_written;
pub(crate) use place::{line, pointed_at};
pub use preset::{PRESETS, Preset};
pub(crate) use record::{choices, own_choices};
pub use setting::{SETTINGS, Setting};
pub use value::Temperature;

#[cfg(test)]
mod tests {
    use method::objective::OBJECTIVES;

    use super::*;

    fn minimal() -> Layers {
        let mut layers = Layers::defaults();
        for (key, value) in [("data", "sample"), ("student", "tiny-cnn"), ("objective", "rslad")] {
            layers.put("test", key, value).unwrap();
        }
        layers
    }

    /// arXiv:2108.07969 and its released code.
    #[test]
    fn defaults_are_the_papers_settings() {
        let config = minimal().resolve().unwrap();
        assert_eq!((config.epochs, config.batch, config.steps), (300, 128, 10));
        assert_eq!((config.lr, config.momentum, config.weight_decay), (0.1, 0.9, 2e-4));
        assert_eq!(
            (config.eps.to_string(), config.step_size().to_string()),
            ("8/255".into(), "2/255".into())
        );
    }

    #[test]
    fn later_layers_win_and_unknown_keys_are_answered_with_a_near_one() {
        let mut layers = minimal();
        layers.preset("quickstart").unwrap();
        layers.set("epochs=3").unwrap();
        layers.set("lr = 1").unwrap();
        let error = layers.set("epoch=3").unwrap_err().to_string();
        assert!(error.contains("did you mean `epochs`?"), "{error}");
        for bad in [
            "epochs=0",
            "epochs=many",
            "eps=8",
            "steps=0",
            "lr=-1",
            "lr=nan",
            "schedule=linear",
            "paper-selection=1",
            "engine=gpu",
        ] {
            assert!(layers.set(bad).is_err(), "{bad}");
        }
        assert!(layers.set("epochs").is_err());
        let config = layers.resolve().unwrap();
        assert_eq!((config.epochs, config.lr), (3, 1.0));
    }

    #[test]
    fn a_configuration_survives_its_file() {
        let mut layers = minimal();
        layers.set("eps=1/255").unwrap();
        layers.set("limit=77").unwrap();
        layers.set("weight-decay=0.0005").unwrap();
        let config = layers.resolve().unwrap();
        let text = toml::to_string(&config).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, &text).unwrap();
        let mut again = Layers::defaults();
        again.file(&path).unwrap();
        assert_eq!(again.resolve().unwrap(), config);
        assert!(text.contains("eps = \"1/255\""), "{text}");
    }

    #[test]
    fn every_preset_is_made_of_known_settings_with_known_names() {
        for preset in PRESETS {
            let mut layers = minimal();
            layers.preset(preset.name).unwrap();
            let config = layers.resolve().unwrap();
            method::objective::find(&config.objective).unwrap();
        }
    }

    #[test]
    fn every_field_has_a_row_and_every_default_is_one_that_its_row_takes() {
        // One line a field, and the options of the objective.
        let fields = format!("{:#?}", Config::default());
        let fields = fields.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
        let fields = fields.filter(|line| line.contains(": ")).count();
        assert_eq!(fields, SETTINGS.len() + 1);
        for setting in SETTINGS {
            let mut layers = Layers::defaults();
            let usual = layers.value(setting);
            if let Some(default) = setting.default {
                layers.put("test", setting.key, default).unwrap();
                assert_eq!(layers.value(setting), usual, "{}", setting.key);
            }
        }
    }

    #[test]
    fn a_value_that_will_not_do_is_refused_with_what_the_setting_means() {
        for setting in SETTINGS {
            let error = minimal().put("--flag", setting.key, "").unwrap_err().to_string();
            for words in [setting.key, setting.help, "--flag", "distill train --help"] {
                assert!(error.contains(words), "{words}: {error}");
            }
        }
    }

    #[test]
    fn options_of_the_objective_have_a_table_of_their_own_and_are_compared() {
        let (objective, choice) = OBJECTIVES
            .iter()
            .find_map(|row| Some((row.name, row.options.first()?)))
            .expect("some objective has options");
        let chosen = |value: f64| {
            let mut layers = minimal();
            layers.set(&format!("{}={value}", choice.key)).unwrap();
            // The objective is chosen last: whose the option is waits for it.
            layers.set(&format!("objective={objective}")).unwrap();
            layers.resolve()
        };
        let least = chosen(choice.least).unwrap();
        let text = toml::to_string(&least).unwrap();
        assert!(text.ends_with(&format!("\n[options]\n{} = {:?}\n", choice.key, choice.least)), "{text}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, &text).unwrap();
        let mut again = Layers::defaults();
        again.file(&path).unwrap();
        assert_eq!(again.resolve().unwrap(), least);
        let most = chosen(choice.most).unwrap();
        let difference = format!("{}: {:?}, {:?}", choice.key, choice.least, choice.most);
        assert_eq!(least.differences(&most), [difference]);
        let beyond = chosen(choice.most + 1.0).unwrap_err().to_string();
        assert!(beyond.contains("wanted a number from"), "{beyond}");
        let mut foreign = minimal();
        foreign.set(&format!("{}={}", choice.key, choice.least)).unwrap();
        foreign.set("objective=natural").unwrap();
        let error = foreign.resolve().unwrap_err().to_string();
        assert!(error.contains("objective natural has no option"), "{error}");
        assert!(
            !toml::to_string(&minimal().resolve().unwrap()).unwrap().contains("[options]"),
            "none chosen"
        );
    }

    #[test]
    fn an_option_written_out_at_its_default_is_the_same_run_as_one_left_out() {
        let with = |beta: &str| {
            let mut layers = minimal();
            layers.put("flag", "objective", "trades").unwrap();
            layers.set(beta).unwrap();
            layers.resolve().unwrap()
        };
        let mut layers = minimal();
        layers.put("flag", "objective", "trades").unwrap();
        let left_out = layers.resolve().unwrap();
        // TRADES' published beta is 6.
        assert_eq!(left_out.differences(&with("beta=6")), [""; 0]);
        assert_eq!(left_out.differences(&with("beta=3")), ["beta: 6.0, 3.0"]);
    }

    #[test]
    fn a_slip_in_an_option_finds_it_whatever_the_objective_and_a_setting_among_options_is_told_apart() {
        let error = minimal().set("betta=3").unwrap_err().to_string();
        assert!(error.contains("did you mean `beta`?"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, "[options]\nepochs = 2\n").unwrap();
        let error = minimal().file(&path).unwrap_err().to_string();
        assert!(error.contains("it is a setting: write it above [options]"), "{error}");
    }

    #[test]
    fn no_option_has_the_name_of_a_setting() {
        let options = OBJECTIVES.iter().flat_map(|row| row.options);
        for choice in options.chain(method::objective::ADDITIONS.iter().flat_map(|row| row.options)) {
            assert!(SETTINGS.iter().all(|setting| setting.key != choice.key), "{}", choice.key);
        }
    }

    #[test]
    fn differences_name_the_setting_and_both_values_and_leave_places_alone() {
        let first = minimal().resolve().unwrap();
        let mut layers = minimal();
        layers.set("seed=1").unwrap();
        for place in ["labels=/elsewhere", "device=cuda:1", "precision=f16"] {
            layers.set(place).unwrap();
        }
        assert_eq!(first.differences(&layers.resolve().unwrap()), ["seed: 0, 1"]);
    }

    #[test]
    fn equal_values_are_the_same_run_however_they_were_written() {
        let with = |assignments: &[&str]| {
            let mut layers = minimal();
            for assignment in assignments {
                layers.set(assignment).unwrap();
            }
            layers.resolve().unwrap()
        };
        let first = with(&["eps=1/10", "lr=0.10", "student=tiny-cnn-x2"]);
        for same in [
            with(&["eps=0.1", "lr=1e-1", "student=tiny_cnn_x2.0"]),
            with(&["eps=0.10", "step-size=0.025", "student=Tiny-CNN-x02", "learning_rate=0.1"]),
            with(&["eps=1/10", "step-size=1/40", "augment=crop2", "student=tiny-cnn-x2"]),
        ] {
            assert_eq!(first.differences(&same), [""; 0]);
        }
        let other = with(&["eps=0.11", "student=tiny-cnn-x2"]);
        assert_eq!(first.differences(&other), ["eps: \"1/10\", \"0.11\"", "step-size: \"1/40\", \"0.0275\""]);
    }

    #[test]
    fn seeds_have_sixty_four_bits_and_survive_their_file() {
        for seed in [0, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
            let mut layers = minimal();
            layers.set(&format!("seed={seed}")).unwrap();
            let config = layers.resolve().unwrap();
            assert_eq!(config.seed, seed);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("config.toml");
            std::fs::write(&path, toml::to_string(&config).unwrap()).unwrap();
            let mut again = Layers::defaults();
            again.file(&path).unwrap();
            assert_eq!(again.resolve().unwrap().seed, seed);
        }
        assert!(minimal().set("seed=18446744073709551616").is_err());
    }

    #[test]
    fn averages_perturbations_and_cycles_that_make_no_sense_are_refused_with_the_way_out() {
        for (settings, wanted) in [
            (&["ema=0.9", "swa=from:0.5"][..], "hint: one average is judged and published"),
            (&["awp-warmup=3"], "hint: add --awp"),
            (&["schedule=onecycle", "momentum=0.96"], "hint: choose --momentum from 0.05"),
            (&["schedule=onecycle", "milestones=3"], "hint: drop them"),
        ] {
            let mut layers = minimal();
            for setting in settings {
                layers.set(setting).unwrap();
            }
            let error = layers.resolve().unwrap_err().to_string();
            assert!(error.contains(wanted), "{settings:?}: {error}");
        }
        for bad in ["swa=0.5", "swa=from:1", "swa=from:", "awp=1", "awp=-1", "ema=1"] {
            assert!(minimal().set(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_record_with_the_former_name_of_the_moving_average_is_the_same_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let mut now = minimal();
        now.set("ema=0.999").unwrap();
        let now = now.resolve().unwrap();
        let text = toml::to_string(&now).unwrap();
        std::fs::write(&path, text.replace("ema = ", "average = ")).unwrap();
        let mut then = Layers::defaults();
        then.file(&path).unwrap();
        assert_eq!(then.resolve().unwrap().differences(&now), Vec::<String>::new());
        assert!(text.contains("ema = 0.999"), "{text}");
    }

    /// The settings that the log of `fzjcdt/FastAT_Benchmark`'s PGD-AT-WA on CIFAR-10 begins with, and its configuration.
    #[test]
    fn the_benchmark_of_fast_training_is_a_preset_with_its_smoothing_and_average() {
        let mut layers = Layers::defaults();
        layers.set("data=cifar10:nowhere").unwrap();
        layers.preset("fastat-cifar10").unwrap();
        let config = layers.resolve().unwrap();
        assert_eq!(
            (config.objective.as_str(), config.epochs, config.batch, config.steps),
            ("sat", 100, 128, 10)
        );
        assert_eq!((config.lr, config.momentum, config.weight_decay), (0.1, 0.9, 5e-4));
        assert_eq!((config.options["smoothing"], config.ema.unwrap().0), (0.4, 0.9995));
        assert_eq!(config.schedule(), method::schedule::Schedule::OneCycle);
    }

    #[test]
    fn a_momentum_that_would_grow_without_end_is_refused() {
        for (bad, wanted) in [
            ("momentum=1.5", "less than 1"),
            ("momentum=1", "less than 1"),
            ("weight-decay=2", "less than 1"),
        ] {
            let error = minimal().set(bad).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        minimal().set("momentum=0.99").unwrap();
    }

    /// As `torch.optim.SGD` refuses it.
    #[test]
    fn nesterovs_step_wants_a_momentum() {
        let with = |momentum: &str| {
            let mut layers = minimal();
            layers.set("nesterov=true").unwrap();
            layers.set(momentum).unwrap();
            layers.resolve()
        };
        let error = with("momentum=0").unwrap_err().to_string();
        assert!(error.contains("momentum of 0") && error.contains("hint: "), "{error}");
        assert!(with("momentum=0.5").unwrap().nesterov && !minimal().resolve().unwrap().nesterov);
    }

    #[test]
    fn a_slip_in_a_file_is_shown_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            minimal().file(&path).unwrap_err().to_string()
        };
        let slip = refused("lr = 0.1\nepoch = 3\n");
        assert!(
            slip.contains("run.toml line 2: unknown setting `epoch`") && slip.contains("`epochs`"),
            "{slip}"
        );
        let value = refused("\n\nepochs = 0\n");
        assert!(value.contains("run.toml line 3: epochs = 0"), "{value}");
        let form = refused("lr = 0.1\nthen decay\n");
        assert!(
            form.contains("run.toml: not TOML, line 2, column") && form.contains("\n2 | then decay\n"),
            "{form}"
        );
        assert!(form.lines().count() <= 6, "{form}");
    }
}
