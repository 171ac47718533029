//! Patterns for locations, as Go's `path.Match` has them.
//!
//! ```text
//! *          any characters but '/', also none     [a-z] [abc]   one of these
//! ?          one character but '/'                 [^a-z]        one that is none of these
//! \x         x itself                              x             x
//! ```
//! A pattern matches all of a text or nothing. There is no `**`, and a class may match '/'. What
//! is not well-formed matches nothing: an open class or range, an empty class, `\` at the end, `-`
//! or `]` in a class without `\`.

use std::iter::Peekable;
use std::str::Chars;

/// What one place of a pattern stands for.
enum Token {
    Char(char),
    Any,
    Class { negated: bool, ranges: Vec<(char, char)> },
    Star,
}

/// Whether the whole text is what the pattern says.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let Some(tokens) = parse(pattern) else { return false };
    let text: Vec<char> = text.chars().collect();
    let (mut token, mut at) = (0, 0);
    // Behind the last star, and where the text it stands for ends: where to go on after a dead end.
    // An earlier star need not be tried again, as in Go.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match tokens.get(token) {
            Some(Token::Star) => {
                token += 1;
                star = Some((token, at));
                continue;
            }
            Some(one) if text.get(at).is_some_and(|&c| one.stands_for(c)) => {
                token += 1;
                at += 1;
                continue;
            }
            None if at == text.len() => return true,
            _ => {}
        }
        match star {
            Some((after, end)) if text.get(end).is_some_and(|&c| c != '/') => {
                star = Some((after, end + 1));
                (token, at) = (after, end + 1);
            }
            _ => return false,
        }
    }
}

impl Token {
    fn stands_for(&self, c: char) -> bool {
        match self {
            Token::Char(own) => *own == c,
            Token::Any => c != '/',
            Token::Class { negated, ranges } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated
            }
            Token::Star => false,
        }
    }
}

/// The tokens, or `None` for a malformed pattern.
fn parse(pattern: &str) -> Option<Vec<Token>> {
    let mut chars = pattern.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '[' => class(&mut chars)?,
            '\\' => Token::Char(chars.next()?),
            _ => Token::Char(c),
        });
    }
    Some(tokens)
}

/// A class from behind its `[`.
fn class(chars: &mut Peekable<Chars<'_>>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
        let low = bound(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { bound(chars)? } else { low };
        ranges.push((low, high));
    }
    Some(Token::Class { negated, ranges })
}

/// A character of a class, where what has a meaning there needs a `\`.
fn bound(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    match chars.next()? {
        '\\' => chars.next(),
        '-' | ']' => None,
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_are_those_of_go() {
        for (pattern, text) in [
            ("", ""),
            ("abc", "abc"),
            ("*", ""),
            ("*", "abc"),
            ("**", "abc"),
            ("a*/b", "a/b"),
            ("a*b*c*d*e*/f", "axbxcxdxe/f"),
            ("a*b?c*x", "abxbbxdbxebxczzx"),
            ("ab[c]", "abc"),
            ("ab[b-d]", "abc"),
            ("ab[^e-g]", "abc"),
            ("a\\*b", "a*b"),
            ("a?b", "a☺b"),
            ("a[^a]b", "a☺b"),
            ("[a-ζ]*", "α"),
            ("[\\]a]", "]"),
            ("[\\-x]", "-"),
            ("]-", "]-"),
            ("a[^b]c", "a/c"),
            ("*x", "xxx"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("a", ""),
            ("*", "a/b"),
            ("a*", "ab/c"),
            ("a?b", "a/b"),
            ("ab[e-g]", "abc"),
            ("ab[^c]", "abc"),
            ("a??b", "a☺b"),
            ("[b-a]", "a"),
            ("*[^a]b*c", "xqb/bc"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_malformed_pattern_matches_nothing() {
        for pattern in
            ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^]", "[a", "a[", "a\\", "[\\"]
        {
            for text in ["", "a", "-", "]", "x", "[", pattern] {
                assert!(!matches(pattern, text), "{pattern} {text}");
            }
            assert!(!matches(&format!("*{pattern}"), "a"), "{pattern}");
        }
    }

    /// The definition, word by word. Patterns are given as pieces, each well-formed.
    fn obvious(pieces: &[&str], text: &[char]) -> bool {
        let Some((piece, rest)) = pieces.split_first() else { return text.is_empty() };
        if *piece == "*" {
            let longest = text.iter().position(|&c| c == '/').unwrap_or(text.len());
            return (0..=longest).any(|len| obvious(rest, &text[len..]));
        }
        let Some((&c, others)) = text.split_first() else { return false };
        let fits = match *piece {
            "?" => c != '/',
            "[ab]" => c == 'a' || c == 'b',
            "[b-é]" => ('b'..='é').contains(&c),
            "[^a/]" => c != 'a' && c != '/',
            "\\*" => c == '*',
            literal => literal.starts_with(c),
        };
        fits && obvious(rest, others)
    }

    const PIECES: [&str; 11] = ["*", "*", "?", "[ab]", "[b-é]", "[^a/]", "\\*", "a", "b", "/", "é"];

    proptest! {
        #[test]
        fn a_pattern_matches_as_its_definition_says(
            pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..8),
            text in "[ab/é*]{0,10}",
        ) {
            let chars: Vec<char> = text.chars().collect();
            prop_assert_eq!(matches(&pieces.concat(), &text), obvious(&pieces, &chars));
        }

        #[test]
        fn any_pattern_is_answered(pattern in r"[\[\]\\^*?a/-]{0,12}", text in "[]a/-]{0,12}") {
            matches(&pattern, &text);
        }
    }
}
