//! Values of flags that take several at once, in the form in which desync reads them: a line of CSV.
//!
//! ```text
//! a,b      a and b          "a,b"   a,b          "a""b"   a"b          nothing at all: no value
//! ```
//! A quote inside a field that does not begin with one is an error, as in desync. desync leaves out
//! what stands behind a line break; here that is a character like any other.

use std::fmt::Display;
use std::str::FromStr;

/// The values of one flag, in the order in which they were typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List<T>(Vec<T>);

/// Reads what stands behind one flag.
pub(super) fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<List<T>, String> {
    let values = fields(text)?.into_iter().map(|field| {
        field.parse().map_err(|error: T::Err| match field.as_str() == text {
            true => error.to_string(),
            false => format!("'{field}': {error}"),
        })
    });
    Ok(List(values.collect::<Result<_, _>>()?))
}

/// All values of a flag that was given several times.
pub(super) fn all<T>(lists: &[List<T>]) -> impl Iterator<Item = &T> {
    lists.iter().flat_map(|list| &list.0)
}

/// The fields of a line of CSV. An empty line has none.
fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    if line.is_empty() {
        return Ok(fields);
    }
    let mut rest = line;
    loop {
        let field;
        (field, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => plain_field(rest)?,
        };
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if rest.is_empty() => return Ok(fields),
            None => return Err("a quoted value must end at a comma".to_owned()),
        }
    }
}

/// A field without quotes, and what stands behind it.
fn plain_field(text: &str) -> Result<(String, &str), String> {
    let (field, rest) = text.split_at(text.find(',').unwrap_or(text.len()));
    if field.contains('"') {
        return Err("a value with a quote in it must stand in quotes, its own doubled".to_owned());
    }
    Ok((field.to_owned(), rest))
}

/// A field whose first quote is left out already, and what stands behind it.
fn quoted_field(text: &str) -> Result<(String, &str), String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_once('"').ok_or("a quote is not closed")?;
        field.push_str(part);
        match behind.strip_prefix('"') {
            Some(behind) => {
                field.push('"');
                rest = behind;
            }
            None => return Ok((field, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tried with desync itself, but for the last.
    #[test]
    fn fields_are_those_of_csv() {
        for (line, expected) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            (" a", &[" a"]),
            ("a,", &["a", ""]),
            (",a", &["", "a"]),
            (",", &["", ""]),
            ("\"\"", &[""]),
            ("\"a,b\"", &["a,b"]),
            ("\"a,b\",c", &["a,b", "c"]),
            ("\"a\"\"b\"", &["a\"b"]),
            ("\"\"\"\"", &["\""]),
            ("\"n\nm\"", &["n\nm"]),
            ("a\nb,c", &["a\nb", "c"]),
        ] {
            assert_eq!(fields(line).unwrap(), expected, "{line:?}");
        }
    }

    #[test]
    fn what_is_no_csv_is_refused() {
        for line in
            ["a\"b", "\"a", "\"a\"x", " \"a\"", "a,\"b", "\"a\",b\"c", "\"", "\"\"\"", "\"a\"\nb"]
        {
            assert!(fields(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn lists_are_read_and_joined() {
        let lists: Vec<List<u8>> = ["1,2", "", "3"].map(|text| parse(text).unwrap()).into();
        assert_eq!(all(&lists).copied().collect::<Vec<_>>(), [1, 2, 3]);
        assert!(parse::<u8>("1,x").unwrap_err().contains("'x'"));
    }
}
