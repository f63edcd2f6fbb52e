//! `weftctl completion SHELL`: the script that lets a shell complete weftctl's commands.
//!
//! Made from the command line's own definition, so that it never lags behind it. Asks nobody and cannot fail.

use crate::print::Output;
use clap::CommandFactory;
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_parser = clap::builder::EnumValueParser::<Shell>::new())]
    shell: Shell,
}

/// `C` is the whole command line.
pub fn run<C: CommandFactory>(args: &Args) -> Output {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "weftctl", &mut script);
    String::from_utf8_lossy(&script).into_owned().into()
}
