//! A client from what the configuration says of an upstream.

use std::sync::Arc;

use http::HeaderValue;
use seawall_policy::Tick;
use seawall_policy::balance::{BalanceSettings, OutlierSettings, Subset};
use seawall_policy::breaker::{Window, WindowSettings};
use seawall_policy::fallback::GutterSettings;
use seawall_policy::retry::{Budget, BudgetSettings};

use super::part::BoxError;
use crate::Client;
use crate::client::{Builder, Fixed};
use crate::clock::Clock;
use crate::config::{BreakerKind, Protocol, Upstream};
use crate::discovery::{self, Source};

/// What `[upstreams.NAME]` says, as far as it is a client's: routes, lanes and health questions are
/// the gateway's.
pub(super) fn builder(upstream: &Upstream) -> Result<Builder, BoxError> {
    let clock = Clock::system();
    let mut builder = Client::builder(upstream.url.to_string().trim_end_matches('/'))
        .timeout(upstream.response_timeout)
        .connect_timeout(upstream.connect_timeout)
        .attempts(upstream.retry.attempts)
        .budget(budget(upstream))
        .balance(balance(upstream));
    if let Some(source) = source(&upstream.endpoints)? {
        builder = builder.source(source);
    }
    if let Some(zone) = &upstream.balance.zone {
        builder = builder.zone(zone);
    }
    if let Some(per_try) = upstream.retry.per_try_timeout {
        builder = builder.per_try_timeout(per_try);
    }
    if upstream.protocol == Protocol::H2 {
        builder = builder.http2();
    }
    standby(breaker(builder, upstream, clock.now()), upstream)
}

/// Several addresses and names are one source; a list that is followed stands alone.
fn source(endpoints: &[String]) -> Result<Option<Source>, BoxError> {
    let mut targets = Vec::new();
    for text in endpoints {
        match text.parse()? {
            Source::Static(more) => targets.extend(more),
            other if endpoints.len() == 1 => return Ok(Some(other)),
            _ => {
                return Err(format!(
                    "`{text}` cannot stand beside other endpoints in a service's own client: name it alone, or go through a gateway"
                )
                .into());
            }
        }
    }
    Ok((!targets.is_empty()).then_some(Source::Static(targets)))
}

fn shards() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn budget(upstream: &Upstream) -> Arc<Budget> {
    Arc::new(Budget::new(&BudgetSettings {
        ratio: upstream.retry.ratio,
        shards: shards(),
        ..BudgetSettings::default()
    }))
}

fn balance(upstream: &Upstream) -> BalanceSettings {
    let balance = &upstream.balance;
    BalanceSettings {
        algorithm: balance.algorithm,
        slow_start: balance.slow_start,
        subset: balance.subset.map(|size| Subset {
            client: discovery::Settings::default().subset,
            size: size as usize,
        }),
        outlier: OutlierSettings {
            consecutive: upstream.ejection.consecutive_failures,
            max_share: upstream.ejection.max_share,
            ..OutlierSettings::default()
        },
        ..BalanceSettings::default()
    }
}

fn breaker(builder: Builder, upstream: &Upstream, now: Tick) -> Builder {
    let builder = match upstream.breaker.kind {
        // The builder's own.
        BreakerKind::Throttle => builder,
        BreakerKind::Window => {
            builder.breaker(Arc::new(Window::new(WindowSettings::default(), now)))
        }
        BreakerKind::Off => builder.no_breaker(),
    };
    if upstream.breaker.shadow {
        builder.shadow_breaker()
    } else {
        builder
    }
}

fn standby(mut builder: Builder, upstream: &Upstream) -> Result<Builder, BoxError> {
    if let Some(source) = source(&upstream.gutter.endpoints)? {
        let settings = GutterSettings {
            limit: upstream.gutter.limit,
            ..GutterSettings::default()
        };
        builder = builder.gutter(source, settings);
    }
    let fallback = &upstream.fallback;
    if let Some(body) = &fallback.body {
        builder = builder.fallback_fixed(Fixed {
            status: fallback.status,
            content_type: HeaderValue::from_str(&fallback.content_type)?,
            body: body.clone().into(),
        });
    }
    Ok(builder)
}
