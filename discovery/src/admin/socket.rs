//! The admin socket's file: made for its owner alone, taken over from a process that crashed, never from one that lives.
//!
//! Decided by trying to connect: a socket that nobody answers on is stale. What is not a socket is left alone.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("--admin-socket: {0} is in use by a process that lives")]
    InUse(PathBuf),
    #[error("--admin-socket: {0} is there already and is no socket")]
    NotASocket(PathBuf),
    #[error("--admin-socket: {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
}

/// The listening socket. Dropping it takes the file away, unless another process has put its own there meanwhile.
#[derive(Debug)]
pub struct Claimed {
    path: PathBuf,
    inode: u64,
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes the socket, readable and writable by its owner only.
pub fn claim(path: &Path) -> Result<(UnixListener, Claimed), SocketError> {
    let failed = |error| SocketError::Io { path: path.to_owned(), error };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(file) if !file.file_type().is_socket() => return Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => match Probe::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed)?,
            Err(error) => return Err(failed(error)),
            Ok(_) => return Err(SocketError::InUse(path.to_owned())),
        },
    }
    // Bound under another name and moved when its mode is right, so that it is never open to others.
    let hidden = path.with_extension(format!("{}.new", std::process::id()));
    let _ = std::fs::remove_file(&hidden);
    let listener = UnixListener::bind(&hidden).map_err(failed)?;
    let opened = std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&hidden, path))
        .and_then(|()| std::fs::symlink_metadata(path));
    match opened {
        Ok(file) => Ok((listener, Claimed { path: path.to_owned(), inode: file.ino() })),
        Err(error) => {
            let _ = std::fs::remove_file(&hidden);
            Err(failed(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/admin.sock");
        let (listener, claimed) = claim(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(claim(&path), Err(SocketError::InUse(_))));
        // As a crash leaves it: the file without a process behind it.
        std::mem::forget(claimed);
        drop(listener);
        let (_listener, claimed) = claim(&path).unwrap();
        drop(claimed);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(claim(&path), Err(SocketError::NotASocket(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
