//! Every test and lint there is, in order of cost, with one count at the end.

use crate::{
    setup,
    shell::{Result, cargo, command, each_line, files_below, root, run},
    site,
};
use std::{
    fs,
    ops::AddAssign,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

#[derive(Clone, Copy, Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Runs the tests whose name contains `filter`; a name begins with the kind of test, such as `native` or `tests/web/`.
///
/// # Errors
/// If a test fails, or there is none of that name.
pub fn run_all(filter: &str) -> Result<()> {
    let mut count = Count::default();
    for lint in lints() {
        if lint.name.contains(filter) {
            count += lint.check();
        }
    }
    count += native("xtask", &["--package", "xtask"], &["xtask/src"], filter);
    let (package, sources) = (["--package", "gradcam-web"], ["src", "tests/it"]);
    count += native("gradcam-web", &package, &sources, filter);
    // As the browser's CPU build is compiled: the same values without burn.
    let alone =
        [&package[..], &["--lib", "--test", "it", "--no-default-features", "--features", "cpu,formats"]].concat();
    count += native("gradcam-web without burn", &alone, &sources, filter);
    count += javascript("tests/node", filter, || Ok(Vec::new()));
    count += javascript("tests/web", filter, browsers_and_site);

    let skipped = if count.skipped > 0 { format!(", {} skipped", count.skipped) } else { String::new() };
    println!("\n{} passed, {} failed{skipped}", count.passed, count.failed);
    match (count.failed, count.passed + count.skipped) {
        (0, 0) => Err(format!("No test's name contains \"{filter}\".")),
        (0, _) => Ok(()),
        _ => std::process::exit(1),
    }
}

/// A tool that finds fault or does not; counts as one test.
struct Lint {
    name: String,
    needs: fn() -> Result<()>,
    command: Command,
}

impl Lint {
    fn check(mut self) -> Count {
        println!("\n{}", self.name);
        match (self.needs)().and_then(|()| run(&mut self.command)) {
            Ok(()) => Count { passed: 1, ..Count::default() },
            Err(error) => failure(&self.name, &error),
        }
    }
}

fn failure(name: &str, sentence: &str) -> Count {
    println!("FAILED {name}: {sentence}");
    Count { failed: 1, ..Count::default() }
}

fn lints() -> Vec<Lint> {
    let lint = |name: &str, needs, command| Lint { name: name.into(), needs, command };
    let mut lints = vec![
        lint("lint rustfmt", setup::rust_lints, cargo(&["fmt", "--all", "--check"])),
        lint(
            "lint eslint",
            setup::npm_packages,
            command("node", &["node_modules/eslint/bin/eslint.js", "--max-warnings=0", "."]),
        ),
        // With what only a graphics card could test, too.
        lint("lint clippy native", setup::rust_lints, clippy(&["--workspace", "--all-targets", "--all-features"])),
        lint("lint rustdoc", || Ok(()), rustdoc()),
    ];
    for name in site::BUILDS {
        lints.push(lint(&format!("lint clippy wasm {name}"), wasm_lints, clippy(&site::cargo_arguments(name))));
    }
    lints
}

fn wasm_lints() -> Result<()> {
    setup::rust_lints()?;
    setup::wasm_target()
}

fn clippy(arguments: &[&str]) -> Command {
    let mut command = cargo(&["clippy", "--quiet"]);
    command.args(arguments).args(["--", "--deny", "warnings"]);
    command
}

fn rustdoc() -> Command {
    let mut command = cargo(&["doc", "--quiet", "--package", "gradcam-web", "--lib", "--no-deps", "--all-features"]);
    command.env("RUSTDOCFLAGS", "--deny warnings");
    command
}

/// The tests of a Rust package, on the machine itself.
///
/// Each package by itself: together they would share the features of their dependencies, and this program's, compiled
/// already, would be compiled once more.
fn native(what: &str, arguments: &[&str], sources: &[&str], filter: &str) -> Count {
    let name = format!("native {what}");
    let whole = name.contains(filter);
    let mut files = sources.iter().flat_map(|folder| files_below(&root().join(folder)));
    if !whole && !files.any(|file| mentions(&file, filter)) {
        return Count::default();
    }
    println!("\n{name}");
    let mut command = cargo(&["test"]);
    command.args(arguments).args(["--no-fail-fast", "--", "--show-output"]).args((!whole).then_some(filter));
    let (mut count, mut without_material) = (Count::default(), 0);
    // What each test printed comes under `---- its name ----`, those that passed first, then their names once more.
    let (mut in_successes, mut may_skip) = (false, false);
    let outcome = each_line(command.stdout(Stdio::piped()), |line| {
        in_successes =
            line == "successes:" || (in_successes && line != "failures:" && !line.starts_with("test result: "));
        if let Some(result) = line.strip_prefix("test result: ") {
            count += rust_result(result);
        } else if line.starts_with("---- ") {
            may_skip = in_successes;
        } else if may_skip && line.starts_with("skipped: ") {
            // A test that misses its material says so and returns, which Rust counts as passed.
            may_skip = false;
            without_material += 1;
        }
        let is_name = in_successes && line.starts_with("    ");
        if !is_name && !["", "successes:", "running 0 tests"].contains(&line) {
            println!("{line}");
        }
    });
    count.passed -= without_material;
    count.skipped += without_material;
    count += unexplained(&name, outcome, count);
    count
}

/// A failure more if the tests ended badly without any of them having failed.
fn unexplained(name: &str, outcome: Result<bool>, count: Count) -> Count {
    match outcome {
        Ok(false) if count.failed == 0 => failure(name, "the tests could not be built, or broke off"),
        Ok(_) => Count::default(),
        Err(error) => failure(name, &error),
    }
}

/// Reads `ok. 3 passed; 0 failed; 1 ignored; …`.
fn rust_result(text: &str) -> Count {
    let number = |of: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        words
            .windows(2)
            .find(|pair| pair[1].trim_end_matches(';') == of)
            .and_then(|pair| pair[0].parse().ok())
            .unwrap_or(0)
    };
    Count { passed: number("passed"), failed: number("failed"), skipped: number("ignored") }
}

/// The tests of a folder's `*.test.js`, in Node, if any of them is to run; `prepare` gets ready what they need
/// and returns the environment variables that tell them where it is.
fn javascript(folder: &str, filter: &str, prepare: impl FnOnce() -> Result<Vec<(&'static str, PathBuf)>>) -> Count {
    let files = files_below(&root().join(folder)).into_iter().map(|file| relative(&file));
    // A file whose name matches runs as a whole, of the others those tests whose names do.
    let (whole, others): (Vec<String>, Vec<String>) =
        files.filter(|file| file.ends_with(".test.js")).partition(|file| file.contains(filter));
    let parts: Vec<String> = others.into_iter().filter(|file| mentions(&root().join(file), filter)).collect();
    if whole.is_empty() && parts.is_empty() {
        return Count::default();
    }

    println!("\n{folder}");
    let environment = match setup::npm_packages().and_then(|()| prepare()) {
        Ok(environment) => environment,
        Err(error) => return failure(folder, &error),
    };
    let mut sum = Count::default();
    for (files, pattern) in [(whole, None), (parts, Some(format!("--test-name-pattern=/{}/", escape(filter))))] {
        if files.is_empty() {
            continue;
        }
        // One file at a time: two browsers on two cores would make each other's times meaningless.
        let mut node = command("node", &["--test", "--test-concurrency=1", "--test-timeout=600000"]);
        node.arg("--test-reporter=./tests/reporter.js");
        node.args(pattern).args(files).envs(environment.iter().map(|(name, path)| (name, path))).stdout(Stdio::piped());
        let mut count = Count::default();
        let outcome = each_line(&mut node, |line| match line.strip_prefix("count ") {
            Some(numbers) => count += node_result(numbers),
            None => println!("{line}"),
        });
        count += unexplained(folder, outcome, count);
        sum += count;
    }
    sum
}

/// Whether a test of that name may be in the file: what contains none need not be built.
fn mentions(file: &Path, filter: &str) -> bool {
    // The last part of a path such as `cam::tests::weights` is the function's name.
    let name = filter.rsplit("::").next().unwrap_or(filter);
    fs::read_to_string(file).is_ok_and(|text| text.contains(name))
}

fn relative(file: &Path) -> String {
    file.strip_prefix(root()).expect("the file lies in the repository").to_string_lossy().replace('\\', "/")
}

/// Reads the last line of `tests/reporter.js`, `count 3 0 1`: how many passed, failed and were skipped.
fn node_result(numbers: &str) -> Count {
    let mut numbers = numbers.split_whitespace().map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    Count { passed: next(), failed: next(), skipped: next() }
}

/// Builds the site and finds the browsers. The tests of a browser other than Chromium are skipped where it is missing.
fn browsers_and_site() -> Result<Vec<(&'static str, PathBuf)>> {
    let mut browsers = vec![("CHROME", setup::chromium()?)];
    browsers.extend(setup::firefox().map(|path| ("FIREFOX", path)));
    browsers.extend(setup::webkit().map(|path| ("MINIBROWSER", path)));
    site::build(site::Mode::Release)?;
    Ok(browsers)
}

/// A regular expression that matches the text and nothing else.
fn escape(text: &str) -> String {
    let special = |c: char| !c.is_alphanumeric() && !c.is_whitespace();
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_rust_tests_are_read() {
        let count =
            rust_result("FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s");
        assert_eq!((count.passed, count.failed, count.skipped), (12, 3, 1));
    }

    #[test]
    fn results_of_node_tests_are_read() {
        let count = node_result("4 1 2");
        assert_eq!((count.passed, count.failed, count.skipped), (4, 1, 2));
    }

    #[test]
    fn filters_are_no_expressions() {
        assert_eq!(escape("grad-cam++ (cpu)"), r"grad\-cam\+\+ \(cpu\)");
    }
}
