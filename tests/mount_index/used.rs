//! What programs do with mounted images: verified random reads, and a file system that the kernel mounts in turn.

use std::fs;
use std::process::Command;

use crate::common::mounted::{Mounted, is_fuse_here};
use crate::common::{self, Sandbox};
use crate::system;

/// Runs fio in a sandbox. Returns whether it was content, and what it said.
fn fio(sandbox: &Sandbox, words: &str) -> (bool, String) {
    let mut command = Command::new("fio");
    let run = command.args(words.split_whitespace()).current_dir(sandbox.path(".")).output();
    let run = run.unwrap_or_else(|e| panic!("fio does not start ({e}): run scripts/test"));
    let said = String::from_utf8(run.stdout).unwrap() + &String::from_utf8_lossy(&run.stderr);
    (run.status.success(), said)
}

#[test]
fn what_fio_wrote_it_finds_verified() {
    if !is_fuse_here("what_fio_wrote_it_finds_verified") {
        return;
    }
    let sandbox = Sandbox::new();
    let pattern = "--name=j --size=16m --bs=4k --verify=crc32c --ioengine=psync --randseed=5";
    let write = "--filename=image.raw --rw=write --do_verify=0 --verify_state_save=0";
    let (written, said) = fio(&sandbox, &format!("{pattern} {write}"));
    assert!(written, "{said}");
    sandbox.cairn("make image.raw.caibx image.raw -s store").succeeds();
    // A small cache, so that chunks come more than once.
    let mounted = Mounted::start(&sandbox, "mount-index -s store image.raw.caibx --memory 4M");
    let read = format!("{pattern} --readonly --verify_fatal=1 --verify_state_load=0");
    for how in ["--rw=randread --numjobs=2", "--rw=read --direct=1 --numjobs=2"] {
        let (verified, said) = fio(&sandbox, &format!("{read} --filename=mnt/image.raw {how}"));
        assert!(verified && said.matches("err= 0").count() == 2, "{how}: {said}");
    }
    mounted.stop();
    // It would have noticed.
    sandbox.patch("image.raw", 5_000_000, b"x");
    assert!(!fio(&sandbox, &format!("{read} --filename=image.raw --rw=randread")).0);
}

/// Unmounts when dropped.
struct Looped(String);

impl Drop for Looped {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn the_kernel_mounts_a_file_system_in_a_mounted_image() {
    if !is_fuse_here("the_kernel_mounts_a_file_system_in_a_mounted_image") {
        return;
    }
    let sandbox = Sandbox::new();
    for number in 0..40 {
        let len = number * number * 300;
        sandbox
            .write(&format!("tree/{}/{number}", number % 5), &common::random(number as u64, len));
    }
    std::os::unix::fs::symlink("../0/5", sandbox.path("tree/1/link")).unwrap();
    let at = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    system("mkfs.ext4", &["-q", "-d", &at("tree"), &at("disk.img"), "24m"]);
    sandbox.cairn("make disk.img.caibx disk.img -s store").succeeds();
    let mut mounted = Mounted::start(&sandbox, "mount-index -s store disk.img.caibx");
    fs::create_dir(sandbox.path("inner")).unwrap();
    system("mount", &["-o", "loop,ro,noload", &at("mnt/disk.img"), &at("inner")]);
    let looped = Looped(at("inner"));
    system("diff", &["-r", "--exclude=lost+found", "--no-dereference", &at("tree"), &at("inner")]);
    // What is mounted within keeps it, and is no process that could be named.
    mounted.signal(rustix::process::Signal::TERM);
    mounted.prints("is in use: ");
    system("umount", &[&at("inner")]);
    assert_eq!(mounted.ends(), Some(0));
    drop(looped);
}
