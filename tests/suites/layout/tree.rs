//! Reads a workspace: its crates, each target's modules in the order in which `mod` lines reach them, and stray files.
//!
//! Stands before every rule. Panics with the path when a file cannot be read or parsed, because the compiler would refuse
//! it too. A module appears once per target; what is compiled for tests only is marked so.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// All that the rules look at.
pub struct Workspace {
    pub root: PathBuf,
    pub crates: Vec<Crate>,
    pub targets: Vec<Target>,
    /// Rust files below a crate that no target reaches.
    pub strays: Vec<PathBuf>,
}

/// One package and which packages of the same workspace it names in its manifest.
pub struct Crate {
    pub name: String,
    pub manifest: PathBuf,
    pub imports: BTreeSet<String>,
    /// Named for its tests only.
    pub test_imports: BTreeSet<String>,
}

/// One library, binary, test or build script: a tree of modules of its own.
pub struct Target {
    pub package: String,
    pub modules: Vec<Module>,
}

/// One file. The root's path is empty.
pub struct Module {
    pub path: Vec<String>,
    pub file: PathBuf,
    pub source: String,
    pub syntax: syn::File,
    pub test_only: bool,
    pub build_script: bool,
}

impl Module {
    /// How people say it: `crate::a::b`.
    pub fn name(&self) -> String {
        std::iter::once("crate").chain(self.path.iter().map(String::as_str)).collect::<Vec<_>>().join("::")
    }
}

/// Asks cargo for the packages and follows every `mod` line from each target's root.
pub fn read(root: &Path) -> Workspace {
    let metadata = cargo_metadata(root);
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    let ours: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut workspace = Workspace { root: root.to_owned(), crates: vec![], targets: vec![], strays: vec![] };
    for package in packages {
        let name = package["name"].as_str().expect("a package has a name").to_owned();
        let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a package has a manifest"));
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        let named = dependencies.filter_map(|d| Some((d["name"].as_str()?, d["kind"].as_str() == Some("dev"))));
        let (for_tests, shipped): (Vec<_>, Vec<_>) = named.filter(|(d, _)| ours.contains(d)).partition(|(_, dev)| *dev);
        let names = |found: Vec<(&str, bool)>| found.into_iter().map(|(name, _)| name.to_owned()).collect();
        let mut reached = BTreeSet::new();
        for target in package["targets"].as_array().into_iter().flatten() {
            let file = PathBuf::from(target["src_path"].as_str().expect("a target has a file"));
            let kind = target["kind"][0].as_str().unwrap_or("");
            let mut modules = vec![];
            follow(&file, vec![], kind == "test", &mut modules);
            modules.iter_mut().for_each(|m| m.build_script = kind == "custom-build");
            reached.extend(modules.iter().map(|m| m.file.clone()));
            workspace.targets.push(Target { package: name.clone(), modules });
        }
        let folder = manifest.parent().expect("a manifest lies in a folder");
        workspace.strays.extend(rust_files(folder).into_iter().filter(|f| !reached.contains(f)));
        workspace.crates.push(Crate { name, manifest, imports: names(shipped), test_imports: names(for_tests) });
    }
    workspace
}

fn cargo_metadata(root: &Path) -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let inside = |e: &walkdir::DirEntry| !(e.file_name() == "target" || e.file_name() == ".git");
    let files = walkdir::WalkDir::new(folder).into_iter().filter_entry(inside).filter_map(Result::ok);
    files.map(|e| e.into_path()).filter(|p| p.extension().is_some_and(|e| e == "rs")).collect()
}

/// Reads `file` as the module `path` and everything below it.
fn follow(file: &Path, path: Vec<String>, test_only: bool, into: &mut Vec<Module>) {
    let source = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let syntax = syn::parse_file(&source).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let children: Vec<_> = declared_modules(&syntax, file, &path).collect();
    into.push(Module { path: path.clone(), file: file.to_owned(), source, syntax, test_only, build_script: false });
    for (name, candidates, for_tests) in children {
        let found = candidates.iter().find(|c| c.is_file());
        let found = found.unwrap_or_else(|| panic!("{}: no file for mod {name}", file.display()));
        follow(found, [path.clone(), vec![name]].concat(), test_only || for_tests, into);
    }
}

/// The `mod name;` lines of a file: name, where its file may be, and whether it is for tests only.
fn declared_modules<'a>(
    syntax: &'a syn::File,
    file: &'a Path,
    path: &'a [String],
) -> impl Iterator<Item = (String, Vec<PathBuf>, bool)> + 'a {
    let folder = file.parent().expect("a file lies in a folder");
    let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or("");
    let below = if path.is_empty() || stem == "mod" { folder.to_owned() } else { folder.join(stem) };
    syntax.items.iter().filter_map(move |item| match item {
        syn::Item::Mod(item) if item.content.is_none() => {
            let name = item.ident.to_string();
            let candidates = match path_attribute(&item.attrs) {
                Some(named) => vec![folder.join(named)],
                None => vec![below.join(format!("{name}.rs")), below.join(&name).join("mod.rs")],
            };
            Some((name, candidates, is_test(&item.attrs)))
        }
        _ => None,
    })
}

fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find_map(|a| match &a.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Whether the item is compiled for tests only: `#[test]` or a `cfg` that names `test`.
pub fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| match &a.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let words: Vec<String> = list.tokens.clone().into_iter().flat_map(flat).collect();
            words.iter().any(|w| w == "test") && !words.iter().any(|w| w == "not")
        }
        meta => meta.path().segments.last().is_some_and(|s| s.ident == "test"),
    })
}

/// The identifiers of a token tree, groups opened.
fn flat(token: proc_macro2::TokenTree) -> Vec<String> {
    match token {
        proc_macro2::TokenTree::Ident(word) => vec![word.to_string()],
        proc_macro2::TokenTree::Group(group) => group.stream().into_iter().flat_map(flat).collect(),
        _ => vec![],
    }
}
