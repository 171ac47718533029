//! A backend as a place of indexes.
//!
//! ```text
//! read    body, part by part -> index      what is no index is noticed at its first bytes
//! write   index -> parts -> object         never all of it at once in memory
//! copy    body, part by part -> file       of whatever is there, such as an archive
//! ```

use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Seek, Write};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use cairn_formats::Index;
use futures_util::StreamExt;
use tokio::sync::mpsc::{self, Sender};

use super::objects::{Body, Objects, PART, WriteObjects, in_time, too_late};
use super::runtime::wait;
use crate::{Error, RemoteOptions, Result, Stop};

/// What a file is called that has no name.
const UNNAMED: &str = "a file of our own";

/// Parts that wait to be sent.
const QUEUE: usize = 1;

/// Reads an index; `None` if it is not there.
pub(crate) fn read(
    objects: &impl Objects,
    name: &str,
    options: &RemoteOptions,
) -> Result<Option<Index>> {
    let Some(mut reader) = Reader::open(objects, name, options)? else { return Ok(None) };
    let index = Index::read(&mut reader);
    match (index, reader.failure) {
        (_, Some(failure)) => Err(failure),
        (Ok(index), None) => Ok(Some(index)),
        (Err(e), None) => Err(Error::invalid(reader.place)(e)),
    }
}

/// Copies whatever has a name into a file, over what is in it; `None` if it is not there, or how many bytes it has.
pub(crate) fn copy(
    objects: &impl Objects,
    name: &str,
    output: &File,
    options: &RemoteOptions,
) -> Result<Option<u64>> {
    let Some(mut reader) = Reader::open(objects, name, options)? else { return Ok(None) };
    let mut output = output;
    let cleared = output.set_len(0).and_then(|()| output.rewind());
    cleared.map_err(Error::io("write", UNNAMED))?;
    let copied = io::copy(&mut reader, &mut output);
    match (copied, reader.failure) {
        (_, Some(failure)) => Err(failure),
        (Ok(copied), None) => Ok(Some(copied)),
        (Err(e), None) => Err(Error::io("write", UNNAMED)(e)),
    }
}

/// Writes an index, which appears whole or not at all. The time is for each part: an index may be long.
pub(crate) fn write(
    objects: &impl WriteObjects,
    name: &str,
    index: &Index,
    options: &RemoteOptions,
) -> Result<()> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let parts = futures_util::stream::unfold(receiver, move |mut receiver| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { receiver.recv().await.map(|part| (part, receiver)) }
    });
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = Parts { sender, part: BytesMut::new() };
            // If nobody takes the parts any more, the other side knows why.
            let _ = index.write(&mut writer).and_then(|()| writer.flush());
        });
        let sending = objects.put_parts(name, Box::pin(parts));
        let moving = while_it_moves(sending, &sent, options.timeout, || objects.place(name));
        wait(options.stop.or(moving))
    })
}

/// The outcome of something, or an error if a time goes by in which nothing is sent.
async fn while_it_moves<T>(
    sending: impl Future<Output = Result<T>>,
    sent: &AtomicUsize,
    timeout: Option<Duration>,
    place: impl Fn() -> String,
) -> Result<T> {
    let Some(timeout) = timeout else { return sending.await };
    let mut sending = pin!(sending);
    loop {
        let before = sent.load(Ordering::Relaxed);
        match tokio::time::timeout(timeout, sending.as_mut()).await {
            Ok(outcome) => return outcome,
            Err(_) if sent.load(Ordering::Relaxed) > before => {}
            Err(_) => return Err(too_late(place(), timeout)),
        }
    }
}

/// A body as something to read from.
struct Reader {
    body: Body,
    rest: Bytes,
    timeout: Option<Duration>,
    stop: Stop,
    place: String,
    /// What went wrong on the way.
    failure: Option<Error>,
}

impl Reader {
    /// Begins to read what has a name; `None` if it is not there.
    fn open(objects: &impl Objects, name: &str, options: &RemoteOptions) -> Result<Option<Self>> {
        let RemoteOptions { timeout, stop, .. } = options;
        let place = || objects.place(name);
        let opened = in_time(*timeout, place, objects.open(name));
        let body = wait(stop.or(opened))?;
        Ok(body.map(|body| Self {
            body,
            rest: Bytes::new(),
            timeout: *timeout,
            stop: stop.clone(),
            place: place(),
            failure: None,
        }))
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            let Self { body, place, timeout, stop, .. } = self;
            let next = async { body.next().await.transpose() };
            match wait(stop.or(in_time(*timeout, || place.clone(), next))) {
                Ok(Some(part)) => self.rest = part,
                Ok(None) => return Ok(0),
                Err(e) => {
                    self.failure = Some(e);
                    return Err(io::ErrorKind::Other.into());
                }
            }
        }
        let len = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}

/// What is written, as parts.
struct Parts {
    sender: Sender<Result<Bytes>>,
    part: BytesMut,
}

impl Parts {
    fn send(&mut self) -> io::Result<()> {
        let part = self.part.split().freeze();
        self.sender.blocking_send(Ok(part)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(PART - self.part.len());
        self.part.extend_from_slice(&bytes[..len]);
        if self.part.len() == PART {
            self.send()?;
        }
        Ok(len)
    }

    /// Sends what is left, even if it is no whole part: to be called once, at the end.
    fn flush(&mut self) -> io::Result<()> {
        if self.part.is_empty() { Ok(()) } else { self.send() }
    }
}
