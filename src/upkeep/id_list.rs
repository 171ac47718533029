//! Ids in a text file: one a line, 64 hex digits, with blanks around it if need be. Blank lines are
//! skipped.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use cairn_formats::ChunkId;

use crate::ids::IdSet;
use crate::{Error, Result};

/// No line with an id is nearly as long. One that is, as of a file without line ends, is not read
/// into memory.
const LONGEST_LINE: u64 = 4096;

/// Adds the ids in a file to a set, and returns how many there are. Anything else in it is an error
/// that names its line.
pub fn read(path: &Path, ids: &mut IdSet) -> Result<u64> {
    let mut input = BufReader::new(File::open(path).map_err(Error::io("open", path))?);
    let mut line = Vec::new();
    let mut count = 0;
    for number in 1_u64.. {
        line.clear();
        let got = input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        if got.map_err(Error::io("read", path))? == 0 {
            break;
        }
        let text = line.trim_ascii();
        if !text.is_empty() {
            ids.insert(parse(text).ok_or_else(|| {
                Error::file(path, format!("line {number} is not a chunk id (64 hex digits)"))
            })?);
            count += 1;
        }
    }
    Ok(count)
}

/// As desync, upper case too.
fn parse(text: &[u8]) -> Option<ChunkId> {
    std::str::from_utf8(text).ok()?.to_ascii_lowercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(content: &[u8]) -> Result<Vec<ChunkId>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let mut ids = IdSet::default();
        read(file.path(), &mut ids)?;
        Ok(ids.ids().to_vec())
    }

    #[test]
    fn blanks_and_case_do_not_matter() {
        let (one, two) = ("ab".repeat(32), "12".repeat(32));
        let content = format!("\n \t\n  {one} \r\n{}\n\n{two}", one.to_uppercase());
        let expected = [one, two].map(|hex| hex.parse().unwrap());
        assert_eq!(ids(content.as_bytes()).unwrap(), expected);
        assert!(ids(b"").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_id_is_named_by_its_line() {
        let good = "ab".repeat(32);
        for bad in ["x", "abcd", &format!("{good} {good}"), &format!("{good}0"), "\u{e9}\0"] {
            let error = ids(format!("{good}\n\n{bad}\n").as_bytes()).unwrap_err().to_string();
            assert!(error.ends_with("line 3 is not a chunk id (64 hex digits)"), "{error}");
        }
        assert!(ids(&vec![b' '; 10_000]).unwrap().is_empty());
        assert!(ids(&vec![b'0'; 10_000]).is_err());
    }
}
