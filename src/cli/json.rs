//! JSON for scripts: keys in a fixed order, as desync prints it.

/// A JSON object of numbers, indented by two blanks, with its keys in the order given: scripts
/// written for desync may compare text.
pub(super) fn ordered_json(pairs: &[(&str, u64)]) -> String {
    let lines: Vec<String> =
        pairs.iter().map(|(key, value)| format!("  \"{key}\": {value}")).collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_the_order_of_its_keys() {
        assert_eq!(ordered_json(&[("b", 1), ("a", 2)]), "{\n  \"b\": 1,\n  \"a\": 2\n}");
    }
}
