//! Output that is not faster than somebody wants it.

use std::io::{self, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Bytes written at a time: what is waited for is for these.
const PIECE: usize = 64 << 10;

/// Passes on so many bytes a second, from the first byte on.
#[derive(Debug)]
pub struct Throttle<W> {
    output: W,
    /// Bytes a second.
    limit: Option<u64>,
    begun: Option<Instant>,
    passed: u64,
}

impl<W> Throttle<W> {
    /// No limit if it is 0, as in casync.
    pub fn new(output: W, bytes_per_second: u64) -> Self {
        let limit = Some(bytes_per_second).filter(|&limit| limit > 0);
        Self { output, limit, begun: None, passed: 0 }
    }
}

impl<W: Write> Write for Throttle<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(limit) = self.limit else { return self.output.write(bytes) };
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let due = Duration::from_secs_f64(self.passed as f64 / limit as f64);
        sleep(due.saturating_sub(begun.elapsed()));
        let written = self.output.write(&bytes[..bytes.len().min(PIECE)])?;
        self.passed += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_as_long_as_was_asked_for() {
        let mut output = Throttle::new(Vec::new(), 10 * PIECE as u64);
        let begun = Instant::now();
        output.write_all(&vec![7; 3 * PIECE]).unwrap();
        // The last piece is not waited for.
        assert!(begun.elapsed() >= Duration::from_millis(200));
        assert_eq!(output.output, vec![7; 3 * PIECE]);
    }
}
