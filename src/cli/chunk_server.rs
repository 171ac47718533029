//! `cairn chunk-server`

use std::env;
use std::sync::Arc;

use cairn_formats::Form;
use cairn_store::serve::{Backend, ChunkService, Reader, Server, StoreNames, WireOptions};
use cairn_store::{FormOptions, Location};
use clap::{ArgAction, Parser};

use super::Context;
use super::access::Access;
use super::command_line::parse_bool;
use super::server_flags::{ServerFlags, not_reloaded};
use super::signals::Signals;
use super::store_choice::{Chosen, StoreChoice};
use super::store_flags::StoreFlags;

/// The variable that may hold the key of encrypted chunks.
const ENCRYPTION_KEY: &str = "DESYNC_ENCRYPTION_KEY";

/// Why several stores cannot be written.
const ONE_TO_WRITE: &str = "Only one upstream store supported for writing and no cache";

/// Serve chunks over HTTP
///
/// Clients of casync and desync use it as a store. It runs until it is told to end (SIGINT, SIGTERM), and
/// reads --store-file again at SIGHUP.
#[derive(Debug, Parser)]
pub(super) struct Args {
    #[command(flatten)]
    stores: StoreChoice,

    /// Serve chunks without looking at them; with a cache they are verified whatever this says
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "true", value_parser = parse_bool)]
    skip_verify_read: bool,

    /// Store what clients send without checking that it is what its name says
    #[arg(long)]
    skip_verify_write: bool,

    /// Serve and take chunks as they are instead of compressed
    #[arg(short, long)]
    uncompressed: bool,

    /// Serve and take chunks encrypted, with the key in --encryption-key or $DESYNC_ENCRYPTION_KEY
    #[arg(long)]
    encryption: bool,

    /// Key in hex to encrypt chunks with; implies --encryption
    #[arg(long, value_name = "KEY", default_value = "", hide_default_value = true)]
    encryption_key: String,

    /// xchacha20-poly1305 or aes-256-gcm; implies --encryption
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    encryption_algorithm: String,

    #[command(flatten)]
    server: ServerFlags,

    #[command(flatten)]
    reach: StoreFlags,
}

pub(super) fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let options = args.server.options(context.program)?;
    let wire = WireOptions {
        form: args.form()?,
        digest: context.digest,
        skip_verify_write: args.skip_verify_write,
    };
    let reader = Reader::new(wire.form.clone(), context.digest, !args.skip_verify_read);
    let opening = Opening {
        args,
        access: Access::new(context, &args.reach),
        reader: reader.clone(),
        is_writable: args.server.is_writable(),
    };
    let service = Arc::new(ChunkService::new(reader, opening.backend()?, wire));
    let server = Server::of_chunks(options, service.clone())?;
    let stopper = server.stopper();
    let run = || {
        // Not before signals are heeded: whoever waits for this line may send one.
        args.server.announce(&server, context.program);
        server.run()
    };
    let reload = || {
        if args.stores.has_file() {
            match opening.backend() {
                Ok(backend) => service.exchange(backend),
                Err(e) => not_reloaded(&e),
            }
        }
    };
    Signals::while_running(move || stopper.stop(), reload, run)??;
    Ok(())
}

impl Args {
    /// The form in which clients want and send chunks.
    fn form(&self) -> anyhow::Result<Form> {
        let encryption = self.encryption
            || !self.encryption_key.is_empty()
            || !self.encryption_algorithm.is_empty();
        let variable = env::var(ENCRYPTION_KEY).unwrap_or_default();
        let key = match &self.encryption_key[..] {
            "" => &variable,
            given => given,
        };
        let wishes = FormOptions {
            uncompressed: self.uncompressed,
            encryption,
            encryption_algorithm: Some(&self.encryption_algorithm),
            encryption_key: Some(key).filter(|_| encryption),
        };
        Ok(wishes.form()?)
    }
}

/// What is needed to open the stores, at the start and when they are read anew.
struct Opening<'a> {
    args: &'a Args,
    access: Access<'a>,
    reader: Reader,
    is_writable: bool,
}

impl Opening<'_> {
    /// Opens the stores, those in the file if there is one.
    fn backend(&self) -> anyhow::Result<Backend> {
        let repair = self.args.reach.cache_repair();
        let Chosen { stores, cache, cached } = self.args.stores.read(repair)?;
        let names = names(&stores, cache.as_ref());
        if self.is_writable {
            let [store] = &stores[..] else { anyhow::bail!(ONE_TO_WRITE) };
            anyhow::ensure!(cache.is_none(), ONE_TO_WRITE);
            return Ok(self
                .reader
                .writable_backend(self.access.writable_as_configured(store)?, names));
        }
        let source = self.access.stores(&stores)?;
        let store = match &cache {
            None => source,
            Some(cache) => {
                self.access.in_cache(self.reader.behind_cache(source), cache, &cached)?
            }
        };
        Ok(self.reader.backend(store, names))
    }
}

/// The stores as whoever looks at the server may see them.
fn names(stores: &[Location], cache: Option<&Location>) -> StoreNames {
    let directory = |location: &Location| match location {
        Location::Local(path) => Some(path.clone()),
        _ => None,
    };
    StoreNames {
        stores: stores.iter().map(Location::without_secrets).collect(),
        cache: cache.map(Location::without_secrets),
        directories: stores.iter().filter_map(directory).collect(),
    }
}
