//! The wasm builds of the crate, the npm package around them, and the site around that.

use crate::{
    fetched, notices, pages, pictures, setup,
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
    setup::npm_packages()?;
    match mode {
        // Linking takes most of the time and one core for each build.
        Mode::Release => drop(shell::at_once(BUILDS.map(|name| move || wasm(name, mode)).into())?),
        // They share a profile, and with it their dependencies, so that each waits for the one before.
        Mode::Dev => BUILDS.into_iter().try_for_each(|name| wasm(name, mode))?,
    }
    package(mode)?;
    site(mode)
}

/// One wasm build alone, as the package has it; where it lies.
pub fn build_one(name: &str) -> Result<PathBuf> {
    setup::wasm_target()?;
    setup::npm_packages()?;
    wasm(name, Mode::Release)?;
    Ok(staged(name, Mode::Release))
}

/// Where cargo has the sources of dependencies, a folder for each registry. There are some: this program was built of them.
fn registry_sources() -> Vec<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let folders = home.and_then(|home| fs::read_dir(home.join("registry/src")).ok()).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = folders.map(|folder| folder.path()).collect();
    folders.sort();
    folders
}

/// One wasm build with its glue, ready to be copied into the package.
fn wasm(name: &str, mode: Mode) -> Result<()> {
    let profile = match mode {
        Mode::Release => format!("wasm-{name}"),
        Mode::Dev => "wasm-dev".into(),
    };
    // Other flags would compile all dependencies once more.
    let features = if mode == Mode::Dev && name == RELAXED { "cpu" } else { name };
    let mut cargo = shell::cargo(&["build", "--profile", &profile]);
    cargo.args(cargo_arguments(features));
    for sources in registry_sources() {
        // Panics name their source: without the folders of this machine, whose names would be part of what is published.
        let flag = format!("target.wasm32-unknown-unknown.rustflags=['--remap-path-prefix={}=']", sources.display());
        cargo.args(["--config", &flag]);
    }
    if mode == Mode::Dev {
        // Gives each set of features a file of its own: otherwise one build would undo the other in the shared folder.
        cargo.env("__CARGO_DEFAULT_LIB_METADATA", "dev");
    }
    if mode == Mode::Release && name == "gpu" {
        // burn's compiler of kernels is by far the largest part, and runs once for each of them.
        cargo.args(["--config", "profile.wasm-gpu.package.'*'.opt-level='z'"]);
    }
    run_named(name, &mut cargo)?;

    let library = target().join("wasm32-unknown-unknown").join(&profile).join("gradcam_web.wasm");
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
    // The package names all files itself: bundlers would look for this one beside the worker.
    bindgen.omit_default_module_path(true);
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
    worker(&package)?;
    for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&root().join(licence), &package.join(licence))?;
    }
    notices::write(&package)?;
    let sizes = format!(
        "// Written by `cargo xtask build`. A server that compresses says how many bytes it sends, not how many come out.\n\
         export const WASM_BYTES = {{ {} }};\n",
        sizes.join(", ")
    );
    fs::write(package.join("sizes.js"), sizes).map_err(|error| format!("can't write pkg/sizes.js: {error}"))?;
    networks()
}

/// The package's networks, the default first.
const MODELS: [&str; 2] = ["imagenet", "everyday"];

/// Puts the networks into the package, and the list of them as a module. One that can't be had is left out.
pub fn networks() -> Result<()> {
    let package = root().join("pkg");
    let folder = package.join("models");
    renew(&folder)?;
    copy_below(&root().join("www/models"), &folder, |_| true)?;
    match fetched::files() {
        Ok(files) => copy_below(&files.join("models"), &folder, |_| true)?,
        Err(sentence) => eprintln!("{sentence}: the network `imagenet` is left out, and `everyday` is the default"),
    }
    let (mut entries, mut imports) = (String::new(), String::new());
    for name in MODELS {
        let folder = folder.join(name);
        let manifest = json(&folder.join("model.json"))?;
        let text = |field: &str| manifest[field].as_str().ok_or(format!("{name}/model.json has no {field}"));
        let network = folder.join(text("file")?);
        if !network.is_file() {
            fs::remove_dir_all(&folder).map_err(|error| format!("can't remove {}: {error}", folder.display()))?;
            continue;
        }
        if size(&network) != manifest["bytes"].as_u64().unwrap_or(0) {
            return Err(format!("{} has {} bytes; its manifest says otherwise", network.display(), size(&network)));
        }
        let labels = json(&folder.join(text("labels")?))?;
        let classes = labels.as_array().map_or(0, Vec::len);
        entries += &format!(
            "  {{\n    name: \"{name}\",\n    title: {:?},\n    url: new URL(\"./models/{name}/model.json\", here).href,\n    \
             classes: {classes},\n    bytes: {},\n  }},\n",
            text("name")?,
            size(&network),
        );
        imports += &format!("  {name}: () => import(\"./models/{name}/model.js\"),\n");
        let mut whole = manifest.clone();
        whole["labels"] = labels;
        let module = format!(
            "// Written by `cargo xtask build`: the manifest with its labels, for bundlers, which see scripts and addresses alone.\n\
             export const MANIFEST = {whole};\nexport const FILE = new URL(\"./{}\", import.meta.url);\n",
            text("file")?
        );
        fs::write(folder.join("model.js"), module).map_err(|error| format!("can't write {name}/model.js: {error}"))?;
    }
    let module = format!(
        "// Written by `cargo xtask build` from the networks' manifests. The first is the default.\n\n\
         // Not by the words that bundlers know: in a bundle these are names, and `PACKED` has what is behind them.\n\
         const here = import.meta.url;\n\n\
         export const MODELS = [\n{entries}].map(Object.freeze);\n\
         Object.freeze(MODELS);\n\n\
         export const PACKED = {{\n{imports}}};\n"
    );
    fs::write(package.join("models.js"), module).map_err(|error| format!("can't write pkg/models.js: {error}"))
}

fn json(file: &Path) -> Result<serde_json::Value> {
    let bytes = fs::read(file).map_err(|error| format!("can't read {}: {error}", file.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{} is not JSON: {error}", file.display()))
}

/// Makes one script of the worker and the glue of every build. Bundlers copy a worker as it is or make one script of it, and
/// some can't if it imports anything at run time.
fn worker(package: &Path) -> Result<()> {
    let (source, script) = (package.join("worker/worker.js"), package.join("worker.js"));
    run(&mut command("node", &["xtask/bundle.js", path_text(&source)?, path_text(&script)?]))
}

/// Puts the page and the package together in `dist/`, where the models lie in the package alone.
///
/// Its scripts are made few and small; those in `pkg/` stay readable modules, since bundlers make their own small.
fn site(mode: Mode) -> Result<()> {
    let site = root().join("dist");
    renew(&site)?;
    let models = root().join("www/models");
    copy_below(&root().join("www"), &site, |path| !path.starts_with(&models))?;
    let package = root().join("pkg");
    // The worker has the glue of its builds in it.
    let in_worker = |path: &Path| {
        path.starts_with(package.join("worker"))
            || (path.ends_with("gradcam_web.js") && !path.starts_with(package.join("view")))
    };
    copy_below(&package, &site.join("gradcam-web"), |path| !in_worker(path))?;
    samples(&site)?;
    pages::build(&site)?;
    match mode {
        Mode::Release => run(&mut command("node", &["xtask/pack.js", path_text(&site)?])),
        Mode::Dev => Ok(()),
    }
}

/// Twice what the strip of samples shows, for dense screens.
const SMALL: (u32, u32) = (192, 128);
const SMALL_QUALITY: u8 = 70;

/// The samples as the page's script takes them, and a small picture of each. The first opens the page.
fn samples(site: &Path) -> Result<()> {
    let folder = site.join("samples");
    let mut list = Vec::new();
    // Where they can't be had, that was said before.
    if let Ok(files) = fetched::files() {
        copy_below(&files.join("samples"), &folder, |_| true)?;
        list.extend(
            fetched::PHOTOS.iter().map(|photo| serde_json::json!({ "file": photo.file, "title": photo.title })),
        );
    }
    list.extend(json(&folder.join("samples.json"))?.as_array().into_iter().flatten().cloned());
    for sample in &list {
        let file = sample["file"].as_str().ok_or("samples.json has a sample without a file")?;
        pictures::convert(&folder.join(file), &folder.join("small").join(file), Some(SMALL), SMALL_QUALITY)?;
    }
    let list = serde_json::to_string_pretty(&list).expect("texts are JSON");
    let module = format!("export const SAMPLES = {list};\n");
    for (file, text) in [("samples/samples.json", list), ("samples.js", module)] {
        fs::write(site.join(file), text).map_err(|error| format!("can't write {file}: {error}"))?;
    }
    Ok(())
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
