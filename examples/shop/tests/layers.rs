//! What each layer may know. A use that is not stated here fails the test, with file, line and what
//! to do instead; to state it is a decision.

use seawall_testkit::{Breaches, Layer, Layers};

/// What is not about the business, and is values alone: no calls, no queue.
const VALUES: [&str; 4] = ["pkg::Failure", "pkg::Money", "pkg::Time", "pkg::TooMuch"];

/// Neither transport nor database nor framework. Of the runtime, what its tests run on.
const BARE: [&str; 4] = [
    "sha2",
    "thiserror",
    "tokio::runtime::Builder",
    "tokio::test",
];

#[test]
fn each_layer_knows_what_it_may() -> Result<(), Breaches> {
    rules(env!("CARGO_MANIFEST_DIR")).check()
}

/// A test that cannot fail is none: the shop, with one convenient `use` too many.
#[test]
fn a_business_that_knows_its_database_is_found() {
    let copy = tempfile::tempdir().expect("temporary directory");
    copy_sources(env!("CARGO_MANIFEST_DIR").as_ref(), copy.path());
    let rules = rules(copy.path().to_str().expect("text"));
    rules.check().expect("as it is, it is clean");
    let file = copy.path().join("src/order/biz/price.rs");
    let clean = std::fs::read_to_string(&file).expect("read");
    for (planted, found) in [
        ("use sqlx::Row;", "`order::biz` may not use `sqlx::Row`"),
        (
            "use tonic::Status;",
            "`order::biz` may not use `tonic::Status`",
        ),
        (
            "use crate::order::data::Views;",
            "may not know `crate::order::data::Views`",
        ),
        (
            "use super::super::service::Service;",
            "may not know `crate::order::service::Service`",
        ),
        (
            "use crate::catalog::biz::Held;",
            "may not know `crate::catalog::biz::Held`",
        ),
        ("use crate::pkg::rpc;", "may not know `crate::pkg::rpc`"),
    ] {
        std::fs::write(&file, format!("{clean}\n{planted}\n")).expect("written");
        let told = rules.check().expect_err(planted).to_string();
        assert!(told.starts_with("src/order/biz/price.rs:"), "{told}");
        assert!(told.contains(found), "{planted}: {told}");
    }
}

fn rules(package: &str) -> Layers {
    let mut layers = Layers::of(package);
    for service in ["catalog", "order", "notify"] {
        let of = |layer: &str| format!("{service}::{layer}");
        let biz = of("biz");
        layers = layers.layer(Layer::named(&biz).knows(&VALUES).crates(&BARE));
        // The ports' implementations: the database, the cache, and who is called; nothing served.
        let data = Layer::named(&of("data")).knows(&[&*biz, "config", "pkg"]);
        layers = layers.layer(data.crates_but(&["seawall::app", "clap", "seawall_testkit"]));
        // Messages to objects and back: what it shows comes by a trait.
        let views = of("data");
        let service = Layer::named(&of("service")).knows(&[&*biz, &views, "config", "pkg"]);
        layers = layers.layer(service.crates_but(&[
            "sqlx",
            "seawall_cache::redis",
            "async_nats",
            "tonic",
        ]));
    }
    // What drives the business without being asked.
    let worker = Layer::named("worker").knows(&["order", "notify", "config", "pkg"]);
    let admin = Layer::named("admin").knows(&["config", "pkg"]);
    let up = Layer::named("up").knows(&["admin"]);
    let pkg = Layer::named("pkg").crates_but(&["sqlx", "clap"]);
    layers
        .layer(worker.crates_but(&["sqlx", "seawall_cache"]))
        .layer(admin.crates_but(&["sqlx", "seawall_cache"]))
        .layer(up.crates_but(&["sqlx", "seawall_cache"]))
        .layer(pkg)
        .layer(Layer::named("config").crates(&["seawall", "serde"]))
}

fn copy_sources(from: &std::path::Path, to: &std::path::Path) {
    std::fs::copy(from.join("Cargo.toml"), to.join("Cargo.toml")).expect("copied");
    let mut directories = vec!["src".to_owned()];
    while let Some(directory) = directories.pop() {
        std::fs::create_dir_all(to.join(&directory)).expect("made");
        for entry in std::fs::read_dir(from.join(&directory)).expect("read") {
            let entry = entry.expect("read");
            let path = format!("{directory}/{}", entry.file_name().display());
            if entry.path().is_dir() {
                directories.push(path);
            } else {
                std::fs::copy(entry.path(), to.join(&path)).expect("copied");
            }
        }
    }
}
