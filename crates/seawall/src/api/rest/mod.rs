//! What generated code calls for JSON over HTTP.
//!
//! A [`Binding`] is one rule of `google.api.http`: where each field comes from, as plain functions
//! over the method's own types. The body is read into the message directly; query and path are set
//! over it, in that order, so that what the path says holds.

mod body;
mod fields;
mod paths;
mod query;
mod routes;
mod stream;
mod template;

use std::future::Future;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, header};

pub use fields::{
    Fields, FromText, Wrong, enumeration, head, nested, optional, repeated, scalar, text,
};
pub use paths::{Clash, Found, Paths, Variables};
pub use routes::{Answer, HttpCall, Routes};
pub use stream::Lines;

use super::request::MaxBody;
use super::{Code, Error, Messages, Method, Replies, Request, Validate};

/// One rule of `google.api.http`.
#[allow(missing_debug_implementations)]
pub struct Binding<A, B> {
    /// The method it leads to.
    pub method: &'static Method,
    /// `GET`.
    pub verb: &'static str,
    /// `/v1/orders/{id}`.
    pub template: &'static str,
    /// The fields that the template's variables set, in its order.
    pub variables: &'static [&'static str],
    /// What the body is.
    pub body: Take<A>,
    /// Sets a field by its path; [`no_field`] where neither path nor query sets any.
    pub set: fn(&mut A, &str, &str) -> Result<(), Wrong>,
    /// The reply's body, of the whole message or of a field.
    pub reply: fn(&B) -> serde_json::Result<Vec<u8>>,
}

/// What a request's body is.
#[allow(missing_debug_implementations)]
pub enum Take<A> {
    /// Nothing: it is not read, and the query sets the fields.
    Nothing,
    /// The whole message.
    Whole(fn(&[u8]) -> serde_json::Result<A>),
    /// A field of it; the query sets the others.
    Field(fn(&mut A, &[u8]) -> serde_json::Result<()>),
}

/// For a message that neither path nor query sets a field of.
///
/// # Errors
///
/// Always.
pub fn no_field<A>(_: &mut A, _: &str, _: &str) -> Result<(), Wrong> {
    Err(Wrong::Unknown(None))
}

/// Reads a whole message.
///
/// # Errors
///
/// What is no JSON of the message.
pub fn whole<A: serde::de::DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<A> {
    serde_json::from_slice(bytes)
}

/// One message there, one back.
pub async fn unary<A, B, F, R>(
    binding: &'static Binding<A, B>,
    call: HttpCall,
    handler: F,
) -> Response<Body>
where
    A: Default + Validate,
    F: FnOnce(Request<A>) -> R,
    R: Future<Output = Result<B, Error>>,
{
    let answer = async {
        let request = request(binding, call).await?;
        let reply = handler(request).await?;
        render(binding, &reply)
    };
    match answer.await {
        Ok(body) => json(body),
        Err(error) => failed(binding.method, error),
    }
}

/// One message there, many back: a line of JSON each, or an event each for whoever accepts those.
pub async fn server_streaming<A, B, F, R>(
    binding: &'static Binding<A, B>,
    call: HttpCall,
    handler: F,
) -> Response<Body>
where
    A: Default + Validate,
    B: Send + 'static,
    F: FnOnce(Request<A>) -> R,
    R: Future<Output = Result<Replies<B>, Error>>,
{
    let form = stream::Form::of(call.request.headers());
    let answer = async { handler(request(binding, call).await?).await };
    match answer.await {
        Ok(replies) => stream::reply(binding, form, replies),
        Err(error) => failed(binding.method, error),
    }
}

/// Many messages there, a line of JSON each, one back.
pub async fn client_streaming<A, B, F, R>(
    binding: &'static Binding<A, B>,
    call: HttpCall,
    handler: F,
) -> Response<Body>
where
    A: Default + Validate,
    F: FnOnce(Request<Messages<A>>) -> R,
    R: Future<Output = Result<B, Error>>,
{
    let answer = async {
        let reply = handler(messages(binding, call)?).await?;
        render(binding, &reply)
    };
    match answer.await {
        Ok(body) => json(body),
        Err(error) => failed(binding.method, error),
    }
}

/// Many messages there, many back. A client of HTTP/1.1 may read nothing before it has sent all.
pub async fn streaming<A, B, F, R>(
    binding: &'static Binding<A, B>,
    call: HttpCall,
    handler: F,
) -> Response<Body>
where
    A: Default + Validate,
    B: Send + 'static,
    F: FnOnce(Request<Messages<A>>) -> R,
    R: Future<Output = Result<Replies<B>, Error>>,
{
    let form = stream::Form::of(call.request.headers());
    let answer = async { handler(messages(binding, call)?).await };
    match answer.await {
        Ok(replies) => stream::reply(binding, form, replies),
        Err(error) => failed(binding.method, error),
    }
}

async fn request<A, B>(binding: &'static Binding<A, B>, call: HttpCall) -> Result<Request<A>, Error>
where
    A: Default + Validate,
{
    let (parts, body) = call.request.into_parts();
    let mut message = match binding.body {
        Take::Nothing => A::default(),
        Take::Whole(read) => {
            let bytes = body::read(&parts, body).await?;
            if bytes.is_empty() {
                A::default()
            } else {
                read(&bytes).map_err(|e| body::malformed(&e))?
            }
        }
        Take::Field(read) => {
            let mut message = A::default();
            let bytes = body::read(&parts, body).await?;
            if !bytes.is_empty() {
                read(&mut message, &bytes).map_err(|e| body::malformed(&e))?;
            }
            message
        }
    };
    if let Some(query) = parts.uri.query() {
        if matches!(binding.body, Take::Whole(_)) {
            query::none(query)?;
        } else {
            query::set(query, &mut message, binding.set)?;
        }
    }
    let path = parts.uri.path();
    for (i, field) in binding.variables.iter().enumerate() {
        let text = query::unescape(call.variables.raw(i, path), call.variables.is_many(i))?;
        (binding.set)(&mut message, field, &text).map_err(|w| w.into_error(field, "path"))?;
    }
    message.check()?;
    let method = binding.method;
    Ok(Request::new(
        method,
        message,
        parts.headers,
        parts.extensions,
    ))
}

fn messages<A: Validate, B>(
    binding: &'static Binding<A, B>,
    call: HttpCall,
) -> Result<Request<Messages<A>>, Error> {
    let (parts, body) = call.request.into_parts();
    let Take::Whole(read) = binding.body else {
        let text = "a stream of messages needs `body: \"*\"`";
        return Err(Error::ours(Code::Unimplemented, "BODY_UNBOUND", text));
    };
    body::is_lines(&parts.headers)?;
    let lines = Lines::new(body, MaxBody::of(&parts.extensions), read);
    let messages = Messages::http(lines);
    Ok(Request::new(
        binding.method,
        messages,
        parts.headers,
        parts.extensions,
    ))
}

fn render<A, B>(binding: &Binding<A, B>, reply: &B) -> Result<Vec<u8>, Error> {
    (binding.reply)(reply).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> Error {
    let text = "the reply has no JSON form";
    Error::ours(Code::Internal, "REPLY_UNWRITABLE", text).because(error)
}

fn json(body: Vec<u8>) -> Response<Body> {
    let mut reply = Response::new(Body::from(Bytes::from(body)));
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(header::CONTENT_TYPE, json);
    reply
}

fn failed(method: &'static Method, error: Error) -> Response<Body> {
    error.log(method.name);
    error.into_http()
}
