//! `seawall gateway`: runs the data plane until a signal ends it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Uri;
use seawall::config::{Config, Level, Listener, Upstream};
use seawall::telemetry::{Log, LogSettings};
use seawall_gateway::{Gateway, Running, StartError};
use seawall_sync::Shutdown;
use seawall_sync::shutdown::{Cause, Event, Life};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;

use crate::reload::{Follow, Source};
use crate::{Failure, check};

/// Put a gateway in front of a service; it then keeps its goodput under any load.
///
/// Nothing has to be configured. What arrives beyond what the service can do is queued for a moment
/// and then turned away (503, with `retry-after` and `seawall-reject`), the least important first.
/// Clients that leave, deadlines that pass, slow and malformed requests cost the service nothing.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  seawall gateway --upstream http://127.0.0.1:3000
      listen on 127.0.0.1:8080, protect the service on port 3000
  seawall gateway --upstream http://127.0.0.1:3000 --listen 0.0.0.0:80 --shadow
      only watch: decide and count, turn nobody away
  seawall gateway --config seawall.toml
      routes, lanes, several listeners; see `seawall check --defaults`

While it runs:
  curl '127.0.0.1:9090/explain?text' who was turned away and why, the state of every limit
  curl 127.0.0.1:9090/metrics        Prometheus metrics
  kill -TERM PID                     stop accepting, finish what is under way, exit
  kill -HUP PID                      with --config: read the file again, at once; without one the
                                     same as TERM; ignored where it was started with nohup

Exit code: 0 when everything under way was finished, 1 when it cannot start, 2 for a wrong command
line, 3 when `drain_timeout` ran out and connections were cut, 130 when a second signal broke the
drain off.")]
pub(crate) struct Args {
    /// The service to protect: http://HOST:PORT or https://HOST:PORT.
    #[arg(long, value_name = "URL", value_parser = url)]
    upstream: Option<Uri>,
    /// Address to accept calls on [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
    /// Address for metrics, health and explanations [default: 127.0.0.1:9090].
    #[arg(long, value_name = "ADDR", value_parser = address)]
    admin: Option<SocketAddr>,
    /// A configuration file, which is watched: a change takes effect without a restart, within about
    /// a second or at once on SIGHUP; a bad one is refused whole. The flags above stand over its entries named `default`, or over the only one
    /// there is.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Decide and count, but turn nobody away.
    #[arg(long)]
    shadow: bool,
}

/// What the file's checker would say of `url`.
fn url(text: &str) -> Result<Uri, String> {
    let file = format!("[upstreams.default]\nurl = {text:?}\n");
    match Config::parse(&file) {
        Ok(mut config) => config
            .upstreams
            .remove("default")
            .map(|upstream| upstream.url)
            .ok_or_else(String::new),
        Err(errors) => Err(errors
            .0
            .first()
            .map_or_else(String::new, |error| error.problem.to_string())),
    }
}

/// An address to listen on.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "write an IP address and a port, as 127.0.0.1:8080".to_owned())
}

const NOTHING_TO_PROTECT: &str = "\
what is to be protected? Name it by --upstream or in a file by --config:

  seawall gateway --upstream http://127.0.0.1:3000
  seawall gateway --config seawall.toml

`seawall gateway --help` says more";

/// The exit code when connections were cut as the drain's time ran out. Not 1: it did start, and it
/// served.
const CUT: u8 = 3;

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if args.upstream.is_none() && args.config.is_none() {
        return Err(Failure {
            text: NOTHING_TO_PROTECT.into(),
            code: 2,
        });
    }
    // The gateway has threads of its own; what is left is to wait.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    // Before it is read: a change in between is one.
    let source = source(args, &runtime)?;
    let config = config(args)?;
    // Every connection is a descriptor, and the soft limit is often 1,024.
    raise_descriptors();
    let (log, _written) = Log::start(std::io::stderr(), LogSettings::default())
        .map_err(|error| Failure::new(format!("cannot start the log: {error}")))?;
    let (filter, levels) = tracing_subscriber::reload::Layer::new(level(config.log.level));
    let subscriber = tracing_subscriber::registry()
        .with(filter)
        .with(log.layer());
    // Only a second call could fail.
    let _ = tracing::subscriber::set_global_default(subscriber);
    let mut shutdown = Shutdown::new()
        .drain_timeout(config.drain_timeout)
        .tell(tell);
    if source.is_some() {
        shutdown = shutdown.leave_hangup();
    }
    let cut = Arc::new(AtomicUsize::new(0));
    let code = shutdown.run_on(runtime, |life| {
        let follow = Follow {
            args: args.clone(),
            source,
            levels,
            life: life.clone(),
        };
        serve(config, log, follow, life, cut.clone())
    });
    let cut = cut.load(Ordering::Relaxed);
    if cut > 0 {
        let plural = if cut == 1 { " was" } else { "s were" };
        tell!("{cut} connection{plural} cut; see `drain_timeout`");
    }
    // What ended it otherwise says more.
    Ok(if cut > 0 && code == ExitCode::SUCCESS {
        ExitCode::from(CUT)
    } else {
        code
    })
}

/// The file that is followed, where there is one: standard input can be read but once.
fn source(args: &Args, runtime: &tokio::runtime::Runtime) -> Result<Option<Source>, Failure> {
    let file = args.config.clone().filter(|file| file.as_os_str() != "-");
    let _entered = runtime.enter();
    let source = file.map(Source::new).transpose();
    source.map_err(|error| Failure::new(format!("cannot catch SIGHUP: {error}")))
}

/// Leaves in `cut` how many connections were open when the drain was over.
async fn serve(
    config: Config,
    log: Log,
    follow: Follow,
    life: Life,
    cut: Arc<AtomicUsize>,
) -> Result<(), String> {
    let running = Gateway::start_with_log(&config, Some(log)).map_err(|error| remedy(&error))?;
    let running = Arc::new(running);
    announce(&config, &running);
    warn(&config);
    let (drains, exits) = (running.clone(), running.clone());
    life.on_drain("the gateway", async move {
        drains.drain();
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !drains.is_drained() {
            look.tick().await;
        }
    });
    life.on_exit("the gateway", async move {
        cut.store(exits.connections(), Ordering::Relaxed);
    });
    tokio::select! {
        () = life.stopping() => return Ok(()),
        () = warn_of_unreachable(&config) => {}
    }
    tokio::select! {
        () = life.stopping() => {}
        () = follow.run(&running) => {}
    }
    Ok(())
}

fn tell(event: &Event) {
    match event {
        // It never served, so there is nothing to drain.
        Event::Draining(Cause::Fatal(error), _) => tell!("seawall: {error}"),
        event => tell!("{event}"),
    }
}

pub(crate) fn config(args: &Args) -> Result<Config, Failure> {
    let mut config = match &args.config {
        Some(file) => check::read(file)?.0,
        None => Config::default(),
    };
    if let Some(url) = &args.upstream {
        match the_one(&mut config.upstreams, "--upstream", "upstream")? {
            Some(upstream) => upstream.url = url.clone(),
            None => {
                let upstream = Upstream::to(url.clone());
                config.upstreams.insert("default".into(), upstream);
            }
        }
    }
    if let Some(address) = args.listen {
        match the_one(&mut config.listeners, "--listen", "listener")? {
            Some(listener) => listener.address = address,
            None => {
                let listener = Listener::at(address);
                config.listeners.insert("default".into(), listener);
            }
        }
    }
    if let Some(address) = args.admin {
        if !address.ip().is_loopback() && config.admin.token.is_none() {
            let text = format!(
                "--admin {address} can be reached by others: set `admin.token` in a file, or use 127.0.0.1"
            );
            return Err(Failure::new(text));
        }
        config.admin.address = address;
    }
    config.admission.shadow |= args.shadow;
    for upstream in config.upstreams.values_mut() {
        upstream.breaker.shadow |= args.shadow;
    }
    if let Some((key, text)) = config.address_conflicts().first() {
        let flags = "--listen, --admin and --upstream stand over the file";
        return Err(Failure::new(format!("`{key}` {text} ({flags})")));
    }
    Ok(config)
}

/// Which entry of the file a flag stands over: the one named `default`, or the only one there is. An
/// entry beside those of the file would leave open what the flag was to narrow.
fn the_one<'c, T>(
    entries: &'c mut BTreeMap<String, T>,
    flag: &str,
    what: &str,
) -> Result<Option<&'c mut T>, Failure> {
    if entries.len() > 1 && !entries.contains_key("default") {
        let names: Vec<_> = entries.keys().map(|name| format!("`{name}`")).collect();
        return Err(Failure::new(format!(
            "{flag} could stand over any of the file's {what}s {}: change the one meant in the file, or name it `default`",
            names.join(", ")
        )));
    }
    let only = entries.len() == 1;
    let one = entries
        .iter_mut()
        .find(|(name, _)| only || *name == "default");
    Ok(one.map(|(_, entry)| entry))
}

pub(crate) fn remedy(error: &StartError) -> String {
    let StartError::Bind {
        what, error: cause, ..
    } = error
    else {
        return error.to_string();
    };
    let flag = if what.contains("admin") {
        "--admin"
    } else {
        "--listen"
    };
    let remedy = match cause.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "another process listens there (`ss -ltnp` names it): stop it, or choose another address with {flag}"
            )
        }
        std::io::ErrorKind::PermissionDenied => {
            format!(
                "ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): choose a higher one with {flag}"
            )
        }
        std::io::ErrorKind::AddrNotAvailable => {
            format!("this machine has no such address: choose one with {flag}")
        }
        _ => format!("choose another address with {flag}"),
    };
    format!("{error}\n{remedy}")
}

fn announce(config: &Config, running: &Running) {
    for (name, address) in &running.addrs {
        let listener = config.listeners.get(name);
        let trust = listener.map(|listener| format!("{:?}", listener.trust).to_lowercase());
        let secured = listener.is_some_and(|listener| listener.tls.is_some());
        tell!(
            "listening on http{}://{address} ({})",
            if secured { "s" } else { "" },
            trust.unwrap_or_default()
        );
    }
    for (name, upstream) in &config.upstreams {
        tell!("protecting {}", check::destination(name, upstream));
    }
    tell!(
        "admin on http://{}: /explain?text /metrics /readyz /healthz",
        running.admin
    );
    let algorithm = format!("{:?}", config.admission.algorithm).to_lowercase();
    if config.admission.shadow {
        tell!("in shadow: the {algorithm} limit decides and counts, nobody is turned away");
    } else {
        tell!(
            "protections: {algorithm} concurrency limit, short queue, criticality, slow and bulk lanes, time limits"
        );
    }
}

/// Tells which settings fight or do nothing, as `seawall check` does. Shadow is told of at the start.
pub(crate) fn warn(config: &Config) {
    let warnings = config.warnings();
    for warning in warnings.iter().filter(|w| w.key != "admission.shadow") {
        tell!("warning: `{}` {}", warning.key, warning.text);
    }
}

/// The gateway runs all the same: the service, or the file that names its hosts, may come later.
async fn warn_of_unreachable(config: &Config) {
    for (key, why) in config.bad_endpoint_files() {
        tell!("warning: `{key}`: {why}; its hosts are missing until it is right");
    }
    // Whether hosts that are found live, is for discovery and their checks to say.
    let single = |upstream: &&Upstream| upstream.endpoints.is_empty();
    for upstream in config.upstreams.values().filter(single) {
        let host = upstream
            .url
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']']);
        let attempt = tokio::net::TcpStream::connect((host, upstream.port()));
        let why = match tokio::time::timeout(Duration::from_secs(1), attempt).await {
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer within 1 s".into(),
        };
        tell!(
            "warning: {} cannot be reached now ({why}); calls are answered 502 until it can",
            upstream.url
        );
    }
}

fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Fewer connections, then; accepting backs off where it must.
    let _ = setrlimit(Resource::Nofile, limit);
}

pub(crate) const fn level(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}
