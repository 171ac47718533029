//! Requests to a registry, with what it wants to see, and again with a new one.
//!
//! ```text
//! ask as we are known -401: challenge-> log in -> ask again -401-> denied
//! ```
//! The registry says itself what it wants to see for what, so the first request for each need goes
//! without. Of many at once that are turned away one logs in, and the others use what it got.

use std::collections::HashMap;
use std::time::Instant;

use reqwest::{Client, Method, Request, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::Mutex;

use super::challenge::Challenge;
use super::login::{Login, Logins};
use super::repository::Repository;
use super::token::{self, Wish};
use crate::http::{client, direct_client, failure};
use crate::{Error, RemoteOptions, Result, Secret};

/// What a request is for: each has its own token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Need {
    Pull,
    Push,
    Delete,
}

/// A registry, as far as it concerns one repository.
pub(super) struct Registry {
    repository: Repository,
    client: Client,
    /// Goes nowhere but where it is sent.
    direct: Client,
    logins: Logins,
    grants: Mutex<HashMap<Need, Grant>>,
}

/// What the registry has wanted to see for a need, and what we show since.
#[derive(Clone)]
struct Grant {
    challenge: Challenge,
    shown: Shown,
    /// How many there were before it.
    number: u64,
}

#[derive(Clone)]
enum Shown {
    User { name: String, secret: Secret },
    Token { secret: Secret, until: Instant },
}

impl Registry {
    /// The registry of a repository.
    pub(super) fn new(repository: Repository, options: &RemoteOptions) -> Result<Self> {
        let logins = Logins::new(repository.host(), options.credentials.as_ref())?;
        Ok(Self {
            repository,
            client: client(options)?,
            direct: direct_client(options)?,
            logins,
            grants: Mutex::default(),
        })
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// A request to be sent by [`Registry::send`].
    pub(super) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request, which has no stream for a body. What says who we are goes along only if it goes
    /// to the registry itself.
    pub(super) async fn send(
        &self,
        need: Need,
        place: &str,
        request: RequestBuilder,
    ) -> Result<Response> {
        let request = request.build().map_err(|e| failure(place, &e))?;
        if !self.repository.is_ours(request.url()) {
            return self.ask(&request, None, place).await;
        }
        let grant = self.grant(need).await?;
        let response = self.ask(&request, grant.as_ref(), place).await?;
        // Another host that it was redirected to may say what it likes.
        let is_turned_away = response.status() == StatusCode::UNAUTHORIZED
            && self.repository.is_ours(response.url());
        let Some(challenge) = Challenge::of(response.headers()).filter(|_| is_turned_away) else {
            return Ok(response);
        };
        let grant = self.new_grant(need, challenge, grant.map(|grant| grant.number)).await?;
        self.ask(&request, Some(&grant), place).await
    }

    /// Sends a copy of a request.
    async fn ask(&self, request: &Request, grant: Option<&Grant>, place: &str) -> Result<Response> {
        let copy = request.try_clone().expect("the body is no stream");
        let builder = RequestBuilder::from_parts(self.client.clone(), copy);
        let builder = match grant {
            Some(grant) => grant.shown.show(builder),
            None => builder,
        };
        builder.send().await.map_err(|e| failure(place, &e))
    }

    /// What is shown for a need, if the registry is known to want anything.
    async fn grant(&self, need: Need) -> Result<Option<Grant>> {
        let mut grants = self.grants.lock().await;
        let Some(grant) = grants.get(&need) else { return Ok(None) };
        if !grant.shown.is_over() {
            return Ok(Some(grant.clone()));
        }
        let (challenge, number) = (grant.challenge.clone(), grant.number);
        let grant = self.log_in(challenge, number + 1).await?;
        grants.insert(need, grant.clone());
        Ok(Some(grant))
    }

    /// What is shown from now on, as the registry did not take the one of this number.
    async fn new_grant(
        &self,
        need: Need,
        challenge: Challenge,
        refused: Option<u64>,
    ) -> Result<Grant> {
        let mut grants = self.grants.lock().await;
        if let Some(grant) = grants.get(&need).filter(|grant| Some(grant.number) != refused) {
            return Ok(grant.clone());
        }
        let grant = self.log_in(challenge, refused.map_or(0, |number| number + 1)).await?;
        grants.insert(need, grant.clone());
        Ok(grant)
    }

    async fn log_in(&self, challenge: Challenge, number: u64) -> Result<Grant> {
        let login = self.logins.login().await?;
        let denied = |why: &str| Error::Denied {
            place: self.repository.shown().to_owned(),
            why: why.to_owned(),
        };
        let shown = match &challenge {
            Challenge::Bearer { realm, service, scope } => {
                let wish = Wish { realm, service: service.as_deref(), scope: scope.as_deref() };
                let token = token::get(&self.direct, &self.repository, &wish, &login).await?;
                Shown::Token { secret: token.secret, until: token.until }
            }
            Challenge::Basic => match login {
                Login::User { name, secret } => Shown::User { name, secret },
                Login::Identity(_) => {
                    return Err(denied("it asks for a password, and docker has only a token"));
                }
                Login::Nobody => {
                    return Err(denied("it asks for a user and a password, and none is known"));
                }
            },
        };
        tracing::debug!(store = self.repository.shown(), number, "logged in");
        Ok(Grant { challenge, shown, number })
    }
}

impl Shown {
    fn show(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Shown::User { name, secret } => request.basic_auth(name, Some(secret.reveal())),
            Shown::Token { secret, .. } => request.bearer_auth(secret.reveal()),
        }
    }

    fn is_over(&self) -> bool {
        matches!(self, Shown::Token { until, .. } if *until <= Instant::now())
    }
}
