//! Compiles the definitions: the service's, and one that tests alone take in.

fn main() -> Result<(), seawall_build::Error> {
    let protos = ["proto/echo/v1/echo.proto", "tests/words.proto"];
    seawall_build::compile(&protos, &["proto", "tests"])
}
