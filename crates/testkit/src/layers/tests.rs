use std::fs;

use proptest::prelude::*;

use super::tokens::tokens;
use super::{Layer, Layers};

/// What is said of a `biz` that is this source, in `src/biz/notes.rs`.
fn said(source: &str) -> String {
    let package = tempfile::tempdir().unwrap();
    let at = |path: &str| package.path().join(path);
    let manifest = "[dependencies]\nsqlx = '1'\ndb = { package = 'redis' }\nseawall.path = '..'\n\
         [target.'cfg(unix)'.dependencies]\nmy-nix = '1'\n[dev-dependencies]\nmockall = '1'\n";
    fs::write(at("Cargo.toml"), manifest).unwrap();
    fs::create_dir_all(at("src/biz")).unwrap();
    fs::write(at("src/main.rs"), "use sqlx::Row;").unwrap();
    fs::write(at("src/biz/mod.rs"), "pub mod notes;").unwrap();
    fs::write(at("src/biz/notes.rs"), source).unwrap();
    fs::write(at("src/data.rs"), "use crate::biz::notes; use sqlx::Row;").unwrap();
    fs::write(at("src/pkg.rs"), "").unwrap();
    let layers = Layers::of(package.path())
        .layer(
            Layer::named("biz")
                .knows(&["pkg"])
                .crates(&["seawall::sync"]),
        )
        .layer(
            Layer::named("data")
                .knows(&["biz", "pkg"])
                .crates_but(&["seawall::app"]),
        )
        .layer(Layer::named("pkg"));
    layers
        .check()
        .err()
        .map_or(String::new(), |why| why.to_string())
}

#[test]
fn what_a_layer_may_know_it_may_use_in_any_way() {
    for source in [
        "use std::{fmt, io};\nuse core::mem;",
        "use crate::pkg::clock; use crate::biz::*; use super::notes; use self::inner::data;",
        "use seawall::sync::Snapshot; use seawall::{sync, sync::Flight as F};",
        "// use sqlx::Row;\n/* crate::data /* nested */ sqlx::Row */\n/// [`sqlx::Row`]\nfn f() {}",
        "const A: &str = \"sqlx::Row \\\" crate::data::X\"; const B: &str = r#\"sqlx::\" x\"#;",
        "fn f<'a>(x: &'a str) -> char { let _ = '\"'; let _ = '\\''; x.sqlx::<u8>(); 'x' }",
        "mod inner { use super::super::notes; use super::data; mod data {} }",
        "use mockall::mock;",
        "fn f() { let sqlx = 1; sqlx + data }",
        "fn f() -> impl Sized + use<'static> {}",
        "pub(in crate::biz) fn f() {} pub(super) fn g() {} pub(crate) fn h() {}",
    ] {
        assert_eq!(said(source), "", "{source}");
    }
}

#[test]
fn what_it_may_not_know_is_found_however_it_is_named() {
    for (source, name) in [
        ("use crate::data::Store;", "`crate::data::Store`"),
        ("use super::super::data;", "`crate::data`"),
        (
            "mod a { mod b { use super::super::super::super::data; } }",
            "`crate::data`",
        ),
        ("mod a {} use super::super::data;", "`crate::data`"),
        ("use crate::{pkg, data::{self as d}};", "`crate::data`"),
        ("fn f() -> crate::data::Store {}", "`crate::data::Store`"),
        (
            "macro_rules! m { () => { $crate::data::Store } }",
            "`crate::data::Store`",
        ),
        ("fn f() { vec![crate::r#data::x()] }", "`crate::data::x`"),
        ("use crate::Store;", "`crate::Store`"),
        ("use sqlx as x;", "`sqlx`"),
        ("use ::sqlx::Row;", "`sqlx::Row`"),
        ("use {std::fmt, sqlx::Row as _};", "`sqlx::Row`"),
        ("extern crate sqlx as x;", "`sqlx`"),
        ("fn f() { sqlx::query!(\"\") }", "`sqlx::query`"),
        ("fn f() { Vec::<sqlx::Row>::new(); }", "`sqlx::Row`"),
        ("fn f(_: &'static sqlx::Row) {}", "`sqlx::Row`"),
        ("#[derive(sqlx::FromRow)] struct A;", "`sqlx::FromRow`"),
        ("use db::Client;", "`db::Client`"),
        ("use my_nix::fork;", "`my_nix::fork`"),
        ("use seawall::api::Error;", "`seawall::api::Error`"),
        ("use seawall as s;", "`seawall`"),
        ("use seawall::{sync, *};", "`seawall`"),
    ] {
        let said = said(source);
        assert!(
            said.starts_with("src/biz/notes.rs:1: `biz` may not "),
            "{source}: {said}"
        );
        assert!(said.contains(&format!(" {name}; ")), "{source}: {said}");
        assert_eq!(said.lines().count(), 1, "{source}: {said}");
    }
}

#[test]
fn a_name_that_hides_where_it_leads_is_refused() {
    for source in [
        "use crate::*;",
        "use crate as c;",
        "use crate::{self as c};",
        "use super::super::*;",
        "use super::super as root;",
        "extern crate self as notes;",
        "include!(\"../data.rs\");",
        "#[path = \"../data.rs\"] mod copy;",
    ] {
        assert!(
            said(source).contains("hides what it knows; name what"),
            "{source}"
        );
    }
}

/// A package of two services, with a file that is compiled twice.
fn shop(biz: &str, data: &str) -> Result<(), String> {
    let package = tempfile::tempdir().unwrap();
    let write = |path: &str, source: &str| {
        let path = package.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, source).unwrap();
    };
    write("Cargo.toml", "[dependencies]\nsqlx = '1'\n");
    write("src/lib.rs", "pub mod catalog;");
    write(
        "src/catalog/mod.rs",
        "pub mod biz; pub mod data; use sqlx::Row;",
    );
    write("src/catalog/biz/mod.rs", biz);
    write("src/catalog/data/mysql.rs", data);
    write(
        "src/catalog/data/tables/mod.rs",
        "use super::Db; use crate::catalog::biz;",
    );
    write("src/order/biz.rs", "");
    Layers::of(package.path())
        .layer(Layer::named("catalog::biz"))
        .layer(
            Layer::named("catalog::data")
                .knows(&["catalog::biz"])
                .crates(&["sqlx"]),
        )
        .layer(Layer::named("order::biz"))
        .check()
        .map_err(|why| why.to_string())
}

#[test]
fn layers_of_several_services_are_told_apart() {
    let same = "use sqlx::MySql as Db;\n#[path = \"tables/mod.rs\"]\nmod tables;";
    assert_eq!(shop("use self::price::of;", same), Ok(()));
    let port = "state what `catalog::biz` needs as a trait in `catalog::biz`, implement it in \
                `catalog::data`, and hand it over in `catalog`";
    assert_eq!(
        shop("use super::data::Shelves;", same),
        Err(format!(
            "src/catalog/biz/mod.rs:1: `catalog::biz` may not know `crate::catalog::data::Shelves`; {port}"
        ))
    );
    for (biz, name) in [
        ("use sqlx::Row;", "`sqlx::Row`"),
        (
            "use crate::order::biz::Order;",
            "`crate::order::biz::Order`",
        ),
        ("use super::*;", "`crate::catalog`"),
    ] {
        assert!(shop(biz, same).unwrap_err().contains(name), "{biz}");
    }
    // A file of another layer is not let in by that door.
    for path in ["../biz/mod.rs", "../../lib.rs", "/etc/tables.rs", "none.rs"] {
        let data = format!("#[path = \"{path}\"] mod tables;");
        assert!(
            shop("", &data).unwrap_err().contains("uses #[path]"),
            "{path}"
        );
    }
    let nested = "mod a { #[path = \"tables/mod.rs\"] mod tables; }";
    assert!(shop("", nested).unwrap_err().contains("uses #[path]"));
}

#[test]
fn a_breach_tells_file_line_name_and_remedy() {
    let told =
        said("//! Notes.\n\nuse std::fmt;\nuse crate::data::{\n    Store,\n};\nuse sqlx::Row;\n");
    let lines: Vec<_> = told.lines().collect();
    let port = "state what `biz` needs as a trait in `biz`, implement it in `data`, and hand it over in main.rs";
    assert_eq!(
        lines[0],
        format!("src/biz/notes.rs:5: `biz` may not know `crate::data::Store`; {port}")
    );
    assert!(lines[1].starts_with(
        "src/biz/notes.rs:7: `biz` may not use `sqlx::Row`; `biz` may use `seawall::sync`: put"
    ));
}

#[test]
fn rules_and_source_that_do_not_meet_are_told() {
    let package = tempfile::tempdir().unwrap();
    let check = |layers: &[&str]| {
        let layers = layers.iter().fold(Layers::of(package.path()), |all, name| {
            all.layer(Layer::named(name))
        });
        layers
            .check()
            .err()
            .map_or(String::new(), |why| why.to_string())
    };
    assert!(
        check(&["biz"]).contains("Cargo.toml: "),
        "{}",
        check(&["biz"])
    );
    fs::write(package.path().join("Cargo.toml"), "").unwrap();
    assert!(check(&["biz"]).contains("src: "), "{}", check(&["biz"]));
    fs::create_dir(package.path().join("src")).unwrap();
    assert!(check(&["biz"]).contains("src/biz: the layer `biz` has no source"));
    fs::write(package.path().join("src/biz.rs"), "").unwrap();
    fs::write(package.path().join("src/extra.rs"), "").unwrap();
    assert!(check(&["biz"]).contains("src/extra.rs: `extra` is no layer"));
    assert_eq!(check(&["biz", "extra"]), "");
    fs::write(package.path().join("Cargo.toml"), "[").unwrap();
    assert!(check(&["biz", "extra"]).contains("Cargo.toml: "));
}

#[test]
fn a_module_that_is_left_out_does_not_come_along_with_the_whole() {
    let layer = Layer::named("data").crates_but(&["seawall::app", "tonic"]);
    let path = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    for refused in ["tonic", "tonic::Code", "seawall::app::App", "seawall"] {
        assert!(!layer.may_use(&path(refused)), "{refused}");
    }
    assert!(layer.may_use(&path("seawall::data")));
}

proptest! {
    #[test]
    fn any_text_has_tokens_whose_lines_rise(source in "\\PC*|([a-z:'\"#r/*{}\\\\\n ]|use |crate)*") {
        let tokens = tokens(&source);
        prop_assert!(tokens.is_sorted_by_key(|(line, _)| *line));
        super::paths::paths(&source, &["biz".to_owned()]);
    }
}
