//! The directory in which a proxy keeps what a restart needs: its identity and what it knows of the mesh.
//!
//! Below everything that survives a restart. Files are for this user only, and are replaced whole: a reader, or a start
//! after a crash, finds the old content or the new one, never a part of either.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("state directory {}: {reason}", path.display())]
pub struct StateDirError {
    path: PathBuf,
    reason: io::Error,
}

/// A handle on the directory; clones share it.
#[derive(Debug, Clone)]
pub struct StateDir(Arc<Path>);

impl StateDir {
    /// Makes the directory if it is missing (mode 0700), takes it away from other users if they can look into it, and
    /// tries whether it can be written to.
    pub fn open(path: &Path) -> Result<Self, StateDirError> {
        prepare(path).map_err(|reason| StateDirError { path: path.to_owned(), reason })?;
        Ok(Self(path.into()))
    }

    /// The whole file; `None` when it does not exist.
    pub fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.0.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file. When this returns, the new content outlives a power failure.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // One writer for each name, so that the name of the temporary file need not be unique; one that a crash left
        // behind is overwritten.
        let temporary = self.0.join(format!(".{name}.new"));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, self.0.join(name))?;
        File::open(&self.0)?.sync_all()
    }
}

fn prepare(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o700))?;
    }
    let probe = path.join(".probe");
    File::create(&probe)?;
    fs::remove_file(&probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_private_and_files_are_replaced_whole() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("a/b");
        let dir = StateDir::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(dir.read("x").unwrap(), None);
        dir.write("x", b"a longer text").unwrap();
        dir.write("x", b"short").unwrap();
        assert_eq!(dir.read("x").unwrap().unwrap(), b"short");
        assert_eq!(fs::metadata(path.join("x")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing else is left behind");
    }

    #[test]
    fn a_directory_that_others_could_read_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        StateDir::open(dir.path()).unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_is_no_directory_is_refused_by_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = StateDir::open(file.path()).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()), "{error}");
    }
}
