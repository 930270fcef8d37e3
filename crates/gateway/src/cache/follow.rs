//! Waiting for a fill, and answering by what it brings.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use http::request::Parts;
use http::{HeaderMap, Response};
use seawall_policy::Tick;

use super::ask::{Miss, Who};
use super::count::Event;
use super::fill::{self, Job};
use super::flight::{Copied, Flight, Turn, Waiter};
use super::page::{Head, Page};
use super::rules::Rules;
use super::status::{self, COLLAPSED, STORED};
use crate::answer;
use crate::body::{RequestBody, ResponseBody};
use crate::forward::Arrival;
use crate::plan::Plan;

/// What a waiter found, or that its time is up.
enum Waited {
    Turn(Turn),
    Deadline,
    /// It has waited for somebody else for longer than the upstream may take.
    LongEnough,
}

/// Answers a miss: by a call of its own, or another's.
pub(crate) async fn follow(
    mut arrival: Arrival<'_>,
    plan: &Arc<Plan>,
    rules: &Arc<Rules>,
    parts: Parts,
    miss: Box<Miss>,
) -> Response<ResponseBody> {
    let waiter = wait_for(&arrival, plan, rules, &parts, &miss);
    let page = miss.page;
    let waited = wait(&arrival, plan, &waiter).await;
    let now = arrival.client.core.clock.now();
    match waited {
        Waited::Turn(Turn::Page(head, body)) if arrival.may_have(rules, &parts, &waiter, &head) => {
            let how = if waiter.first {
                Event::Revalidated
            } else {
                Event::Collapsed
            };
            let page = Page::new(Box::default(), head, body);
            match arrival.by(&page, &parts, now, how) {
                Some(response) => arrival.deliver(response),
                None => arrival.alone(parts).await,
            }
        }
        Waited::Turn(Turn::Coming(head, length))
            if arrival.may_have(rules, &parts, &waiter, &head) =>
        {
            arrival.copied(&parts, waiter, &head, length)
        }
        Waited::Turn(Turn::Own(response, failed)) => {
            if failed && let Some(stale) = arrival.stale(page.as_deref(), &parts, now) {
                return arrival.deliver(stale);
            }
            arrival.own(response)
        }
        Waited::Turn(Turn::Released(true)) | Waited::Deadline
            if usable(page.as_deref(), now).is_some() =>
        {
            match arrival.stale(page.as_deref(), &parts, now) {
                Some(stale) => arrival.deliver(stale),
                None => arrival.alone(parts).await,
            }
        }
        Waited::Deadline => {
            arrival.count(Event::Miss);
            arrival.refuse(answer::DEADLINE)
        }
        Waited::Turn(_) | Waited::LongEnough => {
            drop(waiter);
            arrival.alone(parts).await
        }
    }
}

fn usable(page: Option<&Page>, now: Tick) -> Option<&Page> {
    page.filter(|page| page.head.kept.may_serve_on_error(now))
}

/// A place among those who wait; where there is none to wait with, after a fill was begun.
fn wait_for(
    arrival: &Arrival<'_>,
    plan: &Arc<Plan>,
    rules: &Arc<Rules>,
    parts: &Parts,
    miss: &Miss,
) -> Waiter {
    let flights = &arrival.client.core.shared.cache.flights;
    let (waiter, first) = if miss.alone {
        (Flight::alone(miss.question.clone()).0, true)
    } else {
        flights.join(miss.question.clone())
    };
    if first {
        let job = Job::new(arrival, plan, rules, parts, miss);
        tokio::spawn(fill::run(job, waiter.flight().clone()));
    }
    waiter
}

async fn wait(arrival: &Arrival<'_>, plan: &Plan, waiter: &Waiter) -> Waited {
    let core = &arrival.client.core;
    let deadline = arrival.read.call.deadline;
    let patience = plan.origins[arrival.target.origin].response_timeout;
    let until = if waiter.first {
        deadline
    } else {
        deadline.min(arrival.busy.start + patience)
    };
    let alarm = core.sweep.alarm();
    alarm.set(until);
    poll_fn(|cx| {
        if let Poll::Ready(turn) = waiter.poll_turn(cx) {
            return Poll::Ready(Waited::Turn(turn));
        }
        alarm.poll(cx).map(|()| {
            if until == deadline {
                Waited::Deadline
            } else {
                Waited::LongEnough
            }
        })
    })
    .await
}

impl Arrival<'_> {
    /// Whether what another asked for is for this request as well.
    fn may_have(&self, rules: &Rules, parts: &Parts, waiter: &Waiter, head: &Head) -> bool {
        let same = |headers: &HeaderMap| {
            let selected = head.vary.select(headers);
            selected.is_some_and(|selected| selected == head.selected)
        };
        let who = Who::in_headers(self, rules, &parts.headers);
        let asked = who.asked(false);
        waiter.first
            || (asked.may_share(head.kept.for_everyone, &head.vary) && same(&parts.headers))
    }

    /// The stale answer that stands in for an upstream that fails.
    fn stale(
        &mut self,
        page: Option<&Page>,
        parts: &Parts,
        now: Tick,
    ) -> Option<Response<ResponseBody>> {
        self.by(usable(page, now)?, parts, now, Event::StaleIfError)
    }

    /// A response whose body comes.
    fn copied(
        mut self,
        parts: &Parts,
        waiter: Waiter,
        head: &Head,
        length: Option<u64>,
    ) -> Response<ResponseBody> {
        let (status, event) = if waiter.first {
            (&STORED, Event::Miss)
        } else {
            (&COLLAPSED, Event::Collapsed)
        };
        self.count(event);
        let tagged = self.is_tagged();
        if let Some(not_modified) = head.not_modified(parts, status, tagged) {
            self.busy.answer(&not_modified, None);
            return not_modified;
        }
        let response = head.response(status, tagged);
        if let Some(record) = &mut self.busy.record {
            record.status = response.status().as_u16();
        }
        let copied = Copied::new(waiter, length, self.busy);
        response.map(|()| ResponseBody::Copied(Box::new(copied)))
    }

    /// What is nobody else's.
    fn own(mut self, response: Response<ResponseBody>) -> Response<ResponseBody> {
        self.count(Event::Miss);
        let (parts, body) = response.into_parts();
        let mut response = match body {
            ResponseBody::Origin(mut exchange) => {
                if let Some(record) = &mut self.busy.record {
                    record.status = parts.status.as_u16();
                }
                let tagged = self.is_tagged();
                exchange.adopt(self.busy);
                let body = ResponseBody::Origin(exchange);
                let mut response = Response::from_parts(parts, body);
                status::went_by(&mut response, Event::Miss, tagged);
                return response;
            }
            body => Response::from_parts(parts, body),
        };
        self.busy.answer(&response, None);
        status::went_by(&mut response, Event::Miss, true);
        response
    }

    /// Goes on as if there were no cache.
    async fn alone(mut self, parts: Parts) -> Response<ResponseBody> {
        self.count(Event::Released);
        let tagged = self.is_tagged();
        let mut response = self.go(parts, RequestBody::Empty, None).await;
        status::went_by(&mut response, Event::Released, tagged);
        response
    }
}
