//! The layout test: is the tree built the way ARCHITECTURE.md says it is?
//!
//! Reads every crate of the workspace with `syn` and holds it against the rules in `rules.rs`. Fails with one line per
//! violation, naming the file and the rule. `made_up.rs` proves that each rule catches what it is there to catch.

mod tree;
mod imports;
mod rules;
mod layers;
#[cfg(test)]
mod made_up;

use std::path::Path;

#[test]
fn the_tree_follows_the_rules_of_the_house() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies inside the workspace");
    let workspace = tree::read(root);
    assert!(workspace.targets.len() >= 9, "the scan found too little: {:?}", workspace.targets.len());

    let violations = rules::check(&workspace);
    let listing: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{} violations of the layout:\n{}", violations.len(), listing.join("\n"));
}
