//! What `seawall check` says of certificate files: all that is wrong with them, at once.

use seawall::config::{CertificateFiles, Config};

use super::connector::server_name;
use super::files::{FileError, Identity, authorities, is_open, system_authorities};
use super::kept::SOON;
use super::validity::{Date, unix_now};

/// Something to say of a file that a setting names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The setting: `listeners.public.tls.certificates[0].cert`.
    pub key: String,
    /// What is wrong, and what to do.
    pub text: String,
    /// The gateway would not start, or nobody would accept the certificate.
    pub error: bool,
}

/// Looks at every certificate, key and authority that `config` names. Reads files, and compares with
/// the system's time.
#[must_use]
pub fn check_certificates(config: &Config) -> Vec<Finding> {
    let mut found = Findings {
        found: Vec::new(),
        now: unix_now(),
    };
    for (name, listener) in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
        for (n, files) in tls.certificates.iter().enumerate() {
            found.identity(&format!("listeners.{name}.tls.certificates[{n}]"), files);
        }
        if let Some(path) = &tls.client_ca {
            found.result(authorities(
                &format!("listeners.{name}.tls.client_ca"),
                path,
            ));
        }
    }
    for (name, upstream) in config.upstreams.iter().filter(|(_, u)| u.is_https()) {
        let setting = format!("upstreams.{name}.tls");
        found.result(server_name(&setting, upstream));
        let ca = format!("{setting}.ca");
        match &upstream.tls.ca {
            Some(path) => drop(found.result(authorities(&ca, path))),
            None => drop(found.result(system_authorities(&ca))),
        }
        if let Some(files) = upstream.tls.client_certificate() {
            found.identity(&setting, &files);
        }
    }
    found.found
}

struct Findings {
    found: Vec<Finding>,
    now: i64,
}

impl Findings {
    fn result<T>(&mut self, result: Result<T, FileError>) -> Option<T> {
        result.map_err(|error| self.error(error)).ok()
    }

    fn error(&mut self, FileError { key, problem }: FileError) {
        self.found.push(Finding {
            key,
            text: problem.to_string(),
            error: true,
        });
    }

    fn warn(&mut self, key: String, text: String) {
        let error = false;
        self.found.push(Finding { key, text, error });
    }

    fn identity(&mut self, setting: &str, files: &CertificateFiles) {
        if is_open(&files.key) {
            let key = files.key.display();
            let text = format!("{key} can be read by everyone on this machine: chmod o= {key}");
            self.warn(format!("{setting}.key"), text);
        }
        let Some(identity) = self.result(Identity::read(setting, files)) else {
            return;
        };
        let shown = identity.shown;
        let validity = shown.validity;
        if let Some(error) = shown.expired(self.now) {
            self.error(error);
        } else if validity.not_after - self.now < SOON {
            let text = format!("expires on {}: renew it", Date(validity.not_after));
            self.warn(shown.key, text);
        } else if validity.not_before > self.now {
            let text = format!("does not hold before {}", Date(validity.not_before));
            self.warn(shown.key, text);
        }
    }
}
