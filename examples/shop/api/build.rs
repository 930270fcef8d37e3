//! Compiles the definitions.

fn main() -> Result<(), seawall_build::Error> {
    let definitions = ["admin", "catalog", "notify", "order"];
    let definitions = definitions.map(|name| format!("proto/shop/v1/{name}.proto"));
    seawall_build::compile(&definitions, &["proto"])
}
