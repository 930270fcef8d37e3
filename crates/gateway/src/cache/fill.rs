//! A call to the upstream whose answer may be kept: a task of its own, so that it ends for nobody
//! because somebody else has left.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use seawall::context::Extracted;
use seawall_cache::http::{Exchanged, Kept, RequestDirectives, Unfit, judge, merged, revalidation};
use seawall_policy::{Call, Criticality, Tick};

use super::Cache;
use super::ask::{Miss, Who};
use super::count::Event;
use super::flight::Flight;
use super::key;
use super::page::{Head, Page};
use super::rules::Rules;
use super::status::CACHE_STATUS;
use super::store;
use crate::body::{RequestBody, ResponseBody};
use crate::client::Client;
use crate::exchange::Exchange;
use crate::fallback;
use crate::forward::Arrival;
use crate::plan::Plan;
use crate::router::Target;

/// Everything that a fill needs. It outlives the request that it was begun for.
#[derive(Debug)]
pub(super) struct Job {
    client: Arc<Client>,
    plan: Arc<Plan>,
    target: Target,
    rules: Arc<Rules>,
    read: Extracted,
    /// As it was asked, which decides whom the answer is for.
    asked: HeaderMap,
    no_store: bool,
    who: Who,
    /// As it is sent.
    parts: Parts,
    hash: u64,
    page: Option<Arc<Page>>,
    background: bool,
}

impl Job {
    pub(super) fn new(
        arrival: &Arrival<'_>,
        plan: &Arc<Plan>,
        rules: &Arc<Rules>,
        parts: &Parts,
        miss: &Miss,
    ) -> Self {
        let target = arrival.target.clone();
        let now = arrival.busy.start;
        // Others wait for it, too: it has the time that the route allows, not its first caller's.
        let deadline = target.timeout.map_or(Tick::MAX, |timeout| now + timeout);
        let call = Call {
            deadline,
            ..arrival.read.call
        };
        let no_store = rules.heed && RequestDirectives::read(&parts.headers).no_store;
        Self {
            client: arrival.client.apart(),
            plan: plan.clone(),
            target,
            rules: rules.clone(),
            read: Extracted {
                call,
                ..arrival.read
            },
            asked: parts.headers.clone(),
            no_store,
            who: Who::in_headers(arrival, rules, &parts.headers),
            parts: to_be_sent(parts, rules, miss.page.as_deref()),
            hash: miss.hash,
            page: miss.page.clone(),
            background: false,
        }
    }
}

/// The request for the whole answer, or for the confirmation of the one that is kept.
fn to_be_sent(parts: &Parts, rules: &Rules, page: Option<&Page>) -> Parts {
    let mut sent = Request::new(()).into_parts().0;
    sent.method = Method::GET;
    sent.version = parts.version;
    sent.headers = parts.headers.clone();
    revalidation(&mut sent.headers, page.map(|page| &page.head.headers));
    let mut uri = parts.uri.clone().into_parts();
    // What makes no difference to the key must make none to the answer.
    let target = key::target(&parts.uri, &rules.ignore_query);
    uri.path_and_query = PathAndQuery::try_from(&*target).ok().or(uri.path_and_query);
    sent.uri = Uri::from_parts(uri).unwrap_or_else(|_| parts.uri.clone());
    sent
}

/// Fetches what has become stale, for those who come later. Low in criticality: nobody waits.
pub(super) fn in_background(
    arrival: &Arrival<'_>,
    plan: &Arc<Plan>,
    rules: &Arc<Rules>,
    parts: &Parts,
    miss: Miss,
) {
    let mut job = Job::new(arrival, plan, rules, parts, &miss);
    job.background = true;
    job.read.call.criticality = Criticality::Sheddable;
    let flights = &arrival.client.core.shared.cache.flights;
    if let Some(flight) = flights.begin(miss.question) {
        tokio::spawn(run(job, flight));
    }
}

/// Tells those who wait, whatever becomes of the task: also where it panics, or its runtime ends.
struct Landing {
    client: Arc<Client>,
    flight: Arc<Flight>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.client.core.shared.cache.flights.end(&self.flight);
        self.flight.release(true);
        self.flight.finish(false);
    }
}

/// Asks the upstream, and tells those who wait.
pub(super) async fn run(job: Job, flight: Arc<Flight>) {
    let _landing = Landing {
        client: job.client.clone(),
        flight: flight.clone(),
    };
    let Some((job, response, sent_at)) = ask(job, &flight).await else {
        return;
    };
    let fill = Fill { job, flight };
    fill.land(response, sent_at).await;
}

/// The upstream's answer; `None` where nobody waits for it any more.
async fn ask(mut job: Job, flight: &Arc<Flight>) -> Option<(Job, Response<ResponseBody>, Tick)> {
    let client = job.client.clone();
    let core = &client.core;
    let sent_at = core.clock.now();
    let parts = std::mem::replace(&mut job.parts, Request::new(()).into_parts().0);
    let read = Extracted { ..job.read };
    let arrival = Arrival::of_fill(&client, &job.plan, &job.target, read, &parts, sent_at);
    let response = {
        let mut asked = pin!(arrival.go(parts, RequestBody::Empty, None));
        std::future::poll_fn(|cx| {
            if let Poll::Ready(response) = asked.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            let left = !job.background && flight.poll_left(cx).is_ready();
            if left && core.shared.cache.flights.give_up(flight) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    };
    response.map(|response| (job, response, sent_at))
}

/// A fill whose answer has begun to come.
struct Fill {
    job: Job,
    flight: Arc<Flight>,
}

impl Fill {
    fn cache(&self) -> &Cache {
        &self.job.client.core.shared.cache
    }

    fn count(&self, event: Event) {
        self.job.client.core.counters().cache.count(event);
    }

    async fn land(self, response: Response<ResponseBody>, sent_at: Tick) {
        if has_failed(&response) {
            return self.flight.own(response, true);
        }
        let now = self.job.client.core.clock.now();
        let took = now.since(sent_at);
        if response.status() == StatusCode::NOT_MODIFIED
            && let Some(page) = self.job.page.clone()
        {
            return self.confirmed(&page, response.headers(), now, took);
        }
        match self.judged(response.status(), response.headers(), now, took) {
            Ok(head) => self.copy(head, response).await,
            Err(_) => self.unfit(response, now),
        }
    }

    /// What is kept of a head, if anything is.
    fn judged(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        now: Tick,
        took: Duration,
    ) -> Result<Head, Unfit> {
        let job = &self.job;
        let asked = job.who.asked(job.no_store);
        let date = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let when = Exchanged {
            now,
            date: date.map_or(0, |date| date.as_secs()),
            took,
        };
        let kept: Kept = judge(&asked, status, headers, when, &job.rules.policy)?;
        let vary = store::vary(headers, &job.rules.key_headers).ok_or(Unfit::Vary)?;
        let selected = vary.select(&job.asked).ok_or(Unfit::Vary)?;
        Ok(Head::new(status, headers.clone(), kept, vary, selected))
    }

    /// The upstream says that what is kept is still so.
    fn confirmed(self, page: &Page, fresh: &HeaderMap, now: Tick, took: Duration) {
        let mut old = page.head.headers.clone();
        // Said of the answer before.
        old.remove(CACHE_STATUS);
        let head = merged(&old, fresh)
            .and_then(|headers| self.judged(page.head.status, &headers, now, took).ok());
        let Some(head) = head else {
            // It was about something else, or is not to be kept any more.
            self.forget(now);
            return self.flight.release(false);
        };
        let head = Arc::new(head);
        self.keep(head.clone(), page.body.clone());
        self.flight.kept(head, page.body.clone());
    }

    /// Passes the body on and copies it.
    async fn copy(self, head: Head, response: Response<ResponseBody>) {
        let (parts, body) = response.into_parts();
        let (length, mut exchange) = match body {
            ResponseBody::Origin(exchange) => (exchange.size_hint().exact(), exchange),
            // Not the upstream's.
            other => return self.flight.own(Response::from_parts(parts, other), false),
        };
        let most = self.job.rules.max_size;
        if length.is_some_and(|length| length > most as u64) {
            self.count(Event::TooLarge);
            let response = Response::from_parts(parts, ResponseBody::Origin(exchange));
            return self.flight.own(response, false);
        }
        let head = Arc::new(head);
        self.flight.comes(head.clone(), length);
        match self.read(&mut exchange, most).await {
            Read::Whole => {
                let body = self.flight.whole();
                // Before anyone learns of the end, and asks again.
                self.keep(head, body);
                self.flight.finish(true);
            }
            Read::TooLong => {
                self.count(Event::TooLarge);
                self.cache().flights.end(&self.flight);
                self.flight.hand_over(exchange);
            }
            Read::Broke => self.flight.finish(false),
        }
    }

    async fn read(&self, exchange: &mut Exchange, most: usize) -> Read {
        let mut size = 0;
        loop {
            if exchange.is_end_stream() {
                return Read::Whole;
            }
            match std::future::poll_fn(|cx| exchange.poll_frame(cx)).await {
                // Trailers are for this one answer, and not kept.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        size += data.len();
                        self.flight.push(data);
                    }
                }
                Some(Err(_)) => return Read::Broke,
                None => return Read::Whole,
            }
            if size > most {
                return Read::TooLong;
            }
        }
    }

    fn keep(&self, head: Arc<Head>, body: Bytes) {
        let question = self.flight.question();
        let page = Page::new(question.key.clone(), head, body);
        let (hash, generation) = (self.job.hash, question.generation);
        let kept = self
            .cache()
            .store
            .keep(hash, page, &self.job.asked, generation);
        self.count(if kept { Event::Stored } else { Event::Void });
    }

    /// The answer is its first caller's alone.
    fn unfit(self, response: Response<ResponseBody>, now: Tick) {
        self.count(Event::Unfit);
        self.forget(now);
        if response.status() == StatusCode::NOT_MODIFIED {
            // Nobody asked for that.
            return self.flight.release(false);
        }
        self.flight.own(response, false);
    }

    /// What was kept is replaced by what is not; who comes next does not wait for the same.
    fn forget(&self, now: Tick) {
        let place = self.flight.question().place;
        self.cache().store.set_aside(place, now);
        if let Some(page) = &self.job.page {
            self.cache().store.drop_page(self.job.hash, page);
        }
    }
}

enum Read {
    Whole,
    TooLong,
    Broke,
}

/// Whether something stale may stand in for it (RFC 5861, 4): an error of the upstream's, or its not
/// being asked.
fn has_failed(response: &Response<ResponseBody>) -> bool {
    let own = matches!(response.body(), ResponseBody::Own(_));
    match response.status().as_u16() {
        500 | 502 | 503 | 504 => true,
        429 => own,
        _ => own && fallback::is_in(response.headers()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_stood_in_for() {
        let own = |status: u16| {
            let mut response = Response::new(ResponseBody::Own(Bytes::new()));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            has_failed(&response)
        };
        assert!(own(503) && own(504) && own(429) && own(500));
        assert!(!own(404) && !own(501) && !own(200));
    }
}
