//! One component of a path and a pattern of a shell, matched as `fnmatch` does it in the C locale with
//! `FNM_PERIOD` and `FNM_PATHNAME`.
//!
//! ```text
//! *            any bytes          [a-z_]  one of these     [[:digit:]]  one of a class
//! ?            any byte           [!a-z]  none of these    \*           no more than itself
//! ```
//! A dot at the beginning is matched by nothing but a dot. Bytes are bytes, whatever they encode. Time grows
//! with pattern times name at most: what a star took is given back only to the last star.

/// A pattern for one component, made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
    /// Bytes a name must have at least.
    shortest: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Any,
    Star,
    Set(Box<Set>),
}

/// Some bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Set([u64; 4]);

impl Pattern {
    /// Takes any text without a slash: what is no pattern is itself, or matches nothing.
    pub(super) fn new(text: &[u8]) -> Self {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            match first {
                b'*' => {
                    if tokens.last() != Some(&Token::Star) {
                        tokens.push(Token::Star);
                    }
                }
                b'?' => tokens.push(Token::Any),
                b'[' => match parse_set(after) {
                    Some((set, after)) => {
                        tokens.push(Token::Set(Box::new(set)));
                        rest = after;
                    }
                    None => tokens.push(Token::Byte(b'[')),
                },
                b'\\' => match after.split_first() {
                    Some((&byte, after)) => {
                        tokens.push(Token::Byte(byte));
                        rest = after;
                    }
                    None => tokens.push(Token::Set(Box::default())),
                },
                byte => tokens.push(Token::Byte(byte)),
            }
        }
        let shortest = tokens.iter().filter(|token| **token != Token::Star).count();
        Self { tokens, shortest }
    }

    /// Whether it matches a name.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        if name.len() < self.shortest {
            return false;
        }
        if name.first() == Some(&b'.') && self.tokens.first() != Some(&Token::Byte(b'.')) {
            return false;
        }
        let (mut token, mut at) = (0, 0);
        // Behind the last star, and where what it takes ends at the earliest.
        let mut last_star = None;
        while at < name.len() {
            match self.tokens.get(token) {
                Some(Token::Star) => {
                    token += 1;
                    last_star = Some((token, at));
                }
                Some(one) if one.matches(name[at]) => {
                    token += 1;
                    at += 1;
                }
                _ => {
                    let Some((behind, end)) = &mut last_star else { return false };
                    *end += 1;
                    (token, at) = (*behind, *end);
                }
            }
        }
        self.tokens[token..].iter().all(|token| *token == Token::Star)
    }
}

impl Token {
    fn matches(&self, byte: u8) -> bool {
        match self {
            Token::Byte(own) => *own == byte,
            Token::Any | Token::Star => true,
            Token::Set(set) => set.contains(byte),
        }
    }
}

impl Set {
    fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 != 0
    }

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn inverted(self) -> Self {
        Self(self.0.map(|bits| !bits))
    }
}

/// Reads a set behind its bracket; `None` if it does not end, so that the bracket is no more than itself.
///
/// Where the C library gives up in the middle, so does this: what comes from there on is in no set.
fn parse_set(text: &[u8]) -> Option<(Set, &[u8])> {
    let is_inverted = matches!(text.first(), Some(b'!' | b'^'));
    let mut rest = &text[usize::from(is_inverted)..];
    let mut set = Set::default();
    let mut is_first = true;
    let mut is_broken = false;
    loop {
        let (item, after) = match rest {
            [b']', after @ ..] if !is_first => {
                rest = after;
                break;
            }
            [] if !is_broken => return None,
            _ => match parse_item(rest) {
                Some(parsed) => parsed,
                // It goes wrong so badly that it has no end.
                None => return Some((Set::default(), &[])),
            },
        };
        match item {
            Item::Range(from, to) if !is_broken => (from..=to).for_each(|byte| set.add(byte)),
            Item::Class(class) if !is_broken => {
                (0..=255).filter(class).for_each(|byte| set.add(byte));
            }
            _ => is_broken = true,
        }
        is_first = false;
        rest = after;
    }
    let set = match (is_inverted, is_broken) {
        (false, _) => set,
        (true, false) => set.inverted(),
        (true, true) => Set::default(),
    };
    Some((set, rest))
}

/// What a set is made of.
enum Item {
    Range(u8, u8),
    Class(fn(&u8) -> bool),
    Unknown,
}

/// Reads one item of a set; `None` if there is none to be read.
fn parse_item(text: &[u8]) -> Option<(Item, &[u8])> {
    if let [b'[', b':', after @ ..] = text
        && let Some(name) = class_name(after)
    {
        return Some((class(name).map_or(Item::Unknown, Item::Class), &after[name.len() + 2..]));
    }
    if let [b'[', b'=', byte, b'=', b']', after @ ..] = text {
        return Some((Item::Range(*byte, *byte), after));
    }
    let (from, after) = parse_end(text)?;
    let (to, after) = match after {
        [b'-', next, ..] if *next != b']' => parse_end(&after[1..])?,
        [b'-'] => return None,
        _ => (from, after),
    };
    Some((from.zip(to).map_or(Item::Unknown, |(from, to)| Item::Range(from, to)), after))
}

/// Reads one byte of a set, or one end of a range; a symbol of more than one byte is none in the C locale.
fn parse_end(text: &[u8]) -> Option<(Option<u8>, &[u8])> {
    match text {
        [b'[', b'.', after @ ..] => {
            let len = after.windows(2).position(|pair| pair == b".]")?;
            let byte = if len == 1 { Some(after[0]) } else { None };
            Some((byte, &after[len + 2..]))
        }
        [b'\\', byte, after @ ..] => Some((Some(*byte), after)),
        [b'\\'] | [] => None,
        [byte, after @ ..] => Some((Some(*byte), after)),
    }
}

/// What stands before `:]`, if it could be the name of a class. No class has a z in it, and the C library
/// knows.
fn class_name(text: &[u8]) -> Option<&[u8]> {
    let len = text.iter().position(|byte| !matches!(byte, b'a'..=b'y'))?;
    text[len..].starts_with(b":]").then_some(&text[..len])
}

fn class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern.as_bytes()).matches(name.as_bytes())
    }

    /// The obvious way, which takes forever on hostile patterns.
    fn obviously_matches(tokens: &[Token], name: &[u8]) -> bool {
        match (tokens.split_first(), name.split_first()) {
            (None, _) => name.is_empty(),
            (Some((Token::Star, rest)), None) => obviously_matches(rest, name),
            (Some((Token::Star, rest)), Some((_, shorter))) => {
                obviously_matches(rest, name) || obviously_matches(tokens, shorter)
            }
            (Some((token, rest)), Some((&byte, shorter))) => {
                token.matches(byte) && obviously_matches(rest, shorter)
            }
            (Some(_), None) => false,
        }
    }

    #[test]
    fn patterns_match_what_they_match_in_the_c_library() {
        // Answers of fnmatch(3) of glibc 2.36 with FNM_PERIOD | FNM_PATHNAME in the C locale.
        let cases: [(&str, &str, &str); 26] = [
            ("*.o", "a.o b.o.o", ".o .hid.o a.oo"),
            ("a*b*c", "abc axxbyyc abcbc", "ab acb xabc"),
            ("?", "a *", ". ab"),
            ("??", "ab a.", ".a a"),
            (".*", ". .. .x", "x"),
            ("**", "a abc", ".a"),
            ("[.]x", "", ".x"),
            ("a[.]x", "a.x", "aax"),
            ("[ab]", "a b", "c ab ["),
            ("[!ab]", "c !", "a b . cc"),
            ("[^ab]", "c ^", "a b"),
            ("[]a]", "] a", "b"),
            ("[!]a]", "b", "] a"),
            ("[a-c]", "a b c", "d -"),
            ("[a-]", "a -", "b"),
            ("[c-a]", "", "a b c -"),
            ("[[:alpha:]_]", "a Z _", "1 :"),
            ("[[:xdigit:][:space:]]", "f 9", "g"),
            ("[[:nonsense:]a]", "", "a n :"),
            ("[a[:nonsense:]]", "a", "b"),
            ("[[=a=][.b.]]", "a b", "= . c"),
            ("[\\]\\\\]", "] \\", "a"),
            ("[ab", "[ab", "a b"),
            ("\\*\\a", "*a", "xa \\*a"),
            ("a\\", "", "a a\\"),
            ("[a-", "", "a - [a-"),
        ];
        for (pattern, yes, no) in cases {
            for name in yes.split_whitespace() {
                assert!(matches(pattern, name), "{pattern} {name}");
            }
            for name in no.split_whitespace() {
                assert!(!matches(pattern, name), "{pattern} {name}");
            }
        }
        assert!(matches("", ""));
        assert!(!matches("", "a"));
    }

    #[test]
    fn bytes_are_matched_whatever_they_encode() {
        assert!(Pattern::new(b"?\xff[\x80-\xfe]").matches(b"\x00\xff\xc0"));
        assert!(!matches("?", "é"));
        assert!(matches("é*", "été"));
    }

    #[test]
    fn a_hostile_pattern_is_done_soon() {
        let pattern = Pattern::new(&b"*a".repeat(120));
        let name = [b'a'; 255].map(|a| a).to_vec();
        let begin = Instant::now();
        for _ in 0..100 {
            assert!(pattern.matches(&name));
            assert!(!pattern.matches(&[&name[1..], b"b"].concat()));
        }
        assert!(!Pattern::new(&b"a*".repeat(30000)).matches(&name));
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn giving_back_to_the_last_star_is_enough(
            pattern in vec(prop::sample::select(&b"aab?**[b]-!.\\"[..]), 0..10),
            name in vec(prop::sample::select(&b"aaabb.-"[..]), 0..9),
        ) {
            let made = Pattern::new(&pattern);
            let begins_with_a_dot = name.first() == Some(&b'.');
            if !begins_with_a_dot || made.tokens.first() == Some(&Token::Byte(b'.')) {
                prop_assert_eq!(made.matches(&name), obviously_matches(&made.tokens, &name));
            } else {
                prop_assert!(!made.matches(&name));
            }
        }

        #[test]
        fn no_pattern_makes_it_panic(pattern in vec(any::<u8>(), 0..40), name in vec(any::<u8>(), 0..9)) {
            Pattern::new(&pattern).matches(&name);
        }
    }
}
