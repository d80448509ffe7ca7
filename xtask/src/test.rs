//! `cargo xtask test`: every check there is, in one table.
//!
//! A failing step does not stop the others: one run tells everything. The
//! output is plain lines, so it reads the same in a terminal and in CI. What
//! each step printed is kept in `target/xtask/STEP.log`.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::setup::{self, Wanted, python};
use crate::tally::Tally;
use crate::{board, fuzz, ml_dsa, process, tidy, workspace};

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(&mut Run) -> Result<Tally, Error>,
}

const STEPS: &[Step] = &[
    Step { name: "setup", what: "the tools that the tests need are here", run: set_up },
    Step { name: "tidy", what: "house rules, licences, duplicate crates, layers", run: house_rules },
    Step { name: "deny", what: "cargo-deny, where it is installed", run: deny },
    Step { name: "fmt", what: "formatting", run: fmt },
    Step { name: "clippy", what: "lints, warnings denied", run: clippy },
    Step {
        name: "client",
        what: "the pipelines' client builds by itself, static, without warnings",
        run: client,
    },
    Step { name: "tests", what: "unit, vector, conformance and session tests", run: tests },
    Step { name: "doc-tests", what: "examples in the documentation", run: doc_tests },
    Step { name: "docs", what: "documentation builds without warnings", run: docs },
    Step { name: "board", what: "the verifier on QEMU's mps2-an385", run: on_board },
    Step { name: "fuzz", what: "libFuzzer: a million inputs for each format, with --long", run: fuzzing },
    Step { name: "ml-dsa", what: "ML-DSA keys in a token of other people's, with --long", run: ml_dsa_token },
    Step { name: "peers", what: "other people's implementations agree with the vectors", run: peers },
];

/// What the command links only where somebody asks for it: all of it is
/// tested.
const FEATURES: &str = "firmseal/aws,firmseal/tpm";

/// Mutated inputs of the tests on stable, which are built without optimisation:
/// the slowest, of the formats, takes less than half of what nextest gives it.
const ITERATIONS: &str = "250000";

/// One run of one step: where its output goes.
pub(crate) struct Run {
    long: bool,
    log: File,
}

/// `cargo xtask test [--long] [--no-setup] [STEP...]`.
pub(crate) fn main(arguments: &[String]) -> Result<(), Error> {
    let long = arguments.iter().any(|argument| argument == "--long");
    let no_setup = arguments.iter().any(|argument| argument == "--no-setup");
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let known = |name: &str| STEPS.iter().any(|step| step.name == name);
    let stranger = arguments.iter().find(|argument| match argument.as_str() {
        "--long" | "--no-setup" => false,
        name => !known(name),
    });
    if let Some(stranger) = stranger {
        let steps: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return Err(Error::wrong(format!(
            "there is no step or option `{stranger}`\nhint: the steps are {}",
            steps.join(", ")
        )));
    }
    // A step that was asked for by name runs with the tools that are there.
    let chosen = |step: &Step| match names.is_empty() {
        true => !(no_setup && step.name == "setup"),
        false => names.iter().any(|name| *name == step.name),
    };

    let started = Instant::now();
    let mut rows = Vec::new();
    for step in STEPS.iter().filter(|step| chosen(step)) {
        println!("== {}: {}", step.name, step.what);
        let (tally, time) = run(step, long)?;
        println!("   {} {}", row(step.name, tally), seconds(time));
        rows.push((step.name, tally, time));
    }

    println!("\n== summary");
    let mut total = Tally::default();
    for (name, tally, time) in &rows {
        println!("   {} {}", row(name, *tally), seconds(*time));
        total += *tally;
    }
    println!("   {:<54} {}", "all of it", seconds(started.elapsed()));
    let failed: Vec<&str> =
        rows.iter().filter(|(_, tally, _)| tally.failed > 0).map(|(name, ..)| *name).collect();
    for name in &failed {
        println!("   failed: {name} (again: cargo xtask test {name}; output: {})", log_path(name).display());
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::wrong(format!("failed: {}", failed.join(", ")))),
    }
}

fn run(step: &Step, long: bool) -> Result<(Tally, Duration), Error> {
    let path = log_path(step.name);
    workspace::write(&path, "")?;
    let log = File::create(&path).map_err(Error::file(&path))?;
    let started = Instant::now();
    let mut run = Run { long, log };
    let tally = (step.run)(&mut run).unwrap_or_else(|error| {
        run.say(&error.to_string());
        Tally::one(false)
    });
    Ok((tally, started.elapsed()))
}

fn log_path(name: &str) -> std::path::PathBuf {
    workspace::target().join("xtask").join(format!("{name}.log"))
}

fn row(name: &str, tally: Tally) -> String {
    let verdict = if tally.failed == 0 { "ok" } else { "FAILED" };
    format!("{name:<10} {verdict:<7} {:>6} passed {:>6} failed   ", tally.passed, tally.failed)
}

fn seconds(time: Duration) -> String {
    format!("{:>8.1} s", time.as_secs_f64())
}

impl Run {
    /// Prints a line and keeps it.
    pub(crate) fn say(&mut self, line: &str) {
        println!("   {line}");
        // The log is a convenience: a full disk fails the step itself, with
        // a better message than this line could give.
        let _ = writeln!(self.log, "{line}");
    }

    /// Runs a command whose success is one check.
    fn check(&mut self, command: &mut Command) -> Result<Tally, Error> {
        self.say(&format!("$ {}", process::shown(command)));
        process::stream(self.environment(command), |line| self.say(line)).map(Tally::one)
    }

    /// Runs a command that prints how many tests passed.
    fn count(&mut self, command: &mut Command) -> Result<Tally, Error> {
        self.say(&format!("$ {}", process::shown(command)));
        let mut tally = Tally::default();
        let ok = process::stream(self.environment(command), |line| {
            self.say(line);
            if let Some(more) = Tally::read(line) {
                tally += more;
            }
        })?;
        // It did not compile, say: no test failed, and yet nothing is well.
        if !ok && tally.failed == 0 {
            tally.failed = 1;
        }
        Ok(tally)
    }

    /// What tests find in their environment.
    fn environment<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Peers' tools first; then, after everything else, the directories
        // that Debian keeps out of ordinary users' path (veritysetup).
        let directories = std::iter::once(python::directory().join("bin"))
            .chain(std::env::split_paths(&path))
            .chain(["/usr/sbin", "/sbin"].map(Into::into));
        if let Ok(path) = std::env::join_paths(directories) {
            command.env("PATH", path);
        }
        command.env("FIRMSEAL_VENV", python::directory());
        if self.long {
            command.env("FIRMSEAL_FUZZ_ITERATIONS", ITERATIONS).env("FIRMSEAL_KILLS", "500");
            command.env("FIRMSEAL_REQUESTS", "100000").env("FIRMSEAL_API_EXAMPLES", "100");
            command.env("FIRMSEAL_MUTATIONS", "300").env("FIRMSEAL_LARGE_MIB", "4096");
        }
        command
    }
}

fn set_up(run: &mut Run) -> Result<Tally, Error> {
    let missing = setup::ensure(Wanted::Tests, |line| run.say(line));
    for problem in &missing {
        problem.lines().for_each(|line| run.say(line));
    }
    Ok(Tally::one(missing.is_empty()))
}

fn house_rules(run: &mut Run) -> Result<Tally, Error> {
    let mut tally = Tally::default();
    for (rule, problems) in tidy::check()? {
        problems.iter().for_each(|problem| run.say(&format!("{rule}: {problem}")));
        tally += Tally::one(problems.is_empty());
    }
    Ok(tally)
}

fn deny(run: &mut Run) -> Result<Tally, Error> {
    if process::find("cargo-deny").is_none() {
        run.say("cargo-deny is not installed; `tidy` has checked licences and duplicates");
        return Ok(Tally::default());
    }
    run.check(workspace::cargo().args(["deny", "--all-features", "check", "licenses", "bans", "sources"]))
}

fn fmt(run: &mut Run) -> Result<Tally, Error> {
    let mut tally = Tally::default();
    for manifest in workspace::manifests() {
        // Not --all: from a workspace next door it would follow the paths
        // back into this one.
        let mut cargo = workspace::cargo();
        cargo.args(["fmt", "--check", "--manifest-path"]).arg(&manifest);
        for package in workspace::members(&manifest)? {
            cargo.args(["--package", &package]);
        }
        tally += run.check(&mut cargo)?;
    }
    Ok(tally)
}

fn clippy(run: &mut Run) -> Result<Tally, Error> {
    let mut cargo = workspace::cargo();
    let mut tally = run.check(cargo.args([
        "clippy",
        "--workspace",
        "--features",
        FEATURES,
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    // Of the boards, what a host can compile; the rest denies rustc's own
    // warnings when the step `board` builds it.
    let mut boards = workspace::cargo();
    boards.args(["clippy", "--quiet", "--manifest-path"]).arg(workspace::root().join("boards/Cargo.toml"));
    boards.args(["--package", "firmseal-cases", "--package", "firmseal-host", "--target-dir"]);
    tally += run.check(boards.arg(workspace::target().join("boards")))?;
    Ok(tally)
}

/// The client with what it links and nothing else: other features would hide
/// what it lacks. The sessions sign with it.
fn client(run: &mut Run) -> Result<Tally, Error> {
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet", "--package", "firmseal", "--bin", "firmseal", "--no-default-features"]);
    cargo.args(["--features", "client", "--target", workspace::host()?.as_str(), "--target-dir"]);
    cargo.arg(workspace::target().join("client"));
    cargo.env("RUSTFLAGS", "-D warnings -C target-feature=+crt-static");
    let mut tally = run.check(&mut cargo)?;
    if tally.failed == 0 {
        // Jobs run in images of all kinds: it needs nothing of theirs.
        let links = process::read(Command::new("ldd").arg(workspace::client()?))?;
        run.say(&format!("ldd: {}", links.trim()));
        tally += Tally::one(links.contains("statically linked"));
    }
    Ok(tally)
}

fn tests(run: &mut Run) -> Result<Tally, Error> {
    // All that tests and sessions start, with the PKCS#11 module, which no test
    // links. The same targets as the tests', or cargo would leave out what only
    // tests turn on, and build half of the libraries a second time without it.
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--quiet", "--workspace", "--lib", "--bins", "--tests", "--features", FEATURES]);
    let built = run.check(&mut cargo)?;
    if built.failed > 0 {
        return Ok(built);
    }
    let mut cargo = workspace::cargo();
    if process::find("cargo-nextest").is_some() {
        cargo.args(["nextest", "run", "--workspace", "--no-fail-fast", "--no-tests=pass"]);
        cargo.args(["--features", FEATURES]);
        cargo.args(["--status-level=slow", "--final-status-level=fail", "--hide-progress-bar"]);
        cargo.arg("--cargo-quiet");
        if run.long {
            cargo.arg("--profile=long");
        }
    } else {
        cargo.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast", "--quiet"]);
        cargo.args(["--features", FEATURES]);
    }
    // The sessions need not build them again with other features.
    cargo.env("FIRMSEAL_BINARIES", workspace::target().join("debug"));
    let client = workspace::client()?;
    if client.is_file() {
        cargo.env("FIRMSEAL_CLIENT", client);
    }
    run.count(&mut cargo)
}

fn doc_tests(run: &mut Run) -> Result<Tally, Error> {
    let mut cargo = workspace::cargo();
    // With the features of the tests, or every library would be built again.
    cargo.args(["test", "--doc", "--workspace", "--features", FEATURES, "--no-fail-fast", "--quiet"]);
    run.count(&mut cargo)
}

fn docs(run: &mut Run) -> Result<Tally, Error> {
    let mut cargo = workspace::cargo();
    // Without what only tests turn on: here a library that needs it would fail.
    cargo.args(["doc", "--workspace", "--features", FEATURES, "--no-deps", "--quiet"]);
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    run.check(&mut cargo)
}

fn on_board(run: &mut Run) -> Result<Tally, Error> {
    let report = board::measure()?;
    report.summary().lines().for_each(|line| run.say(line));
    Ok(report.tally())
}

fn fuzzing(run: &mut Run) -> Result<Tally, Error> {
    if !run.long {
        run.say(
            "with --long, or `cargo xtask fuzz`; `tests` has run the same entry points with mutators of ours",
        );
        return Ok(Tally::default());
    }
    fuzz::run(&[], fuzz::Until::Long, &mut |line| run.say(line))
}

fn ml_dsa_token(run: &mut Run) -> Result<Tally, Error> {
    if !run.long {
        run.say("with --long: the token takes minutes to build");
        return Ok(Tally::default());
    }
    let mut tally = run.check(&mut ml_dsa::build()?)?;
    if tally.failed == 0 {
        tally += run.count(&mut ml_dsa::test()?)?;
    }
    Ok(tally)
}

fn peers(run: &mut Run) -> Result<Tally, Error> {
    let script = workspace::root().join("xtask/peers.py");
    let mut python = Command::new(python::interpreter());
    run.count(python.arg(script).current_dir(workspace::root()))
}
