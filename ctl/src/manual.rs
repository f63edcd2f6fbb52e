//! `weftctl manual DIRECTORY`: manual pages, a file for each command, for `man` and for packages.
//!
//! Made from the command line's own definition, as completion is. Fails when the directory cannot be written.

use crate::print::Output;
use anyhow::Context as _;
use clap::CommandFactory;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to write them; made if it is not there
    directory: PathBuf,
}

/// `C` is the whole command line.
pub fn run<C: CommandFactory>(args: &Args) -> anyhow::Result<Output> {
    let Args { directory } = args;
    std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    clap_mangen::generate_to(C::command(), directory).with_context(|| format!("writing to {}", directory.display()))?;
    Ok(format!("try: man -l {}\n", directory.join("weftctl.1").display()).into())
}
