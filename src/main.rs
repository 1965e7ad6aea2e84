//! The `sardonyx` command.
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(sardonyx::cli::main())
}
