//! `seawall-bench load`: the generator from the command line.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use http::Uri;

use super::{Class, Plan, Step, Wire};

/// Offers load at a stated rate, whatever the server does.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// Where to send requests, for example http://127.0.0.1:8080/path.
    #[arg(long)]
    pub url: Uri,
    /// Requests a second on average; steps as RATE:SECONDS,RATE:SECONDS replace --seconds.
    #[arg(long, value_name = "RATE|STEPS")]
    pub rate: String,
    /// How long.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// When a client gives up and hangs up, in milliseconds from the time a request was due.
    #[arg(long, value_name = "MS", default_value_t = 250)]
    pub timeout_ms: u64,
    /// The most connections at a time.
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,
    /// Protocol.
    #[arg(long, value_enum, default_value_t)]
    pub wire: Wire,
    /// A kind of request with its share of the rate, as
    /// `name=top,weight=6,path=/x,upload=1000,header=seawall-criticality:critical`;
    /// may be given again.
    #[arg(long = "class", value_name = "KEY=VALUE,…")]
    pub classes: Vec<String>,
    /// A header for every request, as NAME:VALUE; may be given again.
    #[arg(long = "header", value_name = "NAME:VALUE")]
    pub headers: Vec<String>,
    /// Bytes of request body (a POST).
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub upload: usize,
    /// Seed of the arrivals.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Prints everything as JSON.
    #[arg(long)]
    pub json: bool,
}

impl LoadArgs {
    /// What the arguments ask for.
    ///
    /// # Errors
    /// Names the argument that makes no sense.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let steps = self.steps()?;
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let mut base = Class::new("all", steps)
            .path(path)
            .upload(self.upload)
            .timeout(Duration::from_millis(self.timeout_ms));
        for header in &self.headers {
            base = add_header(base, header)?;
        }
        let mut classes = Vec::new();
        for text in &self.classes {
            classes.push(weighted(&base, text)?);
        }
        let weights: f64 = classes.iter().map(|(weight, _)| weight).sum();
        let classes = if classes.is_empty() {
            vec![base]
        } else {
            classes
                .into_iter()
                .map(|(weight, class)| scaled(class, weight / weights))
                .collect()
        };
        Ok(Plan {
            wire: self.wire,
            connections: self.connections.max(1),
            seed: self.seed,
            ..Plan::new(self.target()?, classes)
        })
    }

    fn target(&self) -> anyhow::Result<SocketAddr> {
        let url = &self.url;
        if url.scheme_str() != Some("http") {
            bail!("--url {url}: only http:// is supported");
        }
        let host = url
            .host()
            .with_context(|| format!("--url {url} names no host"))?;
        (host, url.port_u16().unwrap_or(80))
            .to_socket_addrs()
            .with_context(|| format!("--url {url}: {host} has no address"))?
            .next()
            .with_context(|| format!("--url {url}: {host} has no address"))
    }

    fn steps(&self) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        for text in self.rate.split(',') {
            let (rate, seconds) = match text.split_once(':') {
                Some((rate, seconds)) => (rate.parse(), seconds.parse()),
                None => (text.parse(), Ok(self.seconds)),
            };
            match (rate, seconds) {
                (Ok(rate), Ok(seconds)) if sane(rate, 1e6) && sane(seconds, 86_400.0) => {
                    steps.push(Step::new(rate, seconds));
                }
                _ => bail!("--rate {text}: give RATE or RATE:SECONDS, both 0 or more"),
            }
        }
        Ok(steps)
    }
}

fn sane(value: f64, most: f64) -> bool {
    (0.0..=most).contains(&value)
}

fn add_header(class: Class, text: &str) -> anyhow::Result<Class> {
    let (name, value) = text
        .split_once(':')
        .with_context(|| format!("header `{text}` is not NAME:VALUE"))?;
    Ok(class.header(name.trim(), value.trim()))
}

fn weighted(base: &Class, text: &str) -> anyhow::Result<(f64, Class)> {
    let mut class = base.clone();
    let mut weight = 1.0;
    for pair in text.split(',') {
        let (key, value) = pair
            .split_once('=')
            .with_context(|| format!("--class: `{pair}` is not KEY=VALUE"))?;
        match key {
            "name" => value.clone_into(&mut class.name),
            "path" => value.clone_into(&mut class.path),
            "weight" => weight = value.parse().with_context(|| format!("--class {pair}"))?,
            "upload" => class.upload = value.parse().with_context(|| format!("--class {pair}"))?,
            "header" => class = add_header(class, value)?,
            _ => bail!("--class: `{key}` is none of name, weight, path, upload, header"),
        }
    }
    if !sane(weight, 1e9) || weight == 0.0 {
        bail!("--class {text}: the weight must be above 0");
    }
    Ok((weight, class))
}

fn scaled(mut class: Class, share: f64) -> Class {
    for step in &mut class.steps {
        step.rate *= share;
    }
    class
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn plan(args: &[&str]) -> anyhow::Result<Plan> {
        let base = ["load", "--url", "http://127.0.0.1:8080/x?y=1"];
        Cli::try_parse_from(base.iter().chain(args))?.load.plan()
    }

    #[test]
    fn steps_replace_seconds() {
        let plan = plan(&["--rate", "500:5,5000:2.5"]).expect("valid");
        let expected = vec![Step::new(500.0, 5.0), Step::new(5_000.0, 2.5)];
        assert_eq!(plan.classes[0].steps, expected);
        assert_eq!(plan.classes[0].path, "/x?y=1");
    }

    #[test]
    fn classes_share_the_rate_by_weight() {
        let top = "name=top,weight=3,path=/top,header=a:b";
        let plan = plan(&["--rate", "1000", "--class", top, "--class", "name=rest"]);
        let classes = plan.expect("valid").classes;
        assert!((classes[0].steps[0].rate - 750.0).abs() < 1e-9);
        assert_eq!(classes[0].headers, [("a".to_owned(), "b".to_owned())]);
        assert_eq!(classes[1].path, "/x?y=1");
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in ["x", "-1", "5:x", "nan", "1e9", ""] {
            assert!(plan(&["--rate", wrong]).is_err(), "{wrong}");
        }
        assert!(plan(&["--rate", "1", "--class", "colour=red"]).is_err());
        assert!(plan(&["--rate", "1", "--class", "weight=0"]).is_err());
    }
}
