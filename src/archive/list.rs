//! What is in an archive, a line for each node.
//!
//! ```text
//! drwxr-xr-x .            {"path": ".", "type": "dir", "mode": "0755", ...}
//! -rw-r--r-- a\040file    {"path": "a file", "type": "file", ...}
//! ```

use cairn_formats::catar::{Body, Node};
use cairn_formats::flags;
use cairn_formats::mtree::{self, escaped, kind, permissions, time};
use serde::Serialize;

use super::input::Input;
use super::lines::Lines;
use super::walk::{Part, Visit, walk};
use crate::{Error, Result};

/// How it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Permissions and path, as casync prints them.
    Plain,
    /// An array in JSON, an object a line.
    Json,
}

/// Lists a part of an archive. Of the chunks of an index only those are fetched that say what is there.
pub fn list(input: &Input, part: &Part, form: Form, mut lines: Lines<'_>) -> Result<()> {
    let mut last: Option<String> = None;
    walk(input, part, &mut |visit| match form {
        Form::Plain => lines.put(&plain(&visit)),
        Form::Json => {
            // Only who knows the next one knows whether a comma follows.
            let object = json(&visit)?;
            match last.replace(object) {
                Some(last) => lines.put(&format!("  {last},")),
                None => lines.put("["),
            }
        }
    })?;
    if let Some(last) = last {
        lines.put(&format!("  {last}"))?;
        lines.put("]")?;
    }
    lines.finish()
}

fn plain(visit: &Visit<'_>) -> String {
    let path = if visit.path.is_empty() { ".".to_owned() } else { escaped(visit.path) };
    format!("{} {path}", permissions(visit.node))
}

/// What is recorded of a node, for scripts.
#[derive(Serialize)]
struct Entry<'a> {
    path: String,
    /// The bytes of a path that is no text, in hex.
    #[serde(rename = "path-bytes", skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime: Option<String>,
}

fn json(visit: &Visit<'_>) -> Result<String> {
    let Visit { path, node, features, .. } = visit;
    let path: &[u8] = if path.is_empty() { b"." } else { path };
    let records = |bits: u64| features & bits != 0;
    let has_ids = records(flags::UIDS_16BIT | flags::UIDS_32BIT);
    let name = |name: fn(&Node) -> &[u8]| {
        let name = std::str::from_utf8(name(node)).ok();
        name.filter(|name| records(flags::USER_NAMES) && !name.is_empty())
    };
    let entry = Entry {
        path: String::from_utf8_lossy(path).into_owned(),
        path_bytes: std::str::from_utf8(path)
            .is_err()
            .then(|| path.iter().map(|byte| format!("{byte:02x}")).collect()),
        kind: kind(&node.body),
        mode: format!("{:04o}", node.permissions),
        size: matches!(node.body, Body::File(_)).then(|| node.size()),
        target: match &node.body {
            Body::Symlink(target) => Some(String::from_utf8_lossy(target).into_owned()),
            _ => None,
        },
        device: match node.body {
            Body::Block { major, minor } | Body::Character { major, minor } => Some([major, minor]),
            _ => None,
        },
        uid: has_ids.then_some(node.uid),
        gid: has_ids.then_some(node.gid),
        user: name(mtree::user),
        group: name(mtree::group),
        mtime: records(flags::TIMES).then(|| time(node.mtime)),
    };
    serde_json::to_string(&entry).map_err(|e| Error::file("JSON", e.to_string()))
}
