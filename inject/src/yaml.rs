//! Values as YAML that every reader takes for the same: those of YAML 1.1, as kubectl's, and those of 1.2.
//!
//! What one of them reads as a switch or a number (`on`, `no`, `1_000`, `0640`) is quoted when it is text, which the
//! field's own crate does for the readers of 1.2 only. Maps in the order of their keys. Never fails.

use serde_json::Value;

/// Text that YAML 1.1 reads as something else, in lower case. All else that it does begins with no letter.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// `value` as a document, without a marker.
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

/// On lines of its own, `indent` spaces in.
fn block(value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                out.push_str(&format!("{pad}{}:", text(key)));
                match value {
                    Value::Object(fields) if !fields.is_empty() => {
                        out.push('\n');
                        block(value, indent + 2, out);
                    }
                    Value::Array(items) if !items.is_empty() => {
                        out.push('\n');
                        block(value, indent, out);
                    }
                    scalar => out.push_str(&format!(" {}\n", inline(scalar, indent))),
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut nested = String::new();
                block(item, indent + 2, &mut nested);
                out.push_str(&format!("{pad}- {}", &nested[indent + 2..]));
            }
        }
        scalar => out.push_str(&format!("{pad}{}\n", inline(scalar, indent))),
    }
}

fn inline(value: &Value, indent: usize) -> String {
    match value {
        Value::String(string) => literal(string, indent).unwrap_or_else(|| text(string)),
        // Numbers, switches, null, and what is empty: JSON, which is YAML.
        other => other.to_string(),
    }
}

/// Lines as they are, where that says the same.
fn literal(string: &str, indent: usize) -> Option<String> {
    let body = string.strip_suffix('\n').unwrap_or(string);
    let plain = |line: &str| !line.is_empty() && !line.starts_with([' ', '\t']) && !line.chars().any(awkward);
    if !string.contains('\n') || !body.split('\n').all(plain) {
        return None;
    }
    let keep = if body.len() == string.len() { "|-" } else { "|" };
    let pad = " ".repeat(indent + 2);
    Some(body.split('\n').fold(keep.to_owned(), |text, line| format!("{text}\n{pad}{line}")))
}

/// Plain where nobody could take it for anything else; otherwise quoted as in JSON, whose escapes YAML has as well.
fn text(string: &str) -> String {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let plain = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') && string.chars().all(inner);
    match plain && !WORDS.contains(&string.to_ascii_lowercase().as_str()) {
        true => string.to_owned(),
        false => {
            let escaped = |c: char| if awkward(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
            Value::from(string).to_string().chars().map(escaped).collect()
        }
    }
}

/// What YAML does not let stand as it is, or takes for a line's end, beyond what JSON escapes.
fn awkward(c: char) -> bool {
    c.is_control() || ['\u{2028}', '\u{2029}', '\u{feff}', '\u{fffe}', '\u{ffff}'].contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn documents_look_as_people_write_them() {
        let value = json!({"kind": "Pod", "spec": {"containers": [{"args": ["a", "--b=c"], "name": "web"}, {}], "x": [[1, 2]]},
            "text": "a\nb\n", "port": 80, "none": null});
        let text = "kind: Pod\nnone: null\nport: 80\nspec:\n  containers:\n  - args:\n    - a\n    - \"--b=c\"\n    name: web\n  \
                    - {}\n  x:\n  - - 1\n    - 2\ntext: |\n  a\n  b\n";
        assert_eq!(to_yaml(&value), text);
    }

    #[test]
    fn text_that_looks_like_something_else_is_quoted() {
        for text in [
            "on",
            "No",
            "Y",
            "true",
            "null",
            "~",
            "",
            "1_000",
            "0640",
            "1e3",
            ".5",
            "2001-01-01",
            "12:30:45",
            "<<",
            "- a",
        ] {
            assert_eq!(to_yaml(&json!({"a": text})), format!("a: \"{text}\"\n"));
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~\n\t\u{e9}]{0,12}".prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[ -~]{1,6}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(value in values()) {
            let text = to_yaml(&value);
            prop_assert_eq!(serde_yaml_ng::from_str::<Value>(&text).unwrap(), value, "{}", text);
        }
    }
}
