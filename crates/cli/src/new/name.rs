//! What a project may be called.
//!
//! The name becomes a directory, two packages, a crate, a proto package and a prefix of environment
//! variables. What one of them would trip over later, and elsewhere, is refused here.

/// Keywords of Rust, reserved ones included.
pub(crate) const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];
/// Crates that are always there, and directories that cargo keeps.
const CARGO: &[&str] = &[
    "alloc",
    "build",
    "core",
    "deps",
    "examples",
    "incremental",
    "proc_macro",
    "std",
    "test",
];
/// Modules of the generated crate, and the name under which it knows its API.
const LAYERS: &[&str] = &[
    "admin", "api", "app", "biz", "config", "data", "google", "job", "main", "pkg", "server",
    "service", "tests",
];
/// What a generated project depends on.
const DEPENDENCIES: &[&str] = &[
    "axum",
    "pbjson",
    "prost",
    "serde",
    "serde_json",
    "sqlx",
    "thiserror",
    "tokio",
    "tonic",
    "tonic_prost",
    "tracing",
];
/// Lines that hold the name stay within what rustfmt leaves alone.
const LONGEST: usize = 32;

/// Checks a name; the error tells the remedy.
pub(super) fn check(name: &str) -> Result<(), String> {
    let krate = name.replace('-', "_");
    let why = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.contains(['/', '\\']) || name == "." || name == ".." {
        return Err(path(name));
    } else if let Some(sign) = name.chars().find(|sign| !allowed(*sign)) {
        format!("it has {}", shown(sign))
    } else if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        "it does not begin with a letter".to_owned()
    } else if krate.contains("__") || krate.ends_with('_') {
        "each `-` or `_` stands between letters or digits".to_owned()
    } else if name.len() > LONGEST {
        format!(
            "it has {} characters, and at most {LONGEST} may be",
            name.len()
        )
    } else if let Some(what) = taken(&krate) {
        return Err(format!(
            "`{name}` cannot be the project's name: {what}; try `{name}-service` or `my-{name}`"
        ));
    } else {
        return Ok(());
    };
    let try_this = suggestion(name).map_or(String::new(), |name| format!("; try `{name}`"));
    Err(format!(
        "`{}` cannot be the project's name: {why}; it is a word of lower-case letters, digits, `-` \
         and `_`, as in `shop` or `order-history`{try_this}",
        name.escape_debug()
    ))
}

fn allowed(sign: char) -> bool {
    sign.is_ascii_lowercase() || sign.is_ascii_digit() || sign == '-' || sign == '_'
}

fn shown(sign: char) -> String {
    match sign {
        ' ' => "a space".to_owned(),
        sign if sign.is_ascii_uppercase() => format!("the upper-case letter `{sign}`"),
        sign => format!("the character `{}`", sign.escape_debug()),
    }
}

fn taken(krate: &str) -> Option<&'static str> {
    if KEYWORDS.contains(&krate) {
        Some("it is a keyword of Rust")
    } else if CARGO.contains(&krate) {
        Some("Rust or cargo keep that name for themselves")
    } else if LAYERS.contains(&krate) {
        Some("a part of the project is called that")
    } else if DEPENDENCIES.contains(&krate) {
        Some("a crate that the project uses is called that")
    } else if krate.split('_').next() == Some("seawall") {
        Some("names that begin with seawall are Seawall's own")
    } else {
        None
    }
}

fn path(name: &str) -> String {
    let trimmed = name.trim_end_matches(['/', '\\']);
    let (parent, last) = trimmed.rsplit_once(['/', '\\']).unwrap_or(("", trimmed));
    let parent = if parent.is_empty() { "/" } else { parent };
    let remedy = if last.chars().all(|sign| sign == '.') || !trimmed.contains(['/', '\\']) {
        "name a directory that it makes below this one: `seawall new shop`".to_owned()
    } else {
        format!("go there first: `cd {parent} && seawall new {last}`")
    };
    format!(
        "`{}` is a path, and the project's name is one word; {remedy}",
        name.escape_debug()
    )
}

/// The nearest name that may be.
fn suggestion(name: &str) -> Option<String> {
    let lower = name.trim().to_lowercase();
    let parts: Vec<_> = lower
        .split(|sign: char| !(sign.is_ascii_lowercase() || sign.is_ascii_digit()))
        .filter(|part| !part.is_empty())
        .collect();
    let joined = parts.join("-");
    let word = joined.trim_start_matches(|first: char| !first.is_ascii_lowercase());
    let word: String = word.chars().take(LONGEST).collect();
    let word = word.trim_end_matches('-');
    check_quietly(word).then(|| word.to_owned())
}

fn check_quietly(word: &str) -> bool {
    !word.is_empty() && taken(&word.replace('-', "_")).is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_would_trip_something_up_are_refused_with_a_remedy() {
        for (name, parts) in [
            ("", ["empty", "`shop`"]),
            ("..", ["path", "below this one"]),
            (".", ["path", "below this one"]),
            ("../..", ["path", "below this one"]),
            ("/", ["path", "below this one"]),
            ("/srv/shop", ["path", "cd /srv && seawall new shop"]),
            ("a/b/", ["path", "cd a && seawall new b"]),
            ("a\\b", ["path", "seawall new b"]),
            ("fn", ["keyword", "`fn-service`"]),
            ("async", ["keyword", "`my-async`"]),
            ("std", ["Rust or cargo", "`std-service`"]),
            ("test", ["Rust or cargo", "`test-service`"]),
            ("proc-macro", ["Rust or cargo", "proc-macro-service"]),
            ("tokio", ["crate that the project uses", "tokio-service"]),
            ("seawall", ["Seawall's own", "my-seawall"]),
            ("seawall-x", ["Seawall's own", "my-seawall-x"]),
            ("data", ["part of the project", "data-service"]),
            ("2fast", ["begin with a letter", "try `fast`"]),
            ("-x", ["begin with a letter", "try `x`"]),
            ("a--b", ["between letters", "try `a-b`"]),
            ("a-", ["between letters", "try `a`"]),
            ("My Shop", ["upper-case letter `M`", "try `my-shop`"]),
            ("café", ["`é`", "try `caf`"]),
            ("a\nb", ["\\n", "try `a-b`"]),
            ("商店", ["`商`", "`shop`"]),
            (
                "abcdefghijklmnopqrstuvwxyz1234567",
                ["33 characters", "at most 32"],
            ),
        ] {
            let told = check(name).unwrap_err();
            for part in parts {
                assert!(told.contains(part), "{name}: {told}");
            }
            assert!(!told.contains('\n'), "{told}");
        }
        for name in [
            "shop",
            "s",
            "shop2",
            "order-history",
            "order_history",
            "notes",
            "tests2",
        ] {
            assert_eq!(check(name), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn what_is_suggested_may_be(name in "\\PC{0,40}") {
            if let Some(other) = suggestion(&name) {
                prop_assert_eq!(check(&other), Ok(()));
            }
        }

        #[test]
        fn a_name_that_may_be_is_a_crate(name in "[a-z0-9_-]{1,40}") {
            if check(&name).is_ok() {
                prop_assert!(name.starts_with(|first: char| first.is_ascii_lowercase()));
                prop_assert!(!KEYWORDS.contains(&&*name.replace('-', "_")));
            }
        }
    }
}
