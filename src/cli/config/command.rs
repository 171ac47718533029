//! `cairn config`

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::Context as _;
use cairn::Error;
use cairn_store::Location;
use cairn_store::local::NewFile;
use clap::Parser;

use super::key::{Section, json_text};
use super::{Config, Flags, Origin, print};
use crate::cli::Context;
use crate::cli::list::{self, List};
use crate::cli::store_flags::StoreFlags;

/// Print the configuration, or write it to its file
///
/// Prints the configuration as JSON, defaults filled in, in the form in which it is read. Keys and
/// passwords are printed too, as scripts read them; with --origin they are not.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Write the configuration to its file instead of printing it
    #[arg(short, long, conflicts_with = "origin")]
    write: bool,

    /// Print a line for every value that says who gave it: a flag, a variable, a file or nobody
    #[arg(long)]
    origin: bool,

    /// With --origin: show what holds for this store
    #[arg(short, long = "store", value_name = "STORE", requires = "origin", value_parser = list::parse::<Location>)]
    store: Vec<List<Location>>,

    #[command(flatten)]
    reach: StoreFlags,
}

pub(crate) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let config = &context.config;
    let flags = args.reach.given();
    let text = if args.origin {
        origins(args, &flags, context)?
    } else {
        anyhow::ensure!(
            flags.is_empty() && !args.reach.is_cache_repair_given(),
            "flags for stores can be given with --origin only"
        );
        let json = print::json(&config.file);
        if args.write { write(config, &json)? } else { format!("{json}\n") }
    };
    io::stdout().write_all(text.as_bytes()).map_err(Error::io("write to", "standard output"))?;
    Ok(())
}

/// Writes the file, and returns what is said about it.
fn write(config: &Config, json: &str) -> anyhow::Result<String> {
    let path = config.write_to.as_deref().context("there is no home directory to write to")?;
    // What a link leads to is replaced, not the link.
    let target = if path.is_symlink() { fs::canonicalize(path) } else { Ok(path.to_owned()) };
    let written = target.and_then(|target| write_file(&target, json));
    written.with_context(|| format!("writing {}", path.display()))?;
    Ok(format!("Writing config to {}\n\n", path.display()))
}

fn write_file(path: &Path, json: &str) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    let new = NewFile::create(path, 0o600)?;
    new.file().write_all(json.as_bytes())?;
    new.commit(false)
}

/// All values with their origins: those of this run, then entry by entry, then those of the stores
/// that were asked for.
fn origins(args: &Args, flags: &Flags, context: &Context) -> anyhow::Result<String> {
    let mut lines = run_lines(args, context);
    let config = &context.config;
    for section in Section::ALL {
        for (location, entry) in config.file.section(section).into_iter().flatten() {
            let shown = location.parse().map_or(String::new(), |at: Location| at.without_secrets());
            let name = format!("{}.{}", section.name(), json_text(&shown));
            if section == Section::Stores {
                lines.extend(print::settings_lines(&name, &config.entry(location, entry, flags)));
                continue;
            }
            for (key, value) in entry {
                let shown = print::shown(*key, &value.to_json());
                let key = format!("{name}.{}", key.name());
                lines.push(print::origin_line(&key, &shown, &config.file_origin()));
            }
        }
    }
    for location in list::all(&args.store) {
        let name = format!("store.{}", json_text(&location.without_secrets()));
        lines.extend(print::settings_lines(&name, &config.store(location, flags)?));
    }
    Ok(lines.join("\n") + "\n")
}

/// The values that are not those of a store.
fn run_lines(args: &Args, context: &Context) -> Vec<String> {
    let global = &context.global;
    let origin = |is_given: bool, flag| if is_given { Origin::Flag(flag) } else { Origin::Default };
    let given = |id, flag| origin(global.is_given(id), flag);
    let (file, file_origin) = match &context.config.source {
        Some((path, origin)) => (json_text(&path.display().to_string()), origin.clone()),
        None => ("null".to_owned(), Origin::Default),
    };
    let log_format = global.log_format.map_or("text", |format| format.name());
    let digest = global.digest.to_string();
    vec![
        print::origin_line("config", &file, &file_origin),
        print::origin_line("digest", &json_text(&digest), &given("digest", "digest")),
        print::origin_line("verbose", &global.verbose.to_string(), &given("verbose", "verbose")),
        print::origin_line(
            "log-format",
            &json_text(log_format),
            &given("log_format", "log-format"),
        ),
        print::origin_line(
            "cache-repair",
            &args.reach.cache_repair().to_string(),
            &origin(args.reach.is_cache_repair_given(), "cache-repair"),
        ),
    ]
}
