//! The licences of the crates whose code is in the package's wasm, in one file beside it.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    shell::{Result, cargo, files_below, read},
    site,
};

/// The file's name in the package.
const FILE: &str = "THIRD-PARTY-NOTICES.txt";

/// Which of a crate's licences is quoted where it may be chosen: the first that there is.
const CHOICES: [&str; 6] = ["MIT", "ZLIB", "BSD", "APACHE", "LICENSE", "COPYING"];

/// Writes the notices into the package.
///
/// # Errors
/// If cargo can't say which crates there are.
pub fn write(package: &Path) -> Result<()> {
    let mut crates: BTreeMap<String, (String, String)> = BTreeMap::new();
    for build in site::BUILDS {
        let mut tree = cargo(&["tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none"]);
        tree.args(["--format", "{p}|{l}|{r}"]);
        tree.args(site::cargo_arguments(build).into_iter().filter(|argument| *argument != "--lib"));
        for line in read(&mut tree)?.lines() {
            let [name, licence, place] = line.trim_end_matches(" (*)").split('|').collect::<Vec<_>>()[..] else {
                continue;
            };
            // The project itself is named with its folder.
            if !name.contains('(') {
                crates.insert(name.to_owned(), (licence.to_owned(), place.to_owned()));
            }
        }
    }
    let mut notices = "The WebAssembly in this package contains code of the following Rust crates.\n".to_owned();
    for (name, (licence, place)) in &crates {
        let text = licence_text(&name.replacen(" v", "-", 1)).or_else(|| standard_text(licence)).unwrap_or_else(|| {
            format!(
                "The text of this licence is at https://spdx.org/licenses/{licence}.html, the crate's source at {place}"
            )
        });
        let line = "-".repeat(80);
        notices += &format!("\n{line}\n{name}\n{licence}\n{place}\n\n{}\n", text.trim_end());
    }
    let path = package.join(FILE);
    fs::write(&path, notices).map_err(|error| format!("can't write {}: {error}", path.display()))
}

/// The text of a licence that lies with a crate's source.
fn licence_text(folder: &str) -> Option<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")))?;
    let registries = fs::read_dir(home.join("registry/src")).ok()?;
    let source = registries.flatten().map(|registry| registry.path().join(folder)).find(|path| path.is_dir())?;
    let files = files_below(&source);
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
    let texts: Vec<&PathBuf> = files
        .iter()
        .filter(|path| name(path).starts_with("LICEN") || name(path).starts_with("COPYING"))
        .filter(|path| path.extension().is_none_or(|extension| extension != "rs"))
        .collect();
    let chosen = CHOICES.iter().find_map(|choice| texts.iter().find(|path| name(path).contains(choice)))?;
    fs::read_to_string(chosen).ok()
}

/// For crates of a family whose licence lies beside the workspace alone.
fn standard_text(licence: &str) -> Option<String> {
    let is_mit = licence.contains("MIT");
    is_mit.then(|| fs::read_to_string(crate::shell::root().join("LICENSE-MIT")).ok()).flatten().map(|text| {
        let terms = text.split_once("Permission is hereby").map_or(text.as_str(), |(_, terms)| terms).to_owned();
        format!("MIT License, by the authors of the crate\n\nPermission is hereby{terms}")
    })
}
