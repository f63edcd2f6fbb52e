//! Where Weft's binaries are: in WEFT_BIN_DIR, beside this program, or one folder up (tests run from `deps/`).
//!
//! Fails naming the binary, so that nobody searches for a cryptic "file not found".

use super::error::Error;
use crate::pods::Program;
use std::path::PathBuf;

/// The path of the binary `name`.
pub fn binary(name: &str) -> Result<PathBuf, Error> {
    let mut places: Vec<PathBuf> = std::env::var_os("WEFT_BIN_DIR").map(PathBuf::from).into_iter().collect();
    if let Ok(own) = std::env::current_exe() {
        places.extend(own.ancestors().skip(1).take(2).map(PathBuf::from));
    }
    let found = places.into_iter().map(|place| place.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| Error::NoBinary(name.to_owned()))
}

/// The program `name` of Weft's own.
pub(super) fn program(name: &str) -> Result<Program, Error> {
    Ok(Program::new(binary(name)?))
}
