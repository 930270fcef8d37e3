//! What stands before every handler, on both transports: the one place where it is chosen.

use axum::Router;

use crate::layer::Protect;

/// Clones share one entrance, so that both transports compete for the same places.
#[derive(Clone, Default)]
pub(super) struct Protection {
    protect: Protect,
}

impl Protection {
    pub(super) fn over(&self, router: Router) -> Router {
        router.layer(self.protect.clone())
    }
}
