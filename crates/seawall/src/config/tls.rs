//! TLS as types: what a listener shows and asks for, what an upstream is shown and asked for.
//!
//! Only paths stand here. A configuration is checked without a look at the disk, so that one can be
//! checked where it does not run; what is in the files is the gateway's to read.

use std::path::PathBuf;

use serde::Deserialize;

/// Whether clients show a certificate of theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// None is asked for.
    #[default]
    Off,
    /// Asked for; one that is shown must be right.
    Optional,
    /// Without one there is no connection.
    Required,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[allow(missing_docs, reason = "named after the versions")]
pub enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

/// TLS at a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct ListenerTls {
    pub min_version: TlsVersion,
    pub client_auth: ClientAuth,
    pub client_ca: Option<PathBuf>,
    /// Never empty; the first is shown to who asks for none of the others.
    pub certificates: Vec<CertificateFiles>,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct CertificateFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// TLS to an upstream whose URL begins with `https://`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs, reason = "described in SETTINGS")]
pub struct UpstreamTls {
    pub ca: Option<PathBuf>,
    pub server_name: Option<String>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl UpstreamTls {
    /// The certificate to show, where there is one.
    #[must_use]
    pub fn client_certificate(&self) -> Option<CertificateFiles> {
        let (cert, key) = self.cert.clone().zip(self.key.clone())?;
        Some(CertificateFiles { cert, key })
    }
}
