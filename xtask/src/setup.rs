//! Installs what is missing: compilation targets, packages from npm, and browsers for the tests.

use crate::shell::{Result, command, find, modified, read, root, run};
use std::{
    env,
    path::{Path, PathBuf},
};

/// Makes sure that Rust can compile for browsers.
pub fn wasm_target() -> Result<()> {
    let target = "wasm32-unknown-unknown";
    let installed = read(&mut command("rustc", &["--print", "target-libdir", "--target", target]))?;
    if Path::new(installed.trim()).is_dir() {
        return Ok(());
    }
    run(&mut command("rustup", &["target", "add", target]))
        .map_err(|error| format!("{error}; Rust's standard library for {target} is needed"))
}

/// Makes sure that the formatter and the linter of Rust are there.
pub fn rust_lints() -> Result<()> {
    for (component, program) in [("rustfmt", "cargo-fmt"), ("clippy", "cargo-clippy")] {
        if find(program).is_none() || read(&mut command(program, &["--version"])).is_err() {
            run(&mut command("rustup", &["component", "add", component]))?;
        }
    }
    Ok(())
}

/// Makes sure that `node_modules` holds what the lock file names.
pub fn npm_packages() -> Result<()> {
    npm_packages_of(root())
}

/// The same for a folder with packages of its own.
pub fn npm_packages_of(folder: &Path) -> Result<()> {
    // npm writes this list last, so an interrupted installation is done again.
    let installed = modified(&folder.join("node_modules/.package-lock.json"));
    if installed.is_some() && installed > modified(&folder.join("package-lock.json")) {
        return Ok(());
    }
    if find("npm").is_none() {
        return Err("npm is missing: install Node.js 20 or later with npm".into());
    }
    run(command("npm", &["ci", "--no-audit", "--no-fund"]).current_dir(folder))
}

/// A Python that has pip: one found, else Debian's.
///
/// # Errors
/// If there is none and none can be installed.
pub fn pip() -> Result<PathBuf> {
    let find_one = || {
        let python = find("python3").or_else(|| find("python"))?;
        read(&mut command(&python, &["-m", "pip", "--version"])).is_ok().then_some(python)
    };
    find_one().or_else(|| apt_get(&["python3-pip"]).then(find_one).flatten()).ok_or("pip is missing".into())
}

/// The Chromium to test in: `$CHROME`, else one found, else Debian's.
///
/// # Errors
/// If there is none and none can be installed.
pub fn chromium() -> Result<PathBuf> {
    if let Some(path) = env::var_os("CHROME") {
        let path = PathBuf::from(path);
        return if path.is_file() { Ok(path) } else { Err(format!("$CHROME is {}, which is no file", path.display())) };
    }
    let find_one = || {
        ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"]
            .iter()
            .find_map(|name| find(name))
            .or_else(|| existing("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"))
    };
    find_one().or_else(|| apt_get(&["chromium"]).then(find_one).flatten()).ok_or(
        "The browser tests need Chromium: install Debian's package `chromium` or Google Chrome, or let $CHROME name one."
            .into(),
    )
}

/// The Firefox to test in: `$FIREFOX`, else one found, else Debian's; `None` if there is none to be had.
pub fn firefox() -> Option<PathBuf> {
    let find_one =
        || env::var_os("FIREFOX").map(PathBuf::from).or_else(|| find("firefox-esr")).or_else(|| find("firefox"));
    find_one().or_else(|| apt_get(&["firefox-esr"]).then(find_one).flatten())
}

/// WebKitGTK's small browser, which has Safari's engine; `None` unless its driver and a virtual screen are there too.
pub fn webkit() -> Option<PathBuf> {
    let find_one = || {
        find("WebKitWebDriver")?;
        find("Xvfb")?;
        // Debian puts it below the machine's own library folder, such as /usr/lib/x86_64-linux-gnu.
        let folders = Path::new("/usr/lib").read_dir().ok()?.flatten().map(|entry| entry.path());
        folders.chain([PathBuf::from("/usr/lib"), PathBuf::from("/usr/libexec")]).find_map(|folder| {
            ["webkit2gtk-4.1", "webkitgtk-6.0"]
                .iter()
                .find_map(|version| existing(folder.join(version).join("MiniBrowser")))
        })
    };
    find_one().or_else(|| apt_get(&["webkit2gtk-driver", "libwebkit2gtk-4.1-0", "xvfb"]).then(find_one).flatten())
}

/// Installs Debian packages, if this is Debian and we may. Returns whether that went well.
fn apt_get(packages: &[&str]) -> bool {
    let is_root = || read(&mut command("id", &["-u"])).is_ok_and(|id| id.trim() == "0");
    if find("apt-get").is_none() || !is_root() {
        return false;
    }
    let install = || {
        let mut command = command("apt-get", &["install", "--yes", "--quiet", "--no-install-recommends"]);
        run(command.args(packages).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    // The lists may never have been fetched, or be older than the archive.
    let outcome = install().or_else(|_| run(&mut command("apt-get", &["update", "--quiet"])).and_then(|()| install()));
    outcome.inspect_err(|error| eprintln!("{error}")).is_ok()
}

fn existing(path: impl Into<PathBuf>) -> Option<PathBuf> {
    Some(path.into()).filter(|path| path.is_file())
}
