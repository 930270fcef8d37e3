//! What each layer may know. A use that is not stated here fails the test, with file, line and what
//! to do instead; to state it is a decision.

use seawall_testkit::{Breaches, Layer, Layers};

#[test]
fn each_layer_knows_what_it_may() -> Result<(), Breaches> {
    // Neither transport nor database nor framework.
    let biz = Layer::named("biz").knows(&["pkg"]).crates(&["thiserror"]);
    let pkg = Layer::named("pkg");
    // The ports' implementations: no transport.
    let data = Layer::named("data").knows(&["biz", "pkg"]);
    let data = data.crates(&["seawall::data", "serde", "sqlx", "tracing"]);
    // Messages to objects and back: no database.
    let service = Layer::named("service").knows(&["biz", "pkg"]);
    let service = service.crates(&["api", "seawall::api", "tracing"]);
    // What drives the business from outside: by users, by the clock, by operators.
    let server = Layer::named("server").knows(&["biz", "config", "pkg", "service"]);
    let server = server.crates_but(&["sqlx"]);
    let job = Layer::named("job").knows(&["biz", "config", "pkg"]);
    let job = job.crates_but(&["api", "sqlx"]);
    let admin = Layer::named("admin").knows(&["biz", "pkg"]);
    let admin = admin.crates_but(&["api", "sqlx"]);
    // The parts' settings, put together.
    let config = Layer::named("config").knows(&["data", "job"]);
    let config = config.crates(&["serde"]);

    Layers::of(env!("CARGO_MANIFEST_DIR"))
        .layer(biz)
        .layer(pkg)
        .layer(data)
        .layer(service)
        .layer(server)
        .layer(job)
        .layer(admin)
        .layer(config)
        .check()
}
