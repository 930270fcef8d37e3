//! Definitions that are wrong: each is told with its line and a remedy, and nothing panics.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use seawall_build::{Config, Error};
use tempfile::TempDir;

const HEAD: &str = r#"syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "seawall/api/options.proto";
"#;

fn compiled(text: &str) -> Result<TempDir, Error> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("shop.proto"), text).unwrap();
    let protos = [dir.path().join("shop.proto")];
    Config::new()
        .out_dir(dir.path())
        .compile(&protos, &[dir.path()])?;
    Ok(dir)
}

/// What is told of a definition, without the directory it is in.
fn told(text: &str) -> String {
    let error = compiled(text).map(|_| ()).unwrap_err();
    for problem in error.problems() {
        assert!(!problem.place.is_empty(), "{problem}");
        // What protobuf's own compiler says of its syntax stands for itself.
        let syntax = problem.what.starts_with("expected ") || problem.what.contains("not found");
        assert!(syntax || !problem.remedy.is_empty(), "no remedy: {problem}");
    }
    let text = error.to_string();
    let lines = text.lines().map(|line| match line.find("shop.proto:") {
        Some(at) if !line.starts_with(' ') => &line[at..],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Of a message with this field, which stands in line 6.
fn of_field(field: &str) -> String {
    told(&format!("{HEAD}message Order {{\n  {field}\n}}\n"))
}

/// Of a service with these methods; they begin in line 6.
fn of_methods(methods: &str) -> String {
    told(&format!(
        "{HEAD}service Orders {{\n{methods}\n}}\n\
         message Order {{ string id = 1; Part part = 2; repeated Part parts = 3; repeated string tags = 4; }}\n\
         message Part {{ string name = 1; }}\n"
    ))
}

fn get(name: &str, path: &str) -> String {
    format!(
        "  rpc {name}(Order) returns (Order) {{ option (google.api.http) = {{get: \"{path}\"}}; }}"
    )
}

#[test]
fn routes_that_clash() {
    let text = of_methods(
        &[
            get("Get", "/v1/orders/{id}"),
            get("Find", "/v1/orders/{part.name}"),
        ]
        .join("\n"),
    );
    let (first, remedy) = text.split_once('\n').unwrap();
    assert!(first.starts_with("shop.proto:7: GET /v1/orders/{part.name} of shop.v1.Orders.Find matches the same paths as one of shop.v1.Orders.Get ("), "{text}");
    assert!(first.ends_with("shop.proto:6)"), "{text}");
    assert!(remedy.contains("another verb"), "{text}");
}

#[test]
fn routes_that_do_not_clash() {
    let methods = [
        get("Get", "/v1/orders/{id}"),
        get("Search", "/v1/orders/search"),
        get("Cancel", "/v1/orders/{id}:cancel"),
        get("List", "/v1/orders"),
    ];
    let text = format!(
        "{HEAD}service Orders {{\n{}\n}}\nmessage Order {{ string id = 1; }}",
        methods.join("\n")
    );
    compiled(&text).unwrap();
}

#[test]
fn paths_that_are_none() {
    for (path, what) in [
        (
            "/v1/{idd}",
            "shop.v1.Order has no `idd`\n  Did you mean `id`?",
        ),
        ("/v1/{part}", "is a message, a list or a map"),
        ("/v1/{tags}", "no field of one value"),
        (
            "/v1/{part.nam}",
            "shop.v1.Part has no `nam`\n  Did you mean `name`?",
        ),
        (
            "/v1/{id",
            "`/v1/{id` is no path template: a brace is not closed",
        ),
        ("v1", "it does not begin with a slash"),
    ] {
        let text = of_methods(&get("Get", path));
        assert!(
            text.starts_with("shop.proto:6: ") && text.contains(what),
            "{text}"
        );
    }
}

#[test]
fn bodies_that_are_none() {
    for (rule, what) in [
        (r#"get: "/v1" body: "*""#, "GET has a body"),
        (
            r#"post: "/v1" body: "parst""#,
            "no such field\n  Did you mean `part`?",
        ),
        (
            r#"post: "/v1" body: "id""#,
            "no message and no list of messages",
        ),
        (
            r#"get: "/v1" response_body: "id""#,
            "no message and no list of messages",
        ),
        (r#"body: "*""#, "has no verb"),
    ] {
        let text = of_methods(&format!(
            "  rpc Get(Order) returns (Order) {{ option (google.api.http) = {{{rule}}}; }}"
        ));
        assert!(
            text.starts_with("shop.proto:6: ") && text.contains(what),
            "{text}"
        );
    }
    let text = of_methods(
        "  rpc Put(stream Order) returns (Order) { option (google.api.http) = {post: \"/v1\"}; }",
    );
    assert!(
        text.contains("a stream of messages over HTTP is its body"),
        "{text}"
    );
}

#[test]
fn rules_that_there_are_not() {
    let text = of_field("string id = 1 [(seawall.api.rules).max_length = 5];");
    assert!(text.starts_with("shop.proto:6:"), "{text}");
    assert!(
        text.contains("Did you mean `max_len`? The rules there are: required, min_len"),
        "{text}"
    );
    let text = of_field("string id = 1 [(seawall.api.rules) = {maxlen: 5}];");
    assert!(
        text.starts_with("shop.proto:6:") && text.contains("`max_len`"),
        "{text}"
    );
    let text = of_field("string id = 1 [(seawall.api.rule).max_len = 5];");
    assert!(
        text.starts_with("shop.proto:6:") && text.contains("seawall.api.rule"),
        "{text}"
    );
}

#[test]
fn rules_that_do_not_go_with_the_field() {
    for (field, what) in [
        (
            "int32 n = 1 [(seawall.api.rules).max_len = 5];",
            "`max_len` goes with string and bytes, and shop.v1.Order.n is a number",
        ),
        (
            "string n = 1 [(seawall.api.rules).gt = 5];",
            "`gt` goes with numbers, and shop.v1.Order.n is a string",
        ),
        (
            "string n = 1 [(seawall.api.rules).min_items = 1];",
            "repeated fields and maps",
        ),
        (
            "repeated string n = 1 [(seawall.api.rules).max_len = 1];",
            "is a repeated field",
        ),
        (
            "repeated double n = 1 [(seawall.api.rules).unique = true];",
            "`unique` goes with strings",
        ),
        (
            "map<string, string> n = 1 [(seawall.api.rules).unique = true];",
            "is a map",
        ),
        (
            "repeated int32 n = 1 [(seawall.api.rules).items.email = true];",
            "`email` goes with string",
        ),
        (
            "bool n = 1 [(seawall.api.rules).defined = true];",
            "`defined` goes with enums",
        ),
        (
            "int32 n = 1 [(seawall.api.rules).gt = 1.5];",
            "`gt: 1.5` is no i32",
        ),
        (
            "uint32 n = 1 [(seawall.api.rules).gte = -1];",
            "`gte: -1` is no u32",
        ),
        (
            "int64 n = 1 [(seawall.api.rules).lt = 1e17];",
            "beyond 2^53",
        ),
        (
            "int32 n = 1 [(seawall.api.rules).in = \"x\"];",
            "`in: \"x\"` is no i32",
        ),
        (
            "string n = 1 [(seawall.api.rules).pattern = \"[a\"];",
            "the pattern `[a` does not compile: unclosed character class",
        ),
        (
            "string n = 1 [(seawall.api.rules) = {min_len: 3, max_len: 2}];",
            "nothing passes",
        ),
    ] {
        let text = of_field(field);
        assert!(
            text.starts_with("shop.proto:6: ") && text.contains(what),
            "{text}"
        );
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let text = of_field(
        "string a = 1 [(seawall.api.rules).gt = 1];\n  int32 b = 2 [(seawall.api.rules).uuid = true];",
    );
    assert!(
        text.contains("shop.proto:6: `gt`") && text.contains("shop.proto:7: `uuid`"),
        "{text}"
    );
}

#[test]
fn reasons_without_a_code() {
    let text = told(&format!(
        "{HEAD}enum Wrong {{\n  option (seawall.api.errors) = true;\n  WRONG_UNSPECIFIED = 0;\n  GONE = 1;\n  FINE = 2 [(seawall.api.error).code = OK];\n}}\n"
    ));
    assert!(text.starts_with("shop.proto:8: the reason GONE has no code\n  Say what it is: `GONE = 1 [(seawall.api.error)"), "{text}");
    assert!(
        text.contains("shop.proto:9: the reason FINE has no code, or OK"),
        "{text}"
    );
}

#[test]
fn what_protobuf_itself_refuses() {
    let text = told("syntax = \"proto3\";\nimport \"shop/other.proto\";\n");
    assert!(text.starts_with("shop.proto:2:"), "{text}");
    assert!(
        text.contains("import 'shop/other.proto' not found"),
        "{text}"
    );
    let text = told("syntax = \"proto3\";\nmessage {\n");
    assert!(text.starts_with("shop.proto:2:9: "), "{text}");
    let text = told("syntax = \"proto3\";\nmessage A { Nope n = 1; }\n");
    assert!(
        text.starts_with("shop.proto:2:") && text.contains("Nope"),
        "{text}"
    );
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none.proto");
    let error = Config::new()
        .out_dir(dir.path())
        .compile(&[none], &[dir.path()])
        .unwrap_err();
    assert!(error.to_string().contains("none.proto"), "{error}");
    let text = of_field("google.protobuf.Any any = 1;");
    assert!(
        text.contains("google.protobuf.Any") && text.contains("imported"),
        "{text}"
    );
    let text = told(
        "syntax = \"proto3\";\nmessage A { string b = 1 [(seawall.api.rules).max_len = 1]; }\n",
    );
    assert!(
        text.contains("import \"seawall/api/options.proto\""),
        "{text}"
    );
}

#[test]
fn a_file_without_a_package() {
    let text = told("syntax = \"proto3\";\nmessage A {}\n");
    assert!(
        text.contains("the file has no package") && text.contains("package shop.v1;"),
        "{text}"
    );
}

#[test]
fn an_any_has_no_json() {
    let text = told(
        "syntax = \"proto3\";\npackage a;\nimport \"google/protobuf/any.proto\";\nmessage A {\n  google.protobuf.Any any = 1;\n}\n",
    );
    assert!(
        text.starts_with("shop.proto:5: a.A.any is an Any") && text.contains("oneof"),
        "{text}"
    );
}

#[test]
fn reserved_words_and_several_packages() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    write(
        "types.proto",
        "syntax = \"proto3\";\npackage shop.types;\nmessage Money { int64 cents = 1; }\n",
    );
    let main = write(
        "shop.proto",
        &format!(
            "{HEAD}import \"types.proto\";\nservice Match {{ rpc Type(Struct) returns (shop.types.Money) \
             {{ option (google.api.http) = {{get: \"/v1/{{type}}/{{ref.self}}\"}}; }} }}\n\
             message Struct {{ string type = 1; Ref ref = 2; shop.types.Money move = 3; oneof impl {{ string fn = 4; Ref use = 5; }} }}\n\
             message Ref {{ string self = 1 [(seawall.api.rules).required = true]; bool gen = 2; }}\n"
        ),
    );
    Config::new()
        .out_dir(dir.path())
        .compile(&[main], &[dir.path()])
        .unwrap();
    let code = fs::read_to_string(dir.path().join("shop.v1.rs")).unwrap();
    assert!(
        code.contains("pub mod r#match {") && code.contains("fn r#type("),
        "{code}"
    );
    assert!(code.contains("super::types::Money"), "{code}");
    let all = fs::read_to_string(dir.path().join("seawall.rs")).unwrap();
    assert!(
        all.contains("include!(\"shop.v1.rs\")") && all.contains("include!(\"shop.types.rs\")")
    );
}
