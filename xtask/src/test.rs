//! Every test and lint there is, in order of cost, with one count at the end.

use crate::{
    codegen, setup,
    shell::{Result, cargo, command, each_line, files_below, root, run, target},
    site, soak,
};
use std::{
    fs,
    ops::AddAssign,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// How the names of tests begin that run without any test having that in its own name.
const GROUPS: [&str; 5] = ["lint", "native", "tests/node", "tests/web", "tests/docs"];

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
    /// What failed, each with the first lines of why, to be said once more at the end of a long report.
    failures: Vec<String>,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
    }
}

/// Runs the tests whose name contains `filter`, and builds nothing that these do not need.
///
/// A name begins with its group: `lint`, `native`, `tests/node`, `tests/web` or `tests/docs`. A filter that begins so means the group;
/// any other is looked for in the tests' own names.
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
    for suite in NATIVE {
        count += suite.run(filter);
    }
    count += javascript("tests/node", filter, |_| site::networks().map(|()| Vec::new()));
    // With all tests the release build is made anyhow: another one for the last of them would take as long again.
    let mode = |files: &[&str]| match filter.is_empty() || files.contains(&RELEASE_ALONE) {
        true => site::Mode::Release,
        false => site::Mode::Dev,
    };
    count += javascript("tests/web", filter, |files| browsers_and_site(mode(files)));
    count += javascript("tests/docs", filter, |files| browsers_and_site(mode(files)));

    if count.failed + count.passed + count.skipped == 0 {
        return Err(format!("No test's name contains \"{filter}\"."));
    }
    finish(count)
}

/// Builds a site with each documentation generator and bundler that can be had, and looks for the heatmap in each.
///
/// # Errors
/// If a figure is not drawn, or the site can't be built.
pub fn documentation() -> Result<()> {
    let count = javascript("tests/docs", "", |_| {
        let mut environment = browsers_and_site(site::Mode::Dev)?;
        environment.push(("GRADCAM_DOCS", "all".into()));
        Ok(environment)
    });
    finish(count)
}

/// Runs a file of browser tests in its long form: the variable says how many of what there are.
///
/// # Errors
/// If a test fails, or the site can't be built.
pub fn long_form(file: &str, variable: &'static str, count: &str) -> Result<()> {
    let count = javascript("tests/web", file, |_| {
        let mut environment = browsers_and_site(site::Mode::Dev)?;
        environment.push((variable, count.into()));
        Ok(environment)
    });
    finish(count)
}

/// Prints what failed, and the last line.
fn finish(count: Count) -> Result<()> {
    for failure in &count.failures {
        println!("\n{failure}");
    }
    let skipped = if count.skipped > 0 { format!(", {} skipped", count.skipped) } else { String::new() };
    println!("\n{} passed, {} failed{skipped}", count.passed, count.failed);
    if count.failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

/// A tool that finds fault or does not; counts as one test.
struct Lint {
    name: String,
    run: Box<dyn FnOnce() -> Result<()>>,
}

impl Lint {
    fn check(self) -> Count {
        println!("\n{}", self.name);
        match (self.run)() {
            Ok(()) => Count { passed: 1, ..Count::default() },
            Err(error) => failure(&self.name, &error),
        }
    }
}

fn failure(name: &str, sentence: &str) -> Count {
    let failure = format!("FAILED {name}: {sentence}");
    println!("{failure}");
    Count { failed: 1, failures: vec![failure], ..Count::default() }
}

fn lints() -> Vec<Lint> {
    let lint = |name: &str, needs: fn() -> Result<()>, mut command: Command| Lint {
        name: name.into(),
        run: Box::new(move || needs().and_then(|()| run(&mut command))),
    };
    let mut lints = vec![
        lint("lint rustfmt", setup::rust_lints, cargo(&["fmt", "--all", "--check"])),
        lint(
            "lint eslint",
            setup::npm_packages,
            command("node", &["node_modules/eslint/bin/eslint.js", "--max-warnings=0", "."]),
        ),
        // With what only a graphics card could test, too.
        lint("lint clippy native", setup::rust_lints, clippy(&["--workspace", "--all-targets", "--all-features"])),
        lint(
            "lint prettier",
            setup::npm_packages,
            command("node", &["node_modules/prettier/bin/prettier.cjs", "--check", "."]),
        ),
        lint(
            "lint types",
            setup::npm_packages,
            command("node", &["node_modules/typescript/bin/tsc", "--project", "tsconfig.json"]),
        ),
        lint("lint rustdoc", || Ok(()), rustdoc()),
    ];
    lints.push(Lint { name: "lint codegen".into(), run: Box::new(|| codegen::codegen(true)) });
    // `formats` has all of `decode`, and `relaxed` differs from `cpu` by a flag of the compiler alone.
    for name in ["view", "formats", "cpu", "gpu"] {
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

/// The tests of a Rust package with some features, on the machine itself.
///
/// Each package by itself: together they would share the features of their dependencies, and this program's, compiled
/// already, would be compiled once more.
struct Native {
    name: &'static str,
    arguments: &'static [&'static str],
    /// What cargo calls each part that has tests, and where its files are.
    parts: &'static [(&'static str, &'static str)],
    /// Whether another suite has the same tests: it runs only with all of its group.
    is_repeated: bool,
}

const CRATE: &[(&str, &str)] = &[("--lib", "src"), ("--test=it", "tests/it")];

const NATIVE: [Native; 4] = [
    Native {
        name: "native xtask",
        arguments: &["--package=xtask"],
        parts: &[("--bins", "xtask/src")],
        is_repeated: false,
    },
    Native {
        name: "native gradcam-kernels",
        arguments: &["--package=gradcam-kernels"],
        parts: &[("--lib", "src/kernels")],
        is_repeated: false,
    },
    // As the browser's CPU build is compiled.
    Native {
        name: "native gradcam-web",
        arguments: &["--package=gradcam-web", "--no-default-features", "--features=cpu,formats"],
        parts: CRATE,
        is_repeated: false,
    },
    // The same values by burn, and the examples in the documentation.
    Native {
        name: "native gradcam-web on burn",
        arguments: &["--package=gradcam-web"],
        parts: CRATE,
        is_repeated: true,
    },
];

impl Native {
    fn run(&self, filter: &str) -> Count {
        let whole = self.name.contains(filter);
        let parts: Vec<&str> = (self.parts.iter())
            .filter(|(_, folder)| files_below(&root().join(folder)).iter().any(|file| declares(file, filter)))
            .map(|(part, _)| *part)
            .collect();
        match whole {
            true => native(self.name, self.arguments, None),
            false if self.is_repeated || parts.is_empty() => Count::default(),
            false => native(self.name, &[self.arguments, &parts].concat(), Some(filter)),
        }
    }
}

/// Runs those of the tests whose names contain the filter.
fn native(name: &str, arguments: &[&str], filter: Option<&str>) -> Count {
    println!("\n{name}");
    let mut command = cargo(&["test"]);
    command.args(arguments).args(["--no-fail-fast", "--", "--show-output"]).args(filter);
    let (mut count, mut without_material) = (Count::default(), 0);
    // What each test printed comes under `---- its name ----`, those that passed first, then their names once more.
    let (mut in_successes, mut may_skip) = (false, false);
    let outcome = each_line(command.stdout(Stdio::piped()), |line| {
        in_successes =
            line == "successes:" || (in_successes && line != "failures:" && !line.starts_with("test result: "));
        if let Some(result) = line.strip_prefix("test result: ") {
            count += rust_result(result);
        } else if let Some(test) = line.strip_prefix("test ").and_then(|test| test.strip_suffix(" ... FAILED")) {
            count.failures.push(format!("FAILED {test}"));
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
    count += unexplained(name, outcome, &count);
    count
}

/// A failure more if the tests ended badly without any of them having failed.
fn unexplained(name: &str, outcome: Result<bool>, count: &Count) -> Count {
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
    Count { passed: number("passed"), failed: number("failed"), skipped: number("ignored"), ..Count::default() }
}

/// The tests of a folder's `*.test.js`, in Node, if any of them is to run; `prepare` gets ready what they need
/// and returns the environment variables that tell them where it is.
fn javascript(
    folder: &str,
    filter: &str,
    prepare: impl FnOnce(&[&str]) -> Result<Vec<(&'static str, PathBuf)>>,
) -> Count {
    let files = files_below(&root().join(folder)).into_iter().map(|file| relative(&file));
    // A file whose name matches runs as a whole, of the others those tests whose names do.
    let (whole, others): (Vec<String>, Vec<String>) =
        files.filter(|file| file.ends_with(".test.js")).partition(|file| file.contains(filter));
    let parts: Vec<String> = others.into_iter().filter(|file| declares(&root().join(file), filter)).collect();
    if whole.is_empty() && parts.is_empty() {
        return Count::default();
    }

    println!("\n{folder}");
    let files: Vec<&str> = whole.iter().chain(&parts).map(String::as_str).collect();
    let environment = match setup::npm_packages().and_then(|()| prepare(&files)) {
        Ok(environment) => environment,
        Err(error) => return failure(folder, &error),
    };
    let mut sum = Count::default();
    for (files, pattern) in [(whole, None), (parts, Some(format!("--test-name-pattern=/{}/", escape(filter))))] {
        if files.is_empty() {
            continue;
        }
        // One file at a time: two browsers on two cores would make each other's times meaningless.
        // Also that of a whole file: a dozen generators take their time, and so do thousands of pictures.
        let is_long = folder == "tests/docs" || environment.iter().any(|(name, _)| soak::is_long_form(name));
        let timeout = if is_long { "--test-timeout=36000000" } else { "--test-timeout=600000" };
        let mut node = command("node", &["--test", "--test-concurrency=1", timeout]);
        node.arg("--test-reporter=./tests/reporter.js");
        node.args(pattern).args(files).envs(environment.iter().map(|(name, path)| (name, path))).stdout(Stdio::piped());
        let mut count = Count::default();
        let outcome = each_line(&mut node, |line| match line.strip_prefix("count ") {
            Some(numbers) => count += node_result(numbers),
            None => {
                println!("{line}");
                keep_failure(&mut count.failures, line);
            }
        });
        count += unexplained(folder, outcome, &count);
        sum += count;
    }
    sum
}

/// The lines of a failure that are said again: its name and the message, without the rest of the stack.
const LINES_OF_A_FAILURE: usize = 12;

/// Keeps the line if it begins a failure of `tests/reporter.js`, or goes on with the last one.
fn keep_failure(failures: &mut Vec<String>, line: &str) {
    if line.starts_with("FAILED ") {
        failures.push(line.into());
    } else if let Some(last) = failures.last_mut().filter(|last| !last.ends_with('\n')) {
        last.push('\n');
        let goes_on = line.starts_with("    ") && last.lines().count() < LINES_OF_A_FAILURE;
        if goes_on {
            last.push_str(line);
        }
    }
}

/// Whether the file has a test whose name contains the filter: what contains none need not be built.
fn declares(file: &Path, filter: &str) -> bool {
    if GROUPS.iter().any(|group| filter.starts_with(group)) {
        return false;
    }
    let Ok(text) = fs::read_to_string(file) else { return false };
    let mut lines = text.lines().map(str::trim_start);
    if file.extension().is_none_or(|extension| extension != "rs") {
        // A name is a string, which some tests put together.
        return lines.any(|line| line.contains(filter) && line.contains(['"', '`']));
    }
    // The last part of a path such as `cam::tests::weights` is the function's name.
    let name = filter.rsplit("::").next().unwrap_or(filter);
    let mut is_test = false;
    lines.any(|line| {
        let was_test = std::mem::replace(&mut is_test, line == "#[test]");
        was_test && line.split('(').next().is_some_and(|function| function.contains(name))
    })
}

fn relative(file: &Path) -> String {
    file.strip_prefix(root()).expect("the file lies in the repository").to_string_lossy().replace('\\', "/")
}

/// Reads the last line of `tests/reporter.js`, `count 3 0 1`: how many passed, failed and were skipped.
fn node_result(numbers: &str) -> Count {
    let mut numbers = numbers.split_whitespace().map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    Count { passed: next(), failed: next(), skipped: next(), ..Count::default() }
}

/// What only the release build can show: how large it is.
const RELEASE_ALONE: &str = "tests/web/size.test.js";

/// Builds the site and finds the browsers. The tests of a browser other than Chromium are skipped where it is missing.
///
/// The development build is there in seconds; its sizes and times mean nothing.
fn browsers_and_site(mode: site::Mode) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut browsers = vec![("CHROME", setup::chromium()?)];
    browsers.extend(setup::firefox().map(|path| ("FIREFOX", path)));
    browsers.extend(setup::webkit().map(|path| ("MINIBROWSER", path)));
    site::build(mode)?;
    browsers.push(("GRADCAM_TARGET", target()));
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
