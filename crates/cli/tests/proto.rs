//! `seawall proto` in a project: what it writes, and what it leaves alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where its ground is missing"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{SEAWALL, text};

/// A project, and commands in it.
struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = Command::new(SEAWALL)
            .args(["new", "shop"])
            .current_dir(dir.path())
            .env("CARGO", "/nonexistent/cargo")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", text(&made.stderr));
        Self { dir }
    }

    fn at(&self, file: &str) -> PathBuf {
        self.dir.path().join("shop").join(file)
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.at(file)).unwrap()
    }

    fn proto(&self, args: &[&str]) -> Output {
        Command::new(SEAWALL)
            .arg("proto")
            .args(args)
            .current_dir(self.at("."))
            .output()
            .unwrap()
    }

    fn told(&self, args: &[&str]) -> String {
        let output = self.proto(args);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    fn refused(&self, args: &[&str]) -> String {
        let output = self.proto(args);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        text(&output.stderr)
    }
}

const ORDERS: &str = "api/proto/shop/v1/order_lines.proto";

#[test]
fn a_definition_is_written_and_can_be_read() {
    let project = Project::new();
    let told = project.told(&["add", ORDERS]);
    assert!(
        told.contains(&format!("seawall proto server {ORDERS}")),
        "{told}"
    );
    let definition = project.read(ORDERS);
    for part in [
        "package shop.v1;",
        "service OrderLines {",
        "rpc ListOrderLines(ListOrderLinesRequest)",
        "\"/v1/order-lines/{id}\"",
        "ORDER_LINE_NOT_FOUND = 1",
        "there is no such order line",
    ] {
        assert!(definition.contains(part), "{part} in\n{definition}");
    }
    let root = project.at("api/proto");
    let notes = project.at("api/proto/shop/v1/notes.proto");
    seawall_build::descriptors(&[project.at(ORDERS), notes], &[root]).unwrap();

    let told = project.refused(&["add", ORDERS]);
    assert!(told.contains("nothing is ever overwritten"), "{told}");
    assert_eq!(project.read(ORDERS), definition);
}

#[test]
fn a_service_answers_every_method_and_is_declared() {
    let project = Project::new();
    project.told(&["add", ORDERS]);
    let told = project.told(&["server", ORDERS]);
    let mount =
        "app.service(api::shop::v1::order_lines::service(service::order_lines::OrderLines));";
    assert!(
        told.starts_with("src/service/order_lines.rs answers shop.v1.OrderLines"),
        "{told}"
    );
    assert!(told.contains(mount), "{told}");
    assert!(
        project
            .read("src/service/mod.rs")
            .contains("pub mod notes;\npub mod order_lines;\n")
    );
    let source = project.read("src/service/order_lines.rs");
    for method in [
        "create_order_line",
        "get_order_line",
        "list_order_lines",
        "delete_order_line",
    ] {
        assert!(
            source.contains(&format!("async fn {method}(")),
            "{method} in\n{source}"
        );
    }
    assert!(source.contains("Result<types::Empty, Error>"), "{source}");
    rustfmt(&project.at("src/service/order_lines.rs"));
}

#[test]
fn what_is_written_stays_and_what_it_lacks_is_told() {
    let project = Project::new();
    let notes = "api/proto/shop/v1/notes.proto";
    let before = project.read("src/service/notes.rs");
    let told = project.told(&["server", notes]);
    assert!(told.contains("has every method"), "{told}");

    let definition = project.read(notes);
    let more = definition.replace(
        "service Notes {",
        "service Notes {\n  rpc Watch(stream GetNoteRequest) returns (stream Note);",
    );
    fs::write(project.at(notes), more).unwrap();
    let told = project.told(&["server", notes]);
    for part in [
        "was not changed. It lacks 1 of the methods",
        "async fn watch(",
        "request: Request<Messages<v1::GetNoteRequest>>,",
        "-> Result<Replies<v1::Note>, Error>",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
    assert_eq!(project.read("src/service/notes.rs"), before);
}

#[test]
fn names_of_every_kind_make_source_that_rustfmt_leaves_alone() {
    let project = Project::new();
    let file = "api/proto/type_x/mod_y/v2/all.proto";
    fs::create_dir_all(project.at("api/proto/type_x/mod_y/v2")).unwrap();
    let definition = "syntax = 'proto3'; package type_x.mod_y.v2;\n\
        import 'shop/v1/notes.proto'; import 'google/protobuf/timestamp.proto';\n\
        message Outer { message Inner {} }\n\
        service HTTPThing {\n\
          rpc Move(Outer.Inner) returns (shop.v1.Note);\n\
          rpc GetABitMoreThanWouldFitIntoOneLineOfSource(Outer) returns (Outer.Inner);\n\
          rpc Time(stream google.protobuf.Timestamp) returns (Outer);\n\
        }\n";
    fs::write(project.at(file), definition).unwrap();
    project.told(&["server", file]);
    let source = project.read("src/service/http_thing.rs");
    for part in [
        "use api::type_x::mod_y::v2;",
        "use seawall::api::{Code, Error, Messages, Request, types};",
        "async fn r#move(\n        &self,\n        request: Request<v2::outer::Inner>,",
        "Result<api::shop::v1::Note, Error>",
        "Request<Messages<types::Timestamp>>",
        "impl v2::HttpThing for HttpThing",
    ] {
        assert!(source.contains(part), "{part} in\n{source}");
    }
    rustfmt(&project.at("src/service/http_thing.rs"));
}

#[test]
fn what_cannot_be_done_is_told_with_a_remedy() {
    let project = Project::new();
    let empty = "api/proto/shop/v1/empty.proto";
    fs::write(project.at(empty), "syntax = 'proto3'; package shop.v1;").unwrap();
    let broken = "api/proto/shop/v1/broken.proto";
    fs::write(project.at(broken), "syntax = 'proto3';\nservice A { 7 }").unwrap();
    for (args, parts) in [
        (
            ["add", "orders.proto"],
            ["`seawall new`", "api/proto/shop/v1/orders.proto"],
        ),
        (
            ["add", "api/proto/shop/orders.proto"],
            ["a version", "`shop/v1`"],
        ),
        (
            ["add", "api/proto/shop/v1/match.proto"],
            ["keyword", "match"],
        ),
        (
            ["server", "api/proto/shop/v1/none.proto"],
            ["is not there", "seawall proto add"],
        ),
        (["server", empty], ["defines no service", "add one"]),
        (["server", broken], ["broken.proto", ":2"]),
    ] {
        let told = project.refused(&args);
        for part in parts {
            assert!(told.contains(part), "{part} in\n{told}");
        }
    }
    fs::remove_dir_all(project.at("src/service")).unwrap();
    let told = project.refused(&["server", "api/proto/shop/v1/notes.proto"]);
    assert!(
        told.contains("src/service") && told.contains("`seawall new`"),
        "{told}"
    );
}

fn rustfmt(file: &Path) {
    let formatted = Command::new("rustfmt")
        .args(["--check", "--edition", "2024"])
        .arg(file)
        .output()
        .unwrap();
    assert!(formatted.status.success(), "{}", text(&formatted.stdout));
}
