//! `shop catalog`, `shop order`, …: one program for all of the shop's services, so that it builds
//! once; in production each would be one of its own.

use std::ffi::OsString;
use std::process::ExitCode;

use seawall::app::App;
use shop::config::Config;

#[cfg(feature = "jemalloc")]
seawall::heap_profiling!();

const HELP: &str = "\
A shop of several services, which shows what Seawall is for.

Usage: shop [COMMAND] [OPTIONS]

Commands:
  up        All of the below, on free ports, until Ctrl-C (the default)
  catalog   Products, prices and stock
  order     Orders: placed, paid for, or run out
  notify    What customers are told, and when
  worker    What is done by itself, now and then
  admin     What an operator does; `admin degrade on|off` does it here and now
  token     A token for an operator's calls, by the key that `up` has made

Each says with --help what it can be told.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().unwrap_or_else(|| "up".into());
    let rest: Vec<OsString> = arguments.collect();
    let app = |name: &str, about: &str| {
        App::<Config>::new(format!("shop-{name}"))
            .version(env!("CARGO_PKG_VERSION"))
            .about(about)
            .arguments(rest.clone())
    };
    match command.to_str() {
        Some("catalog") => app("catalog", "Products, prices and stock.").run(shop::catalog::set_up),
        Some("order") => {
            app("order", "Orders: placed, paid for, or run out.").run(shop::order::set_up)
        }
        Some("notify") => {
            app("notify", "What customers are told, and when.").run(shop::notify::set_up)
        }
        Some("worker") => app("worker", "What is done by itself.").run(shop::worker::set_up),
        Some("admin") if rest.first().is_some_and(|first| first == "degrade") => {
            shop::admin::command::main(&rest[1..])
        }
        Some("admin") => app("admin", "What an operator does.").run(shop::admin::set_up),
        Some("token") => shop::admin::token::main(&rest),
        Some("up") => shop::up::main(&rest),
        _ => {
            use std::io::Write as _;
            let _ = std::io::stderr().write_all(HELP.as_bytes());
            ExitCode::from(2)
        }
    }
}
