//! With jemalloc.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::response::{IntoResponse, Response};
use http::{Uri, header};
use jemalloc_pprof::{PROF_CTL, StackProfile};
use tikv_jemalloc_ctl::thread::allocatedp;
use tokio::task::spawn_blocking;

use super::super::cpu::{Session, ended, nanoseconds};
use super::super::stacks::{Stack, Stacks, Taken, Unit};
use crate::app::admin::asked::Asked;
use crate::app::admin::refused::Refused;

/// The allocator.
pub use tikv_jemallocator::Jemalloc;

/// What jemalloc is told when the program starts: profiling is there and off, and when on, samples an
/// allocation for every 512 KiB.
pub const MALLOC_CONF: &[u8; 46] = b"prof:true,prof_active:false,lg_prof_sample:19\0";

/// Makes jemalloc the program's allocator, with heap profiles that are off until they are switched on.
/// Once, in `main.rs`. Needs the feature `jemalloc`.
///
/// While off, it costs a countdown an allocation; while on, a stack for every 512 KiB allocated.
/// Allocators differ more than that: jemalloc tends to be faster than glibc's under many threads, and
/// to give memory back later.
///
/// In a crate that forbids `unsafe_code` (to name the symbol that jemalloc reads is unsafe), write the
/// two lines that are left, and start the program with
/// `_RJEM_MALLOC_CONF=prof:true,prof_active:false,lg_prof_sample:19`:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: seawall::profile::Jemalloc = seawall::profile::Jemalloc;
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! heap_profiling {
    () => {
        #[global_allocator]
        static ALLOCATOR: $crate::profile::Jemalloc = $crate::profile::Jemalloc;

        // Read by jemalloc before `main`; a thin pointer, as C has it.
        #[allow(unsafe_code, reason = "the name of a symbol that jemalloc declares")]
        #[unsafe(export_name = "_rjem_malloc_conf")]
        #[doc(hidden)]
        pub static MALLOC_CONF: &[u8; $crate::profile::MALLOC_CONF.len()] =
            $crate::profile::MALLOC_CONF;
    };
}

const NOT_USED: &str = "jemalloc is not this program's allocator: put \
     `seawall::heap_profiling!();` into main.rs";
const NOT_CONFIGURED: &str = "jemalloc was started without profiling: put \
     `seawall::heap_profiling!();` into main.rs, or start the program with \
     _RJEM_MALLOC_CONF=prof:true,prof_active:false,lg_prof_sample:19";
const NOT_ACTIVE: &str = "heap profiling is off, so nothing was sampled: switch it on with `PUT \
     /profile/heap?active=true`, let the program allocate for a while, and ask again";

/// The longest that a dump is waited for; it takes milliseconds.
const DUMP: Duration = Duration::from_secs(10);

/// Whether this program can profile its heap.
#[must_use]
pub fn is_supported() -> bool {
    usable().is_ok()
}

fn usable() -> Result<(), Refused> {
    if !is_allocator() {
        return Err(Refused::Unavailable(NOT_USED));
    }
    if PROF_CTL.is_none() {
        return Err(Refused::Unavailable(NOT_CONFIGURED));
    }
    Ok(())
}

/// Linked it is in any case; so something is allocated, and jemalloc asked whether it was by it.
pub(in super::super) fn is_allocator() -> bool {
    let Ok(allocated) = allocatedp::read() else {
        return false;
    };
    let before = allocated.get();
    drop(std::hint::black_box(Vec::<u8>::with_capacity(4_096)));
    allocated.get() != before
}

pub(super) async fn pprof(uri: &Uri) -> Result<Response, Refused> {
    let bytes = take(uri, |stacks, taken| stacks.pprof(taken)).await?;
    let name = "attachment; filename=\"heap.pb.gz\"";
    let head = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((head, bytes).into_response())
}

pub(super) async fn svg(uri: &Uri) -> Result<Response, Refused> {
    let notes = "live, as sampled since profiling was switched on";
    let bytes = take(uri, move |stacks, _| stacks.flame_graph(notes)).await?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], bytes).into_response())
}

pub(super) async fn switch(uri: &Uri) -> Result<Response, Refused> {
    usable()?;
    let asked = Asked::of(uri, &["active"])?;
    match asked.text("active") {
        Some("true") => jemalloc_pprof::activate_jemalloc_profiling().await,
        Some("false") => jemalloc_pprof::deactivate_jemalloc_profiling().await,
        other => {
            return Err(Refused::Value {
                name: "active",
                value: other.unwrap_or_default().to_owned(),
                expected: "true or false".to_owned(),
            });
        }
    }
    let answer = match is_active().await {
        true => "heap profiling is on\n",
        false => "heap profiling is off, and its samples are forgotten\n",
    };
    Ok(answer.into_response())
}

async fn is_active() -> bool {
    match PROF_CTL.as_ref() {
        Some(control) => control.lock().await.activated(),
        None => false,
    }
}

async fn take(
    uri: &Uri,
    make: impl Fn(&Stacks, Taken) -> std::io::Result<Vec<u8>> + Send + 'static,
) -> Result<Vec<u8>, Refused> {
    Asked::of(uri, &[])?;
    usable()?;
    if !is_active().await {
        return Err(Refused::Inactive(NOT_ACTIVE));
    }
    let session = Session::begin(DUMP)?;
    // jemalloc writes a file, and symbols are looked up.
    let answer = spawn_blocking(move || {
        let control = PROF_CTL.as_ref();
        let profile = control.map(|control| control.blocking_lock().dump_profile());
        let profile = profile.ok_or(Refused::Unavailable(NOT_CONFIGURED))?;
        let profile = profile.map_err(|error| Refused::Failed(format!("{error:#}")))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let taken = Taken {
            at: nanoseconds(now.unwrap_or_default()),
            took: 0,
        };
        let answer = make(&stacks(&profile), taken);
        drop(session);
        answer.map_err(|error| Refused::Failed(error.to_string()))
    });
    ended(answer.await)
}

fn stacks(profile: &StackProfile) -> Stacks {
    let stacks = profile.iter().map(|(stack, _)| Stack {
        // jemalloc's file has the innermost first, and the parser turns that round.
        addresses: stack.addrs.iter().rev().copied().collect(),
        thread: None,
        values: vec![stack.weight as i64],
    });
    let unit = Unit {
        title: "Memory in use",
        values: &[("inuse_space", "bytes")],
        period: (("space", "bytes"), 1 << 19),
    };
    Stacks::new(unit, stacks.collect())
}
