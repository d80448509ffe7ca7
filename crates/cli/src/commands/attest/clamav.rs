//! ClamAV's clamscan, run so that what it calls clean was looked at.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use firmseal_fleet::Time;

use super::name;
use crate::error::{CliError, Kind, Result};

/// What scans by it are known by.
pub(super) const URI: &str = "https://www.clamav.net";
/// "Files larger than this will be skipped and assumed clean" (clamscan
/// --help, of most limits): none where it can be without, and a finding where
/// it cannot (`Heuristics.Limits.Exceeded`).
const THOROUGH: [&str; 7] = [
    "--no-summary",
    "--allmatch",
    "--alert-exceeds-max=yes",
    "--max-filesize=0",
    "--max-scansize=0",
    "--max-scantime=0",
    "--pcre-max-filesize=0",
];
/// Most findings that are written down: the first ones.
const FINDINGS_MAX: usize = 1000;

/// The scanner, and what it says of itself.
pub(super) struct Engine {
    program: PathBuf,
    signatures: Vec<std::ffi::OsString>,
    pub(super) version: String,
    /// The number of its daily signatures.
    pub(super) database: Option<String>,
    /// When those were made.
    pub(super) updated: Option<Time>,
}

impl Engine {
    /// Asks which it is.
    pub(super) fn ask(program: &Path, database: Option<&Path>) -> Result<Engine> {
        let signatures = database.map(|path| vec!["--database".into(), path.into()]).unwrap_or_default();
        let mut engine = Engine {
            program: program.to_owned(),
            signatures,
            version: String::new(),
            database: None,
            updated: None,
        };
        let said = engine.run(&["--version"], &[])?;
        let line = String::from_utf8_lossy(&said.stdout).into_owned();
        let Some(known) = read_version(line.trim()).filter(|_| said.status.success()) else {
            return Err(
                CliError::new(Kind::Local, "is no clamscan that is understood here").about(program.display())
            );
        };
        (engine.version, engine.database, engine.updated) = known;
        Ok(engine)
    }

    /// Scans files, by absolute paths, and returns the names of what it found.
    pub(super) fn scan(&self, paths: &[PathBuf]) -> Result<Vec<String>> {
        let out = self.run(&THOROUGH, paths)?;
        let wrong = |what: String| {
            CliError::new(Kind::Unavailable, what)
                .about("clamscan")
                .hint("it says why above; no statement is written")
        };
        let found = match out.status.code() {
            Some(0) => false,
            Some(1) => true,
            _ => return Err(wrong("could not scan".to_owned())),
        };
        let text = String::from_utf8(out.stdout).map_err(|_| wrong("its report is no text".to_owned()))?;
        let findings = read_report(&text, paths).map_err(wrong)?;
        match found == findings.is_empty() {
            true => Err(wrong("its report says something else than its exit code".to_owned())),
            false => Ok(findings),
        }
    }

    fn run(&self, options: &[&str], paths: &[PathBuf]) -> Result<Output> {
        Command::new(&self.program)
            .args(options)
            .args(&self.signatures)
            .args(paths)
            // Times are told without a zone, and words in the user's language.
            .envs([("TZ", "UTC"), ("LC_ALL", "C")])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| {
                CliError::from(error)
                    .about(self.program.display())
                    .hint("install ClamAV, or say where with --clamscan")
            })
    }
}

/// `ClamAV 1.4.6/27500/Sun Nov 22 09:27:10 2026`; without signatures of
/// ClamAV's own only the first part.
fn read_version(line: &str) -> Option<(String, Option<String>, Option<Time>)> {
    let mut parts = line.strip_prefix("ClamAV ")?.splitn(3, '/');
    let version = parts.next().filter(|version| version.starts_with(|first: char| first.is_ascii_digit()))?;
    let (database, updated) = (parts.next().map(str::to_owned), parts.next().map(read_time));
    match updated {
        Some(None) => None,
        known => Some((version.to_owned(), database, known.flatten())),
    }
}

/// A time as ctime(3) writes it.
fn read_time(text: &str) -> Option<Time> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_whitespace().collect();
    let [_, month, day, time, year] = words.as_slice() else { return None };
    let month = 1 + MONTHS.iter().position(|name| name == month)?;
    format!("{year}-{month:02}-{day:0>2}T{time}Z").parse().ok()
}

/// Names of what was found. Each path has to stand in it, and nothing else: a
/// file of which nothing is said was not scanned.
fn read_report(text: &str, paths: &[PathBuf]) -> std::result::Result<Vec<String>, String> {
    let mut open: BTreeSet<&PathBuf> = paths.iter().collect();
    let mut findings = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let told = paths
            .iter()
            .find_map(|path| Some((path, line.strip_prefix(path.to_str()?)?.strip_prefix(": ")?)));
        let Some((path, said)) = told else {
            return Err(format!("says what is not understood here: {line}"));
        };
        if let Some(name) = said.strip_suffix(" FOUND") {
            findings.insert(name.to_owned());
        } else if said != "OK" {
            return Err(format!("did not scan {}: {said}", name(path)));
        }
        open.remove(path);
    }
    match open.first() {
        Some(path) => Err(format!("says nothing of {}", name(path))),
        None => Ok(findings.into_iter().take(FINDINGS_MAX).collect()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let read = |line| {
            read_version(line)
                .map(|(version, database, updated)| (version, database, updated.map(|time| time.to_string())))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            read("ClamAV 1.4.6/27500/Sun Nov  2 09:27:10 2026"),
            Some(("1.4.6".to_owned(), text("27500"), text("2026-11-02T09:27:10Z")))
        );
        assert_eq!(read("ClamAV 0.103.8"), Some(("0.103.8".to_owned(), None, None)));
        for other in
            ["", "ClamAV", "ClamAV x", "clamd 1.4.6", "ClamAV 1.4.6/27500/yesterday", "ClamAV 1.4.6/1/"]
        {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_of_which_nothing_is_said_was_not_scanned() {
        let paths = ["/x/one", "/x/two: OK"].map(PathBuf::from);
        let read = |text: &str| read_report(text, &paths);
        assert_eq!(read("/x/one: OK\n/x/two: OK: OK\n").unwrap(), Vec::<String>::new());
        let both = "/x/one: A FOUND\n/x/one: B.UNOFFICIAL FOUND\n\n/x/two: OK: A FOUND\n";
        assert_eq!(read(both).unwrap(), ["A", "B.UNOFFICIAL"]);
        for (text, why) in [
            ("", "nothing of one"),
            ("/x/one: OK\n", "nothing of two"),
            ("/x/two: OK: OK\n", "nothing of one"),
            ("/x/one: Empty file\n/x/two: OK: OK\n", "did not scan one: Empty file"),
            ("/x/one: Access denied. ERROR\n/x/two: OK: OK\n", "did not scan"),
            ("/x/one: OK\n/x/two: OK: OK\n/x/three: OK\n", "not understood"),
            ("WARNING: something\n/x/one: OK\n/x/two: OK: OK\n", "not understood"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
