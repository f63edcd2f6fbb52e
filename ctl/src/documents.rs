//! The YAML documents a command line names: files, directories of files, and standard input.
//!
//! Read by `apply` and `delete`. All are sent as one text, so that they come into force together; faults that discovery
//! reports by number are led back to their file. Text that is no YAML is refused here, where line numbers still mean
//! something.

use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What went wrong while reading.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("{path}: {reason}")]
    Unreadable { path: String, reason: io::Error },
    #[error("{0}: the directory holds no .yaml, .yml or .json file")]
    Empty(String),
    #[error("{path}: {reason}")]
    Syntax { path: String, reason: String },
    #[error("standard input is named twice")]
    Twice,
    #[error("there is no document in {0}")]
    Nothing(String),
}

/// One document and where it stood.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub origin: String,
    pub value: Value,
}

/// All documents named, in order.
#[derive(Debug, Default)]
pub struct Documents {
    text: String,
    pub all: Vec<Document>,
}

impl Documents {
    /// Reads every path; `-` is standard input, a directory stands for the files in it, by name.
    pub fn read(paths: &[PathBuf]) -> Result<Self, DocumentError> {
        let mut documents = Self::default();
        let mut stdin_taken = false;
        for path in paths {
            if path.as_os_str() == "-" {
                if std::mem::replace(&mut stdin_taken, true) {
                    return Err(DocumentError::Twice);
                }
                let mut text = String::new();
                io::stdin().read_to_string(&mut text).map_err(|reason| unreadable(Path::new("-"), reason))?;
                documents.add("standard input", &text)?;
                continue;
            }
            for file in files(path)? {
                let text = fs::read_to_string(&file).map_err(|reason| unreadable(&file, reason))?;
                documents.add(&file.display().to_string(), &text)?;
            }
        }
        if documents.all.is_empty() {
            let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            return Err(DocumentError::Nothing(names.join(", ")));
        }
        Ok(documents)
    }

    fn add(&mut self, origin: &str, text: &str) -> Result<(), DocumentError> {
        for document in serde_yaml_ng::Deserializer::from_str(text) {
            let value = Value::deserialize(document)
                .map_err(|error| DocumentError::Syntax { path: origin.to_owned(), reason: error.to_string() })?;
            if !value.is_null() {
                self.all.push(Document { origin: origin.to_owned(), value });
            }
        }
        if !self.text.is_empty() {
            self.text.push_str("\n---\n");
        }
        self.text.push_str(text);
        Ok(())
    }

    /// All of them as one text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A fault as discovery words it, with `document 7` led back to its file: `b.yaml, document 2`.
    pub fn locate(&self, fault: &str) -> String {
        let Some((before, rest)) = fault.split_once("document ") else { return fault.to_owned() };
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let index = rest[..digits].parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let Some(document) = index.and_then(|index| Some((index, self.all.get(index)?))) else {
            return fault.to_owned();
        };
        let (index, Document { origin, .. }) = document;
        let number = self.all[..=index].iter().filter(|other| other.origin == *origin).count();
        format!("{before}{origin}, document {number}{}", &rest[digits..])
    }
}

fn unreadable(path: &Path, reason: io::Error) -> DocumentError {
    DocumentError::Unreadable { path: path.display().to_string(), reason }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, DocumentError> {
    let refused = |reason| unreadable(path, reason);
    if !fs::metadata(path).map_err(refused)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(refused)? {
        let file = entry.map_err(refused)?.path();
        let ours = file.extension().and_then(|ending| ending.to_str());
        if matches!(ours, Some("yaml" | "yml" | "json")) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() { Err(DocumentError::Empty(path.display().to_string())) } else { Ok(files) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn read(directory: &tempfile::TempDir) -> Result<Documents, DocumentError> {
        Documents::read(&[directory.path().to_owned()])
    }

    #[test]
    fn a_directory_is_its_files_in_order() {
        let files = [("b.yaml", "kind: B\n---\n---\nkind: C"), ("a.json", "{\"kind\": \"A\"}"), ("notes.txt", "no")];
        let directory = directory(&files);
        let documents = read(&directory).unwrap();
        let kinds: Vec<_> = documents.all.iter().map(|document| document.value["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        let mut again = Documents::default();
        again.add("all", documents.text()).unwrap();
        assert_eq!(again.all.len(), 3, "{}", documents.text());
    }

    #[test]
    fn faults_are_led_back_to_their_file() {
        let directory = directory(&[("a.yaml", "kind: A"), ("b.yaml", "kind: B\n---\nkind: C")]);
        let documents = read(&directory).unwrap();
        let b = directory.path().join("b.yaml");
        let located = documents.locate("Service (document 3): metadata.name: missing");
        assert_eq!(located, format!("Service ({}, document 2): metadata.name: missing", b.display()));
        for other in ["Service shop/cart: spec.ports: missing", "document 9: x", "document x"] {
            assert_eq!(documents.locate(other), other);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let refused = |files: &[(&str, &str)]| read(&directory(files)).unwrap_err().to_string();
        assert!(refused(&[("a.yaml", "a: [")]).contains("a.yaml: "));
        assert!(refused(&[("a.txt", "")]).contains("holds no .yaml"));
        assert!(refused(&[("a.yaml", "# nothing")]).contains("no document"));
        let missing = Documents::read(&["/nonexistent.yaml".into()]).unwrap_err().to_string();
        assert!(missing.starts_with("/nonexistent.yaml: No such file"), "{missing}");
    }
}
