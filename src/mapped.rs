//! Stretches of a file where the page cache has them, for whoever only looks at them.
//!
//! Hashing runs at the speed of copying, so a copy out of the page cache costs a third of the time that a check of a file
//! takes. A mapping has a price too: a page of it that cannot be had, because the file was cut short meanwhile or its disk
//! fails, does not end a call with an error but the program by a signal. So nothing is mapped before
//! [`survive_bus_errors`] has put a handler in place, which makes such a page one of zeros and notes that the mapping is
//! [broken](Mapped::is_broken).
//!
//! The bytes may change while they are looked at, as those of any file: whoever wants to keep them after a check needs a
//! copy of his own.

#![allow(
    unsafe_code,
    reason = "mappings and signal handlers are the contract of whoever makes them"
)]

use std::ffi::{c_int, c_void};
use std::fs::{File, Metadata};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::libc::siginfo_t;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::fs::{Advice, fadvise};
use rustix::mm::{Advice as MapAdvice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use rustix::param::page_size;

use crate::tree::attributes::FileSystem;

/// What was done about `SIGBUS` before; set once the handler is in place.
static BEFORE: OnceLock<SigAction> = OnceLock::new();

/// Mappings there can be at once: one for each worker, of which there are rarely more.
static PLACES: [Place; 64] = [const { Place::new() }; 64];

/// Lets this library look at files by mapping them, by a handler of `SIGBUS` for this process.
///
/// Signals that do not come from such a mapping go to the handler that was there before. Until it is called all files are
/// read, which is slower.
pub fn survive_bus_errors() {
    BEFORE.get_or_init(|| {
        let handler = SigHandler::SigAction(on_bus_error);
        // On the stack for signals, if the thread has one; calls that were interrupted go on.
        let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK | SaFlags::SA_RESTART;
        // SAFETY: the handler uses atomics and system calls alone.
        let before =
            unsafe { sigaction(Signal::SIGBUS, &SigAction::new(handler, flags, SigSet::empty())) };
        before.expect("the signal exists and can be handled")
    });
}

/// Bytes of a file, mapped.
#[derive(Debug)]
pub(crate) struct Mapped {
    place: &'static Place,
    start: NonNull<c_void>,
    mapped: usize,
    /// Where the wanted bytes begin in the first page.
    skipped: usize,
}

// SAFETY: a mapping is the process's, not a thread's; nothing is written through it.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Whether it is worth while to map parts of a file: it is in a file system of this machine, whose pages the kernel
    /// fills many at a time. Not if it has holes: a tmpfs takes memory for those, for good, when they are seen in a mapping.
    pub(crate) fn suits(file: &File) -> bool {
        let is_near = |kind: FileSystem| kind.is_local() || kind == FileSystem::Overlay;
        let is_full = |found: Metadata| found.is_file() && found.blocks() * 512 >= found.len();
        BEFORE.get().is_some()
            && FileSystem::of(file.as_fd()).is_ok_and(is_near)
            && file.metadata().is_ok_and(is_full)
    }

    /// Maps `len` bytes of a file, at least one, after all of them were read into the page cache.
    ///
    /// `None` if that fails, for whatever reason: to read the file tells which.
    pub(crate) fn of(file: &File, start: u64, len: usize) -> Option<Self> {
        BEFORE.get()?;
        let skipped = (start % page_size() as u64) as usize;
        let (from, mapped) = (start - skipped as u64, skipped.checked_add(len)?);
        // What is not there yet is asked for at once, rather than page by page as the mapping is filled.
        let _ = fadvise(file, start, std::num::NonZero::new(len as u64), Advice::WillNeed);
        let place = PLACES.iter().find(|place| place.take())?;
        // SAFETY: the kernel chooses a place where nothing is.
        let start =
            unsafe { mmap(ptr::null_mut(), mapped, ProtFlags::READ, MapFlags::SHARED, file, from) };
        let Some(start) = start.ok().and_then(NonNull::new) else {
            place.give_back();
            return None;
        };
        place.is(start.as_ptr() as usize, mapped);
        let this = Self { place, start, mapped, skipped };
        // SAFETY: nothing but the mapping itself is touched. A page that cannot be had is an error of this call.
        let filled = unsafe { madvise(start.as_ptr(), mapped, MapAdvice::LinuxPopulateRead) };
        filled.is_ok().then_some(this)
    }

    /// The bytes. Zeros, from wherever it is [broken](Self::is_broken).
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped as long as `self` is there. That others may write to the file is as with every
        // mapped file: the bytes are only looked at, and what is seen is not relied on twice.
        let all = unsafe { slice::from_raw_parts(self.start.as_ptr().cast::<u8>(), self.mapped) };
        &all[self.skipped..]
    }

    /// Whether some of the bytes that were looked at could not be had.
    pub(crate) fn is_broken(&self) -> bool {
        self.place.broken.load(Ordering::Acquire)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // The handler must not know the place once something else may be mapped there.
        self.place.start.store(0, Ordering::Release);
        // SAFETY: the bytes were borrowed from `self`, so nobody has them any more.
        let _ = unsafe { munmap(self.start.as_ptr(), self.mapped) };
        self.place.give_back();
    }
}

/// Where a mapping is, for the handler.
#[derive(Debug)]
struct Place {
    taken: AtomicBool,
    /// The first address; 0 for none.
    start: AtomicUsize,
    end: AtomicUsize,
    broken: AtomicBool,
}

impl Place {
    const fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        }
    }

    fn take(&self) -> bool {
        !self.taken.load(Ordering::Relaxed) && !self.taken.swap(true, Ordering::Acquire)
    }

    fn is(&self, start: usize, len: usize) {
        self.broken.store(false, Ordering::Relaxed);
        self.end.store(start + len, Ordering::Relaxed);
        self.start.store(start, Ordering::Release);
    }

    fn has(&self, address: usize) -> bool {
        let start = self.start.load(Ordering::Acquire);
        let end = self.end.load(Ordering::Acquire);
        // The second look is for a place that was given to another mapping between the two.
        (start..end).contains(&address) && start != 0 && self.start.load(Ordering::Acquire) == start
    }

    fn give_back(&self) {
        self.taken.store(false, Ordering::Release);
    }
}

extern "C" fn on_bus_error(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands over what belongs to the signal.
    let address = unsafe { (*info).si_addr() } as usize;
    if let Some(place) = PLACES.iter().find(|place| place.has(address)) {
        place.broken.store(true, Ordering::Release);
        let page = (address - address % page_size()) as *mut c_void;
        let (access, flags) = (ProtFlags::READ, MapFlags::PRIVATE | MapFlags::FIXED);
        // SAFETY: the page is one of a mapping of ours, whose thread waits in this handler.
        if unsafe { mmap_anonymous(page, page_size(), access, flags) }.is_ok() {
            return;
        }
    }
    match BEFORE.get().map(SigAction::handler) {
        Some(SigHandler::SigAction(before)) => before(signal, info, context),
        Some(SigHandler::Handler(before)) => before(signal),
        _ => {
            let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: no code of ours runs as the handler. The access that led here is made again, and ends the program.
            let _ = unsafe { sigaction(Signal::SIGBUS, &default) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    use std::sync::Mutex;

    use super::*;
    use crate::flow::lock;

    /// Held by each test: there are only so many places.
    static ALONE: Mutex<()> = Mutex::new(());

    fn file(len: usize) -> (File, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8 + 1).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (file, bytes)
    }

    #[test]
    fn any_stretch_of_a_file_is_seen() {
        let _alone = lock(&ALONE);
        survive_bus_errors();
        let (file, bytes) = file(100_000);
        for (start, len) in
            [(0, 1), (0, 100_000), (1, 99_999), (4095, 2), (4096, 4096), (99_999, 1)]
        {
            let mapped = Mapped::of(&file, start as u64, len).unwrap();
            assert_eq!(mapped.bytes(), &bytes[start..start + len]);
            assert!(!mapped.is_broken());
        }
        // The end of the last page is not of the file, but can be seen; what is behind cannot.
        assert!(Mapped::of(&file, 90_000, 20_000).is_none());
        assert!(
            PLACES.iter().filter(|place| place.start.load(Ordering::Relaxed) != 0).count() <= 2
        );
    }

    #[test]
    fn a_file_that_is_cut_short_is_zeros_and_noted() {
        let _alone = lock(&ALONE);
        survive_bus_errors();
        let (file, bytes) = file(100_000);
        let mapped = Mapped::of(&file, 10_000, 90_000).unwrap();
        let other = Mapped::of(&file, 0, 10_000).unwrap();
        file.set_len(40_960).unwrap();
        assert_eq!(mapped.bytes()[..30_960], bytes[10_000..40_960]);
        assert!(!mapped.is_broken());
        assert!(mapped.bytes()[30_960..].iter().all(|&byte| byte == 0));
        assert!(mapped.is_broken() && !other.is_broken());
        drop(mapped);
        // The next one in its place is a new one.
        file.write_all_at(&bytes, 0).unwrap();
        let again = Mapped::of(&file, 10_000, 90_000).unwrap();
        assert!(again.bytes() == &bytes[10_000..] && !again.is_broken());
    }

    #[test]
    fn a_file_with_holes_is_read() {
        let _alone = lock(&ALONE);
        survive_bus_errors();
        let (file, _) = file(1_000_000);
        let found = FileSystem::of(file.as_fd());
        let is_known = matches!(found, Ok(FileSystem::Ext4 | FileSystem::Xfs));
        assert!(Mapped::suits(&file) || !is_known);
        file.set_len(1 << 30).unwrap();
        assert!(!Mapped::suits(&file));
    }
}
