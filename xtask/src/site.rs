//! The wasm builds of the crate, the npm package around them, and the site around that.

use crate::{
    setup,
    shell::{self, Result, command, files_below, modified, path_text, read, root, run, run_named, target},
};
use std::{
    env, fs,
    path::{Path, PathBuf},
};
use wasm_bindgen_cli_support::Bindgen;

/// How much time goes into making the wasm small and fast.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Release,
    Dev,
}

/// The builds of the crate, named after the features that they are made of but for one; also the names of their folders in the package.
pub const BUILDS: [&str; 6] = ["view", "decode", "formats", "cpu", RELAXED, "gpu"];

/// The CPU build for browsers with relaxed SIMD.
const RELAXED: &str = "relaxed";

/// What tells cargo which build is meant.
pub fn cargo_arguments(build: &str) -> Vec<&str> {
    let (feature, flags) = match build {
        // These flags come to those in `.cargo/config.toml`.
        RELAXED => ("cpu", Some("target.wasm32-unknown-unknown.rustflags=['-Ctarget-feature=+relaxed-simd']")),
        _ => (build, None),
    };
    let mut arguments = vec!["--lib", "--target", "wasm32-unknown-unknown", "--no-default-features"];
    arguments.extend(["--features", feature]);
    arguments.extend(flags.into_iter().flat_map(|flags| ["--config", flags]));
    arguments
}

/// Writes the package to `pkg/` and the site to `dist/`.
///
/// What is up to date already is not built again.
pub fn build(mode: Mode) -> Result<()> {
    setup::wasm_target()?;
    if mode == Mode::Release {
        setup::npm_packages()?;
    }
    // Linking takes most of the time and one core for each build.
    shell::at_once(BUILDS.map(|name| move || wasm(name, mode)).into())?;
    package(mode)?;
    site()
}

/// One wasm build with its glue, ready to be copied into the package.
fn wasm(name: &str, mode: Mode) -> Result<()> {
    let profile = format!("wasm-{name}");
    let mut cargo = shell::cargo(&["build", "--profile", &profile]);
    cargo.args(cargo_arguments(name));
    if mode == Mode::Dev {
        // Another place, because a profile's own folder holds one library only and would be rebuilt at each change of mode.
        cargo.env("CARGO_TARGET_DIR", target().join("dev-site"));
        let profile = format!("CARGO_PROFILE_{}", profile.replace('-', "_").to_uppercase());
        for (setting, value) in [("LTO", "off"), ("OPT_LEVEL", "1"), ("CODEGEN_UNITS", "256"), ("INCREMENTAL", "true")]
        {
            cargo.env(format!("{profile}_{setting}"), value);
        }
    }
    run_named(name, &mut cargo)?;

    let folder = if mode == Mode::Dev { target().join("dev-site") } else { target() };
    let library = folder.join("wasm32-unknown-unknown").join(&profile).join("gradcam_web.wasm");
    let staged = staged(name, mode);
    let done = staged.join("done");
    let this_program = env::current_exe().map_err(|error| format!("can't find this program: {error}"))?;
    let newest_source = [&library, &this_program, &root().join("package-lock.json")].map(|path| modified(path));
    if modified(&done) > newest_source.into_iter().max().flatten() {
        return Ok(());
    }

    renew(&staged)?;
    let mut bindgen = Bindgen::new();
    bindgen.input_path(&library).out_name("gradcam_web").typescript(false);
    bindgen.remove_name_section(mode == Mode::Release).remove_producers_section(true);
    bindgen
        .web(true)
        .and_then(|bindgen| bindgen.generate(&staged))
        .map_err(|error| format!("wasm-bindgen can't process the {name} build: {error:#}"))?;
    if mode == Mode::Release {
        eprintln!("{name:>4} | wasm-opt");
        optimise(&staged.join(WASM))?;
        run(&mut node(&["compress", path_text(&staged.join(WASM))?]))?;
    }
    fs::write(&done, "").map_err(|error| format!("can't write {}: {error}", done.display()))
}

const WASM: &str = "gradcam_web_bg.wasm";

/// Makes wasm smaller where it is.
///
/// Level 1 gives the smallest download: from level 2 on the file itself shrinks further, but its code becomes less
/// regular and compresses worse (an early CPU build: 2.13 MB and 0.319 MB after brotli at level 1; 1.92 MB and 0.344 MB
/// at `z`), and takes four times as long.
fn optimise(wasm: &Path) -> Result<()> {
    let wasm = path_text(wasm)?;
    let mut command = command("node", &["node_modules/binaryen/bin/wasm-opt", wasm, "-o", wasm, "-O1"]);
    // Constants that are added to an address become part of the load, which engines do not do themselves: an addition less for
    // each second number of the kernels. It could only be wrong below address 1024, the far end of the stack.
    command.args(["--low-memory-unused", "--optimize-added-constants-propagate"]);
    run(command.args(["--strip-debug", "--strip-producers", "--strip-target-features"]))
}

/// Puts the generated parts beside the hand-written ones in `pkg/`.
fn package(mode: Mode) -> Result<()> {
    let package = root().join("pkg");
    let mut sizes = Vec::new();
    for name in BUILDS {
        let folder = package.join(name);
        renew(&folder)?;
        for file in files_below(&staged(name, mode)) {
            if file.extension().is_some_and(|extension| extension == "js" || extension == "wasm") {
                copy(&file, &folder.join(file.file_name().expect("files have names")))?;
            }
        }
        sizes.push(format!("{name}: {}", size(&folder.join(WASM))));
    }
    let sizes = format!(
        "// Written by `cargo xtask build`. A server that compresses says how many bytes it sends, not how many come out.\n\
         export const WASM_BYTES = {{ {} }};\n",
        sizes.join(", ")
    );
    fs::write(package.join("sizes.js"), sizes).map_err(|error| format!("can't write pkg/sizes.js: {error}"))?;
    renew(&package.join("models"))?;
    copy_below(&root().join("www/models"), &package.join("models"), |_| true)
}

/// Puts the page and the package together in `dist/`, where the models lie in the package alone.
fn site() -> Result<()> {
    let site = root().join("dist");
    renew(&site)?;
    let models = root().join("www/models");
    copy_below(&root().join("www"), &site, |path| !path.starts_with(&models))?;
    copy_below(&root().join("pkg"), &site.join("gradcam-web"), |_| true)?;
    preload_modules(&site)
}

/// Has the page fetch all its modules at once: left to themselves they become known one level of imports at a time, each
/// a trip to the server and back.
fn preload_modules(site: &Path) -> Result<()> {
    let page = site.join("index.html");
    let html = fs::read_to_string(&page).map_err(|error| format!("can't read {}: {error}", page.display()))?;
    let entry = r#"<script type="module" src="main.js"></script>"#;
    let (head, rest) = html.split_once(entry).ok_or_else(|| format!("www/index.html has no {entry}"))?;
    let mut links: String = imports_of(site, "main.js")
        .iter()
        .map(|module| format!("<link rel=\"modulepreload\" href=\"{module}\">\n  "))
        .collect();
    // What no script names before it runs: the drawing code.
    links += "<link rel=\"modulepreload\" href=\"gradcam-web/view/gradcam_web.js\">\n  ";
    links += &format!("<link rel=\"preload\" as=\"fetch\" crossorigin href=\"gradcam-web/view/{WASM}\">\n  ");
    fs::write(&page, format!("{head}{links}{entry}{rest}"))
        .map_err(|error| format!("can't write {}: {error}", page.display()))
}

/// The modules that `entry` imports, directly or not, each once: addresses relative to the site.
fn imports_of(site: &Path, entry: &str) -> Vec<String> {
    let mut modules = vec![entry.to_owned()];
    let mut at = 0;
    while at < modules.len() {
        let folder = modules[at].rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        let source = fs::read_to_string(site.join(&modules[at])).unwrap_or_default();
        let lines =
            source.lines().filter(|line| ["import ", "export ", "}"].iter().any(|start| line.starts_with(start)));
        for name in lines.filter_map(|line| line.split_once(" from \"./")?.1.split_once('"').map(|(name, _)| name)) {
            let module = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            if !modules.contains(&module) {
                modules.push(module);
            }
        }
        at += 1;
    }
    modules.split_off(1)
}

/// Prints what a visitor downloads.
pub fn print_sizes(mode: Mode) -> Result<()> {
    let site = root().join("dist");
    let package = site.join("gradcam-web");
    let mut rows: Vec<(String, Vec<PathBuf>)> =
        BUILDS.map(|name| (format!("{name} wasm"), vec![package.join(name).join(WASM)])).into();
    let is_code = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "js" || extension == "css" || extension == "html")
    };
    let (code_of_package, code_of_page): (Vec<_>, Vec<_>) =
        files_below(&site).into_iter().filter(is_code).partition(|path| path.starts_with(&package));
    rows.push(("package's scripts".into(), code_of_package));
    rows.push(("page".into(), code_of_page));
    rows.push(("models".into(), files_below(&package.join("models"))));

    println!("{:<18} {:>12} {:>12}", "bytes", "raw", "brotli");
    for (name, files) in rows {
        let raw: u64 = files.iter().map(|file| size(file)).sum();
        let brotli = match mode {
            Mode::Release => brotli_size(&files)?.to_string(),
            Mode::Dev => "-".into(),
        };
        println!("{name:<18} {raw:>12} {brotli:>12}");
    }
    Ok(())
}

fn brotli_size(files: &[PathBuf]) -> Result<u64> {
    let mut sum = 0;
    let mut others = vec!["measure"];
    for file in files {
        // The wasm was compressed when it was built: it takes half a minute.
        let build = file.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        if file.ends_with(WASM) && BUILDS.contains(&build) {
            sum += size(&staged(build, Mode::Release).join(WASM).with_extension("wasm.br"));
        } else {
            others.push(path_text(file)?);
        }
    }
    let measured = read(&mut node(&others))?;
    Ok(sum + measured.trim().parse::<u64>().map_err(|_| format!("node printed {measured:?} instead of a size"))?)
}

/// Node's own brotli: `compress FILE` writes `FILE.br`, `measure FILES…` prints the sum of the sizes.
fn node(arguments: &[&str]) -> std::process::Command {
    const SCRIPT: &str = r#"
        import { readFileSync, writeFileSync } from "node:fs";
        import { brotli } from "./xtask/brotli.js";
        const [task, ...files] = process.argv.slice(1);
        const compressed = (file) => brotli(readFileSync(file));
        if (task === "compress") writeFileSync(`${files[0]}.br`, compressed(files[0]));
        else console.log(files.reduce((sum, file) => sum + compressed(file).length, 0));"#;
    let mut node = command("node", &["--input-type=module", "--eval", SCRIPT, "--"]);
    node.args(arguments);
    node
}

/// Where a build waits to be copied: each mode keeps its own, so that changing between them costs nothing.
fn staged(name: &str, mode: Mode) -> PathBuf {
    target().join(if mode == Mode::Dev { "staged-dev" } else { "staged" }).join(name)
}

fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

fn renew(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| format!("can't remove {}: {error}", folder.display()))?;
    }
    fs::create_dir_all(folder).map_err(|error| format!("can't create {}: {error}", folder.display()))
}

fn copy_below(from: &Path, to: &Path, wanted: impl Fn(&Path) -> bool) -> Result<()> {
    for file in files_below(from).into_iter().filter(|file| wanted(file)) {
        copy(&file, &to.join(file.strip_prefix(from).expect("the file is below the folder")))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder)
        .and_then(|()| fs::copy(from, to))
        .map(|_| ())
        .map_err(|error| format!("can't copy {} to {}: {error}", from.display(), to.display()))
}
