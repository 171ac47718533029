//! What a registry answers to those it does not know.
//!
//! ```text
//! WWW-Authenticate: Bearer realm="https://host/token",service="host",scope="repository:a:pull"
//! WWW-Authenticate: Basic realm="anything"
//! ```

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// How a registry wants to be shown who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// By a token, which another place gives.
    Bearer {
        /// The URL of that place.
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
    /// By a user's name and password.
    Basic,
}

impl Challenge {
    /// The one of an answer that we can meet; tokens first.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|text| text.to_str().ok());
        let all: Vec<Challenge> = texts.flat_map(parse).collect();
        let bearer = all.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        bearer.or(all.first()).cloned()
    }
}

/// All challenges of a header that are of a kind we know.
fn parse(text: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((scheme, parameters, behind)) = one(rest) {
        let parameter = |wanted: &str| {
            let named = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            named.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = parameter("realm")
        {
            let (service, scope) = (parameter("service"), parameter("scope"));
            found.push(Challenge::Bearer { realm, service, scope });
        }
        rest = behind;
    }
    found
}

type Parameters = Vec<(String, String)>;

/// The first challenge of a text, and what is behind it.
fn one(text: &str) -> Option<(&str, Parameters, &str)> {
    let (scheme, mut rest) = word(text.trim_start_matches([' ', '\t', ',']))?;
    let mut parameters = Vec::new();
    loop {
        let next = rest.trim_start_matches([' ', '\t', ',']);
        // A word without `=` is the next challenge.
        let Some((name, behind)) = word(next) else { return Some((scheme, parameters, "")) };
        let Some(value) = behind.trim_start().strip_prefix('=') else {
            return Some((scheme, parameters, next));
        };
        let (value, behind) = value_of(value.trim_start())?;
        parameters.push((name.to_owned(), value));
        rest = behind;
    }
}

fn word(text: &str) -> Option<(&str, &str)> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_of_word(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// What stands behind `=`, quoted or not.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.to_owned(), service: own(service), scope: own(scope) }
    }

    fn of(texts: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(WWW_AUTHENTICATE, text.parse().unwrap());
        }
        Challenge::of(&headers)
    }

    #[test]
    fn challenges_are_understood() {
        let full = r#"Bearer realm="https://h/t?x=1",service="h",scope="repository:a/b:pull,push""#;
        let expected = bearer("https://h/t?x=1", Some("h"), Some("repository:a/b:pull,push"));
        for (texts, expected) in [
            (vec![full], Some(expected.clone())),
            (vec![r#"Basic realm="a, Bearer realm=b""#], Some(Challenge::Basic)),
            (vec![r#"Basic realm="x""#, full], Some(expected.clone())),
            (vec![&format!(r#"Basic realm="x", {full}"#)], Some(expected)),
            (vec!["basic"], Some(Challenge::Basic)),
            (
                vec!["bearer REALM=https://h/t , Scope=s"],
                Some(bearer("https://h/t", None, Some("s"))),
            ),
            (vec![r#"Bearer realm="a\"b", error="x""#], Some(bearer("a\"b", None, None))),
            (vec![r#"Negotiate abc=="#, "Basic"], Some(Challenge::Basic)),
            (vec![r#"Bearer service="h""#], None),
            (vec![r#"Bearer realm="open"#], None),
            (vec!["", ",,,", "=", "\"", "Bearer realm="], None),
            (vec![], None),
        ] {
            assert_eq!(of(&texts), expected, "{texts:?}");
        }
    }
}
