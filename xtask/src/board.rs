//! The verifier on QEMU's mps2-an385: build, run, compare, print the cost.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::setup::Wanted;
use crate::tally::Tally;
use crate::{bare_metal, elf, process, workspace};

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
    /// Flash of everything, and of the same program without the verifier.
    flash: (u64, u64),
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

/// Builds and runs the board's program.
pub(crate) fn measure() -> Result<Report, Error> {
    let target = workspace::target().join("boards");
    let mut cargo = bare_metal::cargo()?;
    cargo
        .args(["build", "--release", "--quiet", "--package", "mps2-an385", "--target", bare_metal::TARGET])
        .arg("--manifest-path")
        .arg(workspace::root().join("boards/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target);
    process::read(&mut cargo)?;
    let binary = |name| target.join(bare_metal::TARGET).join("release").join(name);
    let cases = read(&qemu(binary("mps2-an385"))?)?;
    read(&qemu(binary("empty"))?)?;
    let flash = (elf::flash_size(&binary("mps2-an385"))?, elf::flash_size(&binary("empty"))?);
    Ok(Report { cases, flash })
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
        .arg("300")
        .arg(program)
        .args(["-M", "mps2-an385", "-nographic", "-monitor", "none", "-serial", "none"])
        .args(["-icount", "shift=4", "-semihosting-config", "enable=on,target=native"])
        .arg("-kernel")
        .arg(kernel);
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
    /// Cases whose verdict is the expected one, and the others.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.cases.iter().for_each(|case| tally += Tally::one(as_expected(case)));
        tally
    }

    /// The table for people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{:<40} {:>6} {:>14} {:>8}\n", "case", "code", "instructions", "stack");
        for case in &self.cases {
            let Case { name, code, instructions, stack, .. } = case;
            let mark = if as_expected(case) { "" } else { "  UNEXPECTED" };
            let _ = writeln!(text, "{name:<40} {code:>6} {instructions:>14} {stack:>8}{mark}");
        }
        let (all, empty) = self.flash;
        let _ = writeln!(
            text,
            "flash: {all} bytes, {} of them the verifier and its cases",
            all.saturating_sub(empty)
        );
        text
    }
}

fn as_expected(case: &Case) -> bool {
    case.name.starts_with("bad-") == (case.code != 0)
}

#[cfg(test)]
mod tests {
    use super::{Case, read};

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
