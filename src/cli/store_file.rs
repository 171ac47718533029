//! Stores in a file that can be read again while the program runs.
//!
//! ```json
//! { "stores": ["/path/a", "http://b/|http://c/"], "cache": "/path/cache" }
//! ```

use std::fs;
use std::path::Path;

use cairn_store::Location;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What the file says.
pub(super) struct StoreFile {
    pub(super) stores: Vec<Location>,
    pub(super) cache: Option<Location>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    stores: Option<Vec<String>>,
    #[serde(default)]
    cache: Option<String>,
}

impl StoreFile {
    /// Reads the file. An empty cache is none.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let content = fs::read(path).map_err(|e| e.to_string()).and_then(|bytes| parse(&bytes));
        content.map_err(|e| anyhow::anyhow!("failed to read store-file '{}': {e}", path.display()))
    }
}

fn parse(bytes: &[u8]) -> Result<StoreFile, String> {
    // An object first: a list in its place would be taken for the fields in their order.
    let fields: Map<String, Value> = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let content: Content =
        serde_json::from_value(Value::Object(fields)).map_err(|e| e.to_string())?;
    let stores = content.stores.unwrap_or_default();
    let stores = stores.iter().map(|text| text.parse()).collect::<Result<_, String>>()?;
    let cache = content.cache.filter(|text| !text.is_empty());
    Ok(StoreFile { stores, cache: cache.map(|text| text.parse()).transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_desync_are_read() {
        for (text, stores, cache) in [
            (
                r#"{"stores": ["/a", "http://b"], "cache": "/c"}"#,
                vec!["/a", "http://b"],
                Some("/c"),
            ),
            (r#"{"stores": ["/a"], "cache": "", "x": 1}"#, vec!["/a"], None),
            (r#"{"stores": null}"#, vec![], None),
            ("{}", vec![], None),
        ] {
            let file = parse(text.as_bytes()).unwrap();
            let found: Vec<String> = file.stores.iter().map(Location::to_string).collect();
            assert_eq!(
                (found, file.cache.map(|at| at.to_string()).as_deref()),
                (stores.into_iter().map(str::to_owned).collect(), cache)
            );
        }
        for bad in ["", "[]", r#"{"stores": "/a"}"#, r#"{"stores": [""]}"#, r#"{"stores": [1]}"#] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
