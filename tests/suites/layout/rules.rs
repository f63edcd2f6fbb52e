//! The rules of the house, each a function from the workspace to violations.
//!
//! Names the file and the rule in every violation, so that whoever breaks one knows where to look. Decides nothing about
//! style that rustfmt and clippy decide already.

use crate::imports;
use crate::layers::{CRATES, FOR_TESTS, LAYERED, LAYERS, SEES_ALL};
use crate::tree::{Module, Target, Workspace, is_test};
use std::fmt;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned;

/// Files may grow to this many lines before their tests; beyond it they need an entry in [`LONG_FILES`].
const LONG: usize = 400;
/// No file is longer.
const TOO_LONG: usize = 600;
/// No function is longer, from its signature to its closing brace.
const LONG_FUNCTION: usize = 60;
/// Words that say nothing about what a file is for.
const EMPTY_NAMES: &[&str] = &["common", "core", "helper", "helpers", "manager", "misc", "shared", "util", "utils"];
/// Files over [`LONG`] lines and the reason why they are not split.
const LONG_FILES: &[(&str, &str)] = &[];

/// One broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    pub file: PathBuf,
    pub rule: &'static str,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.file.display(), self.rule, self.detail)
    }
}

/// Every violation, by file, each once although a file may belong to several targets.
pub fn check(workspace: &Workspace) -> Vec<Violation> {
    let mut found = Findings { root: &workspace.root, violations: vec![] };
    crate_imports(workspace, &mut found);
    for file in &workspace.strays {
        found.add(file, "no stray files", "no target of the crate reaches it".to_owned());
    }
    for target in &workspace.targets {
        module_imports(target, &mut found);
        for module in &target.modules {
            length(module, &mut found);
            functions(module, &mut found);
            header(module, &mut found);
            name(module, &mut found);
        }
    }
    found.violations.sort();
    found.violations.dedup();
    found.violations
}

struct Findings<'a> {
    root: &'a Path,
    violations: Vec<Violation>,
}

impl Findings<'_> {
    fn add(&mut self, file: &Path, rule: &'static str, detail: String) {
        let file = self.relative(file).to_owned();
        self.violations.push(Violation { file, rule, detail });
    }

    fn relative<'a>(&self, file: &'a Path) -> &'a Path {
        file.strip_prefix(self.root).unwrap_or(file)
    }
}

fn crate_imports(workspace: &Workspace, found: &mut Findings<'_>) {
    const RULE: &str = "crates import downwards only";
    for package in workspace.crates.iter().filter(|c| c.name != SEES_ALL) {
        match CRATES.iter().find(|(name, _)| *name == package.name) {
            None => found.add(&package.manifest, RULE, format!("{} has no place in the order of crates", package.name)),
            Some((_, allowed)) => {
                let for_tests = package.test_imports.iter().filter(|i| *i != FOR_TESTS);
                for import in package.imports.iter().chain(for_tests).filter(|i| !allowed.contains(&i.as_str())) {
                    found.add(&package.manifest, RULE, format!("{} must not import {import}", package.name));
                }
            }
        }
    }
}

fn module_imports(target: &Target, found: &mut Findings<'_>) {
    let graph = imports::graph(target);
    let root = &target.modules[0].file;
    if let Some(ring) = imports::cycle(target, &graph) {
        found.add(root, "no import cycles between modules", ring.join(" -> "));
    }
    if target.package == LAYERED && !target.modules[0].build_script {
        for (&from, to) in &graph {
            to.iter().for_each(|&to| layered(&target.modules[from], &target.modules[to], found));
        }
    }
}

/// An import inside the proxy: from a layer to one further down, or within one top-level module.
fn layered(from: &Module, to: &Module, found: &mut Findings<'_>) {
    const RULE: &str = "the proxy's imports point downwards";
    let (Some(above), Some(below)) = (from.path.first(), to.path.first()) else { return };
    let layer = |name: &String| LAYERS.iter().position(|(_, modules)| modules.contains(&name.as_str()));
    for unknown in [(from, above), (to, below)].into_iter().filter(|(_, name)| layer(name).is_none()) {
        found.add(&unknown.0.file, RULE, format!("{} stands in no layer; give it one in layers.rs", unknown.1));
    }
    if let (Some(a), Some(b)) = (layer(above), layer(below))
        && above != below
        && b <= a
    {
        let detail = format!("{above} ({}) imports {below} ({})", LAYERS[a].0, LAYERS[b].0);
        found.add(&from.file, RULE, detail);
    }
}

fn length(module: &Module, found: &mut Findings<'_>) {
    const RULE: &str = "files stay short";
    let until_tests = module.syntax.items.iter().find_map(|item| match item {
        syn::Item::Mod(item) if is_test(&item.attrs) => Some(item.span().start().line - 1),
        _ => None,
    });
    let lines = until_tests.unwrap_or_else(|| module.source.lines().count());
    let file = found.relative(&module.file).display().to_string();
    let excused = module.test_only || LONG_FILES.iter().any(|(long, _)| *long == file);
    if lines > TOO_LONG {
        found.add(&module.file, RULE, format!("{lines} lines before its tests, {TOO_LONG} is the end"));
    } else if lines > LONG && !excused {
        found.add(
            &module.file,
            RULE,
            format!("{lines} lines before its tests, over {LONG} needs a reason in LONG_FILES"),
        );
    }
}

fn functions(module: &Module, found: &mut Findings<'_>) {
    struct Long(Vec<(String, usize)>);
    impl Long {
        fn look(&mut self, signature: &syn::Signature, block: &syn::Block) {
            let lines = block.span().end().line - signature.span().start().line + 1;
            if lines > LONG_FUNCTION {
                self.0.push((signature.ident.to_string(), lines));
            }
        }
    }
    impl<'ast> syn::visit::Visit<'ast> for Long {
        fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
            self.look(&item.sig, &item.block);
            syn::visit::visit_item_fn(self, item);
        }
        fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
            self.look(&item.sig, &item.block);
            syn::visit::visit_impl_item_fn(self, item);
        }
    }
    let mut long = Long(vec![]);
    syn::visit::Visit::visit_file(&mut long, &module.syntax);
    for (name, lines) in long.0 {
        found.add(&module.file, "functions stay short", format!("{name} has {lines} lines, over {LONG_FUNCTION}"));
    }
}

fn header(module: &Module, found: &mut Findings<'_>) {
    let header = module.source.lines().take_while(|line| line.starts_with("//!"));
    let said = header.filter(|line| line.trim_start_matches("//!").trim().len() > 1).count();
    if said < 2 && !module.build_script {
        let detail = "opens without two to four `//!` lines: what it decides, where it stands, how it fails";
        found.add(&module.file, "every file opens with a header", detail.to_owned());
    }
}

fn name(module: &Module, found: &mut Findings<'_>) {
    let file = found.relative(&module.file).to_owned();
    for part in file.with_extension("").components() {
        let part = part.as_os_str().to_string_lossy();
        if EMPTY_NAMES.iter().any(|empty| part.split(['_', '-']).any(|word| word == *empty)) {
            found.add(&module.file, "names say what a file is for", format!("{part:?} says nothing"));
        }
    }
}
