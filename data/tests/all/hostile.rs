//! Folders made to harm: links in circles, lists that lead out, headers that promise more than there is.

use std::fs;

use data::Split;

use crate::{golden, refusal};

fn class(home: &tempfile::TempDir) -> std::path::PathBuf {
    let class = home.path().join("train/a");
    fs::create_dir_all(&class).unwrap();
    class
}

#[cfg(unix)]
#[test]
fn links_in_a_circle_are_refused_and_links_elsewhere_followed() {
    let home = tempfile::tempdir().unwrap();
    let class = class(&home);
    std::os::unix::fs::symlink(golden("folders/flat/0"), class.join("elsewhere")).unwrap();
    assert_eq!(crate::load("imagefolder", home.path(), Split::Train).unwrap().len(), 1);
    std::os::unix::fs::symlink("..", class.join("up")).unwrap();
    let text = refusal("imagefolder", home.path(), Split::Train);
    assert!(text.contains("wanted folders that end somewhere, found a link back to"), "{text}");
    fs::remove_file(class.join("up")).unwrap();
    // Without a circle: eight links to the next level at each, 8^20 ways down.
    for level in 0..20 {
        let here = home.path().join(format!("level{level}"));
        fs::create_dir(&here).unwrap();
        for number in 0..8 {
            std::os::unix::fs::symlink(format!("../level{}", level + 1), here.join(number.to_string()))
                .unwrap();
        }
    }
    fs::create_dir(home.path().join("level20")).unwrap();
    std::os::unix::fs::symlink("../../level0", class.join("down")).unwrap();
    let text = refusal("imagefolder", home.path(), Split::Train);
    assert!(text.contains("more than 4096 of them under one class"), "{text}");
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_and_a_pipe_under_an_images_name_are_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    let class = class(&home);
    std::os::unix::fs::symlink("/nowhere/at/all.png", class.join("x.png")).unwrap();
    let text = refusal("imagefolder", home.path(), Split::Train);
    assert!(text.contains("train/a/x.png: No such file"), "{text}");
    fs::remove_file(class.join("x.png")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", class.join("y.png")).unwrap();
    let text = refusal("imagefolder", home.path(), Split::Train);
    assert!(text.contains("train/a/y.png: wanted a file, found a pipe or device"), "{text}");
}

#[test]
fn lists_that_name_files_elsewhere_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let tiny = home.path();
    fs::create_dir_all(tiny.join("train/n01/images")).unwrap();
    fs::create_dir_all(tiny.join("val/images")).unwrap();
    fs::create_dir_all(tiny.join("GTSRB/Final_Test/Images")).unwrap();
    for name in ["../../secret.png", "/etc/passwd", "..", "", "a/b.png", "./b.png", "b.png/"] {
        fs::write(tiny.join("val/val_annotations.txt"), format!("{name}\tn01\t0\n")).unwrap();
        let text = refusal("tiny-imagenet", tiny, Split::Test);
        assert!(text.contains("wanted the name of a file in line 1, found `"), "{name}: {text}");
        fs::write(tiny.join("GT-final_test.csv"), format!("Filename;ClassId\n{name};1\n")).unwrap();
        let text = refusal("gtsrb", tiny, Split::Test);
        assert!(text.contains("wanted the name of a file in line 2, found `"), "{name}: {text}");
    }
    fs::write(tiny.join("val/val_annotations.txt"), "x.png\tn02\t0\n").unwrap();
    let text = refusal("tiny-imagenet", tiny, Split::Test);
    assert!(text.contains("wanted a class of train/ in line 1, found `n02`"), "{text}");
    for class in ["43", "-1", "stop", ""] {
        fs::write(tiny.join("GT-final_test.csv"), format!("Filename;ClassId\nx.ppm;{class}\n")).unwrap();
        let text = refusal("gtsrb", tiny, Split::Test);
        assert!(text.contains("row 0: wanted a label in 0..43"), "{text}");
    }
}

/// Netpbm's specification: width, height and largest value, white space between, comments allowed.
#[test]
fn headers_of_ppm_that_promise_what_is_not_there_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let file = class(&home).join("x.ppm");
    for (bytes, wanted) in [
        (&b"P6 99999999999999999999 2 255\n"[..], "header is cut short or no numbers"),
        (b"P6 4096 4096 255\n123", "cut short: 3 of 50331648 bytes"),
        (b"P6 4097 1 255\n123", "found 4097x1 pixels"),
        (b"P6 0 1 255\n", "found 0x1 pixels"),
        (b"P6 1 1 65535\n123456", "values up to 65535, wanted 255"),
        (b"P6 1 1 255", "cut short: 0 of 3 bytes"),
        (b"P6 1 1", "header is cut short"),
        (b"P6 # no end", "header is cut short"),
        (b"P6 -1 1 255\n123", "header is cut short or no numbers"),
        (b"P3 1 1 255\n1 2 3", "found bytes that begin"),
        (b"P", "found bytes that begin"),
        (b"", "found an empty file"),
    ] {
        fs::write(&file, bytes).unwrap();
        let text = refusal("imagefolder", home.path(), Split::Train);
        assert!(text.contains("train/a/x.ppm: wanted an 8-bit") && text.contains(wanted), "{text}");
    }
    fs::write(&file, b"P6#by hand\n# width\n2\t1\r\n#most\n255\nabcdef").unwrap();
    assert_eq!(crate::load("imagefolder", home.path(), Split::Train).unwrap().images(), b"abcdef");
}

#[test]
fn images_of_kinds_that_torchvision_reads_and_we_do_not_are_refused_not_passed_over() {
    let home = tempfile::tempdir().unwrap();
    let file = class(&home).join("x.bmp");
    fs::write(&file, b"BM6\x0c\0\0\0\0\0\0\x36\0\0\0").unwrap();
    let text = refusal("imagefolder", home.path(), Split::Train);
    assert!(
        text.contains("train/a/x.bmp: wanted an 8-bit grey or RGB PNG or JPEG, found a BMP image"),
        "{text}"
    );
}
