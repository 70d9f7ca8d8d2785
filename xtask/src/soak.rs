//! Long tests: as many odd inputs as there is time for.

use std::env;

use crate::shell::{Result, cargo, command, example, path_text, run, target};

pub const USAGE: &str = "\
usage: cargo xtask soak models [--count N] [--first N] [--file PATH…]
       cargo xtask soak pictures [COUNT] [SEED]

  models     N mutated models (2000), or the given files, natively with overflow checks and debug assertions:
             loaded, run, and explained by every method within 5 seconds and 2 GB, or refused with one sentence
  pictures   COUNT mutated pictures (2000) and oddly encoded ones: the crate's pixels against Pillow's;
             needs a Python with pillow and numpy, python3 or $PYTHON";

/// Runs one of them.
///
/// # Errors
/// If anything is wrong, hangs or panics, or what it needs is not there.
pub fn soak(options: &[&str]) -> Result<()> {
    match options {
        ["models", rest @ ..] => models(rest),
        ["pictures", numbers @ ..] if numbers.len() <= 2 && numbers.iter().all(|text| text.parse::<u64>().is_ok()) => {
            let pixels = example("pixels")?;
            let python = env::var("PYTHON").unwrap_or_else(|_| "python3".into());
            run(command(python, &["tests/soak/pictures.py", path_text(&pixels)?]).args(numbers))
        }
        _ => Err(USAGE.into()),
    }
}

fn models(options: &[&str]) -> Result<()> {
    // As a browser has it: on the project's own tensors. Fast, but with all checks of a development build.
    let mut build =
        cargo(&["build", "--quiet", "--example", "soak", "--no-default-features", "--features", "cpu,formats"]);
    run(build.args(["--config", "profile.dev.package.gradcam-web.opt-level=3"]))?;
    run(&mut command(path_text(&target().join("debug/examples/soak"))?, options))
}
