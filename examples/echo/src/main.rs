//! The echo service as a program, to try clients on.
//!
//! ```text
//! cargo run -p echo
//! curl -s 127.0.0.1:8000/v1/say --json '{"text": "hello"}'
//! grpcurl -plaintext -d '{"text": "hello"}' 127.0.0.1:9000 echo.v1.Echo/Say
//! ```

use std::process::ExitCode;

use echo::{Echo, v1};
use seawall::app::App;

fn main() -> ExitCode {
    App::<()>::new("echo")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Says back what it is told, by gRPC and by JSON over HTTP.")
        .run(async |app| {
            app.service(v1::echo::service(Echo));
            Ok(())
        })
}
