//! Full disks and folders that cannot be written: exit code 74, nothing that a later command would trust, and the same
//! command goes on when there is room.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::{Place, label, tree};

/// A file system of its own, where this user may mount one.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: PathBuf, options: &str, test: &str) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        eprintln!("{test}: skipped, this user may not mount a file system");
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

fn nothing_to_trust(out: &Path) {
    assert!(!out.join("manifest.json").exists());
    label().arg("inspect").arg(out).fails(2, &["hint:"]);
}

#[test]
fn a_full_disk_ends_with_74_and_the_run_goes_on_when_there_is_room() {
    let place = Place::new();
    let whole = place.path("whole");
    place.run(&whole, 100).args(["--dtype", "f32"]).succeeds();
    let Some(disk) = Mounted::new(place.path("disk"), "size=128k", "full disk") else { return };
    let out = disk.0.join("labels");
    let run = || place.run(&out, 100).args(["--dtype", "f32"]);
    for _ in 0..2 {
        run().fails(74, &["cannot write", "No space left", "hint: free some space"]);
        nothing_to_trust(&out);
    }
    // That was seen before the teacher was asked anything.
    assert!(!out.join(".work/answers-00000").exists());

    // Room for the least that it can take: the disk fills up on the way.
    let ended = run().ends();
    let wanted: u64 =
        ended.stderr.split("it takes ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    disk.remount(&format!("size={}k", wanted / 1024 + 60));
    let ended = run().fails(74, &["cannot write", "No space left", "hint: free some space"]);
    assert!(!ended.stderr.contains("it takes"), "{}", ended.stderr);
    nothing_to_trust(&out);
    disk.remount("size=8m");
    run().succeeds();
    assert!(tree(&out) == tree(&whole));
}

#[test]
fn a_limit_on_file_sizes_ends_with_74_and_leaves_no_half_file() {
    let place = Place::new();
    let whole = place.path("whole");
    let out = place.path("labels");
    let large = |out: &Path| {
        label()
            .args([
                "run",
                "--data",
                "sample",
                "--limit",
                "100",
                "--views",
                "all",
                "--dtype",
                "f32",
                "--teacher",
            ])
            .arg(place.teacher())
            .arg("--out")
            .arg(out)
    };
    large(&whole).succeeds();
    // Without a handler the signal would end the process before the write could fail.
    large(&out)
        .behind_shell("trap '' XFSZ; ulimit -f 60")
        .fails(74, &["File too large", "hint: free some space"]);
    nothing_to_trust(&out);
    for folder in ["data", "shards"] {
        assert_eq!(fs::read_dir(out.join(folder)).unwrap().count(), 0, "{folder}");
    }
    large(&out).succeeds();
    assert!(tree(&out) == tree(&whole));
}

#[test]
fn a_folder_that_cannot_be_written_ends_with_74() {
    let place = Place::new();
    let folder = place.path("locked");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(folder.join("probe"), "x").is_err() {
        place
            .run(&folder.join("labels"), 9)
            .fails(74, &["cannot create", "hint: check the folder's permissions"]);
        return;
    }
    // Permissions do not stop a superuser; a read-only file system does.
    let Some(disk) = Mounted::new(place.path("disk"), "ro", "unwritable folder") else { return };
    place
        .run(&disk.0.join("labels"), 9)
        .fails(74, &["cannot create", "hint: check the folder's permissions"]);
    let plan = label().args(["plan", "--data", "sample", "--limit", "9", "--views", "all", "--out"]);
    plan.arg(disk.0.join("rows.parquet"))
        .fails(74, &["cannot write", "hint: check who may read and write there"]);
}

#[test]
fn a_plan_on_a_full_disk_leaves_no_file() {
    let place = Place::new();
    let Some(disk) = Mounted::new(place.path("disk"), "size=16k", "plan on a full disk") else { return };
    let plan = label().args(["plan", "--data", "sample", "--views", "plan:20@0", "--out"]);
    plan.arg(disk.0.join("rows.parquet")).fails(74, &["cannot write", "No space left"]);
    assert_eq!(fs::read_dir(&disk.0).unwrap().count(), 0);
}
