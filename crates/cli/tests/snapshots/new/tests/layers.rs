//! What each layer may know. A use that is not stated here fails the test, with file, line and what
//! to do instead; to state it is a decision.

use seawall_testkit::{Breaches, Layer, Layers};

#[test]
fn each_layer_knows_what_it_may() -> Result<(), Breaches> {
    Layers::of(env!("CARGO_MANIFEST_DIR"))
        // The business: no transport, no database, no framework.
        .layer(Layer::named("biz").knows(&["pkg"]).crates(&["thiserror"]))
        .layer(Layer::named("pkg"))
        // The ports' implementations: no transport.
        .layer(
            Layer::named("data")
                .knows(&["biz", "pkg"])
                .crates(&["serde", "sqlx", "tracing", "seawall::config"]),
        )
        // Messages to objects and back: no database.
        .layer(
            Layer::named("service")
                .knows(&["biz", "pkg"])
                .crates(&["api", "seawall::api", "tracing"]),
        )
        .layer(
            Layer::named("server")
                .knows(&["biz", "config", "pkg", "service"])
                .crates_but(&["sqlx"]),
        )
        .layer(
            Layer::named("job")
                .knows(&["biz", "config", "pkg"])
                .crates_but(&["api", "sqlx"]),
        )
        .layer(
            Layer::named("admin")
                .knows(&["biz", "pkg"])
                .crates_but(&["api", "sqlx"]),
        )
        // Puts the parts' settings together.
        .layer(
            Layer::named("config")
                .knows(&["data", "job"])
                .crates(&["serde"]),
        )
        .check()
}
