//! Compiles the definition.

fn main() -> Result<(), seawall_build::Error> {
    seawall_build::compile(&["proto/echo/v1/echo.proto"], &["proto"])
}
