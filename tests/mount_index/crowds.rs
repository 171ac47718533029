//! Many at once.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::mounted::{Mounted, is_fuse_here};
use crate::scene;

#[test]
fn a_thousand_open_files_are_read() {
    if !is_fuse_here("a_thousand_open_files_are_read") {
        return;
    }
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let (sandbox, content) = scene();
    for copy in ["", " --cor-file copy --prefetch"] {
        let words = format!("mount-index -s store image.raw.caibx{copy}");
        let mounted = Mounted::start(&sandbox, &words);
        let open = || File::open(mounted.path("image.raw")).unwrap();
        let files: Vec<File> = (0..1000).map(|_| open()).collect();
        thread::scope(|scope| {
            for some in files.chunks(250) {
                scope.spawn(|| {
                    for (number, file) in some.iter().enumerate() {
                        let at = number * 17_777 % (content.len() - 5000);
                        let mut buffer = [0; 5000];
                        file.read_exact_at(&mut buffer, at as u64).unwrap();
                        assert!(buffer[..] == content[at..at + 5000], "{at}");
                    }
                });
            }
        });
        // It needs none of its own for each.
        let own = fs::read_dir(format!("/proc/{}/fd", mounted.pid())).unwrap().count();
        assert!(own < 100, "{own}");
        drop(files);
        mounted.stop();
    }
}

#[test]
fn several_mounts_of_one_index_do_not_mind_each_other() {
    if !is_fuse_here("several_mounts_of_one_index_do_not_mind_each_other") {
        return;
    }
    let (sandbox, content) = scene();
    let words = "mount-index -s store -c cache image.raw.caibx";
    let mounts: Vec<Mounted> =
        (0..4).map(|n| Mounted::at(&sandbox, words, &format!("mnt{n}"))).collect();
    thread::scope(|scope| {
        for mounted in &mounts {
            let content = &content;
            scope.spawn(move || assert!(fs::read(mounted.path("image.raw")).unwrap() == *content));
        }
    });
    mounts.into_iter().for_each(Mounted::stop);
}
