//! What stands before every handler, on both transports: the one place where it is chosen.

use std::sync::Arc;

use axum::Router;
use tower::Layer as _;

use super::settings::{Believed, Settings};
use crate::api::Method;
use crate::context::Trust;
use crate::layer::settings::SettingErrors;
use crate::layer::{Methods, Stack};
use crate::telemetry::{Log, SpanSink};

/// The stack of each transport. They share one entrance, since they compete for the same CPUs, and
/// the methods' settings; whom they believe may differ.
#[derive(Clone, Debug)]
pub(super) struct Stacks {
    pub(super) http: Stack,
    pub(super) grpc: Stack,
}

impl Stacks {
    pub(super) fn new(
        methods: &[Method],
        settings: &Settings,
        log: Option<Log>,
        spans: Option<Arc<dyn SpanSink>>,
    ) -> Result<Self, super::BoxError> {
        let methods = Arc::new(Methods::new(methods)?);
        let builder = |believed: Believed| {
            let builder = Stack::builder(methods.clone()).settings(settings.stack());
            let builder = builder.trust(match believed {
                Believed::Edge => Trust::Edge,
                Believed::Internal => Trust::Internal,
            });
            let builder = match &log {
                Some(log) => builder.log(log.clone()),
                None => builder,
            };
            match &spans {
                Some(spans) => builder.spans(spans.clone()),
                None => builder,
            }
        };
        let http = builder(settings.http.trust).build()?;
        let grpc = builder(settings.grpc.trust).admission(http.admission().clone());
        Ok(Self {
            grpc: grpc.build()?,
            http,
        })
    }

    /// Takes these settings for all calls that begin from now on.
    pub(super) fn configure(&self, settings: &Settings) -> Result<(), SettingErrors> {
        self.http.configure(&settings.stack())
    }
}

/// Over all of the router at once, what it does not know included.
pub(super) fn over(stack: &Stack, router: Router) -> Router {
    Router::new().fallback_service(stack.layer(router))
}
