//! `cairn diff`

use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use cairn::Silent;
use cairn::archive::diff::{Aspect, Change, Difference, diff, update};
use cairn::archive::lines::Lines;
use cairn_formats::mtree::escaped;
use cairn_store::Location;
use clap::Parser;

use super::Context;
use super::access::Access;
use super::failure::{Differs, Trouble};
use super::looked_into::{Sources, Tell, bytes_of};

/// Print what is different between two archives
///
/// A line for each path: `A` if it is only in the second, `D` if it is only in the first, `M` if it is in both but
/// not the same, with what is different. A directory is looked at as the archive that `tar` makes of it. Ends with 0 if all is the same, 1 if not, 2 if something failed.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Archive, index of one, or directory
    first: Location,

    /// Archive, index of one, or directory, that it is compared with
    second: Location,

    /// What to compare in both, with all that is below
    subpath: Option<PathBuf>,

    /// Print nothing
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    sources: Sources,
}

pub(super) fn run(args: &Args, context: anyhow::Result<Context>) -> anyhow::Result<()> {
    match context.and_then(|context| compare(args, &context)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Differs.into()),
        Err(e) => Err(e.context(Trouble)),
    }
}

/// Whether they are the same.
fn compare(args: &Args, context: &Context) -> anyhow::Result<bool> {
    let access = Access::new(context, &args.sources.reach);
    let (a, _) = args.sources.open(&args.first, &access, Tell::ByContent, context.digest)?;
    let (b, _) = args.sources.open(&args.second, &access, Tell::ByContent, context.digest)?;
    let mut output = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut lines = Lines::new(&mut output, Path::new("standard output"));
    let path = bytes_of(args.subpath.as_ref());
    let counts = diff(&a, &b, &path, &Silent, &mut |difference| match args.quiet {
        true => Ok(()),
        false => lines.put(&line(&difference)),
    })?;
    let is_same = counts == Default::default();
    if !is_same && !args.quiet {
        let (added, removed, changed) = (counts.added, counts.removed, counts.changed);
        lines.put(&format!("# {added} added, {removed} removed, {changed} changed"))?;
        if let (Some(a), Some(b)) = (a.index(), b.index()) {
            let update = update(a, b);
            let (chunks, bytes) = (update.chunks, update.bytes);
            lines.put(&format!("# an update fetches {chunks} chunks of {bytes} bytes"))?;
        }
    }
    lines.finish()?;
    Ok(is_same)
}

fn line(difference: &Difference) -> String {
    let path = &difference.path[..];
    let path = escaped(if path.is_empty() { b"." } else { path });
    match &difference.change {
        Change::Added(_) => format!("A {path}"),
        Change::Removed(_) => format!("D {path}"),
        Change::Changed(aspects) => {
            let words: Vec<&str> = aspects.iter().map(|&aspect| word(aspect)).collect();
            format!("M {path}: {}", words.join(", "))
        }
    }
}

fn word(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Kind => "type",
        Aspect::Content => "content",
        Aspect::Target => "target",
        Aspect::Device => "device",
        Aspect::Mode => "mode",
        Aspect::Owner => "owner",
        Aspect::Time => "time",
        Aspect::Xattrs => "xattrs",
        Aspect::Acl => "acl",
        Aspect::Attributes => "attributes",
        Aspect::Capabilities => "capabilities",
        Aspect::Label => "label",
        Aspect::Project => "project",
    }
}
