//! `skybridge`: the gateway's program. See [`skybridge::command`].

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    skybridge::command::Arguments::parse().run()
}
