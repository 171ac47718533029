//! The configuration as text: as desync's JSON, or as lines that say where each value is from.

use std::collections::BTreeMap;

use super::file::{Entry, File};
use super::key::{Key, Section, json_text};
use super::settings::{Origin, Settings};

/// desync's JSON, without a line break at the end. Sections that the file does not have are `null`.
/// Values that are zero are left out, but for those that desync always shows; zero retries are
/// shown too, which desync forgets, so that what is printed means the same when it is read.
pub(super) fn json(file: &File) -> String {
    let sections = Section::ALL.map(|section| {
        let entries = match file.section(section) {
            None => "null".to_owned(),
            Some(entries) => object(entries, 4, |entry| entry_json(section, entry)),
        };
        format!("  \"{}\": {entries}", section.name())
    });
    format!("{{\n{}\n}}", sections.join(",\n"))
}

fn object(
    entries: &BTreeMap<String, Entry>,
    indent: usize,
    print: impl Fn(&Entry) -> String,
) -> String {
    let members = entries.iter().map(|(key, entry)| (json_text(key), print(entry)));
    braced(members.collect(), indent)
}

fn entry_json(section: Section, entry: &Entry) -> String {
    let members = section.keys().iter().filter_map(|&key| {
        let always =
            matches!(key, Key::ErrorRetry | Key::ErrorRetryBaseInterval | Key::Uncompressed);
        let value = match entry.get(&key) {
            Some(value) if always || !value.is_zero() => value.clone(),
            None if always => key.default()?,
            _ => return None,
        };
        Some((json_text(key.name()), value.to_json()))
    });
    braced(members.collect(), 6)
}

/// An object whose members are indented so far.
fn braced(members: Vec<(String, String)>, indent: usize) -> String {
    if members.is_empty() {
        return "{}".to_owned();
    }
    let (pad, end) = (" ".repeat(indent), " ".repeat(indent - 2));
    let lines: Vec<String> =
        members.into_iter().map(|(key, value)| format!("{pad}{key}: {value}")).collect();
    format!("{{\n{}\n{end}}}", lines.join(",\n"))
}

/// A line for `--origin`. Secrets do not show.
pub(super) fn origin_line(key: &str, value: &str, origin: &Origin) -> String {
    let origin = match origin {
        Origin::Flag(flag) => format!("--{flag}"),
        Origin::Environment(variable) => (*variable).to_owned(),
        Origin::File(path) => path.display().to_string(),
        Origin::Default => "default".to_owned(),
    };
    let line = format!("{key} = {value}   # {origin}");
    line.replace(|c: char| c.is_control(), "?")
}

/// The lines of a store's settings; `name` stands before every key.
pub(super) fn settings_lines(name: &str, settings: &Settings) -> Vec<String> {
    let lines = settings.values().map(|(key, value, origin)| {
        let shown = shown(key, &value.to_json());
        origin_line(&format!("{name}.{}", key.name()), &shown, origin)
    });
    lines.collect()
}

/// The value of a key, unless it is a secret.
pub(super) fn shown(key: Key, json: &str) -> String {
    if key.is_secret() { "***".to_owned() } else { json.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(json(&File::parse(text.as_bytes()).unwrap()), expected);
    }

    #[test]
    fn sections_that_are_not_there_are_null() {
        check(
            r#"{"store-options": {}}"#,
            "{\n  \"s3-credentials\": null,\n  \"oci-credentials\": null,\n  \"store-options\": {}\n}",
        );
    }

    /// The values and their order are what desync printed for this file; its build had no OCI.
    #[test]
    fn the_order_and_the_escapes_are_those_of_desync() {
        check(
            r#"{"s3-credentials":{"http://b":{"secret-key":"S","access-key":"A"},"http://a":{}},
            "store-options":{"/z":{"encryption-key":"k","encryption-algorithm":"a",
            "encryption":true,"uncompressed":true,"skip-verify":true,
            "error-retry-base-interval":2,"error-retry":1,"timeout":9,"http-cookie":"\u00e9\u0001",
            "http-auth":"Basic <x>&","trust-insecure":true,"ca-cert":"ca","client-key":"k",
            "client-cert":"c","n":5},"/a":{"timeout":-1,"n":0,"ca-cert":""},"/b":null}}"#,
            r#"{
  "s3-credentials": {
    "http://a": {},
    "http://b": {
      "access-key": "A",
      "secret-key": "S"
    }
  },
  "oci-credentials": null,
  "store-options": {
    "/a": {
      "timeout": -1,
      "error-retry": 3,
      "error-retry-base-interval": 500000000,
      "uncompressed": false
    },
    "/b": {
      "error-retry": 3,
      "error-retry-base-interval": 500000000,
      "uncompressed": false
    },
    "/z": {
      "n": 5,
      "client-cert": "c",
      "client-key": "k",
      "ca-cert": "ca",
      "trust-insecure": true,
      "http-auth": "Basic \u003cx\u003e\u0026",
      "http-cookie": "é\u0001",
      "timeout": 9,
      "error-retry": 1,
      "error-retry-base-interval": 2,
      "skip-verify": true,
      "uncompressed": true,
      "encryption": true,
      "encryption-algorithm": "a",
      "encryption-key": "k"
    }
  }
}"#,
        );
    }

    #[test]
    fn what_is_printed_is_read_as_the_same() {
        let text = r#"{"oci-credentials": {"h": {"username": "u", "secret": "s"}},
            "store-options": {"/a": {"error-retry": 0, "error-retry-base-interval": 0}}}"#;
        let once = json(&File::parse(text.as_bytes()).unwrap());
        assert!(once.contains("\"error-retry\": 0"), "{once}");
        assert_eq!(json(&File::parse(once.as_bytes()).unwrap()), once);
    }
}
