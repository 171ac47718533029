//! Tests of what depends on the environment of the whole process.

use std::env;
use std::process::Command;

/// Set in the process in which a test really runs.
const INSIDE: &str = "CAIRN_TEST_INSIDE";

/// Runs a test in a process of its own, with these variables and none that say who we are.
pub fn with_environment(name: &str, variables: &[(&str, &str)], test: impl FnOnce()) {
    if env::var(INSIDE).is_ok() {
        return test();
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env_clear()
        .env("PATH", env::var("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env(INSIDE, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
}
