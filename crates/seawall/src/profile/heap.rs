//! What is allocated, and by whom.
//!
//! jemalloc samples an allocation for every 512 KiB (`lg_prof_sample:19`) and keeps its stack until it
//! is freed: so a profile shows what is *live*, and of two profiles the difference is what leaks. The
//! program must be made for it, by [`heap_profiling!`](crate::heap_profiling); sampling is then
//! switched on when it is needed, and sees what is allocated from then on.

use axum::response::Response;
use http::Uri;

use crate::app::admin::refused::Refused;

#[cfg(feature = "jemalloc")]
mod jemalloc;
#[cfg(feature = "jemalloc")]
pub(super) use jemalloc::is_allocator;
#[cfg(feature = "jemalloc")]
pub use jemalloc::{Jemalloc, MALLOC_CONF, is_supported};

#[cfg(not(feature = "jemalloc"))]
const NOT_BUILT: &str = "this program is not built with jemalloc: give seawall the feature \
     `jemalloc`, and put `seawall::heap_profiling!();` into main.rs";

/// Whether this program can profile its heap.
#[cfg(not(feature = "jemalloc"))]
#[must_use]
pub fn is_supported() -> bool {
    false
}

#[cfg(not(feature = "jemalloc"))]
mod jemalloc {
    use super::{NOT_BUILT, Refused, Response, Uri};

    pub(super) async fn pprof(_: &Uri) -> Result<Response, Refused> {
        Err(Refused::Unavailable(NOT_BUILT))
    }

    pub(super) use pprof as svg;
    pub(super) use pprof as switch;
}

pub(super) async fn pprof(uri: Uri) -> Result<Response, Refused> {
    jemalloc::pprof(&uri).await
}

pub(super) async fn svg(uri: Uri) -> Result<Response, Refused> {
    jemalloc::svg(&uri).await
}

pub(super) async fn switch(uri: Uri) -> Result<Response, Refused> {
    jemalloc::switch(&uri).await
}
