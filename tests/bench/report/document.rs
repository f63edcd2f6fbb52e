//! Files of figures, and the documentation's pages with a place for them: tables into `NAME.md`, a picture beside it.
//!
//! Fails when the page has no such place; what people wrote around it stays.

use crate::machine;
use anyhow::Context;
use std::fs;
use std::path::Path;
use weft_lab::page::with_figures;

/// Puts `tables` into `docs/name.md` and `picture` into `docs/name.svg`, as `make TARGET DOCS=1` does.
pub fn document(docs: &Path, name: &str, target: &str, tables: &str, picture: &str) -> anyhow::Result<()> {
    let file = docs.join(format!("{name}.md"));
    let page = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let marks =
        [format!("<!-- {target}: written by make {target} DOCS=1 -->\n"), format!("<!-- end of {target} -->\n")];
    let machine = machine::description();
    let word = |field: &str| machine[field].to_string().trim_matches('"').to_owned();
    let (cores, cpu, memory, kernel) = (word("cores"), word("cpu"), word("memory"), word("kernel"));
    let text = format!(
        "\nOn {cores} cores of {cpu}, {memory}, Linux {kernel}:\n\n{tables}\n![The same as bars]({name}.svg)\n\n"
    );
    let shown = with_figures(&page, marks.each_ref().map(String::as_str), &text);
    write(&file, &shown.with_context(|| format!("{} has no place for figures", file.display()))?)?;
    write(&docs.join(format!("{name}.svg")), picture)
}

/// Writes a file whose folder may be missing.
pub fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_go_to_their_place_or_the_page_is_refused() {
        let docs = tempfile::tempdir().unwrap();
        let page = docs.path().join("page.md");
        fs::write(&page, "a\n<!-- x: written by make x DOCS=1 -->\nold\n<!-- end of x -->\nb\n").unwrap();
        document(docs.path(), "page", "x", "| 1 |\n", "<svg/>").unwrap();
        let text = fs::read_to_string(&page).unwrap();
        assert!(text.starts_with("a\n") && text.ends_with("b\n") && text.contains("| 1 |"), "{text}");
        assert!(!text.contains("old") && docs.path().join("page.svg").exists());
        assert!(document(docs.path(), "page", "y", "", "").is_err());
    }
}
