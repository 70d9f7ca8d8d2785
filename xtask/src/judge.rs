//! How faithful and how well placed the explanations of every method are: the table of `docs/judging.md`.

use crate::shell::{Result, cargo, run};

/// Builds `examples/judge.rs` as a release and runs it; the options are its own.
///
/// # Errors
/// If it can't be built, or what stands beside the repository is not there.
pub fn judge(options: &[&str]) -> Result<()> {
    let mut command = cargo(&["run", "--quiet", "--release", "--example", "judge", "--"]);
    run(command.args(options))
}
