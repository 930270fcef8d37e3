//! Registration and endpoints in etcd (version 3, from 3.4).
//!
//! An `Etcd` is a [`Registry`](super::Registry); services registered in it are found by the source
//! `etcd://HOST:PORT/PREFIX/SERVICE`. An instance is a key, `/PREFIX/SERVICE/ID`, with the
//! [`Instance`](super::Instance) as JSON, under a lease. Decisions:
//!
//! - *What is known stays.* A lost connection, a server that hangs, a compacted history, an etcd
//!   without its data: each is a reason to ask again, and none to empty a list (`view.rs`).
//! - *A registration is kept, not made* (`lease.rs`): it outlives its lease, and needs nobody's help.
//! - *One watch of a service for a whole process, and no storms*: a [`Discovery`](super::Discovery)
//!   shares it; where a connection is lost, each process comes back at a time by chance and watches
//!   from the revision that it knows, so that etcd sends what has happened since and no list
//!   (`follow.rs`).
//! - *A connection is not trusted for being open.* It is pinged; and on a quiet watch etcd is asked
//!   for a sign, or a proxy between would be enough to keep a dead one.
//! - *A range now and then*, every ten minutes: should history ever be another one without etcd's
//!   showing it, lists are right again.
//!
//! Not here yet: TLS, and changing what an instance says of itself.
#![cfg_attr(
    feature = "etcd",
    doc = r#"
```no_run
use seawall::discovery::etcd::{Etcd, Settings};
use seawall::discovery::{Discovery, Instance, Registry, Source};
# async fn example() -> Result<(), Box<dyn std::error::Error>> {

let etcd = Etcd::new("etcd://10.0.0.2:2379/seawall".parse()?, Settings::default());
let instance = Instance::new("orders", "orders-7f", ["grpc://10.0.0.7:9000".parse()?]);
let registration = etcd.register(instance);
println!("{:?}", registration.tried().await);

let discovery = Discovery::default();
let endpoints = discovery.start(Source::Etcd(etcd.cluster().service("orders")?));
println!("{:?}", endpoints.ready().await?);

registration.deregister().await;
# Ok(()) }
```
"#
)]

mod error;
#[cfg(feature = "etcd")]
mod follow;
#[cfg(feature = "etcd")]
mod keys;
#[cfg(feature = "etcd")]
mod lease;
#[cfg(feature = "etcd")]
mod link;
mod place;
#[cfg(feature = "etcd")]
mod register;
mod settings;
#[cfg(feature = "etcd")]
mod view;
#[cfg(feature = "etcd")]
mod wire;

pub use error::Error;
pub use place::{Cluster, PlaceError, Service};
#[cfg(feature = "etcd")]
pub use register::Etcd;
pub use settings::{Settings, User};

#[cfg(feature = "etcd")]
pub(super) use follow::{Feed, Hub};
