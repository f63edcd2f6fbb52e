//! `docs/chart.md` has every value of the chart, with its default and what values.yaml says of it, and the schema knows it.
//!
//! A value is a scalar, a list, or a set of resources. Each must have a comment above it.

use serde_yaml_ng::Value;
use weft_tests::cluster::CHART;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/chart.md");
const BEGIN: &str = "<!-- values: written by WEFT_WRITE=1 cargo test --workspace --test packaging values -->\n";
const END: &str = "<!-- end of values -->";

/// One value, as users write it after `--set`.
struct Row {
    path: Vec<String>,
    default: String,
    meaning: String,
}

fn rows(text: &str) -> Vec<Row> {
    let values: Value = serde_yaml_ng::from_str(text).expect("values.yaml is YAML");
    let (mut path, mut comment, mut rows) = (Vec::<String>::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        let (indent, content) = (line.len() - line.trim_start().len(), line.trim());
        if let Some(said) = content.strip_prefix('#') {
            comment.push(said.trim().to_owned());
            continue;
        }
        let meaning = std::mem::take(&mut comment).join(" ");
        let Some((key, _)) = content.split_once(':') else { continue };
        path.truncate(indent / 2);
        if path.last().is_some_and(|last| last == "resources") || path.len() * 2 < indent {
            continue;
        }
        path.push(key.to_owned());
        let value = path.iter().try_fold(&values, |value, key| value.get(key.as_str())).expect("a value for each line");
        if !value.is_mapping() || key == "resources" {
            let default = serde_json::to_string(value).expect("JSON");
            rows.push(Row { path: path.clone(), default, meaning });
        }
    }
    rows
}

/// What the schema says of a value, references followed.
fn in_schema<'a>(schema: &'a serde_json::Value, path: &[String]) -> Option<&'a serde_json::Value> {
    let resolved = |value: &'a serde_json::Value| match value["$ref"].as_str() {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')),
        None => Some(value),
    };
    path.iter().try_fold(schema, |value, key| resolved(value)?["properties"].get(key)).and_then(resolved)
}

#[test]
fn the_page_has_every_value() {
    let text = std::fs::read_to_string(format!("{CHART}/values.yaml")).expect("values.yaml");
    let schema = std::fs::read_to_string(format!("{CHART}/values.schema.json")).expect("values.schema.json");
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
    let mut table = "| value | default | what for |\n| --- | --- | --- |\n".to_owned();
    let rows = rows(&text);
    assert!(rows.len() > 25, "values.yaml was not understood");
    for Row { path, default, meaning } in rows {
        let value = path.join(".");
        assert!(!meaning.is_empty(), "values.yaml says nothing of {value}");
        let known = in_schema(&schema, &path).unwrap_or_else(|| panic!("values.schema.json does not have {value}"));
        let choices = known["enum"].as_array().map(|all| all.iter().filter_map(|one| one.as_str()).collect::<Vec<_>>());
        let choices = choices.map(|all| format!(" One of `{}`.", all.join("`, `"))).unwrap_or_default();
        table += &format!("| `{value}` | `{default}` | {meaning}{choices} |\n");
    }
    let page = std::fs::read_to_string(PAGE).expect("docs/chart.md");
    let (before, rest) = page.split_once(BEGIN).expect("the page says where the table begins");
    let (written, after) = rest.split_once(END).expect("the page says where the table ends");
    if std::env::var_os("WEFT_WRITE").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}")).expect("docs/chart.md can be written");
    } else {
        assert_eq!(written, table, "WEFT_WRITE=1 writes it anew");
    }
}
