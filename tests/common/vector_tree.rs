//! The trees of `testdata/casync-vectors.json`, built as they were when casync archived them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cairn_formats::Digest;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, makedev, mknodat, setxattr,
    utimensat,
};
use serde_json::Value;

pub fn vectors() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/casync-vectors.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Builds the tree that cases for any user were made of, or the one that only root can build.
pub fn build(vectors: &Value, root: &Path, is_for_root: bool) {
    let spec = if is_for_root { "tree_spec_root" } else { "tree_spec" };
    let nodes = vectors[spec].as_array().unwrap();
    let at = |path: &Value| match path.as_str().unwrap() {
        "" => root.to_owned(),
        path => root.join(path),
    };
    for node in nodes {
        create(&at(&node[0]), node, &vectors["words"]);
    }
    if is_for_root {
        for (path, extras) in vectors["tree_extra_root"].as_object().unwrap() {
            extras.as_array().unwrap().iter().for_each(|extra| add_extra(&root.join(path), extra));
        }
    }
    // What is in a directory first, as it changes the directory's time.
    for node in nodes.iter().rev() {
        set_time(&at(&node[0]), node[3].as_i64().unwrap());
    }
}

fn create(path: &Path, node: &Value, words: &Value) {
    let argument = &node[4];
    match node[1].as_str().unwrap() {
        "dir" if path.exists() => {}
        "dir" => fs::create_dir(path).unwrap(),
        "file" => fs::write(path, content(argument, words)).unwrap(),
        "symlink" => {
            return std::os::unix::fs::symlink(argument.as_str().unwrap(), path).unwrap();
        }
        "fifo" => make_node(path, FileType::Fifo, 0),
        "sock" => make_node(path, FileType::Socket, 0),
        kind => {
            let number = |at: usize| argument[at].as_u64().unwrap() as u32;
            let is_block = kind == "blk";
            let kind = if is_block { FileType::BlockDevice } else { FileType::CharacterDevice };
            make_node(path, kind, makedev(number(0), number(1)));
        }
    }
    let mode = node[2].as_u64().unwrap() as u32;
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn make_node(path: &Path, kind: FileType, device: u64) {
    mknodat(CWD, path, kind, Mode::RUSR | Mode::WUSR, device).unwrap();
}

fn add_extra(path: &Path, extra: &Value) {
    let set = |name: &str, value: &[u8]| {
        setxattr(path, name, value, XattrFlags::empty()).unwrap_or_else(|e| {
            panic!("{name} of {}: {e}", path.display());
        });
    };
    let number = |value: &Value| value.as_i64().unwrap();
    match extra[0].as_str().unwrap() {
        "chown" => {
            let id = |at: usize| Some(number(&extra[at]) as u32);
            std::os::unix::fs::chown(path, id(1), id(2)).unwrap();
        }
        "xattr" => set(extra[1].as_str().unwrap(), &from_hex(extra[2].as_str().unwrap())),
        "fcaps" => set("security.capability", &from_hex(extra[1].as_str().unwrap())),
        "acl" => {
            let mut list = 2_u32.to_le_bytes().to_vec();
            for entry in extra[2].as_array().unwrap() {
                list.extend((number(&entry[0]) as u16).to_le_bytes());
                list.extend((number(&entry[1]) as u16).to_le_bytes());
                list.extend((number(&entry[2]) as u32).to_le_bytes());
            }
            set(&format!("system.posix_acl_{}", extra[1].as_str().unwrap()), &list);
        }
        other => panic!("an unknown extra {other}"),
    }
}

fn set_time(path: &Path, nanoseconds: i64) {
    const SECOND: i64 = 1_000_000_000;
    let time = Timespec { tv_sec: nanoseconds / SECOND, tv_nsec: nanoseconds % SECOND };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// The bytes of a recipe; the recipes are described in the file itself.
fn content(recipe: &Value, words: &Value) -> Vec<u8> {
    let size = recipe[2].as_u64().unwrap() as usize;
    match recipe[0].as_str().unwrap() {
        "const" => vec![recipe[1].as_u64().unwrap() as u8; size],
        "sha256ctr" => {
            let label = recipe[1].as_str().unwrap().as_bytes();
            let block =
                |i: u64| *Digest::Sha256.hash(&[label, &i.to_le_bytes()].concat()).as_bytes();
            (0..).flat_map(block).take(size).collect()
        }
        "words" => {
            let mut x = recipe[1].as_u64().unwrap();
            let mut text = Vec::new();
            for n in 1.. {
                x = x
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                text.extend(words[(x >> 56) as usize & 15].as_str().unwrap().bytes());
                text.push(if n % 12 == 0 { b'\n' } else { b' ' });
                if text.len() >= size {
                    break;
                }
            }
            text.truncate(size);
            text
        }
        other => panic!("unknown recipe {other}"),
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
