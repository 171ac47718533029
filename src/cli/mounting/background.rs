//! Commands that go on in the background once they are ready.
//!
//! ```text
//! cairn mount --background …      starts itself again, waits for a line, ends
//!   +- cairn mount --background … as a leader of a session, writes the line when it is ready, and lets go of the
//!                                 terminal
//! ```
//! What goes wrong before that is said where the command was typed, and is its exit code.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, ExitStatus, Stdio};

use cairn::Error;
use rustix::process::setsid;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Set for the one that goes on.
const MARK: &str = "CAIRN_IN_BACKGROUND";

/// What it writes when it is ready.
const READY: &str = "ready\n";

/// Who runs.
pub(super) enum Part {
    /// The one that was typed: the other is ready, and all is done.
    Done,
    /// The one that failed: it has said why.
    Failed(ExitStatus),
    /// The one that goes on.
    Other,
}

/// Starts the same command again, which then goes on in the background, or begins to be that one.
pub(super) fn split() -> anyhow::Result<Part> {
    if env::var_os(MARK).is_some() {
        // Already so if it was typed in a way that made it one.
        let _ = setsid();
        return Ok(Part::Other);
    }
    let failed = || Error::io("start", "a process in the background");
    let own = env::current_exe().map_err(failed())?;
    let mut words = env::args_os();
    let mut command = Command::new(own);
    if let Some(name) = words.next() {
        use std::os::unix::process::CommandExt;
        command.arg0(name);
    }
    let child = command.args(words).env(MARK, "1").stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(failed())?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        let _ = BufReader::new(output).read_line(&mut line);
    }
    if line == READY {
        return Ok(Part::Done);
    }
    Ok(Part::Failed(child.wait().map_err(failed())?))
}

/// Says that we are ready, if we are the one that goes on, and lets go of the terminal; of standard error only if there
/// is no log.
pub(super) fn ready(keeps_log: bool) -> io::Result<()> {
    if env::var_os(MARK).is_none() {
        return Ok(());
    }
    io::stdout().write_all(READY.as_bytes())?;
    io::stdout().flush()?;
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    if !keeps_log {
        dup2_stderr(&nothing)?;
    }
    Ok(())
}
