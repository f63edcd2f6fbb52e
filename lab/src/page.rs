//! Pages of the documentation with a place for figures, between two lines that say who writes there.
//!
//! Pure. Everything outside that place stays as people wrote it.

/// `page` with `text` between the first `begin` and the `end` after it, which both stay; `None` if there is no such place.
pub fn with_figures(page: &str, [begin, end]: [&str; 2], text: &str) -> Option<String> {
    let (before, rest) = page.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}{text}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let marks = ["<!-- a -->\n", "<!-- end -->\n"];
        let page = "before\n<!-- a -->\nold\n<!-- end -->\nafter\n";
        assert_eq!(with_figures(page, marks, "new\n").unwrap(), page.replace("old", "new"));
        assert_eq!(with_figures("nothing", marks, "new\n"), None);
    }
}
