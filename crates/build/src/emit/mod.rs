//! Code, as text. prost, pbjson and tonic make messages, their JSON and clients; here is the rest.

pub(crate) mod fields;
pub(crate) mod reasons;
pub(crate) mod rules;
pub(crate) mod service;
mod sort;

/// A text as a literal of Rust.
pub(crate) fn literal(text: &str) -> String {
    format!("{text:?}")
}

/// A comment of the definition as documentation. Indented lines would be taken for code, and run.
pub(crate) fn docs(comment: &str, indent: &str) -> String {
    let lines = comment.lines().map(|line| {
        let line = line.trim();
        if line.is_empty() {
            format!("{indent}///\n")
        } else {
            format!("{indent}/// {line}\n")
        }
    });
    lines.collect()
}

/// Paths of crates that generated code names as if it depended on them, by way of `seawall`.
pub(crate) fn by_way_of_seawall(code: &str) -> String {
    const CRATES: [&str; 4] = ["serde", "pbjson", "tonic", "tonic_prost"];
    let mut out = String::with_capacity(code.len() * 5 / 4);
    let mut rest = code;
    while let Some(at) = rest.find("::") {
        let (before, after) = rest.split_at(at);
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let end = before.trim_end_matches(is_word).len();
        let (before, word) = before.split_at(end);
        out.push_str(before);
        // `a::serde::` is a module of somebody's; `::serde::` and `serde::` are the crate.
        let root = out.ends_with("::");
        let inner = root && out[..out.len() - 2].ends_with(|c: char| is_word(c) || c == '>');
        if CRATES.contains(&word) && !inner && !out.ends_with('.') {
            out.push_str(if root {
                "seawall::api::private::"
            } else {
                "::seawall::api::private::"
            });
        }
        out.push_str(word);
        out.push_str("::");
        rest = &after[2..];
    }
    out + rest
}

/// Reserved words that prost escapes in what it makes, and pbjson, which goes by older editions,
/// does not: a field `gen`, a value `Self`.
pub(crate) fn reserved_in_json(code: &str) -> String {
    const NAMES: [(&str, &str); 6] = [
        ("self.gen.", "self.r#gen."),
        ("self.gen ", "self.r#gen "),
        ("self.gen)", "self.r#gen)"),
        (" gen: gen__", " r#gen: gen__"),
        ("::gen::", "::r#gen::"),
        ("::Self", "::Self_"),
    ];
    let mut code = code.to_owned();
    for (from, to) in NAMES {
        if code.contains(from) {
            code = code.replace(from, to);
        }
    }
    // What is asked of a field that is always written.
    code.replace("::Self__", "::Self_")
        .replace("if true {", "{")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_found_where_they_lead() {
        let code = "impl serde::Serialize for a::serde::X { ::tonic::f(tonic::g(), my_tonic::h::<::serde::X>()) }";
        assert_eq!(
            by_way_of_seawall(code),
            "impl ::seawall::api::private::serde::Serialize for a::serde::X \
             { ::seawall::api::private::tonic::f(::seawall::api::private::tonic::g(), \
             my_tonic::h::<::seawall::api::private::serde::X>()) }"
        );
    }
}
