//! Loads, runs and explains mutated models until a number of them is done: `cargo xtask soak models`.
//!
//! Mutants are made by numbers, so that each can be made again. They run in processes of their own, as many at a time as
//! there are processors: a panic is noted and the next mutant comes; what takes too long or too much memory ends its
//! process, and the next one goes on behind it.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
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

/// What came of the mutants so far.
#[derive(Default)]
struct Report {
    done: u64,
    counts: BTreeMap<String, u64>,
    /// How often, and the first mutant of each.
    faults: BTreeMap<String, (u64, u64)>,
    slowest: (Duration, u64),
    largest: (u64, u64),
}

impl Report {
    fn faulty(&self) -> u64 {
        self.faults.values().map(|(count, _)| count).sum()
    }

    fn fault(&mut self, what: String, seed: u64) {
        let (count, first) = self.faults.entry(what).or_insert((0, seed));
        (*count, *first) = (*count + 1, seed.min(*first));
    }

    /// Reads a line of [`run`] and returns the mutant's number.
    fn read(&mut self, line: &str) -> Result<Option<u64>, String> {
        let [seed, took, memory, outcome] = line.splitn(4, '\t').collect::<Vec<_>>()[..] else { return Ok(None) };
        let seed = number(seed)?;
        self.done += 1;
        self.slowest = self.slowest.max((Duration::from_micros(number(took)?), seed));
        self.largest = self.largest.max((number(memory)?, seed));
        match outcome.split_once('\t') {
            Some((_, fault)) => self.fault(fault.into(), seed),
            None => *self.counts.entry(outcome.into()).or_default() += 1,
        }
        Ok(Some(seed))
    }
}

/// Mutants that a thread takes at a time.
const STRETCH: u64 = 1000;

/// Runs all mutants, on all processors, and says what came of them.
fn supervise(options: &Options) -> Result<bool, String> {
    if let Some(folder) = &options.save {
        let corpus = Corpus::read();
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        for seed in options.first..options.first + options.count {
            let path = folder.join(format!("{seed}.onnx"));
            std::fs::write(path, corpus.mutant(seed).bytes).map_err(|error| error.to_string())?;
        }
        return Ok(true);
    }
    let (started, end) = (Instant::now(), options.first + options.count);
    let (next, report) = (AtomicU64::new(options.first), Mutex::new(Report::default()));
    let work = || -> Result<(), String> {
        loop {
            let first = next.fetch_add(STRETCH, Ordering::Relaxed);
            if first >= end {
                return Ok(());
            }
            run_stretch(options, first..end.min(first + STRETCH), &report)?;
            let report = report.lock().map_err(|error| error.to_string())?;
            eprintln!("{} of {}: {} faults, {:.0?}", report.done, options.count, report.faulty(), started.elapsed());
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    let report = report.into_inner().map_err(|error| error.to_string())?;
    for (outcome, count) in &report.counts {
        println!("{count:>8}  {outcome}");
    }
    for (fault, (count, seed)) in &report.faults {
        let name = options.files.get(*seed as usize).cloned().unwrap_or(seed.to_string());
        println!("{count:>8}  FAULT: {fault} (first: {name})");
    }
    println!(
        "{} mutants in {:.0?}; the slowest took {:.2?} ({}), the largest {} MiB ({})",
        options.count,
        started.elapsed(),
        report.slowest.0,
        report.slowest.1,
        report.largest.0 >> 20,
        report.largest.1
    );
    let faulty = report.faulty();
    println!("{} passed, {faulty} failed", options.count - faulty);
    Ok(faulty == 0)
}

/// Starts a process after the other until all of the mutants are done.
fn run_stretch(options: &Options, stretch: Range<u64>, report: &Mutex<Report>) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let locked = || report.lock().map_err(|error| error.to_string());
    let Range { start: mut at, end } = stretch;
    while at < end {
        let mut command = Command::new(&program);
        command.args(["--run", &at.to_string(), &(end - at).to_string()]).args(&options.files);
        // Of a single mutant all is told.
        let stderr = if options.count == 1 { Stdio::inherit() } else { Stdio::null() };
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().map_err(|error| error.to_string())?;
        let lines = BufReader::new(child.stdout.take().ok_or("a process without output")?).lines();
        for line in lines.map_while(Result::ok) {
            at = locked()?.read(&line)?.map_or(at, |seed| seed + 1);
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        if at < end {
            let what = match status.code() {
                Some(TOO_LONG) => format!("took more than {MOST_TIME:?}"),
                Some(TOO_MUCH) => format!("took more than {} MiB", MOST_MEMORY >> 20),
                _ => format!("ended the process ({status})"),
            };
            let mut report = locked()?;
            report.fault(what, at);
            report.done += 1;
            at += 1;
        }
    }
    Ok(())
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
