//! Rows that store no float for every logit, and lie: refused under hashes that agree with them.

mod fixture;

use std::fs;
use std::path::Path;

use fixture::{FORMS, coded, forge_file, forge_manifest, write};
use labels::{Check, Dtype, Form, LabelSet, verify};
use safetensors::SafeTensors;

/// The bytes of a tensor's entries in the first shard: where they begin in the file.
fn place(file: &[u8], tensor: &str) -> usize {
    let (header, metadata) = SafeTensors::read_metadata(file).unwrap();
    8 + header + metadata.info(tensor).unwrap().data_offsets.0
}

const SHARD: &str = "shards/train-00000-of-00003.safetensors";

#[test]
fn rows_that_lie_are_refused_under_hashes_that_agree() {
    let [codes, top] = [0, 1].map(|which| {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = coded(Form::Safetensors)[which].clone();
        spec.dtype = if which == 1 { Dtype::F32 } else { Dtype::U8 };
        write(dir.path(), &spec);
        dir
    });
    let float = |value: f32| value.to_le_bytes().to_vec();
    let lies: [(&Path, &str, Vec<u8>, &str); 17] = [
        (codes.path(), "low", float(f32::NAN), "low of image 0, view 0 is NaN"),
        (codes.path(), "scale", float(3e38), "scale of image 0, view 0 is 3"),
        (codes.path(), "scale", float(f32::NAN), "scale of image 0, view 0 is NaN"),
        (codes.path(), "scale", float(-1.0), "scale of image 0, view 0 is -1, wanted 0 or more"),
        (codes.path(), "scale", float(f32::INFINITY), "scale of image 0, view 0 is inf"),
        (
            codes.path(),
            "scale",
            float(0.0),
            "smallest and largest code of image 0, view 0 is [0, 255], wanted [0, 0]",
        ),
        (
            codes.path(),
            "codes",
            vec![7, 7, 7],
            "smallest and largest code of image 0, view 0 is [7, 7], wanted [0, 255]",
        ),
        (codes.path(), "turned", vec![2], "turned of image 0, view 0 is 2"),
        (top.path(), "logits", float(f32::NAN), "logit 0 of image 0, view 0 is NaN"),
        (top.path(), "logits", float(-90.0), "logit 1 of image 0, view 0"),
        (top.path(), "classes", vec![3, 0], "class 0 of image 0, view 0 is 3, wanted 0 to 2"),
        (top.path(), "classes", vec![0xff, 0xff], "class 0 of image 0, view 0 is 65535"),
        (top.path(), "classes", vec![1, 0, 1, 0], "class 1 of image 0, view 0 is 1 twice"),
        (top.path(), "rest", float(f32::NAN), "rest of image 0, view 0 is NaN"),
        (top.path(), "rest", float(f32::NEG_INFINITY), "rest of image 0, view 0 is -inf"),
        (
            top.path(),
            "rest",
            float(99.0),
            "rest of image 0, view 0 is 99, wanted a number no larger than the last logit",
        ),
        (top.path(), "turned", vec![255], "turned of image 0, view 0 is 255"),
    ];
    for (dir, tensor, bytes, words) in lies {
        let good = fs::read(dir.join(SHARD)).unwrap();
        let at = place(&good, tensor);
        let mut forged = good.clone();
        forged[at..at + bytes.len()].copy_from_slice(&bytes);
        forge_file(dir, SHARD, &forged);
        let Err(error) = LabelSet::open(dir, Check::Hashes) else { panic!("{tensor}: {words} was opened") };
        let error = error.to_string();
        assert!(error.contains(words), "{tensor}: {error}");
        let problems = verify(dir).unwrap().problems;
        assert!(problems.iter().any(|problem| problem.to_string() == error), "{error}: {problems:?}");
        // Whoever looks at no logit reads some number, and does not die of it.
        let set = LabelSet::open(dir, Check::Sizes).unwrap();
        assert!(set.read(0, 0, &mut [0.0; 3]));
        let answers: Vec<usize> = set.rows().map(|row| row.logits.argmax()).collect();
        assert_eq!(answers.len() as u64, set.manifest().rows);
        forge_file(dir, SHARD, &good);
    }
    LabelSet::open(codes.path(), Check::Hashes).unwrap();
}

/// Losses that were made smaller, in the rows or in the manifest.
#[test]
fn a_manifest_says_what_its_rows_lost() {
    for &form in FORMS.iter().filter(|&&form| form != Form::Both) {
        let dir = tempfile::tempdir().unwrap();
        let [codes, _] = coded(form);
        let manifest = write(dir.path(), &codes);
        let said = format!("\"nanonats\": {}", manifest.lost.unwrap().nanonats);
        forge_manifest(dir.path(), |text| {
            text.replace(&said, "\"nanonats\": 7").replace(
                &format!("\"largest_nanonats\": {}", manifest.lost.unwrap().largest_nanonats),
                "\"largest_nanonats\": 3",
            )
        });
        let problems = verify(dir.path()).unwrap().problems;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].to_string().contains("lost is KL 0.000000000 nats a row, 0.000000003 at most"),
            "{problems:?}"
        );
        let lies = [("\"turned\": 0", "\"turned\": 127"), ("\"nanonats\": 7", "\"nanonats\": 2")];
        for (truth, lie) in lies {
            forge_manifest(dir.path(), |text| text.replace(truth, lie));
            let error = LabelSet::open(dir.path(), Check::Hashes).err().unwrap().to_string();
            assert!(error.contains("what 126 rows lose"), "{error}");
            forge_manifest(dir.path(), |text| text.replace(lie, truth));
        }
    }
}
