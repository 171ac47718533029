//! `casync mount`

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use cairn::Error;
use cairn_fuse::MountOptions;
use cairn_store::Location;
use rustix::process::geteuid;

use super::options::Options;
use super::place;
use super::what::{self, What};
use crate::cli::Context;
use crate::cli::mounting::{self, MountFlags, Mounting, Opened, Shape, TreeFlags};
use crate::cli::options::Concurrency;

/// What can be mounted.
const KINDS: [What; 3] = [What::Archive, What::ArchiveIndex, What::BlobIndex];

pub(super) fn run(words: &[OsString], options: &Options, context: &Context) -> anyhow::Result<()> {
    let said = what::allowed(options.what(), "mount", &KINDS)?;
    let (input, point) = match words {
        [point] => (Location::Stdio, point),
        [input, point] => (place::parse(input)?, point),
        _ => anyhow::bail!("`mount` takes an archive or index, and a directory to mount it at"),
    };
    let point = PathBuf::from(point);
    let is_archive = said.or_else(|| What::by_suffix(&input)) == Some(What::Archive);
    let shape = match said {
        Some(What::ArchiveIndex) => Some(Shape::Tree),
        Some(What::BlobIndex) => Some(Shape::File),
        _ => None,
    };
    let access = options.access(context);
    let source =
        if is_archive { None } else { Some(access.stores(&place::stores(options, &input)?)?) };
    let flags = MountFlags::default();
    let mounting = Mounting::of(source, &Concurrency::default(), flags.memory());
    let trees = TreeFlags::shifted(options.shift());
    let Opened { part, .. } = mounting.part(&input, shape, &flags, &trees, (&access, context))?;
    if options.mkdir && !point.is_dir() {
        fs::create_dir(&point).map_err(Error::io("make", &point))?;
    }
    let how = MountOptions { allow_other: geteuid().is_root(), ..flags.mount_options(&input) };
    let ready = |_| {
        let _ = writeln!(io::stdout(), "Mounted: {}", point.display());
    };
    mounting::serve(part.fs, &point, &how, context, &|| {}, ready)
}
