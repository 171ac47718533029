//! `cairn prune`

use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use cairn::Error;
use cairn::ids::IdSet;
use cairn::upkeep::prune::{PruneOptions, prune};
use cairn::upkeep::{add_index, id_list};
use cairn_store::Location;
use clap::Parser;

use super::access::Access;
use super::list::{self, List};
use super::store_flags::StoreFlags;
use super::{Context, age};

/// Remove the chunks from a store that no index refers to
///
/// Nothing is removed before all indexes have been read. Asks before it removes anything. What killed
/// writers left behind is removed, too. Nobody may be writing to the store meanwhile.
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Indexes whose chunks are kept, `-` for standard input
    #[arg(required_unless_present = "ids")]
    index: Vec<Location>,

    /// Store to remove chunks from
    #[arg(short, long, value_name = "STORE")]
    store: Location,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// Remove nothing; print what would be removed
    #[arg(long)]
    dry_run: bool,

    /// Keep chunks that were written less than this ago, such as `90s`, `1h30m` or `7d`: their index
    /// may be still to come
    #[arg(long, value_name = "AGE", value_parser = age::parse, default_value = "0s")]
    older_than: Duration,

    /// File with ids of further chunks to keep, one a line
    #[arg(long, value_name = "FILE", value_parser = list::parse::<PathBuf>)]
    ids: Vec<List<PathBuf>>,

    #[command(flatten)]
    reach: StoreFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let asks = !args.yes && !args.dry_run;
    anyhow::ensure!(
        !(asks && args.index.contains(&Location::Stdio)),
        "standard input cannot be both an index and the answer to a question: add --yes"
    );
    let access = Access::new(context, &args.reach);
    // Before the indexes are read: no writer can come in between.
    let store = access.prunable(&args.store)?;
    let keep = wanted(args, &access)?;
    if asks && !is_confirmed(keep.ids().len(), &args.store)? {
        return Ok(());
    }
    context.signals.catch()?;
    let options = PruneOptions { dry_run: args.dry_run, grace: args.older_than };
    let progress = context.progress.without_lines();
    let stats = prune(store.as_ref(), &keep, &options, &progress)?;
    let counts = format!("{} chunks with {} bytes", stats.removed, stats.removed_bytes);
    if args.dry_run {
        return writeln!(io::stdout(), "Would remove {counts}").map_err(output_failed);
    }
    let (leftovers, young, kept) = (stats.leftovers, stats.young, stats.kept);
    let others = format!("{leftovers} leftovers; kept {kept}, and {young} that are too young");
    progress.summary(&format!("removed {counts} and {others}"), stats.removed_bytes);
    Ok(())
}

/// All that is to be kept.
fn wanted(args: &Args, access: &Access<'_>) -> anyhow::Result<IdSet> {
    let mut keep = IdSet::default();
    for location in &args.index {
        add_index(&mut keep, &access.index(location)?);
    }
    let lists: Vec<_> = list::all(&args.ids).collect();
    // `--ids "$UNSET"` names nothing, and nothing must not mean: keep nothing.
    anyhow::ensure!(
        !(args.index.is_empty() && lists.is_empty()),
        "neither an index nor a list of ids says what is to be kept"
    );
    for file in lists {
        // What was to make the list may have failed; it would cost all chunks.
        let listed = id_list::read(file, &mut keep)?;
        anyhow::ensure!(listed > 0, "{}: there is no chunk id in it", file.display());
    }
    Ok(keep)
}

/// Asks as desync does, but an empty answer means no.
fn is_confirmed(kept: usize, store: &Location) -> anyhow::Result<bool> {
    let mut output = io::stdout();
    let store = store.without_secrets();
    let warning = format!(
        "Warning: The provided index files reference {kept} unique chunks. Are you sure\n\
         you want to delete all other chunks from '{store}'?\n"
    );
    output.write_all(warning.as_bytes()).map_err(output_failed)?;
    loop {
        output.write_all(b"[y/N]: ").and_then(|()| output.flush()).map_err(output_failed)?;
        let mut answer = Vec::new();
        let mut input = io::Read::take(io::stdin().lock(), 1 << 10);
        let read = input.read_until(b'\n', &mut answer);
        let read = read.map_err(Error::io("read", "standard input"))?;
        // Whoever runs this where nobody can answer must learn that nothing is ever removed.
        anyhow::ensure!(read > 0, "nobody answered whether to delete; add --yes to do so unasked");
        match answer.trim_ascii().to_ascii_lowercase().as_slice() {
            b"y" | b"yes" => return Ok(true),
            b"" | b"n" | b"no" => return Ok(false),
            _ => {}
        }
    }
}

fn output_failed(error: io::Error) -> anyhow::Error {
    Error::io("write to", "standard output")(error).into()
}
