//! One call through admission: waiting, running, answered.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::Service;

use super::{Called, Held};
use crate::Rejection;
use crate::admission::Waiting;
use crate::context::reply;
use crate::layer::ResponseBody;

pin_project! {
    /// The future of an [`AdmissionService`](super::AdmissionService).
    ///
    /// Dropping it leaves the queue, or ends the handler and gives its place back.
    pub struct AdmissionFuture<S, Q, F> {
        #[pin]
        state: State<S, Q, F>,
        called: Called,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, Q, F> {
        // Boxed, as few wait and a request is large.
        Waiting { waiting: Waiting, next: Option<Box<(S, Q)>> },
        Running { #[pin] future: F, held: Option<Held> },
        Rejected { rejection: Rejection },
    }
}

impl<S, Q, F> AdmissionFuture<S, Q, F> {
    pub(super) fn waiting(waiting: Waiting, service: S, request: Q, called: Called) -> Self {
        let next = Some(Box::new((service, request)));
        Self {
            state: State::Waiting { waiting, next },
            called,
        }
    }

    pub(super) fn running(future: F, held: Held, called: Called) -> Self {
        let held = Some(held);
        Self {
            state: State::Running { future, held },
            called,
        }
    }

    pub(super) fn rejected(rejection: Rejection, called: Called) -> Self {
        Self {
            state: State::Rejected { rejection },
            called,
        }
    }
}

impl<S, B, R> Future for AdmissionFuture<S, Request<B>, S::Future>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                Projected::Waiting { waiting, next } => {
                    let answer = ready!(Pin::new(waiting).poll(cx));
                    match (answer, next.take()) {
                        (Ok(permit), Some(next)) => {
                            let (mut service, request) = *next;
                            State::Running {
                                held: Some(Held::new(permit, this.called)),
                                future: service.call(request),
                            }
                        }
                        (Err(rejection), _) => State::Rejected { rejection },
                        // A permit is given once, and the request is there until then.
                        (Ok(_), None) => return Poll::Pending,
                    }
                }
                Projected::Running { future, held } => {
                    let answer = ready!(future.poll(cx));
                    let Some(held) = held.take() else {
                        return Poll::Pending;
                    };
                    return Poll::Ready(finish(answer, held, this.called));
                }
                Projected::Rejected { rejection } => {
                    return Poll::Ready(Ok(refusal(*rejection, this.called)));
                }
            };
            this.state.set(next);
        }
    }
}

fn refusal<R>(rejection: Rejection, called: &Called) -> Response<ResponseBody<R>> {
    reply(rejection, called.wire, fastrand::u64(..)).map(ResponseBody::own)
}

/// The handler is done; its response may not be.
fn finish<R, E>(
    answer: Result<Response<R>, E>,
    mut held: Held,
    called: &mut Called,
) -> Result<Response<ResponseBody<R>>, E>
where
    R: Body<Data = Bytes>,
{
    let response = match answer {
        Ok(response) => response,
        Err(error) => {
            held.broke();
            return Err(error);
        }
    };
    called.answered(response.status(), response.headers());
    let length = response.body().size_hint().exact();
    match held.head(response.status(), response.headers(), length) {
        Ok(()) if response.body().is_end_stream() || called.head_only => {
            held.complete();
            Ok(response.map(ResponseBody::passed))
        }
        Ok(()) => Ok(response.map(|body| ResponseBody::held(body, held))),
        Err(rejection) => Ok(refusal(rejection, called)),
    }
}
