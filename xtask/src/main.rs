//! The project's own commands: build the site and the package, serve the site, run every test.
//!
//! Each installs what it misses first, so that a fresh machine needs only rustup, Node.js and npm.

mod bench;
mod codegen;
mod fetched;
mod imagenet;
mod judge;
mod notices;
mod pages;
mod pictures;
/// The messages of ONNX files, as the crate reads them.
#[allow(dead_code, reason = "the loader reads more than the converter writes")]
#[path = "../../src/onnx/proto.rs"]
mod proto;
mod serve;
mod setup;
mod shell;
mod site;
mod soak;
mod test;

use std::{env, process::ExitCode};

const USAGE: &str = "\
usage: cargo xtask <command>

  build [--dev]                 write the static site to dist/ and the npm package to pkg/, and print their sizes
  serve [--port 8080] [--dev]   build what is missing or out of date, then serve the site on 127.0.0.1
  test [FILTER]                 run every test, or those whose name contains FILTER
  codegen [--check]             write what repeats a table (catalogue, types, element manifest, READMEs), or compare it
  docs-test                     build a site with each documentation generator that can be had, and look at its figures
  bench [options]               compare speed and size with peers in one browser run; bench --help lists the options
  soak NAME [OPTIONS]           as many odd inputs as there is time for; soak --help lists them
  judge [OPTIONS]               measure every method on the networks and images in ../shared (judge --help)

  --dev compiles again in seconds after a change to the crate, but the result is large and slow";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["build", ref options @ ..] => build(options),
        ["serve", ref options @ ..] => serve(options),
        ["bench", "--help"] => {
            println!("{}", bench::USAGE);
            Ok(())
        }
        ["bench", ref options @ ..] => bench::bench(options),
        ["codegen"] => codegen::codegen(false),
        ["codegen", "--check"] => codegen::codegen(true),
        ["judge", ref options @ ..] => judge::judge(options),
        ["soak", "--help"] => {
            println!("{}", soak::USAGE);
            Ok(())
        }
        ["soak", ref options @ ..] => soak::soak(options),
        ["docs-test"] => test::documentation(),
        ["test"] => test::run_all(""),
        ["test", filter] if !filter.starts_with("--") => test::run_all(filter),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}

fn build(options: &[&str]) -> shell::Result<()> {
    let mode = match options {
        [] => site::Mode::Release,
        ["--dev"] => site::Mode::Dev,
        _ => return Err(USAGE.into()),
    };
    site::build(mode)?;
    site::print_sizes(mode)
}

fn serve(options: &[&str]) -> shell::Result<()> {
    let (mut port, mut mode) = (8080, site::Mode::Release);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match *option {
            "--dev" => mode = site::Mode::Dev,
            "--port" => {
                let value = options.next().ok_or("--port needs a number, such as --port 8080")?;
                port = value.parse().map_err(|_| format!("--port {value}: a port is a number from 0 to 65535"))?;
            }
            _ => return Err(USAGE.into()),
        }
    }
    // Before the build: whoever has to choose another port should not wait for minutes to learn it.
    let listener = serve::listen(port)?;
    site::build(mode)?;
    serve::serve(listener, shell::root().join("dist"))
}
