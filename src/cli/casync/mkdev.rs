//! `casync mkdev`
//!
//! ```text
//! blob -> a file, mounted where nobody else looks -> a loop device -> perhaps a link to it
//! ```
//! casync has network block devices for this, of which most kernels have no more; loop devices are everywhere.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Context as _;
use cairn::Error;
use cairn::archive::input::Input;
use cairn::tree::now;
use cairn_fuse::{BlobFile, Content, MountOptions, Mounted, Padded, PlainFile, unmount};
use cairn_store::Location;
use rustix::process::geteuid;
use signal_hook::consts::SIGHUP;

use super::options::Options;
use super::place;
use super::what::{self, What};
use crate::cli::mounting::{self, MountFlags, Mounting};
use crate::cli::options::Concurrency;
use crate::cli::signals::Signals;
use crate::cli::{Context, failure};

/// What can be a device.
const KINDS: [What; 2] = [What::Blob, What::BlobIndex];

/// Bytes of a block of a device.
const BLOCK: u64 = 512;

/// What the file is called.
const NAME: &str = "blob";

pub(super) fn run(words: &[OsString], options: &Options, context: &Context) -> anyhow::Result<()> {
    let said = what::allowed(options.what(), "mkdev", &KINDS)?;
    let (input, node) = match words {
        [] => (Location::Stdio, None),
        [input] => (place::parse(input)?, None),
        [input, node] => (place::parse(input)?, Some(PathBuf::from(node))),
        _ => anyhow::bail!("`mkdev` takes a blob or its index, and a place for the device"),
    };
    anyhow::ensure!(geteuid().is_root(), "devices are for root alone");
    let content = content(said, &input, options, context)?;
    let device = Device { node, state: Mutex::default() };
    device.serve(content, &input, context)
}

/// The bytes of the device.
fn content(
    said: Option<What>,
    input: &Location,
    options: &Options,
    context: &Context,
) -> anyhow::Result<Arc<dyn Content>> {
    let told = said.or_else(|| What::by_suffix(input));
    anyhow::ensure!(
        told.is_none_or(|what| KINDS.contains(&what)),
        "{}: `mkdev` is for blobs; trees are for `mount`",
        input.without_secrets()
    );
    let is_index = told.is_some_and(What::is_index);
    let inner: Arc<dyn Content> = match input {
        Location::Local(path) if !is_index => {
            let file = File::open(path).map_err(Error::io("open", path))?;
            let again = file.try_clone().map_err(Error::io("open", path))?;
            let size = Input::of_file(again, path)?.size().unwrap_or_default();
            Arc::new(PlainFile::new(file, size, path))
        }
        _ => {
            let access = options.access(context);
            let index = Arc::new(access.any_index(input)?);
            let source = access.stores(&place::stores(options, input)?)?;
            let memory = MountFlags::default().memory();
            Mounting::of(Some(source), &Concurrency::default(), memory).blob(index, input)?
        }
    };
    Ok(Arc::new(Padded::new(inner, BLOCK)))
}

/// A device that is made, and goes when this program ends.
struct Device {
    /// Where the user wants it.
    node: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The device, once it is there.
    attached: Option<PathBuf>,
    /// Where its file is mounted, once it is.
    point: Option<PathBuf>,
    /// The user wants an end, or it cannot be.
    is_over: bool,
}

impl Device {
    fn serve(
        &self,
        content: Arc<dyn Content>,
        input: &Location,
        context: &Context,
    ) -> anyhow::Result<()> {
        let directory = tempfile::Builder::new().prefix("cairn-").tempdir();
        let directory = directory.map_err(Error::io("make", "a directory for a device"))?;
        let point = directory.path();
        let fs = BlobFile::new(NAME.into(), content, (0, 0), now());
        let source = input.without_secrets();
        let options = MountOptions { source, ..MountOptions::default() };
        let each = |signal| {
            if signal != SIGHUP {
                self.end();
            }
        };
        // Before it is mounted, or an early signal would end us and leave a mount that nobody serves.
        let served = Signals::heed(each, || -> anyhow::Result<()> {
            let mounted = Mounted::new(Arc::new(fs), point, &options)?;
            let is_over = {
                let mut state = self.lock();
                state.point = Some(mounted.point().to_owned());
                state.is_over
            };
            if is_over {
                return Ok(());
            }
            thread::scope(|scope| {
                let attached =
                    scope.spawn(|| self.attach(&point.join(NAME)).inspect_err(|_| self.end()));
                let signals = context.signals.clone();
                let served = mounted.serve(move || signals.give_up());
                served.map_err(Error::io("serve", point))?;
                attached.join().map_err(|_| anyhow::anyhow!("the device was not made"))?
            })
        })?;
        self.detach();
        served
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the device of a file, and says what it is.
    fn attach(&self, file: &Path) -> anyhow::Result<()> {
        let given = self
            .node
            .as_deref()
            .filter(|node| node.metadata().is_ok_and(|found| found.file_type().is_block_device()));
        let mut command = Command::new("losetup");
        command.arg("--read-only").stdin(Stdio::null());
        match given {
            Some(node) => command.arg(node),
            None => command.args(["--find", "--show"]),
        };
        let made = command.arg(file).output().context("losetup, of the package mount")?;
        let said = String::from_utf8_lossy(&made.stderr);
        anyhow::ensure!(made.status.success(), "losetup: {}", said.trim());
        let device = match given {
            Some(node) => node.to_owned(),
            None => PathBuf::from(String::from_utf8_lossy(&made.stdout).trim()),
        };
        let is_over = {
            let mut state = self.lock();
            state.attached = Some(device.clone());
            state.is_over
        };
        if is_over {
            // The signal came meanwhile, and found nothing to detach.
            self.detach();
            return Ok(());
        }
        let shown = match &self.node {
            Some(node) if given.is_none() => {
                symlink(&device, node).map_err(Error::io("link", node))?;
                node
            }
            _ => &device,
        };
        mounting::ready();
        let _ = writeln!(io::stdout(), "Attached: {}", shown.display());
        Ok(())
    }

    /// Removes the device, and its link; once somebody has it open, as soon as that ends.
    fn detach(&self) {
        let Some(device) = self.lock().attached.take() else { return };
        if let Some(node) = &self.node
            && fs::read_link(node).is_ok_and(|target| target == device)
        {
            let _ = fs::remove_file(node);
        }
        let detached = Command::new("losetup").arg("--detach").arg(&device).status();
        if !detached.is_ok_and(|status| status.success()) {
            failure::warn(&format!("{}: cannot be detached", device.display()));
        }
    }

    /// Ends everything, also while somebody uses the device.
    fn end(&self) {
        let point = {
            let mut state = self.lock();
            state.is_over = true;
            state.point.clone()
        };
        self.detach();
        let Some(point) = point else { return };
        if let Err(e) = unmount(&point, true) {
            failure::warn(&format!("{}: cannot be unmounted: {e}", point.display()));
        }
    }
}
