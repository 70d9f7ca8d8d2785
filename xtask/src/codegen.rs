//! What repeats a table of the project, written from that table: `xtask/codegen.js` knows which files.

use crate::{
    setup,
    shell::{Result, cargo, command, run},
};
use std::process::Stdio;

/// Writes the generated files and parts of files, or with `check` only compares them.
///
/// # Errors
/// If something can't be built; with `check`, also if a file is not as it would be written.
pub fn codegen(check: bool) -> Result<()> {
    setup::npm_packages()?;
    // The features of the tests without burn, so that nothing is compiled for this alone.
    let catalog = ["run", "--quiet", "--example", "catalog", "--no-default-features", "--features", "cpu,formats"];
    let mut catalog =
        cargo(&catalog).stdout(Stdio::piped()).spawn().map_err(|error| format!("can't run cargo: {error}"))?;
    let mut node = command("node", &["xtask/codegen.js"]);
    node.args(check.then_some("--check")).stdin(catalog.stdout.take().expect("it is piped"));
    let written = run(&mut node);
    let built = catalog.wait().map_err(|error| format!("can't wait for cargo: {error}"))?;
    if built.success() { written } else { Err("the example `catalog` can't be built".into()) }
}
