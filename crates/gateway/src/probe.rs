//! Asking hosts for their load, where calls are balanced by it.
//!
//! A probe goes over the connections that calls go over, beside the call that it was due with, and
//! is given up after a second: what is older is of no use.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Version, header};
use seawall::context::{LOAD_PATH, load};
use seawall_policy::Tick;

use crate::body::RequestBody;
use crate::core::Core;
use crate::fleet::Fleet;
use crate::origin::Origin;
use crate::send::{Times, send as send_request};

/// As long as a report is fresh.
const LIMIT: Duration = Duration::from_secs(1);

/// What is asked, in the form that the protocol wants; `None` for an upstream without a name.
fn request(origin: &Origin, http2: bool) -> Option<Request<RequestBody>> {
    let request = Request::get(LOAD_PATH);
    let request = if http2 {
        let (scheme, authority) = (origin.scheme(), origin.authority.to_str().ok()?);
        let request = request.uri(format!("{scheme}://{authority}{LOAD_PATH}"));
        request.version(Version::HTTP_2)
    } else {
        request.header(header::HOST, origin.authority.clone())
    };
    request.body(RequestBody::Empty).ok()
}

/// Sends the probes that are due.
pub(crate) fn send(core: &Arc<Core>, fleet: &Arc<Fleet>, origin: &Origin, now: Tick) {
    while let Some(endpoint) = fleet.probe_wanted(now, core.random()) {
        let (core, fleet) = (core.clone(), fleet.clone());
        // The first call finds out.
        let Some(http2) = origin.speaks_http2(false) else {
            return;
        };
        let Some(request) = request(origin, http2) else {
            return;
        };
        tokio::spawn(async move {
            let alarm = core.sweep.alarm();
            let times = Times {
                now,
                limit: LIMIT,
                deadline: now + LIMIT,
            };
            let mut request = Some(request);
            let sent = send_request(&core, &endpoint.pool, &mut request, http2, times, &alarm);
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
