//! Long tests: as many odd inputs as there is time for.

use std::{env, fs, path::PathBuf};

use crate::{
    shell::{Result, cargo, command, example, path_text, read, run, target},
    site, test,
};

pub const USAGE: &str = "\
usage: cargo xtask soak models [--count N] [--first N] [--file PATH…]
       cargo xtask soak memory [--count N]
       cargo xtask soak wasm [--count N] [--first N]
       cargo xtask soak pages [--count N] [--first N]
       cargo xtask soak pictures [COUNT] [SEED]
       cargo xtask soak manifests [--count N] [--first N]
       cargo xtask soak workers|devices|elements|images|loads|servers [--count N]

  models     N mutated models (2000), or the given files, natively with overflow checks and debug assertions:
             loaded, run, and explained by every method within 5 seconds and 2 GB, or refused with one sentence
  memory     the tests of the kernels and of the engine, and N mutated models (1000), with AddressSanitizer: in a
             target folder of their own, a quarter of an hour the first time
  wasm       N mutated models (1000) in the browser's CPU build, in Node.js, within the same limits
  pages      N mutated models (1000) in a page of Chromium, by the package, within the same limits
  pictures   COUNT mutated pictures (2000) and oddly encoded ones: the crate's pixels against Pillow's;
             needs a Python with pillow and numpy, python3 or $PYTHON
  manifests  N mutated manifests and metadata (100000): read, or refused with one sentence, at once

  These run a test file of tests/web in its long form:
  workers    N workers killed while they start, and N while they work (330)
  devices    N graphics cards lost at any moment (250)
  elements   N figures on one page (200)
  images     N pictures in one page (2500)
  loads      N models loaded and disposed of in one page (500)
  servers    every file that a figure fetches, with every fault of a server";

/// Where the long form of `mutants.test.js` finds the models.
const MUTANTS_FOLDER: &str = "GRADCAM_MUTANTS";

/// The long forms: a name, a file below `tests/web`, the variable that says how many, and how many if nobody says.
const LONG_FORMS: [(&str, &str, &str, &str); 6] = [
    ("workers", "killed", "GRADCAM_KILLS", "330"),
    ("devices", "card", "GRADCAM_LOSSES", "250"),
    ("elements", "many", "GRADCAM_FIGURES", "200"),
    ("images", "endurance", "GRADCAM_IMAGES", "2500"),
    ("loads", "endurance", "GRADCAM_LOADS", "500"),
    ("servers", "servers", "GRADCAM_FAULTS", "1000"),
];

/// Whether a variable asks a test file for its long form.
pub fn is_long_form(variable: &str) -> bool {
    variable == MUTANTS_FOLDER || LONG_FORMS.iter().any(|(_, _, name, _)| *name == variable)
}

/// Runs one of them.
///
/// # Errors
/// If anything is wrong, hangs or panics, or what it needs is not there.
pub fn soak(options: &[&str]) -> Result<()> {
    match options {
        ["models", rest @ ..] => models(rest),
        ["memory"] => memory("1000"),
        ["memory", "--count", count] => memory(number(count)?),
        ["wasm", rest @ ..] => {
            let build = site::build_one("cpu")?;
            let folder = saved(rest)?;
            run(&mut command("node", &["tests/soak/wasm.js", path_text(&build)?, path_text(&folder)?]))
        }
        ["pages", rest @ ..] => test::long_form("tests/web/mutants.test.js", MUTANTS_FOLDER, path_text(&saved(rest)?)?),
        ["pictures", numbers @ ..] if numbers.len() <= 2 && numbers.iter().all(|text| number(text).is_ok()) => {
            let pixels = example("pixels")?;
            let python = env::var("PYTHON").unwrap_or_else(|_| "python3".into());
            run(command(python, &["tests/soak/pictures.py", path_text(&pixels)?]).args(numbers))
        }
        ["manifests", rest @ ..] => {
            // The package lists its networks.
            site::networks()?;
            run(command("node", &["tests/soak/manifests.js"]).args(rest))
        }
        [name, rest @ ..] => {
            let form = LONG_FORMS.iter().find(|(form, ..)| form == name).ok_or(USAGE)?;
            let count = match rest {
                [] => form.3,
                ["--count", count] => number(count)?,
                _ => return Err(USAGE.into()),
            };
            test::long_form(&format!("tests/web/{}.test.js", form.1), form.2, count)
        }
        [] => Err(USAGE.into()),
    }
}

fn number(text: &str) -> Result<&str> {
    text.parse::<u64>().map(|_| text).map_err(|_| format!("{text}: a number is accepted\n\n{USAGE}"))
}

/// As a browser has the engine, on the project's own tensors; fast, but with all checks of a development build.
const MUTANTS: [&str; 10] = [
    "--example",
    "soak",
    "--no-default-features",
    "--features",
    "cpu,formats",
    "--config",
    "profile.dev.package.gradcam-web.opt-level=3",
    "--config",
    "profile.dev.package.gradcam-kernels.opt-level=3",
    "--quiet",
];

fn models(options: &[&str]) -> Result<()> {
    run(cargo(&["build"]).args(MUTANTS))?;
    run(&mut command(path_text(&target().join("debug/examples/soak"))?, options))
}

/// Everything with `unsafe` code in it under AddressSanitizer, which notices what reads or writes beside its memory.
fn memory(count: &str) -> Result<()> {
    let about = read(&mut command("rustc", &["-vV"]))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc names no host")?;
    // What it compiles can't be shared with other builds.
    let folder = target().join("asan");
    let sanitized = |arguments: &[&str]| {
        let mut cargo = cargo(arguments);
        cargo.args(["--target", host]).env("CARGO_TARGET_DIR", &folder);
        // The stable compiler has it, too, but says so to no one.
        cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
        cargo
    };
    run(&mut sanitized(&["test", "--quiet", "--package=gradcam-kernels", "--lib"]))?;
    let engine = ["--no-default-features", "--features=cpu,formats", "--lib", "--test=it"];
    run(sanitized(&["test", "--quiet", "--package=gradcam-web"]).args(engine))?;
    run(sanitized(&["build"]).args(MUTANTS))?;
    let program = folder.join(host).join("debug/examples/soak");
    run(&mut command(path_text(&program)?, &["--count", count]))
}

/// A folder of mutated models.
fn saved(options: &[&str]) -> Result<PathBuf> {
    let (mut first, mut count) = ("0", "1000");
    for option in options.chunks(2) {
        match option {
            ["--first", value] => first = number(value)?,
            ["--count", value] => count = number(value)?,
            _ => return Err(USAGE.into()),
        }
    }
    let folder = target().join("soak-mutants");
    let _ = fs::remove_dir_all(&folder);
    models(&["--first", first, "--count", count, "--save", path_text(&folder)?])?;
    Ok(folder)
}
