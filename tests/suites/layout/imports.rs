//! Who imports whom: the edges between the modules of one target.
//!
//! Follows `crate::`, `super::` and `self::` paths in `use` lines, code, types and macro arguments to the file that defines
//! the item, through re-exports. A re-export of one's own child is a façade, not an import, unless the module uses the name
//! itself. What is compiled for tests only does not count, because a test may look at everything.

use crate::tree::{Module, Target, is_test};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::Visit;

/// From a module to the modules it imports, as indices into `Target::modules`.
pub type Graph = BTreeMap<usize, BTreeSet<usize>>;

/// The graph of one target.
pub fn graph(target: &Target) -> Graph {
    let shipped = |index: &usize| !target.modules[*index].test_only;
    let found: Vec<References> = target.modules.iter().map(References::of).collect();
    let resolver = Resolver { target, found: &found };
    (0..target.modules.len()).filter(shipped).map(|from| (from, resolver.edges(from))).collect()
}

/// One cycle of the graph as module names, first repeated at the end.
pub fn cycle(target: &Target, graph: &Graph) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    graph
        .keys()
        .find_map(|&start| walk(graph, start, &mut vec![], &mut done))
        .map(|ring| ring.iter().map(|&index| target.modules[index].name()).collect())
}

fn walk(graph: &Graph, at: usize, trail: &mut Vec<usize>, done: &mut BTreeSet<usize>) -> Option<Vec<usize>> {
    if let Some(first) = trail.iter().position(|&seen| seen == at) {
        return Some(trail[first..].iter().copied().chain([at]).collect());
    }
    if done.contains(&at) {
        return None;
    }
    trail.push(at);
    let ring = graph.get(&at).into_iter().flatten().find_map(|&next| walk(graph, next, trail, done));
    trail.pop();
    done.insert(at);
    ring
}

/// A path as written, made absolute: segments from the target's root.
type Path = Vec<String>;

/// What one file mentions.
#[derive(Default)]
struct References {
    /// The module whose scope is being read: the file's own path, longer inside an inline module.
    scope: Path,
    imports: BTreeSet<Path>,
    /// `pub use` lines: they name things for others, and count only when they reach outside the own subtree.
    exports: BTreeSet<Path>,
    /// The name a `use` line brings into the module's scope, and the path it stands for.
    names: BTreeMap<String, Path>,
}

impl References {
    fn of(module: &Module) -> Self {
        let mut references = Self { scope: module.path.clone(), ..Self::default() };
        references.visit_file(&module.syntax);
        references
    }

    /// The absolute form of a path that starts with `crate`, `super` or `self`; other paths leave the crate.
    fn absolute(&self, segments: &[String]) -> Option<Path> {
        let mut base = match segments.first()?.as_str() {
            "crate" => vec![],
            "super" | "self" => self.scope.clone(),
            _ => return None,
        };
        let supers = segments.iter().take_while(|s| *s == "super").count();
        base.truncate(base.len().saturating_sub(supers));
        base.extend(segments[supers.max(1)..].iter().filter(|s| *s != "self").cloned());
        Some(base)
    }

    fn mention(&mut self, segments: &[String]) {
        self.imports.extend(self.absolute(segments));
    }

    fn use_tree(&mut self, tree: &syn::UseTree, prefix: &[String], public: bool) {
        let under = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        let (path, name) = match tree {
            syn::UseTree::Path(path) => return self.use_tree(&path.tree, &under(&path.ident), public),
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|item| self.use_tree(item, prefix, public));
            }
            syn::UseTree::Name(name) => (under(&name.ident), Some(name.ident.to_string())),
            syn::UseTree::Rename(rename) => (under(&rename.ident), Some(rename.rename.to_string())),
            syn::UseTree::Glob(_) => (prefix.to_vec(), None),
        };
        // `pub use child::Item` inside the parent: a path that starts with an own child.
        let local = [vec!["self".to_owned()], path.clone()].concat();
        let path = self.absolute(&path).or_else(|| public.then(|| self.absolute(&local)).flatten());
        if let Some(path) = path {
            if let Some(name) = name {
                self.names.insert(name, path.clone());
            }
            if public {
                self.exports.insert(path)
            } else {
                self.imports.insert(path)
            };
        }
    }

    /// Paths inside a macro's arguments, which the parser leaves as tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = vec![];
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(p) if p.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Ident(word) if path.is_empty() || colons == 2 => {
                    path.push(word.to_string());
                    colons = 0;
                }
                other => {
                    self.mention(&std::mem::take(&mut path));
                    colons = 0;
                    match other {
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        TokenTree::Ident(word) => path.push(word.to_string()),
                        _ => {}
                    }
                }
            }
        }
        self.mention(&path);
    }
}

impl<'ast> Visit<'ast> for References {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => &vec![],
        };
        if !is_test(attributes) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.scope.push(item.ident.to_string());
        syn::visit::visit_item_mod(self, item);
        self.scope.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.use_tree(&item.tree, &[], !matches!(item.vis, syn::Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.mention(&segments);
        syn::visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // `pub(crate)` and `pub(super)` are no imports.
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.tokens(item.tokens.clone());
        syn::visit::visit_macro(self, item);
    }
}

/// Turns paths into files.
struct Resolver<'a> {
    target: &'a Target,
    found: &'a [References],
}

impl Resolver<'_> {
    fn edges(&self, from: usize) -> BTreeSet<usize> {
        let own = &self.target.modules[from].path;
        let references = &self.found[from];
        let elsewhere = references.exports.iter().filter(|path| !path.starts_with(own));
        let used = references.imports.iter().chain(elsewhere);
        // `use child::f` and `child::f()` in the parent carry no `self::`; they are imports of the child all the same.
        let children = self.bare_children(from);
        let edges = used.filter_map(|path| self.file_of(path, 0)).chain(children);
        edges.filter(|&to| to != from && !self.target.modules[to].test_only).collect()
    }

    fn bare_children(&self, from: usize) -> Vec<usize> {
        let own = &self.target.modules[from].path;
        let mut bare = BarePaths::default();
        bare.visit_file(&self.target.modules[from].syntax);
        let child = |name: &String| self.find(&[own.clone(), vec![name.clone()]].concat());
        // A name that the module re-exports and uses itself: a façade and an import in one.
        let names = &self.found[from].names;
        let reexported = |name: &String| {
            let path = names.get(name).filter(|path| self.found[from].exports.contains(*path))?;
            self.file_of(path, 0)
        };
        let through = bare.words.iter().filter_map(reexported);
        bare.heads.iter().filter_map(child).chain(through).collect()
    }

    fn find(&self, path: &[String]) -> Option<usize> {
        self.target.modules.iter().position(|m| m.path == path)
    }

    /// The file that defines what `path` names: the longest prefix that is a file, then on through its `use` lines.
    fn file_of(&self, path: &[String], depth: usize) -> Option<usize> {
        let (index, rest) = (0..=path.len()).rev().find_map(|n| Some((self.find(&path[..n])?, &path[n..])))?;
        let through = rest.first().and_then(|name| self.found[index].names.get(name));
        match through {
            // Eight re-exports in a row would be a ring of them.
            Some(target) if depth < 8 => self.file_of(&[target.clone(), rest[1..].to_vec()].concat(), depth + 1),
            _ => Some(index),
        }
    }
}

/// The first segment of every path: of those that are longer than one segment, and of all.
#[derive(Default)]
struct BarePaths {
    heads: BTreeSet<String>,
    words: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for BarePaths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let inline_or_test = match item {
            syn::Item::Mod(_) => true,
            syn::Item::Fn(item) => is_test(&item.attrs),
            _ => false,
        };
        if !inline_or_test {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if matches!(item.vis, syn::Visibility::Inherited)
            && let syn::UseTree::Path(path) = &item.tree
        {
            self.heads.insert(path.ident.to_string());
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let first = path.segments.first().map(|s| s.ident.to_string());
        if path.segments.len() > 1 {
            self.heads.extend(first.clone());
        }
        self.words.extend(first);
        syn::visit::visit_path(self, path);
    }
}
