//! Commands whose input comes through a pipe and stops halfway.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a command may take to read what has come, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

const STEP: Duration = Duration::from_millis(5);

/// Feeds a command and interrupts it when it has read all and waits for more. `input` is to be more than a pipe holds:
/// then the command catches signals by the time the last of it is in the pipe.
pub fn interrupted(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(input).unwrap();
    let started = Instant::now();
    while rustix::io::ioctl_fionread(&pipe).unwrap() > 0 {
        assert!(started.elapsed() < PATIENCE, "it does not read");
        sleep(STEP);
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > 2 * PATIENCE {
            child.kill().unwrap();
            panic!("it waits for ever");
        }
        sleep(STEP);
    }
    let done = child.wait_with_output().unwrap();
    // Open until now: the end of the pipe would end the command as well.
    drop(pipe);
    done
}
