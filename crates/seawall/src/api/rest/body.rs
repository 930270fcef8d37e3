//! A request's body, and what is wrong with it.

use std::pin::Pin;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use http_body::Body as _;

use crate::api::error::{Error, cut};
use crate::api::request::MaxBody;
use crate::api::{Code, Violation};
use crate::config::nearest;

/// The whole of it. A body that came in one piece is not copied.
pub(super) async fn read(parts: &Parts, mut body: Body) -> Result<Bytes, Error> {
    let max = MaxBody::of(&parts.extensions);
    if body.size_hint().lower() > max as u64 {
        return Err(too_large(max));
    }
    let Some(first) = next(&mut body).await? else {
        return Ok(Bytes::new());
    };
    is_json(&parts.headers)?;
    let mut all = BytesMut::new();
    let mut len = first.len();
    while len <= max {
        let Some(more) = next(&mut body).await? else {
            return Ok(if all.is_empty() { first } else { all.freeze() });
        };
        if all.is_empty() {
            all.extend_from_slice(&first);
        }
        len += more.len();
        all.extend_from_slice(&more);
    }
    Err(too_large(max))
}

/// The next piece that is not empty.
pub(super) async fn next(body: &mut Body) -> Result<Option<Bytes>, Error> {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(broken(error)),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Ok(Some(data)),
                _ => {}
            },
        }
    }
}

pub(super) fn broken(error: axum::Error) -> Error {
    let text = "the body broke off";
    Error::ours(Code::Cancelled, "BODY_BROKEN", text).because(error)
}

pub(super) fn too_large(max: usize) -> Error {
    let text = format!("the body has more than {max} bytes, the most that this method reads");
    Error::ours(Code::ResourceExhausted, "BODY_TOO_LARGE", text)
        .http_status(StatusCode::PAYLOAD_TOO_LARGE)
}

fn is_json(headers: &HeaderMap) -> Result<(), Error> {
    let right = |kind: &str| {
        kind.eq_ignore_ascii_case("application/json")
            || (kind.len() > 5 && kind.as_bytes()[kind.len() - 5..].eq_ignore_ascii_case(b"+json"))
    };
    content_type(headers, right, "application/json")
}

/// Whether a body is JSON by the line.
pub(super) fn is_lines(headers: &HeaderMap) -> Result<(), Error> {
    const KINDS: [&str; 4] = [
        "application/x-ndjson",
        "application/jsonl",
        "application/json",
        "application/ndjson",
    ];
    let right = |kind: &str| KINDS.iter().any(|k| k.eq_ignore_ascii_case(kind));
    content_type(headers, right, "application/x-ndjson")
}

/// A body without a type is taken for what is asked.
fn content_type(
    headers: &HeaderMap,
    right: impl Fn(&str) -> bool,
    asked: &str,
) -> Result<(), Error> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or("");
    let kind = text.split(';').next().unwrap_or("").trim();
    if right(kind) {
        return Ok(());
    }
    let text = format!("the body is `{kind}`: send `content-type: {asked}`");
    Err(Error::ours(Code::InvalidArgument, "CONTENT_TYPE", text)
        .http_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

/// What serde_json says of a body, with the name that is nearest to one that there is not.
pub(super) fn malformed(error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let place = format!("line {} column {}", error.line(), error.column());
    let says = text.strip_suffix(&format!(" at {place}")).unwrap_or(&text);
    if let Some((name, near)) = unknown_field(says) {
        let name = &*cut(name, 64);
        let near = near.map_or_else(String::new, |n| format!(": did you mean `{n}`?"));
        let says = format!("there is no field `{name}`{near}");
        let whole = format!("body, {place}: {says}");
        return Error::ours(Code::InvalidArgument, "FIELD_UNKNOWN", whole).violating(Violation {
            field: name.to_owned(),
            rule: "known".into(),
            message: says,
        });
    }
    let reason = if error.is_data() {
        "FIELD_MALFORMED"
    } else {
        "BODY_MALFORMED"
    };
    Error::ours(
        Code::InvalidArgument,
        reason,
        format!("body, {place}: {}", cut(says, 512)),
    )
}

/// Reads serde's own sentence: the generated code's error carries nothing but that.
fn unknown_field(text: &str) -> Option<(&str, Option<&str>)> {
    let (name, expected) = text.strip_prefix("unknown field `")?.split_once('`')?;
    let known = expected.split('`').skip(1).step_by(2);
    Some((name, nearest(name, known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Order {
        id: u32,
        customer: String,
    }

    fn told(text: &str) -> Error {
        malformed(&serde_json::from_str::<Order>(text).unwrap_err())
    }

    #[test]
    fn what_is_wrong_with_a_body() {
        let unknown = told(r#"{"id": 1, "custommer": ""}"#);
        assert_eq!(unknown.reason(), "FIELD_UNKNOWN");
        assert_eq!(
            unknown.text(),
            "body, line 1 column 21: there is no field `custommer`: did you mean `customer`?"
        );
        assert_eq!(unknown.violations()[0].field, "custommer");
        let kind = told("{\"id\":\n \"x\"}");
        assert_eq!(kind.reason(), "FIELD_MALFORMED");
        assert!(
            kind.text()
                .starts_with("body, line 2 column 4: invalid type"),
            "{kind}"
        );
        let syntax = told("{\"id\": 1");
        assert_eq!(syntax.reason(), "BODY_MALFORMED");
        assert!(
            syntax.text().starts_with("body, line 1 column 8: EOF"),
            "{syntax}"
        );
    }

    /// A body in pieces has no length for the stack to look at.
    #[tokio::test]
    async fn what_the_settings_take_at_most_holds_for_a_body_in_pieces() {
        use crate::api::{Method, Streaming};
        use crate::layer::settings::{MethodSettings, Settings};
        use crate::layer::{Methods, Stack};
        use tower::{Layer as _, ServiceExt as _, service_fn};

        const SAY: Method = Method::new("a.B/Say", &[("POST", "/say")], Streaming::NONE, true);
        let mut settings = Settings::default();
        let method = MethodSettings {
            max_body: Some(10),
            ..MethodSettings::default()
        };
        settings.methods.insert("a.B/*".to_owned(), method);
        let stack = Stack::builder(Methods::new(&[SAY]).unwrap());
        let stack = stack.settings(settings).build().unwrap();
        let service = stack.layer(service_fn(async |request: http::Request<Body>| {
            let (parts, body) = request.into_parts();
            let answer = match read(&parts, body).await {
                Ok(_) => http::Response::new(Body::empty()),
                Err(error) => error.into_http(),
            };
            Ok::<_, std::convert::Infallible>(answer.map(|_| http_body_util::Empty::<Bytes>::new()))
        }));
        for (pieces, status) in [
            (&["12345", "67890"][..], 200),
            (&["12345", "67890", "1"], 413),
        ] {
            let pieces = pieces.iter().map(|piece| Ok::<_, std::io::Error>(*piece));
            let body = Body::from_stream(futures_util::stream::iter(pieces));
            let request = http::Request::post("/say").body(body).unwrap();
            let answer = service.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), status);
        }
    }
}
