//! TLS, on both sides, by rustls.
//!
//! *Which cryptography.* `ring`: it builds within seconds with the C compiler that Rust's linker
//! brings along anyway. `aws-lc-rs`, the alternative, takes minutes, and in return has what ring has
//! not: post-quantum key exchange and FIPS. The provider is named in [`provider`] and nowhere else.
//!
//! *Which roots.* An upstream's certificate is held against the `ca` of its settings, or else against
//! what the system trusts: a company's own authority is installed there, and the system keeps the
//! list up to date. A list compiled in would know neither.
//!
//! *Reloading.* [`Certificates`] knows every file in use and looks at all of them now and then. New
//! ones that make sense hold from the next handshake on; a connection keeps what it was opened with.
//!
//! A connection in the clear passes through none of this: whether there is TLS is decided once a
//! connection, by type.

mod acceptor;
mod check;
mod connector;
mod failure;
mod files;
mod kept;
mod validity;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub(crate) use acceptor::Acceptor;
pub use check::{Finding, check_certificates};
pub(crate) use connector::{Connector, Offer};
pub(crate) use failure::TlsFailure;
pub(crate) use files::Shown;
pub use files::{FileError, FileProblem};
pub(crate) use kept::Certificates;
pub(crate) use validity::Date;

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Whether ALPN chose HTTP/2; `None` where it chose nothing.
fn speaks_http2(chosen: Option<&[u8]>) -> Option<bool> {
    chosen.map(|protocol| protocol == HTTP2)
}

/// The cryptography in use.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    let provider = PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider()));
    provider.clone()
}
