//! Scripts that stand in for ssh.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::Sandbox;

/// Runs the command here that ssh would run there, with its complaints in a file `complaints`.
pub const HERE: &str = r#"
while :; do case "$1" in --) shift; break ;; -p) shift 2 ;; -*) shift ;; *) break ;; esac; done
shift
exec sh -c "exec $*" 2>>"$sandbox/complaints"
"#;

/// Says what is in the file `answer`, and listens to the end.
pub const CANNED: &str = r#"
cat "$sandbox/answer"
exec cat >>"$sandbox/heard"
"#;

impl Sandbox {
    /// A script in the sandbox, whose path is `$sandbox` there.
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        let script = format!("#!/bin/sh\nsandbox='{}'\n{body}", self.path("").display());
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }
}
