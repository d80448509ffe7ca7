//! The verifier on QEMU's mps2-an385: build, run, compare, print the cost.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::setup::Wanted;
use crate::tally::Tally;
use crate::{bare_metal, elf, process, vectors, workspace};

/// What one case said and cost.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) code: u16,
    pub(crate) instructions: u64,
    pub(crate) stack: u64,
    pub(crate) nanoseconds: u64,
}

/// What the board did.
pub(crate) struct Report {
    pub(crate) cases: Vec<Case>,
    /// The verdict that is expected of each case; 0 where none is named.
    expected: BTreeMap<String, u16>,
    flash: Flash,
}

/// Bytes of flash, harness subtracted.
pub(crate) struct Flash {
    /// SHA-256, P-256 and Ed25519.
    pub(crate) crypto: u64,
    /// `admit` with its cryptography.
    pub(crate) admit: u64,
}

/// `cargo xtask board`.
pub(crate) fn main(arguments: &[String]) -> Result<(), Error> {
    if !arguments.is_empty() {
        return Err(Error::wrong("usage: cargo xtask board"));
    }
    bare_metal::ensure(Wanted::Tests, &mut |line| println!("{line}"))?;
    let report = measure()?;
    print!("{}", report.text());
    match report.tally().failed {
        0 => Ok(()),
        failed => Err(Error::wrong(format!("{failed} cases gave another verdict than expected"))),
    }
}

/// Builds and runs the board's program on the packed cases.
pub(crate) fn measure() -> Result<Report, Error> {
    let packed = vectors::pack(|_| true)?;
    workspace::write(&work().join("cases.bin"), &packed.bytes)?;
    let flash = flash("release")?;
    let cases = read(&qemu(binary("release", "mps2-an385"))?)?;
    // The program without the recorder around it says the same.
    let plain = read(&qemu(binary("release", "admit"))?)?;
    let agree =
        plain.iter().all(|one| cases.iter().any(|case| (&case.name, case.code) == (&one.name, one.code)));
    if !agree || plain.is_empty() {
        return Err(Error::wrong("the programs `admit` and `mps2-an385` disagree about a verdict"));
    }
    Ok(Report { cases, expected: packed.expected, flash })
}

/// Builds the board's programs under a profile and compares their sizes.
pub(crate) fn flash(profile: &str) -> Result<Flash, Error> {
    let mut cargo = bare_metal::cargo()?;
    build(&mut cargo, profile).args(["--package", "mps2-an385", "--target", bare_metal::TARGET]);
    process::read(&mut cargo)?;
    let size = |name| elf::flash_size(&binary(profile, name));
    let empty = size("empty")?;
    let over = |size: u64| size.saturating_sub(empty);
    Ok(Flash { crypto: over(size("crypto")?), admit: over(size("admit")?) })
}

fn binary(profile: &str, name: &str) -> PathBuf {
    workspace::target().join("boards").join(bare_metal::TARGET).join(profile).join(name)
}

/// How often the host repeats everything. Other work on the machine comes and
/// goes; the fastest of rounds that are seconds apart hardly sees it.
const ROUNDS: usize = 8;

/// The good cases on the host, timed.
pub(crate) fn measure_host() -> Result<Vec<Case>, Error> {
    let mut cargo = workspace::cargo();
    build(&mut cargo, "release").args(["--package", "firmseal-host"]);
    process::read(&mut cargo)?;
    let pack = work().join("good.bin");
    workspace::write(&pack, vectors::pack(|name| name.starts_with("ok_"))?.bytes)?;
    let program = workspace::target().join("boards/release/firmseal-host");
    let mut fastest: Vec<Case> = Vec::new();
    for _ in 0..ROUNDS {
        for case in read(&process::read(Command::new(&program).arg(&pack))?)? {
            match fastest.iter_mut().find(|other| other.name == case.name) {
                Some(other) => other.nanoseconds = other.nanoseconds.min(case.nanoseconds),
                None => fastest.push(case),
            }
        }
    }
    Ok(fastest)
}

fn build<'a>(cargo: &'a mut Command, profile: &str) -> &'a mut Command {
    let manifest = workspace::root().join("boards/Cargo.toml");
    cargo
        .args(["build", "--profile", profile, "--quiet", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(workspace::target().join("boards"))
}

/// Where the board finds its input.
fn work() -> PathBuf {
    workspace::target().join("board")
}

/// Runs a program on the machine and returns what it printed.
fn qemu(kernel: PathBuf) -> Result<String, Error> {
    let Some(program) = process::find("qemu-system-arm") else {
        return Err(Error::wrong("qemu-system-arm is missing\nhint: cargo xtask setup"));
    };
    // An infinite loop on the board must not hang the tests: `timeout` is in
    // Debian's essential set, and ends QEMU with 124.
    let mut command = Command::new("timeout");
    command
        .arg("900")
        .arg(program)
        .args(["-M", "mps2-an385", "-nographic", "-monitor", "none", "-serial", "none"])
        .args(["-icount", "shift=4", "-semihosting-config", "enable=on,target=native"])
        .arg("-kernel")
        .arg(kernel)
        .current_dir(work());
    process::read(&mut command)
}

/// Reads the result lines of a board or of the host. The last line is `end`:
/// without it the program stopped early.
pub(crate) fn read(output: &str) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for line in output.lines() {
        if line == "end" {
            return Ok(cases);
        }
        cases.push(case(line).ok_or_else(|| Error::wrong(format!("the board said `{line}`")))?);
    }
    Err(Error::wrong(format!("the board stopped after {} cases", cases.len())))
}

fn case(line: &str) -> Option<Case> {
    let field = |name: &str| {
        line.split(' ')
            .find_map(|word| word.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    };
    let number = |name: &str| match field(name) {
        Some(value) => value.parse().ok(),
        None => Some(0),
    };
    Some(Case {
        name: field("case")?.to_owned(),
        code: field("code")?.parse().ok()?,
        instructions: number("instructions")?,
        stack: number("stack")?,
        nanoseconds: number("nanoseconds")?,
    })
}

impl Report {
    /// Cases whose verdict is the expected one, and the others; a case that
    /// was packed and not run is one of the others.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.cases.iter().for_each(|case| tally += Tally::one(self.as_expected(case)));
        self.missing().for_each(|_| tally += Tally::one(false));
        tally
    }

    fn as_expected(&self, case: &Case) -> bool {
        case.code == self.expected.get(&case.name).copied().unwrap_or(0)
    }

    /// The table for people: every case.
    pub(crate) fn text(&self) -> String {
        let lines: String = self.cases.iter().map(|case| self.line(case)).collect();
        format!("{HEAD}\n{lines}{}\n", self.flash)
    }

    /// What a test prints: the cases that surprise, and the costliest.
    pub(crate) fn summary(&self) -> String {
        let surprising = self.cases.iter().filter(|case| !self.as_expected(case));
        let costliest = [
            self.cases.iter().max_by_key(|case| case.instructions),
            self.cases.iter().max_by_key(|case| case.stack),
        ];
        let lines: String =
            surprising.chain(costliest.into_iter().flatten()).map(|case| self.line(case)).collect();
        let missing: String = self.missing().map(|name| format!("{name}: was not run\n")).collect();
        format!("{HEAD}\n{lines}{missing}{}\n", self.flash)
    }

    fn line(&self, case: &Case) -> String {
        let Case { name, code, instructions, stack, .. } = case;
        let mark = match (self.as_expected(case), self.expected.get(name)) {
            (true, _) => String::new(),
            (false, expected) => format!("  EXPECTED {}", expected.unwrap_or(&0)),
        };
        format!("{name:<40} {code:>6} {instructions:>14} {stack:>8}{mark}\n")
    }

    fn missing(&self) -> impl Iterator<Item = &String> {
        let run = |name: &String| self.cases.iter().any(|case| case.name == *name);
        self.expected.keys().filter(move |name| !run(name))
    }
}

const HEAD: &str = "case                                       code   instructions    stack";

impl std::fmt::Display for Flash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Flash { crypto, admit } = self;
        write!(f, "flash: admit with its cryptography {admit} bytes, the cryptography alone {crypto}")
    }
}

/// For each admitted case, how `admit` compares to the bare cryptography in
/// it: name, cost of both, by a measure.
pub(crate) fn ratios(cases: &[Case], measure: impl Fn(&Case) -> u64) -> Vec<(&str, u64, u64)> {
    let find = |name: &str| cases.iter().find(|case| case.name == name).map(&measure);
    cases
        .iter()
        .filter_map(|case| case.name.strip_prefix("bare:"))
        .filter_map(|name| Some((name, find(name)?, find(&format!("bare:{name}"))?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Case, ratios, read};

    #[test]
    fn a_case_is_compared_with_its_bare_cryptography() {
        let cases =
            read("case=a code=0 instructions=110\ncase=bare:a code=0 instructions=100\ncase=b code=1\nend\n");
        let cases = cases.unwrap_or_default();
        assert_eq!(ratios(&cases, |case| case.instructions), [("a", 110, 100)]);
    }

    #[test]
    fn lines_are_read_up_to_the_end() {
        let cases = read("case=a code=201 instructions=12 stack=34\nend\nnoise\n").ok();
        let name = "a".to_owned();
        let expected = Case { name, code: 201, instructions: 12, stack: 34, nanoseconds: 0 };
        assert_eq!(cases, Some(vec![expected]));
    }

    #[test]
    fn a_program_that_stops_early_is_an_error() {
        for output in ["", "case=a code=0 stack=1\n", "panicked\nend\n", "case=a code=x\nend\n"] {
            assert!(read(output).is_err(), "{output:?}");
        }
    }
}
