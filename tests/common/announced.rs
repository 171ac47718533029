//! A server that prints the address at which it listens, and is ended when it goes out of scope.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

/// A server that has said where it listens.
pub struct Announced {
    child: Child,
    /// What stands behind the words it announced itself with, to the end of that line.
    pub at: String,
}

impl Announced {
    /// Starts a server, and waits for the line in which it says `words` and its address.
    pub fn start(mut command: Command, words: &str) -> io::Result<Self> {
        let (said, says) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(says.try_clone()?).stderr(says);
        let name = command.get_program().to_owned();
        let child = command.spawn()?;
        // Its ends of the pipe: what is read ends with the server.
        drop(command);
        let mut said = BufReader::new(said);
        let mut printed = String::new();
        let at = loop {
            let from = printed.len();
            let len = said.read_line(&mut printed).unwrap();
            assert!(len > 0, "{name:?} does not listen: {printed}");
            if let Some((_, at)) = printed[from..].split_once(words) {
                break at.trim().to_owned();
            }
        };
        // It waits for whoever reads what it prints.
        thread::spawn(move || said.lines().for_each(drop));
        Ok(Self { child, at })
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server where the script has put it, seen from whichever crate; or that of the system.
pub fn installed(program: &str) -> PathBuf {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut ours =
        crate_directory.ancestors().map(|root| root.join("target/venv/bin").join(program));
    ours.find(|program| program.is_file()).unwrap_or_else(|| program.into())
}
