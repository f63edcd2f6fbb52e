//! What to run in a pod: a program, its arguments, its environment and its user.
//!
//! A plain description; [`Pod::spawn`](super::Pod::spawn) puts it into force. A program with a user of its own has no
//! supplementary groups, no capabilities and no way to gain any.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

/// A program to start. Without a slash in it the name is looked up in PATH.
#[derive(Debug, Clone)]
pub struct Program {
    pub(super) path: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) envs: Vec<(OsString, OsString)>,
    pub(super) label: Option<String>,
    pub(super) user: Option<u32>,
    pub(super) input: Option<Vec<u8>>,
}

impl Program {
    pub fn new(path: impl AsRef<OsStr>) -> Self {
        let path = PathBuf::from(path.as_ref());
        Self { path, args: Vec::new(), envs: Vec::new(), label: None, user: None, input: None }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The log file's name; the program's own name unless given.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Runs with this uid, which is also the gid, and without any privilege.
    pub fn user(mut self, uid: u32) -> Self {
        self.user = Some(uid);
        self
    }

    /// What the program reads from its standard input, which is otherwise empty.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    pub(super) fn name(&self) -> String {
        let file = || self.path.file_name().map(|name| name.to_string_lossy().into_owned());
        self.label.clone().or_else(file).unwrap_or_default()
    }

    /// The file that will run: `path` itself, or the first match in `search`, which is in PATH's form.
    pub(super) fn find(&self, search: &str) -> Option<PathBuf> {
        if self.path.components().count() > 1 {
            return std::path::absolute(&self.path).ok().filter(|path| path.exists());
        }
        search
            .split(':')
            .filter(|dir| !dir.is_empty())
            .map(|dir| Path::new(dir).join(&self.path))
            .find(|path| path.is_file())
    }
}

/// The command line, for messages.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", arg.to_string_lossy()))
    }
}
