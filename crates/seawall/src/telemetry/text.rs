//! Lines for people, at a terminal.
//!
//! A line is put together as JSON in any case, and this is made from that: one code for what is in a
//! line, and the writer's thread has the time where a person reads along.

use std::io::Write as _;

use serde_json::{Map, Value};

/// Appends a line of JSON as `12:03:44.120 WARN  shop::biz: it is late order=7`, the time in UTC.
pub(super) fn write(out: &mut Vec<u8>, line: &[u8]) {
    let Ok(mut members) = serde_json::from_slice::<Map<String, Value>>(line) else {
        out.extend_from_slice(line);
        return;
    };
    let mut take = |name: &str| match members.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (time, level, target) = (take("time"), take("level"), take("target"));
    let message = take("message");
    let time = time.get(11..23).unwrap_or(&time);
    // Writing to memory does not fail, here and below.
    let _ = write!(out, "{time} {level:<5} {target}:");
    if !message.is_empty() {
        out.push(b' ');
        plain(out, &message);
    }
    for name in ["fields", "spans"] {
        if let Some(Value::Object(inner)) = members.remove(name) {
            pairs(out, "", &inner);
        }
    }
    pairs(out, "", &members);
    out.push(b'\n');
}

/// ` name=value` for each; of a span's fields ` span.name=value`.
fn pairs(out: &mut Vec<u8>, above: &str, members: &Map<String, Value>) {
    for (name, value) in members {
        match value {
            Value::Object(inner) if above.is_empty() => pairs(out, &format!("{name}."), inner),
            Value::String(text) => {
                let _ = write!(out, " {above}{name}=");
                if !text.is_empty() && !text.contains([' ', '"', '=']) {
                    plain(out, text);
                } else {
                    let _ = write!(out, "{text:?}");
                }
            }
            value => {
                let _ = write!(out, " {above}{name}={value}");
            }
        }
    }
}

/// What a terminal would obey is shown instead.
fn plain(out: &mut Vec<u8>, text: &str) {
    for c in text.chars() {
        if c.is_control() {
            let _ = write!(out, "{}", c.escape_default());
        } else {
            let _ = write!(out, "{c}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(line: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, line.as_bytes());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_read_at_a_glance() {
        let line = r#"{"time":"2024-02-29T12:03:44.120Z","level":"WARN","target":"shop::biz","message":"it is late","fields":{"order":7,"why":"no reason"},"spans":{"place":{"user":"a"}}}"#;
        assert_eq!(
            told(line),
            "12:03:44.120 WARN  shop::biz: it is late order=7 why=\"no reason\" place.user=a\n"
        );
        let call = r#"{"time":"2024-02-29T12:03:44.120Z","level":"INFO","target":"access","method":"a.B/C","status":200}"#;
        assert_eq!(
            told(call),
            "12:03:44.120 INFO  access: method=a.B/C status=200\n"
        );
    }

    proptest! {
        #[test]
        fn nothing_that_is_logged_moves_a_terminal(text in "(?s).{0,20}", other in "[\u{0}-\u{20}]{0,9}") {
            let line = serde_json::json!({
                "time": "", "level": "INFO", "target": "t", "message": text.clone() + &other,
                "fields": {"a": text, "b": other},
            });
            let told = told(&line.to_string());
            let line = told.strip_suffix('\n').unwrap();
            prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
        }
    }
}
