//! fit_check_sign, the judge of FIT images, which Debian's u-boot-tools leave
//! out: built from Debian's source of U-Boot. And a FIT to sign: U-Boot for
//! an arm64 board, taken out of its package without that architecture.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Wanted, apt, python};
use crate::error::Error;
use crate::{process, workspace};

/// Where tests find it: beside other people's implementations.
fn tool() -> PathBuf {
    python::directory().join("bin/fit_check_sign")
}

/// The FIT.
fn board() -> PathBuf {
    python::directory().join("share/u-boot/rock64.itb")
}

/// Makes what is not there.
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    let hint = |what: &str, error: Error| {
        Error::wrong(format!(
            "{what} is missing: {error}\nhint: `make tools-only_defconfig tools-only` in U-Boot's source makes \
             fit_check_sign, Debian's package u-boot-rockchip for arm64 has rock64-rk3328/u-boot.itb"
        ))
    };
    if !tool().is_file() {
        say("building fit_check_sign");
        build().map_err(|error| hint("fit_check_sign", error))?;
    }
    if !board().is_file() {
        say("unpacking a FIT");
        unpack().map_err(|error| hint("a FIT for a board", error))?;
    }
    Ok(())
}

/// Lists of packages of our own: this machine's may know neither sources nor
/// the other architecture.
struct Lists {
    directory: PathBuf,
    architecture: &'static str,
}

impl Lists {
    /// Reads one kind of entry: `deb`, or `deb-src`.
    fn read(name: &str, kind: &str, architecture: &'static str) -> Result<Lists, Error> {
        let directory = workspace::target().join("setup").join(name);
        // What an earlier run left half done.
        if directory.exists() {
            std::fs::remove_dir_all(&directory).map_err(Error::file(&directory))?;
        }
        let partial = directory.join("lists/partial");
        std::fs::create_dir_all(&partial).map_err(Error::file(&partial))?;
        let suite = apt::release().ok_or_else(|| Error::wrong("this is not Debian"))?;
        let mirror = apt::mirror(&suite)
            .ok_or_else(|| Error::wrong(format!("apt knows no mirror of {suite}'s main section")))?;
        workspace::write(&directory.join("one.list"), format!("{kind} {mirror} {suite} main\n"))?;
        let lists = Lists { directory, architecture };
        lists.apt(&["update", "-qq"])?;
        Ok(lists)
    }

    /// apt-get with these lists, in their directory.
    fn apt(&self, words: &[&str]) -> Result<(), Error> {
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
    fn shell(&self, line: &str) -> Result<(), Error> {
        process::read(Command::new("sh").args(["-c", line]).current_dir(&self.directory))?;
        Ok(())
    }

    /// Keeps a file, and nothing else.
    fn keep(self, from: &str, to: &Path) -> Result<(), Error> {
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(Error::file(parent))?;
        }
        let from = self.directory.join(from);
        std::fs::copy(&from, to).map_err(Error::file(&from))?;
        std::fs::remove_dir_all(&self.directory).map_err(Error::file(&self.directory))
    }
}

fn build() -> Result<(), Error> {
    let lists = Lists::read("u-boot-source", "deb-src", "amd64")?;
    // With Debian's patches: one of them decides what a signature covers.
    lists.apt(&["source", "-qq", "u-boot"])?;
    lists.shell("mv u-boot-*/ source && cd source && make tools-only_defconfig && make -j2 tools-only")?;
    lists.keep("source/tools/fit_check_sign", &tool())
}

fn unpack() -> Result<(), Error> {
    let lists = Lists::read("u-boot-board", "deb", "arm64")?;
    lists.apt(&["download", "-qq", "u-boot-rockchip"])?;
    lists.shell("dpkg-deb -x u-boot-rockchip_*.deb .")?;
    lists.keep("usr/lib/u-boot/rock64-rk3328/u-boot.itb", &board())
}
