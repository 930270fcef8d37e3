//! What is in certificate and key files, and what is wrong with them.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use seawall::config::CertificateFiles;

use super::provider;
use super::validity::{Date, Validity};

/// A file that a setting names and that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("`{key}`: {problem}")]
pub struct FileError {
    /// The setting: `listeners.public.tls.certificates[0].cert`.
    pub key: String,
    /// What is wrong with the file.
    pub problem: FileProblem,
}

/// What is wrong with a certificate or key file. No text of it shows what is in a key.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// Not there, or not for us to read.
    #[error("{} cannot be read: {error}{}", path.display(), remedy(error))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Not PEM, or without a certificate.
    #[error("{} holds no certificate: it must be PEM, with a line `-----BEGIN CERTIFICATE-----`", .0.display())]
    NoCertificate(PathBuf),
    /// A certificate that cannot be understood.
    #[error("{} holds a certificate that makes no sense: {text}", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        text: String,
    },
    /// Not PEM, without a key, or with one that is encrypted.
    #[error("{path} holds no private key that can be read: it must be PEM and not encrypted (`openssl pkey -in {path}` takes a password off)", path = .0.display())]
    NoKey(PathBuf),
    /// A key of a kind that is not supported, or damaged.
    #[error("the key in {} cannot be used: RSA from 2048 bits, ECDSA P-256 or P-384, and Ed25519 can", .0.display())]
    BadKey(PathBuf),
    /// A key of another certificate.
    #[error("the key in {} is not that of the certificate in {}: name the two that were made together", key.display(), cert.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        cert: PathBuf,
    },
    /// A certificate that nobody accepts any more.
    #[error("the certificate in {} expired on {date}: renew it", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// The day.
        date: String,
    },
    /// The system has no list of authorities.
    #[error(
        "this system trusts no authority: install its list (Debian: apt-get install ca-certificates), or name one here"
    )]
    NoRoots,
    /// What the files say together makes no sense.
    #[error("cannot be used: {0}")]
    Unusable(String),
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (a relative path begins where the command runs)",
        io::ErrorKind::PermissionDenied => ": let the user that the gateway runs as read it",
        _ => "",
    }
}

impl FileError {
    pub(super) fn new(key: impl Into<String>, problem: FileProblem) -> Self {
        let key = key.into();
        Self { key, problem }
    }
}

/// What is told of a certificate in use.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// The setting that names it.
    pub(crate) key: String,
    pub(crate) path: PathBuf,
    /// Of its private key.
    pub(super) secret: PathBuf,
    /// The host names it is for.
    pub(crate) names: Vec<String>,
    pub(crate) validity: Validity,
}

impl Shown {
    /// As a problem, if it is one.
    pub(super) fn expired(&self, now: i64) -> Option<FileError> {
        (self.validity.not_after < now).then(|| {
            let date = Date(self.validity.not_after).to_string();
            let path = self.path.clone();
            FileError::new(self.key.clone(), FileProblem::Expired { path, date })
        })
    }
}

/// A certificate with its key, ready for use.
pub(super) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) shown: Shown,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.fmt(f)
    }
}

impl Identity {
    /// Reads both files; `setting` is the table that names them.
    pub(super) fn read(setting: &str, files: &CertificateFiles) -> Result<Self, FileError> {
        let at = |field: &str| format!("{setting}.{field}");
        let (cert, key) = (&files.cert, &files.key);
        let chain = certificates(cert).map_err(|problem| FileError::new(at("cert"), problem))?;
        let bad = |text: String| {
            let path = cert.clone();
            FileError::new(at("cert"), FileProblem::BadCertificate { path, text })
        };
        let parsed = webpki::EndEntityCert::try_from(&chain[0]).map_err(|e| bad(told(&e)))?;
        let names = parsed.valid_dns_names().map(str::to_owned).collect();
        let validity = Validity::of(&chain[0]).ok_or_else(|| bad("it has no dates".to_owned()))?;
        let secret = private_key(key).map_err(|problem| FileError::new(at("key"), problem))?;
        let certified = CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| {
            let (key, cert) = (key.clone(), cert.clone());
            let problem = match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    FileProblem::Mismatch { key, cert }
                }
                _ => FileProblem::BadKey(key),
            };
            FileError::new(at("key"), problem)
        })?;
        Ok(Self {
            key: Arc::new(certified),
            shown: Shown {
                key: at("cert"),
                path: cert.clone(),
                secret: key.clone(),
                names,
                validity,
            },
        })
    }
}

/// Whether others than its owner and group can read it. What is not there is told elsewhere.
pub(super) fn is_open(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

fn contents(path: &Path) -> Result<Vec<u8>, FileProblem> {
    std::fs::read(path).map_err(|error| FileProblem::Unreadable {
        path: path.to_owned(),
        error,
    })
}

/// One certificate at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let text = contents(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(FileProblem::NoCertificate(path.to_owned())),
        Err(error) => Err(FileProblem::BadCertificate {
            path: path.to_owned(),
            text: error.to_string(),
        }),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileProblem> {
    let text = contents(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => FileProblem::NoKey(path.to_owned()),
        // What else it may say could show a piece of the key.
        _ => FileProblem::BadKey(path.to_owned()),
    })
}

/// The authorities in the file that `setting` names.
pub(super) fn authorities(setting: &str, path: &Path) -> Result<RootCertStore, FileError> {
    let fail = |problem| FileError::new(setting, problem);
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path).map_err(fail)? {
        roots.add(certificate).map_err(|error| {
            fail(FileProblem::BadCertificate {
                path: path.to_owned(),
                text: error.to_string(),
            })
        })?;
    }
    Ok(roots)
}

/// What the system trusts. Looked up once a process: it is a hundred files and more.
pub(super) fn system_authorities(setting: &str) -> Result<Arc<RootCertStore>, FileError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // One that cannot be read or is odd is no reason to distrust the others.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() {
        return Err(FileError::new(setting, FileProblem::NoRoots));
    }
    Ok(roots.clone())
}
/// With the remedy for what `openssl x509 -req` makes when it is given no extensions.
fn told(error: &webpki::Error) -> String {
    match error {
        webpki::Error::UnsupportedCertVersion => {
            "it is of X.509 version 1; issue one with extensions (`openssl x509 -req … -extfile FILE`)"
                .to_owned()
        }
        other => other.to_string(),
    }
}
