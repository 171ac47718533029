//! An archive into a file, at all its places at once, or into a pipe, in its order.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Output;
use super::stream::{Placed, Stream};
use crate::buffer::Buffer;
use crate::flow::{Stop, Turns, crew};
use crate::make::source::{Stretch, Want, window};
use crate::{Error, Monitor, Result, Unit};

/// Zeros written at once where holes cannot be left, in bytes.
const ZEROS: usize = 64 << 10;

/// Writes an archive with so many workers.
pub(super) fn write(
    stream: &Stream<'_>,
    output: Output<'_>,
    name: &Path,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<()> {
    monitor.start("Archiving", Unit::Bytes, None);
    let stop = Stop::default();
    let want = Want { window: window(workers, 0), stop: &stop, monitor };
    let written = match output {
        Output::File(file) => {
            let put = |placed: Placed<'_>, data: &[u8]| put_at(file, &placed, data);
            work(stream, &want, workers, name, put)
        }
        Output::Stream(output) => {
            let turns = Turns::new(&stop, output);
            let put = |placed: Placed<'_>, data: &[u8]| {
                let written = turns.take(placed.number, |out| put_next(*out, placed.stretch, data));
                // Without a turn another worker has failed, and tells why.
                written.unwrap_or(Ok(()))
            };
            work(stream, &want, workers, name, put)
        }
    };
    monitor.finish();
    written
}

fn work(
    stream: &Stream<'_>,
    want: &Want<'_>,
    workers: usize,
    name: &Path,
    put: impl Fn(Placed<'_>, &[u8]) -> io::Result<()> + Sync,
) -> Result<()> {
    crew(workers, want.stop, || {
        let mut buffer = Buffer::default();
        while let Some(placed) = stream.take(want, &mut buffer)? {
            let len = placed.stretch.len();
            let data = buffer.front(placed.stretch.in_memory());
            put(placed, data).map_err(Error::io("write", name))?;
            want.monitor.advance(len);
        }
        Ok(())
    })
}

fn put_at(file: &File, placed: &Placed<'_>, data: &[u8]) -> io::Result<()> {
    match placed.stretch {
        Stretch::Data(_) => file.write_all_at(data, placed.at),
        Stretch::Hole(_) => Ok(()),
        Stretch::Known(_) => unreachable!("only chunks are known"),
        // Behind the last byte, which may be in a hole.
        Stretch::End => file.set_len(placed.at),
    }
}

fn put_next(output: &mut dyn Write, stretch: Stretch<'_>, data: &[u8]) -> io::Result<()> {
    match stretch {
        Stretch::Data(_) => output.write_all(data),
        Stretch::Hole(len) => {
            let mut zeros = BufReader::with_capacity(ZEROS, io::repeat(0).take(len));
            io::copy(&mut zeros, output).map(drop)
        }
        Stretch::Known(_) => unreachable!("only chunks are known"),
        Stretch::End => output.flush(),
    }
}
