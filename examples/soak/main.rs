//! Loads, runs and explains mutated models until a number of them is done: `cargo xtask soak models`.
//!
//! Mutants are made by numbers, so that each can be made again. They run in processes of their own, one after the other:
//! a panic is noted and the next mutant comes; what takes too long or too much memory ends its process, and the next one
//! goes on behind it.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mutate::{Case, Corpus};

mod exercise;
mod mutate;
#[allow(dead_code, reason = "the loader reads more than mutants change")]
#[path = "../../src/onnx/proto.rs"]
mod proto;

const USAGE: &str = "\
usage: cargo xtask soak models [--count N] [--first N] [--file PATH…]

  --count N    how many mutants; default: 2000
  --first N    the number of the first; default: 0
  --file PATH  these files as they are, instead of mutants
  --save DIR   writes the mutants to files instead of running them";

/// What no file may take: seconds of work, whatever else the machine does.
const MOST_TIME: Duration = Duration::from_secs(5);
const MOST_MEMORY: usize = 2 << 30;

/// How a process says that it was ended.
const TOO_LONG: i32 = 71;
const TOO_MUCH: i32 = 72;

/// Counts the bytes in use, and ends the process where they are too many.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn taken(bytes: usize) {
    let in_use = IN_USE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(in_use, Ordering::Relaxed);
    if in_use > MOST_MEMORY {
        std::process::exit(TOO_MUCH);
    }
}

// SAFETY: all is left to `System`, with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there while one is copied to the other.
        taken(size);
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--run", first, count, ref files @ ..] => {
            run(number(first).unwrap_or(0), number(count).unwrap_or(0), files);
            Ok(true)
        }
        ref options => parsed(options).and_then(|options| supervise(&options)),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    first: u64,
    count: u64,
    files: Vec<String>,
    save: Option<PathBuf>,
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text}: a number is accepted\n\n{USAGE}"))
}

fn parsed(options: &[&str]) -> Result<Options, String> {
    let mut parsed = Options { first: 0, count: 2000, files: vec![], save: None };
    let mut rest = options.iter();
    while let Some(&option) = rest.next() {
        let mut value = || rest.next().copied().ok_or(format!("{option} needs a value\n\n{USAGE}"));
        match option {
            "--count" => parsed.count = number(value()?)?,
            "--first" => parsed.first = number(value()?)?,
            "--save" => parsed.save = Some(value()?.into()),
            "--file" => parsed.files.push(value()?.into()),
            _ if !option.starts_with("--") && !parsed.files.is_empty() => parsed.files.push(option.into()),
            _ => return Err(USAGE.into()),
        }
    }
    if !parsed.files.is_empty() {
        (parsed.first, parsed.count) = (0, parsed.files.len() as u64);
    }
    Ok(parsed)
}

/// Starts a process after the other until all mutants are done, and says what came of them.
fn supervise(options: &Options) -> Result<bool, String> {
    let corpus = Corpus::read();
    if let Some(folder) = &options.save {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        for seed in options.first..options.first + options.count {
            let path = folder.join(format!("{seed}.onnx"));
            std::fs::write(path, corpus.mutant(seed).bytes).map_err(|error| error.to_string())?;
        }
        return Ok(true);
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let started = Instant::now();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut faults: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let (mut at, end) = (options.first, options.first + options.count);
    let (mut slowest, mut largest) = ((Duration::ZERO, 0), (0, 0));
    while at < end {
        let mut command = Command::new(&program);
        command.args(["--run", &at.to_string(), &(end - at).to_string()]).args(&options.files);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(if end - at == 1 { Stdio::inherit() } else { Stdio::null() })
            .spawn()
            .map_err(|error| error.to_string())?;
        let lines = BufReader::new(child.stdout.take().ok_or("a process without output")?).lines();
        for line in lines.map_while(Result::ok) {
            let [seed, took, memory, outcome] = line.splitn(4, '\t').collect::<Vec<_>>()[..] else { continue };
            let seed = number(seed)?;
            at = seed + 1;
            slowest = slowest.max((Duration::from_micros(number(took)?), seed));
            largest = largest.max((number(memory)?, seed));
            match outcome.split_once('\t') {
                Some((_, fault)) => faults.entry(fault.into()).or_insert((0, seed)).0 += 1,
                None => *counts.entry(outcome.into()).or_default() += 1,
            }
            if (at - options.first).is_multiple_of(5000) {
                let faulty: u64 = faults.values().map(|(count, _)| count).sum();
                eprintln!("{} of {}: {faulty} faults, {:.0?}", at - options.first, options.count, started.elapsed());
            }
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        if at < end {
            let what = match status.code() {
                Some(TOO_LONG) => format!("took more than {MOST_TIME:?}"),
                Some(TOO_MUCH) => format!("took more than {} MiB", MOST_MEMORY >> 20),
                _ => format!("ended the process ({status})"),
            };
            faults.entry(what).or_insert((0, at)).0 += 1;
            at += 1;
        }
    }
    for (outcome, count) in &counts {
        println!("{count:>8}  {outcome}");
    }
    for (fault, (count, seed)) in &faults {
        println!(
            "{count:>8}  FAULT: {fault} (first: {})",
            options.files.get(*seed as usize).unwrap_or(&seed.to_string())
        );
    }
    println!(
        "{} mutants in {:.0?}; the slowest took {:.2?} ({}), the largest {} MiB ({})",
        options.count,
        started.elapsed(),
        slowest.0,
        slowest.1,
        largest.0 >> 20,
        largest.1
    );
    let faulty: u64 = faults.values().map(|(count, _)| count).sum();
    println!("{} passed, {faulty} failed", options.count - faulty);
    Ok(faulty == 0)
}

/// How long the main thread has worked; where the system does not tell, how long ago the beginning is.
fn worked(epoch: &Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanoseconds.map_or_else(|| epoch.elapsed(), Duration::from_nanos)
}

/// Runs mutants, with a line for each: its number, microseconds, bytes, and what came of it.
fn run(first: u64, count: u64, files: &[&str]) {
    let corpus = Corpus::read();
    let epoch = Instant::now();
    // When the mutant at work was begun, in milliseconds of work and one; 0 between.
    static BEGUN: AtomicU64 = AtomicU64::new(0);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let begun = BEGUN.load(Ordering::Relaxed);
            let is_late = worked(&epoch) > Duration::from_millis(begun) + MOST_TIME;
            if begun > 0 && is_late {
                std::process::exit(TOO_LONG);
            }
        }
    });
    std::panic::set_hook(Box::new(|_| {}));
    for seed in first..first + count {
        let case = match files.get(seed as usize) {
            Some(file) => Case::file(std::fs::read(Path::new(file)).unwrap_or_default()),
            None if files.is_empty() => corpus.mutant(seed),
            None => return,
        };
        let started = worked(&epoch);
        BEGUN.store(started.as_millis() as u64 + 1, Ordering::Relaxed);
        MOST.store(IN_USE.load(Ordering::Relaxed), Ordering::Relaxed);
        let (send, place) = std::sync::mpsc::channel();
        std::panic::set_hook(Box::new(move |info| {
            let at = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
            if count == 1 {
                eprintln!("{info}\n{}", std::backtrace::Backtrace::force_capture());
            }
            let message = info.payload_as_str().unwrap_or_default().lines().next().unwrap_or_default().to_owned();
            let _ = send.send(format!("panic at {at}: {}", message.chars().take(80).collect::<String>()));
        }));
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| exercise::exercise(&case, seed)));
        BEGUN.store(0, Ordering::Relaxed);
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(_) => format!("fault\t{}", place.try_recv().unwrap_or_default()),
        };
        let mut out = std::io::stdout().lock();
        let (took, most) = ((worked(&epoch).saturating_sub(started)).as_micros(), MOST.load(Ordering::Relaxed));
        let _ = writeln!(out, "{seed}\t{took}\t{most}\t{outcome}").and_then(|()| out.flush());
    }
}
