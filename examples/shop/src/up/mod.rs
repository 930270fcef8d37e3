//! All of the shop, as processes of this machine, until Ctrl-C.
//!
//! Embedded unless told otherwise: SQLite in files of a directory, events from a table, addresses
//! in the configuration. With `--real` the servers that a shop has in production are started, too:
//! each private, on a free port, gone with this program, however that ends.

mod real;

use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use seawall::app::BoxError;
use seawall::sync::Shutdown;
use seawall_testkit::{Process, free_port};
use tempfile::TempDir;

use crate::admin::token;
use real::Real;

/// How long a service may take to begin; its first one may have tables to make.
const PATIENCE: Duration = Duration::from_secs(30);
/// The file of the key that operators' tokens are signed by.
const KEY: &str = "operator.key";

/// Starts all of the shop on free ports of this machine, until Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "shop up")]
struct Args {
    /// On MariaDB (a primary and a replica), Redis, NATS and etcd, started here; they must be
    /// installed
    #[arg(long)]
    real: bool,
    /// Where files and logs are kept; in a temporary directory unless said
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Instances of each service
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    instances: u8,
}

/// Starts it, and returns when it has ended.
#[must_use]
pub fn main(arguments: &[OsString]) -> ExitCode {
    let name = std::iter::once("shop up".into());
    let args = match Args::try_parse_from(name.chain(arguments.iter().cloned())) {
        Ok(args) => args,
        Err(error) => {
            // Who asked may have gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    // What is dropped at the end may take seconds to end what it holds.
    let shutdown = Shutdown::new().cleanup_timeout(Duration::from_secs(60));
    shutdown.run(async move |life| -> Result<(), BoxError> {
        let started = tokio::task::spawn_blocking(move || Shop::start(&args));
        let shop = started.await??;
        tell(&shop);
        life.stopping().await;
        tell("ending …");
        tokio::task::spawn_blocking(move || drop(shop)).await?;
        tell("ended");
        Ok(())
    })
}

fn tell(line: impl fmt::Display) {
    // Who reads it may have seen enough.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Where an instance of a service listens.
#[derive(Clone, Copy, Debug)]
struct Place {
    service: &'static str,
    http: u16,
    grpc: u16,
    admin: u16,
}

const SERVICES: [&str; 5] = ["catalog", "notify", "order", "worker", "admin"];

impl Place {
    fn of(service: &'static str) -> Result<Self, seawall_testkit::Error> {
        Ok(Self {
            service,
            http: free_port()?,
            grpc: free_port()?,
            admin: free_port()?,
        })
    }
}

/// Everything that was started; ended in reverse when dropped.
struct Shop {
    // Callers before whom they call, servers last, and then the files.
    services: Vec<(Place, Process)>,
    real: Option<Real>,
    directory: PathBuf,
    _temporary: Option<TempDir>,
}

impl Shop {
    fn start(args: &Args) -> Result<Self, BoxError> {
        let (directory, temporary) = directory(args.dir.as_deref())?;
        let real = args
            .real
            .then(|| Real::start(|line| tell(line)))
            .transpose()?;
        let mut places = Vec::new();
        for service in SERVICES {
            let instances = if service == "admin" {
                1
            } else {
                args.instances
            };
            for _ in 0..instances {
                places.push(Place::of(service)?);
            }
        }
        token::make_key(&directory.join(KEY))?;
        let file = directory.join("shop.toml");
        std::fs::write(&file, config(&directory, &places, real.as_ref()))?;
        let mut shop = Self {
            services: Vec::new(),
            real,
            directory,
            _temporary: temporary,
        };
        for (n, place) in places.into_iter().enumerate() {
            tell(format_args!("starting {} …", place.service));
            let registry = shop.real.as_ref().map(Real::registry);
            let process = start(place, n, &file, &shop.directory, registry)?;
            shop.services.insert(0, (place, process));
        }
        Ok(shop)
    }
}

impl fmt::Display for Shop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nservice  http   grpc   admin  process")?;
        let mut order = 0;
        let mut admin = 0;
        for (place, process) in self.services.iter().rev() {
            let Place {
                service,
                http,
                grpc,
                admin: own,
            } = place;
            match *service {
                "order" => order = *http,
                "admin" => admin = *http,
                _ => {}
            }
            let id = process.id();
            if *service == "worker" {
                writeln!(f, "{service:8} –      –      {own}  {id}")?;
            } else {
                writeln!(f, "{service:8} {http}  {grpc}  {own}  {id}")?;
            }
        }
        let here = format!("http://127.0.0.1:{order}");
        let directory = self.directory.display();
        write!(
            f,
            "
curl {here}/v1/order-pages/1
curl {here}/v1/orders --json '{{\"customer\":\"ann\",\"key\":\"first-order\",\"lines\":[{{\"productId\":1,\"quantity\":2}}]}}'
curl {here}/v1/customers/ann/orders
token=$(shop token --file {directory}/{KEY})
curl -X PUT http://127.0.0.1:{admin}/v1/degrade -H \"authorization: Bearer $token\" --json '{{\"recommendations\":false}}'
shop admin degrade on --file {directory}/shop.toml
{here}/docs                       in a browser

Kill the catalog by its process id, and ask for the page again: its price is stale, and says so.
Logs and files are in {directory}. Ctrl-C ends it all.
"
        )
    }
}

fn directory(stated: Option<&Path>) -> Result<(PathBuf, Option<TempDir>), BoxError> {
    match stated {
        Some(directory) => {
            std::fs::create_dir_all(directory)?;
            Ok((std::path::absolute(directory)?, None))
        }
        None => {
            let temporary = TempDir::with_prefix("shop-")?;
            Ok((temporary.path().to_owned(), Some(temporary)))
        }
    }
}

/// The one file that all services read.
fn config(directory: &Path, places: &[Place], real: Option<&Real>) -> String {
    let upstream = |service: &str| {
        let hosts = places.iter().filter(|place| place.service == service);
        let hosts: Vec<_> = hosts
            .map(|place| format!("\"127.0.0.1:{}\"", place.grpc))
            .collect();
        let hosts = hosts.join(", ");
        format!("[upstreams.{service}]\nurl = \"http://{service}.shop\"\nendpoints = [{hosts}]\n\n")
    };
    let data = real.map_or_else(
        || {
            let url = |name| {
                format!(
                    "[data.{name}]\nurl = \"sqlite://{}/{name}.db\"\n\n",
                    directory.display()
                )
            };
            ["catalog", "order", "notify"].map(url).concat()
        },
        Real::config,
    );
    let file = directory.join("shop.toml");
    format!(
        "# All services read this file, and watch it: what is changed here is taken over at once.\n\n\
         [degrade]\nrecommendations = true\n\n[operator]\nfile = \"{}\"\n\n{}{}{}{data}",
        file.display(),
        token::config(&directory.join(KEY)),
        upstream("catalog"),
        upstream("notify"),
    )
}

fn start(
    place: Place,
    n: usize,
    file: &Path,
    directory: &Path,
    registry: Option<String>,
) -> Result<Process, BoxError> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(place.service).arg("--config").arg(file);
    for (section, port) in [
        ("http", place.http),
        ("grpc", place.grpc),
        ("admin", place.admin),
    ] {
        let set = format!("{section}.address=127.0.0.1:{port}");
        command.args(["--set", &set]);
    }
    // Who calls these is of the shop, and believed; customers call the orders.
    if place.service != "order" {
        command.args(["--set", "grpc.trust=internal"]);
    }
    // Operators show a token; customers and the shop itself do not.
    if place.service == "admin" {
        command.args(["--set", token::REQUIRED]);
    }
    // The worker has nothing that others could call.
    if let Some(registry) = registry.filter(|_| place.service != "worker") {
        command.args(["--set", &format!("registry.target={registry}")]);
    }
    let log = directory.join(format!("{}-{n}.log", place.service));
    let process = Process::start(command, &log, "")?;
    // The worker serves nobody but its operator.
    let port = if place.service == "worker" {
        place.admin
    } else {
        place.http
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err() {
        if process.has_ended() || Instant::now() > end {
            return Err(format!("{} does not start:\n{}", place.service, process.log()).into());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(process)
}
