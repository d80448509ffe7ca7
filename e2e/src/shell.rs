//! A shell: types commands, shows what they print, and judges how they end.

use std::ffi::OsString;
use std::fmt::Debug;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::binaries;
use crate::child::{Child, show, until};

/// A terminal in a directory.
pub struct Shell {
    directory: PathBuf,
    _temporary: Option<tempfile::TempDir>,
    variables: Vec<(String, OsString)>,
}

/// A command that has ended.
#[derive(Clone)]
pub struct Ran {
    /// What was typed.
    pub line: String,
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Shell {
    /// In a temporary directory.
    pub fn new() -> Shell {
        let temporary = tempfile::Builder::new().prefix("firmseal-e2e-").tempdir().unwrap();
        let directory = temporary.path().canonicalize().unwrap();
        Shell { directory, _temporary: Some(temporary), variables: Vec::new() }.with_profile("place")
    }

    /// In a directory that stays.
    pub fn at(directory: &Path) -> Shell {
        let shell = Shell { directory: directory.to_owned(), _temporary: None, variables: Vec::new() };
        shell.with_profile("place")
    }

    fn with_profile(self, place: &str) -> Shell {
        let profile = self.directory.join(place).join("operator.toml");
        self.with("FIRMSEAL_PROFILE", profile)
    }

    /// Sets a variable of the environment.
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Shell {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// A path in its directory.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.directory.join(relative)
    }

    /// Writes a file, with the directories above it.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|err| panic!("{name}: {err}"))
    }

    /// Runs a command to its end. Words are split at blanks; those in single
    /// quotes stay together.
    pub fn run(&self, line: &str) -> Ran {
        show(&format!("$ {line}\n"));
        let mut child = Child::start(&mut self.command(line));
        let status = child.wait();
        let (stdout, stderr) = (ended(child.stdout.text()), ended(child.stderr.text()));
        show(&format!("{stdout}{stderr}"));
        let ran = Ran { line: line.to_owned(), code: status.code(), stdout, stderr };
        assert!(!ran.stderr.contains("panicked at"), "`{line}` panicked:\n{}", ran.stderr);
        ran
    }

    /// Runs a command that must succeed.
    pub fn ok(&self, line: &str) -> Ran {
        self.run(line).exits(0)
    }

    /// Runs a `firmseal` command with `--json` that must succeed.
    pub fn json(&self, line: &str) -> Value {
        let ran = self.ok(&format!("{line} --json"));
        serde_json::from_str(&ran.stdout).unwrap_or_else(|err| panic!("`{line}`: {err}: {}", ran.stdout))
    }

    /// What the record has of this, once it is so much: what happened is there
    /// soon after it did.
    pub fn recorded(&self, query: &str, count: impl RangeBounds<usize> + Debug) -> Vec<Value> {
        until(&format!("{count:?} records of {query}"), || {
            let found = self.json(&format!("firmseal audit {query}")).as_array().unwrap().clone();
            count.contains(&found.len()).then_some(found)
        })
    }

    /// A command that is not started yet.
    pub fn command(&self, line: &str) -> Command {
        let words = words(line);
        let program = match words[0].as_str() {
            "firmseal" => binaries::firmseal().into(),
            "firmseal-agent" => binaries::agent().into(),
            other => OsString::from(other),
        };
        let mut command = Command::new(program);
        // Other people's tools: the Python environment's first, then those
        // that Debian keeps out of ordinary users' path (veritysetup).
        let venv = std::env::var_os("FIRMSEAL_VENV")
            .map_or_else(|| binaries::workspace().join("target/venv"), PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(venv.join("bin"))
            .chain(std::env::split_paths(&path))
            .chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
        command
            .args(&words[1..])
            .current_dir(&self.directory)
            .env("PATH", std::env::join_paths(path).unwrap())
            .env_remove("RUST_LOG")
            .env_remove("FIRMSEAL_LOG")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Default for Shell {
    fn default() -> Shell {
        Shell::new()
    }
}

impl Ran {
    /// It ended with this exit code.
    pub fn exits(self, code: i32) -> Ran {
        let Ran { line, stdout, stderr, .. } = &self;
        assert_eq!(self.code, Some(code), "`{line}` should exit with {code}\n{stdout}{stderr}");
        self
    }

    /// It wrote this, to stdout or stderr.
    pub fn says(self, what: &str) -> Ran {
        let Ran { line, stdout, stderr, .. } = &self;
        let said = stdout.contains(what) || stderr.contains(what);
        assert!(said, "`{line}` should say {what:?}\n{stdout}{stderr}");
        self
    }

    /// It failed as a failure should: with this code, naming the thing, on
    /// stderr, with nothing on stdout.
    pub fn fails(self, code: i32, naming: &str) -> Ran {
        let ran = self.exits(code);
        let Ran { line, stdout, stderr, .. } = &ran;
        assert!(stderr.contains("error"), "`{line}` should say that it failed\n{stderr}");
        assert!(stderr.contains(naming), "`{line}` should name {naming:?}\n{stderr}");
        assert_eq!(stdout, "", "`{line}` failed and wrote to stdout");
        ran
    }

    /// It also said what to do next.
    pub fn hints(self) -> Ran {
        self.says("hint: ")
    }
}

fn ended(text: String) -> String {
    if text.is_empty() { text } else { text + "\n" }
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn quoted_words_stay_together() {
        assert_eq!(words("a 'b c'  d ''"), ["a", "b c", "d", ""]);
    }
}
