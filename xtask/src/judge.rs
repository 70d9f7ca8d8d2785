//! How faithful and how well placed the explanations of every method are: the table of `docs/judging.md`.

use crate::shell::{Result, cargo, run};

/// How the package itself is compiled: as fast as a release. Its dependencies are in every build, and tests have built
/// them already.
const SETTINGS: [&str; 3] = ["opt-level=3", "overflow-checks=false", "debug-assertions=false"];

/// Builds `examples/judge.rs` and runs it; the options are its own.
///
/// # Errors
/// If it can't be built, or what stands beside the repository is not there.
pub fn judge(options: &[&str]) -> Result<()> {
    let mut command = cargo(&["run", "--quiet", "--example", "judge"]);
    for setting in SETTINGS {
        command.args(["--config", &format!("profile.dev.package.gradcam-web.{setting}")]);
    }
    run(command.arg("--").args(options))
}
