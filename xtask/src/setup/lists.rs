//! Lists of packages of our own: this machine's may know neither sources nor
//! another architecture.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::apt;
use crate::error::Error;
use crate::{process, workspace};

/// Lists, in a directory for what is fetched by them.
pub(super) struct Lists {
    directory: PathBuf,
    architecture: &'static str,
}

impl Lists {
    /// Reads one kind of entry of this machine's release: `deb`, or `deb-src`.
    pub(super) fn read(name: &str, kind: &str, architecture: &'static str) -> Result<Lists, Error> {
        let suite = apt::release().ok_or_else(|| Error::wrong("this is not Debian"))?;
        Lists::of(&suite, name, kind, architecture)
    }

    /// The same, of its backports if it is too old for what is wanted.
    pub(super) fn newer(name: &str, kind: &str, architecture: &'static str) -> Result<Lists, Error> {
        match apt::backports_suite() {
            Some(suite) => Lists::of(&suite, name, kind, architecture),
            None => Lists::read(name, kind, architecture),
        }
    }

    /// The same, of a later release than this machine's.
    pub(super) fn later(suite: &str, name: &str, architecture: &'static str) -> Result<Lists, Error> {
        Lists::of(suite, name, "deb", architecture)
    }

    fn of(suite: &str, name: &str, kind: &str, architecture: &'static str) -> Result<Lists, Error> {
        let directory = workspace::target().join("setup").join(name);
        // What an earlier run left half done.
        if directory.exists() {
            std::fs::remove_dir_all(&directory).map_err(Error::file(&directory))?;
        }
        let partial = directory.join("lists/partial");
        std::fs::create_dir_all(&partial).map_err(Error::file(&partial))?;
        // Every suite is where this machine's own is.
        let release = apt::release().ok_or_else(|| Error::wrong("this is not Debian"))?;
        let mirror = apt::mirror(&release)
            .ok_or_else(|| Error::wrong(format!("apt knows no mirror of {release}'s main section")))?;
        workspace::write(&directory.join("one.list"), format!("{kind} {mirror} {suite} main\n"))?;
        let lists = Lists { directory, architecture };
        lists.apt(&["update", "-qq"])?;
        Ok(lists)
    }

    /// apt-get with these lists, in their directory.
    pub(super) fn apt(&self, words: &[&str]) -> Result<(), Error> {
        let directory = self.directory.display();
        let settings = [
            format!("Dir::Etc::sourcelist={directory}/one.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={directory}/lists"),
            format!("APT::Architecture={}", self.architecture),
            format!("APT::Architectures={}", self.architecture),
        ];
        let options = settings.iter().flat_map(|setting| ["-o", setting]);
        process::read(Command::new("apt-get").args(options).args(words).current_dir(&self.directory))?;
        Ok(())
    }

    /// A line of shell in their directory.
    pub(super) fn shell(&self, line: &str) -> Result<(), Error> {
        process::read(Command::new("sh").args(["-c", line]).current_dir(&self.directory))?;
        Ok(())
    }

    /// Writes a file in their directory.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        workspace::write(&self.directory.join(name), text)
    }

    /// Copies a file to where it stays.
    pub(super) fn copy(&self, from: &str, to: &Path) -> Result<(), Error> {
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(Error::file(parent))?;
        }
        let from = self.directory.join(from);
        std::fs::copy(&from, to).map(|_| ()).map_err(Error::file(&from))
    }

    /// The same for the last of them: nothing else is kept.
    pub(super) fn keep(self, from: &str, to: &Path) -> Result<(), Error> {
        self.copy(from, to)?;
        std::fs::remove_dir_all(&self.directory).map_err(Error::file(&self.directory))
    }
}
