//! Asking hosts for their load, where calls are balanced by it.
//!
//! A probe goes over the connections that calls go over, beside the call that it was due with, and
//! is given up after a second: what is older is of no use.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, header};
use seawall::context::{LOAD_PATH, load};
use seawall_policy::Tick;

use crate::body::RequestBody;
use crate::core::Core;
use crate::fleet::Fleet;
use crate::origin::Origin;
use crate::send::{Times, send as send_request};

/// As long as a report is fresh.
const LIMIT: Duration = Duration::from_secs(1);

/// Sends the probes that are due.
pub(crate) fn send(core: &Arc<Core>, fleet: &Arc<Fleet>, origin: &Origin, now: Tick) {
    while let Some(endpoint) = fleet.probe_wanted(now, core.random()) {
        let (core, fleet) = (core.clone(), fleet.clone());
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = Method::GET;
        *request.uri_mut() = http::Uri::from_static(LOAD_PATH);
        request
            .headers_mut()
            .insert(header::HOST, origin.authority.clone());
        tokio::spawn(async move {
            let alarm = core.sweep.alarm();
            let times = Times {
                now,
                limit: LIMIT,
                deadline: now + LIMIT,
            };
            let mut request = Some(request);
            let sent = send_request(&core, &endpoint.pool, &mut request, false, times, &alarm);
            if let Ok((response, lease)) = sent.await {
                let now = core.clock.now();
                if let Some(load) = load(response.headers()) {
                    fleet.probed(&endpoint, load, now);
                }
                if http_body::Body::is_end_stream(response.body()) {
                    lease.complete(now);
                }
            }
        });
    }
}
