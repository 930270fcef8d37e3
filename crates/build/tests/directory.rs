//! A directory of definitions is compiled whole.

#![allow(clippy::unwrap_used)]

use std::fs;

use seawall_build::Config;

#[test]
fn every_definition_below_a_directory_is_compiled() {
    let dir = tempfile::tempdir().unwrap();
    let (protos, out) = (dir.path().join("proto"), dir.path().join("out"));
    let config = Config::new().out_dir(&out);
    fs::create_dir(&out).unwrap();

    let told = config.compile_all(&protos).unwrap_err().to_string();
    assert!(told.contains(protos.to_str().unwrap()), "{told}");
    fs::create_dir_all(protos.join("shop/v1")).unwrap();
    fs::write(protos.join("shop/v1/README.md"), "no definition").unwrap();
    let told = config.compile_all(&protos).unwrap_err().to_string();
    assert!(told.contains("seawall proto add"), "{told}");

    let head = "syntax = 'proto3'; package shop.v1;";
    let put = |file: &str, text: &str| {
        fs::write(protos.join(file), format!("{head}{text}")).unwrap();
    };
    put("shop/v1/a.proto", "message A {}");
    config.compile_all(&protos).unwrap();
    put(
        "shop/v1/b.proto",
        "import 'shop/v1/a.proto'; message B { A a = 1; }",
    );
    config.compile_all(&protos).unwrap();
    let made = fs::read_to_string(out.join("shop.v1.rs")).unwrap();
    assert!(made.contains("pub struct A") && made.contains("pub struct B"));

    let pool = seawall_build::descriptors(&[protos.join("shop/v1/b.proto")], &[&protos]);
    assert!(pool.unwrap().get_message_by_name("shop.v1.B").is_some());
}
