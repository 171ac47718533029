//! Files read and written in pieces, several of which are under way.
//!
//! ```text
//! read    open -> what it is + first piece -> further pieces, AHEAD of what was taken -> close
//! write   open a new one beside it -> pieces, BEHIND of them unconfirmed -> close -> rename
//! ```
//! A new file that is abandoned or dropped before it has its name is removed.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream};

use super::failure::Failure;
use super::pool::Lease;
use super::request::Pending;
use super::wire::{READ, Request, WRITE_NEW};
use crate::remote::objects::Body;

/// How much is asked for at once, in bytes: a packet of the largest size less what stands before.
const PIECE: usize = 255 << 10;

/// As much at least, however little the server gives: many small requests would cost us memory.
const LEAST_PIECE: usize = 16 << 10;

/// How much of a file is asked for ahead of what was taken, in bytes.
const AHEAD: u64 = 2 << 20;

/// How much is written at once, in bytes: every server takes that.
const WRITTEN_PIECE: usize = 32 << 10;

/// How many pieces may be unconfirmed.
const BEHIND: usize = 64;

/// Begins to read a file.
pub(super) async fn read(lease: Lease, path: &[u8], place: String) -> Result<Body, Failure> {
    let handle = lease.ask(&Request::Open { path, flags: READ }).handle().await?;
    let file = OpenFile { lease, handle };
    let attributes = file.lease.ask(&Request::HandleStat { handle: &file.handle });
    let mut reader = Reader { file, place, len: None, asked: 0, pieces: VecDeque::new() };
    reader.ask(PIECE as u64);
    let attributes = attributes.attributes().await?;
    if attributes.is_directory() {
        return Err(Failure::Refused("it is a directory".to_owned()));
    }
    reader.len = attributes.size;
    let pieces = stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(bytes) => Some((Ok(bytes?), Some(reader))),
            Err(failure) => Some((Err(failure.at(reader.place.as_str())), None)),
        }
    });
    Ok(Box::pin(pieces.fuse()))
}

/// Something open on the server, which is closed when dropped.
pub(super) struct OpenFile {
    lease: Lease,
    handle: Bytes,
}

impl OpenFile {
    /// Opens a directory.
    pub(super) async fn directory(lease: Lease, path: &[u8]) -> Result<Self, Failure> {
        let handle = lease.ask(&Request::OpenDirectory { path }).handle().await?;
        Ok(Self { lease, handle })
    }

    /// Asks for some more names in a directory.
    pub(super) fn read_directory(&self) -> Pending {
        self.lease.ask(&Request::ReadDirectory { handle: &self.handle })
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.lease.tell(&Request::Close { handle: &self.handle });
    }
}

/// A file that is being read.
struct Reader {
    file: OpenFile,
    place: String,
    /// How long it is, if the server says so.
    len: Option<u64>,
    /// Up to here it has been asked for.
    asked: u64,
    /// What has been asked for and not taken, in order.
    pieces: VecDeque<Piece>,
}

struct Piece {
    at: u64,
    len: u64,
    pending: Pending,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.ask_ahead();
        let Some(Piece { at, len, pending }) = self.pieces.pop_front() else { return Ok(None) };
        let Some(mut data) = pending.data().await? else {
            // Nothing follows the end.
            self.pieces.clear();
            self.len = Some(at);
            return Ok(None);
        };
        let came = data.len() as u64;
        if came > len {
            return Err(Failure::nonsense());
        }
        if came < len && self.len.is_none_or(|whole| at + came < whole) {
            // Less than was asked for, and not for the end of the file.
            self.file.lease.read_len.fetch_min(data.len(), Ordering::Relaxed);
            let rest = self.piece(at + came, len - came);
            self.pieces.push_front(rest);
        }
        if let Some(whole) = self.len {
            // It has grown since; what was there at first is what is read.
            data.truncate(whole.saturating_sub(at) as usize);
        }
        Ok(Some(data).filter(|data| !data.is_empty()))
    }

    fn ask_ahead(&mut self) {
        let taken = self.pieces.front().map_or(self.asked, |piece| piece.at);
        let end = self.len.unwrap_or(u64::MAX).min(taken.saturating_add(AHEAD));
        let given = self.file.lease.read_len.load(Ordering::Relaxed);
        let most = given.clamp(LEAST_PIECE, PIECE) as u64;
        while self.asked < end {
            let whole = self.len.unwrap_or(u64::MAX);
            self.ask(most.min(whole - self.asked));
        }
    }

    fn ask(&mut self, len: u64) {
        let piece = self.piece(self.asked, len);
        self.asked += len;
        self.pieces.push_back(piece);
    }

    fn piece(&self, at: u64, len: u64) -> Piece {
        let handle = &self.file.handle;
        let pending = self.file.lease.ask(&Request::Read { handle, at, len: len as u32 });
        Piece { at, len, pending }
    }
}

/// A file that is being written, and has not its name yet.
pub(super) struct NewFile {
    lease: Lease,
    path: Vec<u8>,
    /// While it is open.
    handle: Option<Bytes>,
    /// How much has been sent, in bytes.
    len: u64,
    unconfirmed: VecDeque<Pending>,
    is_done: bool,
}

impl NewFile {
    /// Creates a file, which must not be there.
    pub(super) async fn create(lease: Lease, path: Vec<u8>) -> Result<Self, Failure> {
        // First, so that it is removed even if the answer is not waited for.
        let unconfirmed = VecDeque::new();
        let mut new = Self { lease, path, handle: None, len: 0, unconfirmed, is_done: false };
        let opened = new.lease.ask(&Request::Open { path: &new.path, flags: WRITE_NEW });
        match opened.handle().await {
            Ok(handle) => new.handle = Some(handle),
            Err(failure) => {
                // What there is by that name, if anything, is not ours.
                new.is_done = !matches!(failure, Failure::Lost { .. });
                return Err(failure);
            }
        }
        Ok(new)
    }

    /// Writes at the end.
    pub(super) async fn write(&mut self, mut bytes: Bytes) -> Result<(), Failure> {
        let Some(handle) = &self.handle else { return Err(Failure::nonsense()) };
        while bytes.has_remaining() {
            let data = bytes.split_to(bytes.len().min(WRITTEN_PIECE));
            let at = self.len;
            self.len += data.len() as u64;
            self.unconfirmed.push_back(self.lease.ask(&Request::Write { handle, at, data }));
            if self.unconfirmed.len() > BEHIND
                && let Some(oldest) = self.unconfirmed.pop_front()
            {
                oldest.done().await?;
            }
        }
        Ok(())
    }

    /// Closes the file and gives it its name, in place of what has that now.
    pub(super) async fn commit(&mut self, target: &[u8]) -> Result<(), Failure> {
        if let Some(handle) = self.handle.take() {
            let closed = self.lease.ask(&Request::Close { handle: &handle });
            for piece in self.unconfirmed.drain(..) {
                piece.done().await?;
            }
            closed.done().await?;
        }
        let (from, to) = (&self.path[..], target);
        if self.lease.renames {
            self.lease.ask(&Request::PosixRename { from, to }).done().await?;
        } else {
            self.replace(target).await?;
        }
        self.is_done = true;
        Ok(())
    }

    /// Gives it its name by the protocol's own renaming, which puts nothing in place of something. So
    /// what has the name is moved out of the way, and for a moment there is neither. It is moved back
    /// if that was in vain, and the loss of the connection may leave it aside.
    async fn replace(&self, target: &[u8]) -> Result<(), Failure> {
        let rename = async |from: &[u8], to: &[u8]| {
            self.lease.ask(&Request::Rename { from, to }).done().await
        };
        let why = match rename(&self.path, target).await {
            // What a server says of a name that is taken, and of much else.
            Err(why @ Failure::Refused(_)) => why,
            outcome => return outcome,
        };
        let aside = [&self.path[..], b".old"].concat();
        if rename(target, &aside).await.is_err() {
            return Err(why);
        }
        if let Err(why) = rename(&self.path, target).await {
            let _ = rename(&aside, target).await;
            return Err(why);
        }
        // What remains of it is a leftover for those who clear up.
        let _ = self.lease.ask(&Request::Remove { path: &aside }).done().await;
        Ok(())
    }

    /// Removes the file, and waits until it is gone: the program may end after this.
    pub(super) async fn abandon(mut self) {
        if !self.is_done {
            self.is_done = true;
            self.close();
            // Whoever abandons it has a better reason to tell than why this fails.
            let _ = self.lease.ask(&Request::Remove { path: &self.path }).done().await;
        }
    }

    fn close(&self) {
        if let Some(handle) = &self.handle {
            self.lease.tell(&Request::Close { handle });
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_done {
            self.close();
            self.lease.tell(&Request::Remove { path: &self.path });
        }
    }
}
