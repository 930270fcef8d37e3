//! Which locks are waited for.

use std::fmt::Write;

use axum::response::Response;
use http::Uri;
use serde::Serialize;

use crate::app::admin::asked::json_or_text;
use crate::app::admin::refused::Refused;
use crate::sync::lock::{self, Contention, PlaceContention};

#[derive(Serialize)]
struct Lock {
    name: &'static str,
    locks: usize,
    waiting: usize,
    waits: u64,
    waited_seconds: f64,
    places: Vec<Place>,
}

#[derive(Serialize)]
struct Place {
    place: String,
    waits: u64,
    waited_seconds: f64,
    longest_wait_seconds: f64,
    held_seconds: f64,
    longest_held_seconds: f64,
}

impl From<Contention> for Lock {
    fn from(lock: Contention) -> Self {
        Self {
            name: lock.name,
            locks: lock.locks,
            waiting: lock.waiting,
            waits: lock.waits(),
            waited_seconds: lock.waited().as_secs_f64(),
            places: lock.places.iter().map(Place::from).collect(),
        }
    }
}

impl From<&PlaceContention> for Place {
    fn from(of: &PlaceContention) -> Self {
        Self {
            place: of.place.to_string(),
            waits: of.waits,
            waited_seconds: of.waited.as_secs_f64(),
            longest_wait_seconds: of.longest.as_secs_f64(),
            held_seconds: of.held.as_secs_f64(),
            longest_held_seconds: of.longest_held.as_secs_f64(),
        }
    }
}

pub(super) async fn answer(uri: Uri) -> Result<Response, Refused> {
    let locks: Vec<Lock> = lock::contention().into_iter().map(Lock::from).collect();
    json_or_text(&uri, &locks, |locks| text(locks))
}

fn text(locks: &[Lock]) -> String {
    let mut out = String::new();
    for lock in locks {
        // Writing to a string does not fail, here and below.
        let _ = writeln!(
            out,
            "{}: {} waits, {:.3} s in all; {} wait now; {} locks",
            lock.name, lock.waits, lock.waited_seconds, lock.waiting, lock.locks
        );
        for place in &lock.places {
            let _ = writeln!(
                out,
                "  {}: {} waits, {:.3} s (longest {:.3} s), then held for {:.3} s (longest {:.3} s)",
                place.place,
                place.waits,
                place.waited_seconds,
                place.longest_wait_seconds,
                place.held_seconds,
                place.longest_held_seconds
            );
        }
    }
    if out.is_empty() {
        out.push_str("no lock has a name: use seawall::sync::Mutex and RwLock\n");
    }
    out
}
