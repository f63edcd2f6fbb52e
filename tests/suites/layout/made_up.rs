//! Holds the checker itself to account: made-up workspaces, each with one thing wrong.
//!
//! Every rule has a case that it must report and the clean tree that it must not.

use crate::rules::{self, Violation};
use crate::tree;
use std::path::Path;

const HEADER: &str = "//! Says what it decides.\n//! Says how it fails.\n";

/// A workspace on disk: `weft-model`, `weft-proxy` with a few modules, and the given files on top.
fn violations(files: &[(&str, &str)]) -> Vec<Violation> {
    let folder = tempfile::tempdir().unwrap();
    let manifest = |name: &str, rest: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{rest}")
    };
    let clean = [
        ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"model\", \"proxy\"]\n".to_owned()),
        ("model/Cargo.toml", manifest("weft-model", "")),
        ("model/src/lib.rs", format!("{HEADER}pub mod a;\npub mod b;\npub use a::A;\n")),
        ("model/src/a.rs", format!("{HEADER}pub struct A;\n")),
        ("model/src/b.rs", format!("{HEADER}use crate::A;\npub fn b() -> A {{ A }}\n")),
        ("proxy/Cargo.toml", manifest("weft-proxy", "[dependencies]\nweft-model = { path = \"../model\" }\n")),
        ("proxy/src/main.rs", format!("{HEADER}mod outbound;\nmod detect;\nfn main() {{ outbound::run() }}\n")),
        ("proxy/src/outbound.rs", format!("{HEADER}use crate::detect;\npub fn run() {{ detect::detect() }}\n")),
        ("proxy/src/detect.rs", format!("{HEADER}pub fn detect() {{}}\n")),
    ];
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    clean.iter().for_each(|(name, text)| write(name, text));
    files.iter().for_each(|(name, text)| write(name, text));
    rules::check(&tree::read(Path::new(folder.path())))
}

/// With `files` laid over the clean tree, exactly one violation: this file, this rule, these words.
#[track_caller]
fn reports(files: &[(&str, &str)], file: &str, rule: &str, words: &str) {
    let found = violations(files);
    let [one] = found.as_slice() else { panic!("expected one violation of {rule:?}, got {found:?}") };
    assert_eq!((one.file.to_str().unwrap(), one.rule), (file, rule), "{one}");
    assert!(one.detail.contains(words), "{one}");
}

fn with_header(code: &str) -> String {
    format!("{HEADER}{code}")
}

#[test]
fn a_clean_tree_is_clean() {
    assert_eq!(violations(&[]), []);
}

#[test]
fn a_cycle_through_a_re_export_is_seen() {
    let a = with_header("pub struct A;\nfn f() { crate::b::b(); }\n");
    reports(
        &[("model/src/a.rs", &a)],
        "model/src/lib.rs",
        "no import cycles between modules",
        "crate::a -> crate::b -> crate::a",
    );
}

#[test]
fn a_cycle_inside_a_macro_is_seen() {
    let a = with_header("pub struct A;\nfn f() { println!(\"{:?}\", (1, crate::b::b())); }\n");
    reports(&[("model/src/a.rs", &a)], "model/src/lib.rs", "no import cycles between modules", "crate::b");
}

#[test]
fn a_cycle_between_parent_and_child_is_seen() {
    let parent = with_header("pub mod child;\npub struct A;\npub fn f() { child::g() }\n");
    let child = with_header("use super::A;\npub fn g() { let _ = A; }\n");
    let files = [("model/src/a.rs", parent.as_str()), ("model/src/a/child.rs", &child)];
    reports(&files, "model/src/lib.rs", "no import cycles between modules", "crate::a::child");
}

#[test]
fn a_cycle_through_the_own_facade_is_seen() {
    let parent = with_header("pub mod child;\npub use child::B;\npub struct A(pub B);\n");
    let child = with_header("use super::A;\npub struct B;\npub fn g(_: A) {}\n");
    let files = [("model/src/a.rs", parent.as_str()), ("model/src/a/child.rs", &child)];
    reports(&files, "model/src/lib.rs", "no import cycles between modules", "crate::a::child");
}

#[test]
fn tests_may_look_everywhere() {
    let a = with_header("pub struct A;\n#[cfg(test)]\nmod tests { use crate::b::b; use super::*; }\n");
    assert_eq!(violations(&[("model/src/a.rs", &a)]), []);
}

#[test]
fn a_crate_that_imports_upwards_is_seen() {
    let manifest = "[package]\nname = \"weft-model\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
                    [dev-dependencies]\nweft-proxy = { path = \"../proxy\" }\n";
    reports(&[("model/Cargo.toml", manifest)], "model/Cargo.toml", "crates import downwards only", "weft-proxy");
}

#[test]
fn the_examples_are_for_tests_of_other_crates_only() {
    let examples = [
        ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"model\", \"proxy\", \"examples\"]\n"),
        ("examples/Cargo.toml", "[package]\nname = \"weft-examples\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"),
        ("examples/src/lib.rs", HEADER),
    ];
    let proxy = |section: &str| {
        let manifest = "[package]\nname = \"weft-proxy\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        format!("{manifest}[{section}]\nweft-examples = {{ path = \"../examples\" }}\n")
    };
    let with = |manifest: &str| violations(&[&examples[..], &[("proxy/Cargo.toml", manifest)]].concat());
    assert_eq!(with(&proxy("dev-dependencies")), []);
    let found = with(&proxy("dependencies"));
    assert!(matches!(&found[..], [one] if one.detail.contains("weft-examples")), "{found:?}");
}

#[test]
fn a_decision_that_imports_a_story_is_seen() {
    let outbound = with_header("pub fn run() {}\n");
    let detect = with_header("pub fn detect() { crate::outbound::run() }\n");
    let files = [("proxy/src/outbound.rs", outbound.as_str()), ("proxy/src/detect.rs", &detect)];
    reports(
        &files,
        "proxy/src/detect.rs",
        "the proxy's imports point downwards",
        "detect (decisions) imports outbound",
    );
}

#[test]
fn a_module_that_imports_its_neighbour_is_seen() {
    let main = with_header("mod outbound;\nmod detect;\nmod route;\nfn main() { outbound::run() }\n");
    let route = with_header("pub fn f() { crate::detect::detect() }\n");
    let files = [("proxy/src/main.rs", main.as_str()), ("proxy/src/route.rs", &route)];
    reports(
        &files,
        "proxy/src/route.rs",
        "the proxy's imports point downwards",
        "route (decisions) imports detect (decisions)",
    );
}

#[test]
fn a_module_without_a_layer_is_seen() {
    let main = with_header("mod outbound;\nmod detect;\nmod novel;\nfn main() { outbound::run() }\n");
    let novel = with_header("pub fn f() { crate::detect::detect() }\n");
    let files = [("proxy/src/main.rs", main.as_str()), ("proxy/src/novel.rs", &novel)];
    reports(&files, "proxy/src/novel.rs", "the proxy's imports point downwards", "novel stands in no layer");
}

#[test]
fn long_files_and_functions_are_seen() {
    let long = with_header(&"const _: () = ();\n".repeat(400));
    reports(
        &[("model/src/a.rs", &(long.clone() + "pub struct A;\n"))],
        "model/src/a.rs",
        "files stay short",
        "LONG_FILES",
    );
    let tests = with_header("pub struct A;\n#[cfg(test)]\nmod tests {\n") + &"const _: () = ();\n".repeat(700) + "}\n";
    assert_eq!(violations(&[("model/src/a.rs", &tests)]), []);
    let function = with_header("pub struct A;\nfn f() {\n") + &"    ();\n".repeat(60) + "}\n";
    reports(&[("model/src/a.rs", &function)], "model/src/a.rs", "functions stay short", "f has 62 lines");
}

#[test]
fn a_missing_header_is_seen() {
    reports(&[("model/src/a.rs", "//! x\npub struct A;\n")], "model/src/a.rs", "every file opens with a header", "//!");
}

#[test]
fn empty_names_and_stray_files_are_seen() {
    reports(&[("model/src/c.rs", HEADER)], "model/src/c.rs", "no stray files", "no target");
    let lib = with_header("pub mod a;\npub mod b;\npub mod name_util;\npub use a::A;\n");
    let files = [("model/src/lib.rs", lib.as_str()), ("model/src/name_util.rs", HEADER)];
    reports(&files, "model/src/name_util.rs", "names say what a file is for", "name_util");
}
