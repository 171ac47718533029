//! Tokens, in front of a real registry.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cairn_store::{Error, Stored};

use crate::registry::{Registry, Setup};
use crate::web::{Request, StandIn, answer, forward};
use crate::{chunk, options, options_of, store};

/// `me:hidden`, as Basic has it.
const BASIC: &str = "Basic bWU6aGlkZGVu";

/// A registry that wants tokens, and the place that gives them.
struct Guarded {
    registry: StandIn,
    tokens: StandIn,
}

/// What the registry wants to see done, by the method of a request.
fn scope(request: &Request) -> &'static str {
    match request.method.as_str() {
        "POST" | "PUT" => "repository:s:pull,push",
        "DELETE" => "repository:s:delete",
        _ => "repository:s:pull",
    }
}

impl Guarded {
    /// Tokens are good for so many requests, and said to be for so many seconds.
    fn start(uses: usize, seconds: u64) -> Self {
        let number = AtomicUsize::new(0);
        let tokens = StandIn::start(move |request| {
            let is_anonymous = request.header("authorization").is_none();
            let is_pull = request.path.contains("scope=repository%3As%3Apull&")
                || request.path.ends_with("scope=repository%3As%3Apull");
            if !(request.header("authorization") == Some(BASIC) || is_anonymous && is_pull) {
                return answer(401, &[], b"who are you?");
            }
            let number = number.fetch_add(1, Ordering::SeqCst);
            let scope = request.path.split("scope=").nth(1).unwrap();
            let token =
                format!("hidden-{number}-{}", scope.replace("%3A", ":").replace("%2C", ","));
            let json = format!(r#"{{"token": "{token}", "expires_in": {seconds}}}"#);
            answer(200, &[], json.as_bytes())
        });
        let real = Registry::start(Setup::default());
        let realm = format!("http://{}/token", tokens.address());
        let used = Mutex::new(HashMap::<String, usize>::new());
        let registry = StandIn::start(move |request| {
            let scope = scope(request);
            let is_good = request.header("authorization").is_some_and(|shown| {
                let actions = scope.rsplit(':').next().unwrap();
                let granted = shown.rsplit(':').next().unwrap();
                let is_for_it = actions.split(',').all(|one| granted.split(',').any(|g| g == one));
                let mut used = used.lock().unwrap();
                let used = used.entry(shown.to_owned()).or_default();
                *used += 1;
                shown.starts_with("Bearer hidden-") && is_for_it && *used <= uses
            });
            if is_good {
                return forward(request, real.address());
            }
            let challenge = format!(r#"Bearer realm="{realm}",service="s",scope="{scope}""#);
            answer(401, &[("WWW-Authenticate", &challenge)], b"")
        });
        Self { registry, tokens }
    }

    fn location(&self) -> String {
        format!("oci+http://{}/s", self.registry.address())
    }
}

#[test]
fn tokens_are_got_once_for_each_need() {
    let guarded = Guarded::start(usize::MAX, 300);
    let store = store(&guarded.location(), &options_of("me", "hidden"));
    let chunks: Vec<_> = (0..30).map(chunk).collect();
    assert!(store.put_many(&chunks).into_iter().all(|outcome| outcome.is_ok()));
    let ids: Vec<_> = chunks.iter().map(|chunk| chunk.id()).collect();
    store.get_many(&ids, &mut |place, found| assert_eq!(found.unwrap().unwrap(), chunks[place]));
    store.remove(&Stored::Chunk(ids[0])).unwrap();
    assert!(!store.has(&ids[0]).unwrap());
    let asked = guarded.tokens.requests();
    assert!(asked.iter().all(|request| request.header("authorization") == Some(BASIC)));
    let mut scopes: Vec<&str> =
        asked.iter().map(|request| request.path.split_once("&scope=").unwrap().1).collect();
    scopes.sort_unstable();
    // To look at a manifest before it is removed takes a token to pull, the removal one to delete.
    // To put begins with a look too.
    let expected = ["delete", "pull", "pull", "pull", "pull%2Cpush"];
    assert_eq!(scopes, expected.map(|actions| format!("repository%3As%3A{actions}")));
    let registry = guarded.registry.requests();
    assert!(registry.iter().all(|request| request.header("authorization") != Some(BASIC)));
}

#[test]
fn a_token_that_is_refused_is_replaced() {
    let guarded = Guarded::start(7, 300);
    let store = store(&guarded.location(), &options_of("me", "hidden"));
    let chunks: Vec<_> = (0..20).map(chunk).collect();
    for chunk in &chunks {
        store.put(chunk).unwrap();
        assert_eq!(store.fetch(&chunk.id()).unwrap(), *chunk);
    }
    assert!(guarded.tokens.requests().len() >= 100 / 7);
}

#[test]
fn a_token_that_is_over_is_replaced_before_it_is_shown() {
    let guarded = Guarded::start(usize::MAX, 0);
    let store = store(&guarded.location(), &options());
    for n in 0..3 {
        assert!(!store.has(&chunk(n).id()).unwrap());
    }
    let registry = guarded.registry.requests();
    let turned_away = registry.iter().filter(|r| r.header("authorization").is_none()).count();
    assert_eq!((turned_away, guarded.tokens.requests().len()), (1, 3));
}

#[test]
fn whoever_has_no_name_may_read_where_all_may() {
    let guarded = Guarded::start(usize::MAX, 300);
    store(&guarded.location(), &options_of("me", "hidden")).put(&chunk(1)).unwrap();
    let anonymous = store(&guarded.location(), &options());
    assert_eq!(anonymous.fetch(&chunk(1).id()).unwrap(), chunk(1));
    let error = anonymous.put(&chunk(2)).unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    let error = error.to_string();
    let expected = "login at 127.0.0.1: 401 Unauthorized: who are you?";
    assert!(error.starts_with(&guarded.location()) && error.ends_with(expected), "{error}");

    let error = store(&guarded.location(), &options_of("me", "wrongpass")).put(&chunk(2));
    let error = error.unwrap_err().to_string();
    assert!(error.ends_with(expected) && !error.contains("wrongpass"), "{error}");
}
