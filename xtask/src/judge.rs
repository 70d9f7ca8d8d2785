//! How faithful and how well placed the explanations of every method are: the table of `docs/judging.md`.

use crate::shell::{Result, command, example, path_text, run};

/// Builds `examples/judge.rs` and runs it; the options are its own.
///
/// # Errors
/// If it can't be built, or what stands beside the repository is not there.
pub fn judge(options: &[&str]) -> Result<()> {
    run(&mut command(path_text(&example("judge")?)?, options))
}
