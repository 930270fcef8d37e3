//! The access log's part in a request: a record is begun for those that are logged, filled in on
//! the way, and handed over when the request ends. Others pay one comparison.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, HeaderValue, Method, Request, Uri};
use seawall::telemetry::{AccessEntry, Log, Sampler};
use seawall_policy::{Criticality, Rejection, Tick};

use crate::client::Client;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Where access lines go.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) log: Option<Log>,
}

impl Writer {
    /// A record, if this request is one that is logged.
    pub(crate) fn begin<B>(
        &self,
        sampler: Sampler,
        request: &Request<B>,
        random: impl FnOnce() -> u64,
    ) -> Option<Box<Record>> {
        if self.log.is_none() || sampler.is_off() || !sampler.keeps(random()) {
            return None;
        }
        Some(Box::new(Record {
            time: SystemTime::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            trace: request.headers().get(TRACEPARENT).cloned(),
            status: 499,
            received: 0,
            sent: 0,
            queued: Duration::ZERO,
            origin: None,
            route: None,
            criticality: Criticality::default(),
            rejection: None,
            cache: None,
        }))
    }

    pub(crate) fn end(&self, record: Record, client: &Client, start: Tick, now: Tick) {
        let Some(log) = &self.log else { return };
        log.access(AccessEntry {
            time: record.time,
            listener: client.site.name.clone(),
            client: client.ip,
            method: record.method,
            uri: record.uri,
            status: record.status,
            received: record.received,
            sent: record.sent,
            duration: now.since(start),
            queued: record.queued,
            origin: record.origin,
            route: record.route.unwrap_or_else(|| "*".into()),
            criticality: record.criticality,
            rejection: record.rejection,
            trace: record.trace,
            cache: record.cache,
        });
    }
}

/// What is known of a request that will be logged.
#[derive(Debug)]
pub(crate) struct Record {
    time: SystemTime,
    method: Method,
    uri: Uri,
    trace: Option<HeaderValue>,
    /// 499 until it is answered: the client left.
    pub(crate) status: u16,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) queued: Duration,
    pub(crate) origin: Option<Duration>,
    pub(crate) route: Option<Arc<str>>,
    pub(crate) criticality: Criticality,
    pub(crate) rejection: Option<Rejection>,
    /// What the cache had to do with it.
    pub(crate) cache: Option<&'static str>,
}
