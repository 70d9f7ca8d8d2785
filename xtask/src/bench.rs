//! The comparison with peers: builds the site, installs what it is measured against, and hands over to `bench/bench.js`.

use crate::{
    setup,
    shell::{Result, command, example, find, path_text, read, root, run, target},
    site,
};
use std::path::Path;

pub const USAGE: &str = "\
usage: cargo xtask bench [options]

  --networks a,b     of everyday, squeezenet, mobilenetv2, mobilenet0.25, resnet18, resnet20; default: all
  --backend NAME     cpu or webgpu; default: both
  --browser NAME     chromium, firefox, webkit, or the path of a Chromium; default: chromium
  --rounds N         how often the contestants take turns; default: 5
  --layer NAME       of the heatmaps: default, middle or early (half or four fifths of the layers follow); default: default
  --quick            only forward pass, Grad-CAM and another class
  --json             all figures, for programs
  --native           the Rust engine alone, on this machine, with instruction counts where `perf` has them";

/// Checks the options, builds what is missing and compares.
pub fn bench(options: &[&str]) -> Result<()> {
    let mut arguments = vec!["bench/bench.js"];
    let (mut browser, mut native, mut networks) = ("chromium", false, None);
    let mut rest = options.iter();
    while let Some(&option) = rest.next() {
        match option {
            "--native" => native = true,
            "--quick" | "--json" => arguments.push(option),
            "--networks" | "--backend" | "--browser" | "--layer" | "--rounds" => {
                let value = *rest.next().ok_or_else(|| format!("{option} needs a value\n\n{USAGE}"))?;
                match option {
                    "--browser" => browser = value,
                    "--networks" => networks = Some(value),
                    "--backend" if !["cpu", "webgpu"].contains(&value) => {
                        return Err(format!("--backend {value}: there are cpu and webgpu"));
                    }
                    "--layer" if !["default", "middle", "early"].contains(&value) => {
                        return Err(format!("--layer {value}: there are default, middle and early"));
                    }
                    "--rounds" if !value.parse::<u32>().is_ok_and(|rounds| rounds > 0) => {
                        return Err(format!("--rounds {value}: a number above 0 is accepted"));
                    }
                    _ => {}
                }
                if option != "--browser" {
                    arguments.extend([option, value]);
                }
            }
            _ => return Err(USAGE.into()),
        }
    }
    if native {
        return time_natively(networks);
    }

    let mut node = command("node", &arguments);
    node.env("CARGO_TARGET_DIR", target());
    match browser {
        "chromium" => node.env("CHROME", setup::chromium()?),
        "firefox" => {
            node.env("FIREFOX", setup::firefox().ok_or("Firefox is needed: install it, or let $FIREFOX name it")?)
        }
        "webkit" => {
            let browser = setup::webkit().ok_or("WebKitGTK's MiniBrowser with its driver and Xvfb are needed")?;
            node.env("MINIBROWSER", browser)
        }
        path if Path::new(path).is_file() => node.env("CHROME", path),
        name => return Err(format!("--browser {name}: chromium, firefox, webkit or a Chromium's path are accepted")),
    };
    if ["firefox", "webkit"].contains(&browser) {
        node.args(["--browser", browser]);
    }
    site::build(site::Mode::Release)?;
    setup::npm_packages_of(&root().join("bench"))?;
    run(&mut node)
}

/// How many runs a time or a count is taken of.
const RUNS: u32 = 20;

/// Times the engine without any browser.
fn time_natively(networks: Option<&str>) -> Result<()> {
    let program = example("native")?;
    let program = path_text(&program)?;
    let mut list = command("node", &["bench/networks.js"]);
    for line in read(list.args(networks).env("CARGO_TARGET_DIR", target()))?.lines() {
        let (name, file) = line.split_once(' ').ok_or("bench/networks.js prints a name and a file on each line")?;
        let times = read(&mut command(program, &[file, &RUNS.to_string()]))?;
        println!("{name}: {}{}", times.trim(), instructions(program, file).unwrap_or_default());
    }
    Ok(())
}

/// What `perf` counts for one forward pass with its Grad-CAM: of many runs without what one run needs besides.
fn instructions(program: &str, file: &str) -> Option<String> {
    find("perf")?;
    let count = |runs: u32| -> Option<f64> {
        let arguments = ["stat", "-x,", "-e", "instructions:u", program, file, &runs.to_string()];
        let output = command("perf", &arguments).output().ok()?;
        String::from_utf8_lossy(&output.stderr).lines().find_map(|line| line.split(',').next()?.parse().ok())
    };
    let each = (count(1 + RUNS)? - count(1)?) / f64::from(RUNS);
    Some(format!(", {:.1} million instructions for both", each / 1e6))
}
