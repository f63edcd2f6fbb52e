//! The examples in the documentation, as a reader would copy them.
//!
//! A suite that plays on a page's own example keeps the page true. A page or an example that is not there is an error.

use anyhow::Context;

/// The YAML examples of `docs/<page>.md`, in their order.
pub fn examples(page: &str) -> anyhow::Result<Vec<String>> {
    let path = format!("{}/../docs/{page}.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("read docs/{page}.md"))?;
    Ok(text
        .split("\n```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("\n```"))
        .map(|(yaml, _)| format!("{yaml}\n"))
        .collect())
}

/// The example number `index`, from 0.
pub fn example(page: &str, index: usize) -> anyhow::Result<String> {
    let example = examples(page)?.into_iter().nth(index);
    example.with_context(|| format!("docs/{page}.md has no YAML example number {index}"))
}
