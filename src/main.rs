//! `skybridge`: the gateway's program. See [`skybridge::command`].

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    skybridge::command::Arguments::parse().run()
}
