//! Where things are, and running other programs.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, IsTerminal},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
    thread,
    time::SystemTime,
};

/// What went wrong, in a sentence for a person.
pub type Result<T> = std::result::Result<T, String>;

/// The repository's root.
pub fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        // Asked at run time, because two checkouts may share one target directory.
        let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
        Path::new(&package).parent().expect("xtask/ lies in the repository's root").to_owned()
    });
    &ROOT
}

/// Cargo's target directory: the one that this very program was built into.
pub fn target() -> PathBuf {
    let program = env::current_exe().expect("the running program has a path");
    // target/debug/xtask
    program.ancestors().nth(2).expect("cargo puts programs two levels deep").to_owned()
}

/// A program to be run in the repository's root.
pub fn command(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// The cargo that runs this program.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = command(env::var_os("CARGO").unwrap_or("cargo".into()), arguments);
    // Cargo sets these for this program alone; handed down they would make every build look like a new one.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    if std::io::stderr().is_terminal() {
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    cargo.env("CARGO_TARGET_DIR", target());
    cargo
}

/// How an example is compiled for speed: as a release, but on the dependencies that tests have built already.
const FAST: [&str; 4] = ["opt-level=3", "codegen-units=1", "overflow-checks=false", "debug-assertions=false"];

/// Builds one of the package's examples for speed and returns where it lies.
pub fn example(name: &str) -> Result<PathBuf> {
    let mut command = cargo(&["build", "--quiet", "--example", name]);
    for setting in FAST {
        command.args(["--config", &format!("profile.dev.package.gradcam-web.{setting}")]);
    }
    run(&mut command)?;
    Ok(target().join("debug/examples").join(name))
}

/// Runs to the end, its output going where ours goes.
///
/// # Errors
/// If it can't be started or fails.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed ({status})", describe(command))) }
}

/// Runs to the end and returns what it prints; what it says on stderr goes to ours.
///
/// # Errors
/// If it can't be started or fails.
pub fn read(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().map_err(|error| cannot_start(command, &error))?;
    if !output.status.success() {
        return Err(format!("`{}` failed ({})", describe(command), output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs to the end, each line of its stderr under a name: for programs that run at the same time.
///
/// # Errors
/// If it can't be started or fails.
pub fn run_named(name: &str, command: &mut Command) -> Result<()> {
    each_line(command.stdout(Stdio::inherit()).stderr(Stdio::piped()), |line| eprintln!("{name:>4} | {line}"))
        .and_then(|success| if success { Ok(()) } else { Err(format!("`{}` failed", describe(command))) })
}

/// Runs to the end, handing over each line of its stdout or stderr, whichever is piped. Returns whether it succeeded.
///
/// # Errors
/// If it can't be started.
pub fn each_line(command: &mut Command, mut line: impl FnMut(&str)) -> Result<bool> {
    let mut child = command.spawn().map_err(|error| cannot_start(command, &error))?;
    let output: Box<dyn std::io::Read> = match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), _) => Box::new(stdout),
        (None, Some(stderr)) => Box::new(stderr),
        (None, None) => unreachable!("one of them is piped"),
    };
    for text in BufReader::new(output).split(b'\n').map_while(|text| text.ok()) {
        line(String::from_utf8_lossy(&text).trim_end());
    }
    let status = child.wait().map_err(|error| cannot_start(command, &error))?;
    Ok(status.success())
}

/// Does all of them at the same time; the first error wins.
pub fn at_once<T: Send>(jobs: Vec<impl FnOnce() -> Result<T> + Send>) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let handles: Vec<_> = jobs.into_iter().map(|job| scope.spawn(job)).collect();
        handles.into_iter().map(|handle| handle.join().expect("jobs return their errors")).collect()
    })
}

/// Finds a program as a shell would.
pub fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// When the file was last written; `None` if it is not there.
pub fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// Every file in and below a folder, in a stable order; none if the folder is not there.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = [program].into_iter().chain(command.get_args()).map(|word| word.to_string_lossy());
    words.collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("can't run `{}`: {error}", describe(command))
}

/// A path as other programs take it.
pub fn path_text(path: &Path) -> Result<&str> {
    path.to_str().ok_or(format!("{} is not UTF-8", path.display()))
}
