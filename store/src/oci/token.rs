//! Tokens: what the place to log in that a registry names gives to whom.
//!
//! ```text
//! user, nobody   GET realm?service=…&scope=…                        -> {token, expires_in}
//! identity       POST realm: grant_type=refresh_token&service=…     -> {access_token, expires_in}
//! ```
//! Asked for over https only, unless the registry itself is asked in the clear. Redirects are not
//! followed: what is said here is for one place only.

use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use serde::Deserialize;

use super::login::Login;
use super::repository::Repository;
use crate::http::{body, failure, refusal};
use crate::remote::objects::collect;
use crate::{Again, Error, Result, Secret};

/// The longest answer, in bytes. Tokens of a few KiB occur.
const LONGEST_ANSWER: usize = 1 << 20;

/// How long a token is good if nobody says, by the specification.
const USUAL_LIFE: Duration = Duration::from_secs(60);

/// No token is believed to live longer.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A token, and until when it is used.
pub(super) struct Token {
    pub(super) secret: Secret,
    pub(super) until: Instant,
}

/// What a token is for.
pub(super) struct Wish<'a> {
    pub(super) realm: &'a str,
    pub(super) service: Option<&'a str>,
    pub(super) scope: Option<&'a str>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Asks for a token.
pub(super) async fn get(
    client: &Client,
    repository: &Repository,
    wish: &Wish<'_>,
    login: &Login,
) -> Result<Token> {
    let refuse = |why: &str| Error::Denied {
        place: repository.shown().to_owned(),
        why: format!("the place to log in that it names {why}"),
    };
    let realm: Url = wish.realm.parse().map_err(|_| refuse("is not a proper URL"))?;
    if !repository.is_safe(&realm) {
        return Err(refuse("is not an https URL"));
    }
    let at = realm.host_str().unwrap_or_default();
    let place = format!("{}: login at {at}", repository.shown());
    let began = Instant::now();
    let request = match login {
        Login::Nobody => client.get(with_query(&realm, wish)),
        Login::User { name, secret } => {
            client.get(with_query(&realm, wish)).basic_auth(name, Some(secret.reveal()))
        }
        Login::Identity(secret) => client
            .post(realm.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form(wish, secret)),
    };
    let response = request.send().await.map_err(|e| failure(&place, &e))?;
    if !response.status().is_success() {
        return Err(refusal(&place, response).await);
    }
    let bytes = collect(body(place.clone(), response), LONGEST_ANSWER, &place).await?;
    let bad = || Error::Unreachable {
        place: place.clone(),
        why: "the answer holds no token".to_owned(),
        again: Again::No,
    };
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let is_token =
        |token: &String| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    let token = answer.token.or(answer.access_token).filter(is_token).ok_or_else(bad)?;
    let life = answer.expires_in.map_or(USUAL_LIFE, Duration::from_secs).min(LONGEST_LIFE);
    Ok(Token { secret: Secret::new(token), until: began + use_for(life) })
}

/// How long a token is used that is good for so long: what is asked with it must arrive in time.
fn use_for(life: Duration) -> Duration {
    life.saturating_sub(Duration::from_secs(10)).max(life / 2)
}

fn with_query(realm: &Url, wish: &Wish<'_>) -> Url {
    let mut url = realm.clone();
    append(&mut url, wish);
    url
}

fn append(url: &mut Url, wish: &Wish<'_>) {
    let mut query = url.query_pairs_mut();
    query.extend_pairs(wish.service.map(|service| ("service", service)));
    query.extend_pairs(
        wish.scope.iter().flat_map(|scope| scope.split(' ')).map(|one| ("scope", one)),
    );
}

/// The text of a form, which is written as a query is.
fn form(wish: &Wish<'_>, identity: &Secret) -> String {
    let mut url: Url = "form:".parse().expect("this is a URL");
    url.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", "cairn")
        .append_pair("refresh_token", identity.reveal())
        .extend_pairs(wish.service.map(|service| ("service", service)))
        .extend_pairs(wish.scope.map(|scope| ("scope", scope)));
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: Wish<'_> =
        Wish { realm: "", service: Some("h & co"), scope: Some("repository:a:pull b:c") };

    #[test]
    fn wishes_are_escaped() {
        let realm: Url = "https://h/t?x=1".parse().unwrap();
        assert_eq!(
            with_query(&realm, &WISH).as_str(),
            "https://h/t?x=1&service=h+%26+co&scope=repository%3Aa%3Apull&scope=b%3Ac"
        );
        assert_eq!(
            form(&WISH, &Secret::new("a&b=c")),
            "grant_type=refresh_token&client_id=cairn&refresh_token=a%26b%3Dc\
             &service=h+%26+co&scope=repository%3Aa%3Apull+b%3Ac"
        );
        let nothing = Wish { realm: "", service: None, scope: None };
        assert_eq!(with_query(&realm, &nothing).as_str(), "https://h/t?x=1");
    }

    #[test]
    fn tokens_are_renewed_before_they_end() {
        for (life, used) in [(0, 0), (4, 2), (60, 50), (300, 290)] {
            assert_eq!(use_for(Duration::from_secs(life)), Duration::from_secs(used));
        }
    }
}
