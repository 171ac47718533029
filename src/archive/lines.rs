//! Where a job writes lines of text.

use std::io::Write;
use std::path::Path;

use crate::{Error, Result};

/// An output, and what it is called in errors.
pub struct Lines<'a> {
    output: &'a mut dyn Write,
    name: &'a Path,
}

impl<'a> Lines<'a> {
    /// Lines to an output that should be buffered.
    pub fn new(output: &'a mut dyn Write, name: &'a Path) -> Self {
        Self { output, name }
    }

    /// Writes a line, to which a line break is added.
    pub fn put(&mut self, line: &str) -> Result<()> {
        let written =
            self.output.write_all(line.as_bytes()).and_then(|()| self.output.write_all(b"\n"));
        written.map_err(Error::io("write to", self.name))
    }

    /// Sees that everything written is out.
    pub fn finish(self) -> Result<()> {
        self.output.flush().map_err(Error::io("write to", self.name))
    }
}
