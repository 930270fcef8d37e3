//! `seawall cache`: what the caches of services and of gateways do.

mod ask;
mod show;
mod sum;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use http::Uri;

use crate::Failure;

/// Look at caches while they work.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  seawall cache top --admin http://127.0.0.1:9090

Exit code: that of the command below.")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Cache,
}

#[derive(Debug, Subcommand)]
enum Cache {
    Top(TopArgs),
}

/// Watch hit ratios, loads and hot keys: of services (seawall-cache) and of gateways (responses).
///
/// Reads `GET /cache` of each admin listener once an interval, adds the instances up, and shows what
/// has come since the last time. A service shows its caches by one line, `caches.show(&app)` with
/// `seawall_cache::Caches`; a gateway shows its own where a route has a `cache` table.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  seawall cache top                                   what listens on 127.0.0.1:9090
  seawall cache top --admin http://10.0.0.5:9090 --admin http://10.0.0.6:9090 --token-file token
                                                      two instances as one
  seawall cache top --once                            one interval, and out
  seawall cache top --json --interval 10s >> cache.jsonl
                                                      a line of JSON each 10 s

How to read it:
  READS/S    asked of the first level, in process
  LOCAL      the share of these that it answered
  REDIS      of what was asked of Redis, the share that it answered; hot keys are asked for less
  LOADS/S    loads begun: what the database sees, or a gateway's service
  SHARED/S   reads that waited for another's load instead of a load of their own
  WAITS/S    waits for a load of another process
  STALE/S    stale values served
  Below a cache stands what is to be looked after: loads that failed or were turned away, a channel
  that is down (nothing in process is served then), shards of Redis that are given up. HOT KEYS are
  those that are hot to Redis, with reads a second that no process answered by itself: a key that is
  read from memory alone is a burden to nobody.

Ctrl-C ends it. Exit code: 0 when ended by Ctrl-C or after --once, 1 when nobody answered at first,
2 for a wrong command line.")]
struct TopArgs {
    /// Where an admin listener is, http://HOST:PORT; repeat it for several instances.
    #[arg(long, value_name = "URL", value_parser = admin, default_value = "http://127.0.0.1:9090")]
    admin: Vec<Uri>,
    /// A file with their `admin.token`; sent to each of them.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// From one reading to the next, 100ms to 1h.
    #[arg(long, value_name = "TIME", value_parser = interval, default_value = "1s")]
    interval: Duration,
    /// Show one interval and end.
    #[arg(long)]
    once: bool,
    /// Write JSON, a line an interval: `rates` are a second, `counts` since the instances began.
    #[arg(long)]
    json: bool,
}

/// An admin listener: a host and a port, over plain HTTP.
fn admin(text: &str) -> Result<Uri, String> {
    let wrong = || format!("write http://HOST:PORT, as http://127.0.0.1:9090, not `{text}`");
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let bare = matches!(
        uri.path_and_query().map(|rest| rest.as_str()),
        None | Some("/")
    );
    let plain = uri.scheme_str() == Some("http") && !text.contains('@');
    if plain && bare && uri.host().is_some() {
        Ok(uri)
    } else {
        Err(wrong())
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let time = seawall::config::parse_time(text).map_err(|error| error.to_string())?;
    let range = Duration::from_millis(100)..=Duration::from_secs(3_600);
    if range.contains(&time) {
        Ok(time)
    } else {
        Err("from 100ms to 1h".into())
    }
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Cache::Top(args) => watch::run(args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for right in [
            "http://127.0.0.1:9090",
            "http://a.example",
            "http://[::1]:1/",
        ] {
            assert!(admin(right).is_ok(), "{right}");
        }
        for wrong in [
            "127.0.0.1:9090",
            "https://a",
            "http://a/cache",
            "http://b@a",
            "http://a?x",
            "",
        ] {
            let told = admin(wrong).expect_err("refused");
            assert!(told.contains("http://127.0.0.1:9090"), "{told}");
        }
    }

    #[test]
    fn intervals_have_a_unit_and_a_range() {
        assert_eq!(interval("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["1", "10ms", "2h", "x"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
