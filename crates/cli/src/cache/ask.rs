//! Asking admin listeners for their caches.

use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, Uri, header};
use seawall::client::{Body, Client, ErrorKind};
use seawall_cache::report::Report;

use crate::Failure;

/// More than a hundred thousand caches have to tell.
const MOST: usize = 16 << 20;
const PATIENCE: Duration = Duration::from_secs(2);

/// An instance that is asked.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) admin: String,
    client: Client,
    token: Option<HeaderValue>,
}

impl Instance {
    /// To be made within a runtime.
    pub(super) fn new(admin: &Uri, token: Option<&HeaderValue>) -> Result<Self, Failure> {
        let admin = admin.to_string().trim_end_matches('/').to_owned();
        // One that fails is asked again at the next interval anyhow, and asked it is to be then.
        let client = Client::builder(&admin)
            .timeout(PATIENCE)
            .attempts(1)
            .no_breaker()
            .external()
            .build();
        let client = client.map_err(|error| Failure::new(format!("--admin {admin}: {error}")))?;
        let token = token.cloned();
        Ok(Self {
            admin,
            client,
            token,
        })
    }

    /// What its caches tell, or why it does not, with what to do about it.
    pub(super) async fn read(&self) -> Result<Report, String> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static("/cache");
        if let Some(token) = &self.token {
            request
                .headers_mut()
                .insert(header::AUTHORIZATION, token.clone());
        }
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| unreachable(&error))?;
        if let Some(why) = refused(answer.status(), self.token.is_some()) {
            return Err(why);
        }
        let body = answer.into_body().bytes_up_to(MOST).await;
        let body = body.map_err(|error| unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|error| {
            format!("/cache is not what Seawall's admin listeners answer ({error}): is it one?")
        })
    }
}

fn unreachable(error: &seawall::client::Error) -> String {
    match error.kind() {
        ErrorKind::Connect(cause) => {
            format!("cannot be reached ({cause}): does it run, and is this its `admin.address`?")
        }
        ErrorKind::Deadline | ErrorKind::AttemptTimeout => {
            format!("no answer within {} s", PATIENCE.as_secs())
        }
        _ => error.to_string(),
    }
}

fn refused(status: StatusCode, had_token: bool) -> Option<String> {
    let why = match status {
        StatusCode::OK => return None,
        StatusCode::UNAUTHORIZED if had_token => {
            "refuses the token: is the one in --token-file its `admin.token`?"
        }
        StatusCode::UNAUTHORIZED => {
            "asks for a token: name a file with its `admin.token` by --token-file"
        }
        StatusCode::NOT_FOUND => {
            "has no /cache: a service shows its caches by `caches.show(&app)`, see docs/cache.md; an older gateway has none"
        }
        StatusCode::MISDIRECTED_REQUEST => {
            "answers to its own names alone: use 127.0.0.1 or localhost, or set `admin.token` there"
        }
        _ => {
            return Some(format!(
                "answers {status} to GET /cache: is this its admin listener?"
            ));
        }
    };
    Some(why.to_owned())
}

/// Of what is in the file, the token to be sent.
pub(super) fn token(text: &str) -> Result<HeaderValue, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty: write the `admin.token` into it".into());
    }
    let mut value = HeaderValue::try_from(format!("Bearer {text}"))
        .map_err(|_| "is no token: one line of visible characters".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_line() {
        let token = token(" secret\n").expect("a token");
        assert_eq!(token.to_str().expect("text"), "Bearer secret");
        assert!(super::token("\n").is_err() && super::token("a\nb").is_err());
    }

    #[test]
    fn what_is_refused_names_the_remedy() {
        for (status, had, remedy) in [
            (401, false, "--token-file"),
            (401, true, "admin.token"),
            (404, false, "caches.show"),
            (421, false, "127.0.0.1"),
            (503, false, "admin listener"),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let why = refused(status, had).expect("refused");
            assert!(why.contains(remedy), "{why}");
        }
    }
}
