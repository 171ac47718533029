//! The configuration file: desync's JSON, read as leniently as desync reads it.
//!
//! ```json
//! {
//!   "s3-credentials":  { "https://host": { "access-key": "…", "secret-key": "…" } },
//!   "oci-credentials": { "oci+https://host/*": { "username": "…", "secret": "…" } },
//!   "store-options":   { "/path or URL, or a pattern for them": { "uncompressed": true } }
//! }
//! ```
//! The first JSON document counts and whatever follows it does not. Unknown keys are ignored, the
//! case of the letters of known ones too, and `null` is as if the key were not there. Errors name
//! places and kinds, never values: those may be secrets.

use std::collections::BTreeMap;
use std::fs::File as OpenFile;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::Context;
use cairn_store::local::leads_to_descriptor;
use serde_json::{Deserializer, Map, Value as Json};

use super::key::{Key, Kind, Section, Value};

/// No configuration is nearly as long; whoever names a device by mistake shall not wait for ever.
const LONGEST: u64 = 16 << 20;

/// What an entry says.
pub(super) type Entry = BTreeMap<Key, Value>;

/// What a configuration file says.
#[derive(Default)]
pub(super) struct File {
    /// A section is not here if the file does not have it.
    sections: BTreeMap<Section, BTreeMap<String, Entry>>,
}

impl File {
    /// Reads a file, which must be there.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let file = || format!("reading {}", path.display());
        let mut bytes = Vec::new();
        // One that a shell hands over has somebody at its other end; any other may have us wait for ever.
        let is_pipe = path.metadata().is_ok_and(|found| found.file_type().is_fifo());
        anyhow::ensure!(!is_pipe || leads_to_descriptor(path), "{}: it is a pipe", file());
        let opened = OpenFile::open(path).with_context(file)?;
        opened.take(LONGEST + 1).read_to_end(&mut bytes).with_context(file)?;
        anyhow::ensure!(bytes.len() as u64 <= LONGEST, "{}: longer than 16 MiB", file());
        Self::parse(&bytes).map_err(|cause| anyhow::anyhow!("{}: {cause}", file()))
    }

    /// The entries of a section, if the file has it.
    pub(super) fn section(&self, section: Section) -> Option<&BTreeMap<String, Entry>> {
        self.sections.get(&section)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        // As in Go: what is not UTF-8 does not matter in a key nobody looks at.
        let text = String::from_utf8_lossy(bytes);
        let mut documents = Deserializer::from_str(&text).into_iter::<Json>();
        let document = match documents.next() {
            None => return Err("the file is empty".to_owned()),
            Some(document) => document.map_err(|e| e.to_string())?,
        };
        let mut sections = BTreeMap::new();
        if let Some(document) = object(&document, "")? {
            for section in Section::ALL {
                if let Some(found) = lookup(document, section.name())
                    && let Some(entries) = object(found, section.name())?
                {
                    sections.insert(section, parse_section(section, entries)?);
                }
            }
        }
        Ok(Self { sections })
    }
}

fn parse_section(
    section: Section,
    entries: &Map<String, Json>,
) -> Result<BTreeMap<String, Entry>, String> {
    let parse = |(location, found): (&String, &Json)| {
        let place = format!("{}: {location}", section.name());
        let mut entry = Entry::new();
        for &key in section.keys() {
            let value = object(found, &place)?.and_then(|found| lookup(found, key.name()));
            if let Some(value) = value {
                let place = format!("{place}: {}", key.name());
                entry.extend(parse_value(key, value, &place)?.map(|value| (key, value)));
            }
        }
        Ok((location.clone(), entry))
    };
    entries.iter().map(parse).collect()
}

/// The value, or `None` for `null`.
fn parse_value(key: Key, value: &Json, place: &str) -> Result<Option<Value>, String> {
    let (parsed, expected) = match key.kind() {
        Kind::Number => (value.as_i64().map(Value::Number), "an integer"),
        Kind::Text => (value.as_str().map(|text| Value::Text(text.to_owned())), "a string"),
        Kind::Bool => (value.as_bool().map(Value::Bool), "true or false"),
    };
    match parsed {
        None if !value.is_null() => Err(mismatch(place, expected, value)),
        parsed => Ok(parsed),
    }
}

/// The object, or `None` for `null`.
fn object<'a>(value: &'a Json, place: &str) -> Result<Option<&'a Map<String, Json>>, String> {
    match value {
        Json::Null => Ok(None),
        Json::Object(object) => Ok(Some(object)),
        other => Err(mismatch(place, "an object", other)),
    }
}

fn mismatch(place: &str, expected: &str, found: &Json) -> String {
    let found = match found {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        // One with a fraction or an exponent, or too large.
        Json::Number(_) if expected == "an integer" => "another number",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    };
    let colon = if place.is_empty() { "" } else { ": " };
    format!("{place}{colon}expected {expected}, found {found}")
}

/// The value of a key in whatever case; the one in the case we write it wins.
fn lookup<'a>(object: &'a Map<String, Json>, name: &str) -> Option<&'a Json> {
    object.get(name).or_else(|| {
        let found = object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Entry {
        let file = File::parse(text.as_bytes()).unwrap();
        file.section(Section::Stores).unwrap()["/a"].clone()
    }

    #[test]
    fn keys_are_known_in_any_case_and_others_are_ignored() {
        let text =
            r#"{"x": 1, "Store-Options": {"/a": {"TIMEOUT": 7, "y": [], "n": null}}} rest {"#;
        assert!(options(text) == Entry::from([(Key::Timeout, Value::Number(7))]));
    }

    #[test]
    fn null_is_nothing_everywhere() {
        for text in ["null", "{}", r#"{"store-options": null, "S3-credentials": null}"#] {
            let file = File::parse(text.as_bytes()).unwrap();
            assert!(Section::ALL.iter().all(|&section| file.section(section).is_none()));
        }
        assert!(options(r#"{"store-options": {"/a": null}}"#).is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_but_not_its_value() {
        for (text, cause) in [
            ("", "the file is empty"),
            (" \n", "the file is empty"),
            ("[]", "expected an object, found an array"),
            ("\"x\"", "expected an object, found a string"),
            (r#"{"store-options": []}"#, "store-options: expected an object, found an array"),
            (
                r#"{"store-options": {"/a": {"n": 1.5}}}"#,
                "store-options: /a: n: expected an integer, found another number",
            ),
            (
                r#"{"store-options": {"/a": {"n": 1e2}}}"#,
                "store-options: /a: n: expected an integer, found another number",
            ),
            (
                r#"{"store-options": {"/a": {"timeout": 99999999999999999999}}}"#,
                "store-options: /a: timeout: expected an integer, found another number",
            ),
            (
                r#"{"store-options": {"/a": {"encryption-key": 4711}}}"#,
                "store-options: /a: encryption-key: expected a string, found a number",
            ),
            (
                r#"{"store-options": {"/a": {"skip-verify": "secret"}}}"#,
                "store-options: /a: skip-verify: expected true or false, found a string",
            ),
            (
                r#"{"oci-credentials": {"h": {"secret": true}}}"#,
                "oci-credentials: h: secret: expected a string, found true or false",
            ),
            ("{", "EOF while parsing an object at line 1 column 1"),
            (r#"{"a": 1,}"#, "trailing comma at line 1 column 9"),
        ] {
            assert_eq!(File::parse(text.as_bytes()).err().as_deref(), Some(cause), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(File::parse(deep.as_bytes()).is_err());
    }
}
