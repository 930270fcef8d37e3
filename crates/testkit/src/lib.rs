//! Private real servers for tests: started on free ports below 32768, ended by process id.
//!
//! A mock agrees with the code that was written against it; a server does not. So tests run the
//! real thing, each its own copy in a temporary directory, and end exactly what they started. A
//! server that is not installed is an error that says which line installs it: a test that skips in
//! silence proves nothing.
//!
//! ```
//! use seawall_testkit::{Recipe, Server};
//!
//! # fn main() -> Result<(), seawall_testkit::Error> {
//! let config = "
//!     worker_processes 1; daemon off; pid @dir@/pid; error_log stderr;
//!     events {}
//!     http { access_log off; server { listen 127.0.0.1:@port@; return 200 hello; } }";
//! let server = Server::start(&Recipe::nginx(config))?;
//! assert!(server.address().port() < 32768);
//! # Ok(()) }
//! ```

mod dns;
mod error;
mod layers;
mod mariadb;
mod port;
mod process;
mod recipe;
mod redis;
mod server;

pub use dns::{Dns, DnsKind, DnsRecord, DnsReply};
pub use error::Error;
pub use layers::{Breach, Breaches, Layer, Layers};
pub use mariadb::MariaDb;
pub use port::free_port;
pub use process::Process;
pub use recipe::Recipe;
pub use redis::{FakeRedis, FakeReply, Redis, RedisCluster, RedisFailover};
pub use server::Server;
