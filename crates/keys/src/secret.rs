//! Secrets: a passphrase or PIN, and where it comes from.
//!
//! From a file, an environment variable or the terminal without echo; never
//! from an argument, which every process on the machine can read, and never
//! from a configuration, which is copied and kept.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::error::KeysError;
use crate::private;

/// Longest secret that is read, in bytes.
pub const SECRET_MAX: usize = 1024;

/// A passphrase or PIN. Wiped when dropped; prints as nothing.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over. Nothing is trimmed.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// The bytes, for the call that needs them and nothing else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where a secret comes from: `file:PATH`, `env:NAME` or `prompt`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretSource {
    /// The first line of a file that only its owner can read.
    File(PathBuf),
    /// An environment variable. It stays visible to processes of the same
    /// user in /proc, so a file is better.
    Env(String),
    /// The terminal, without echo.
    Prompt,
}

impl FromStr for SecretSource {
    type Err = KeysError;

    /// The text is not repeated in the error: it may be the secret itself.
    fn from_str(text: &str) -> Result<SecretSource, KeysError> {
        match text.split_once(':') {
            None if text == "prompt" => Ok(SecretSource::Prompt),
            Some(("file", path)) if is_path(path) => Ok(SecretSource::File(path.into())),
            Some(("env", name)) if is_name(name) => Ok(SecretSource::Env(name.to_owned())),
            _ => Err(KeysError::NoSource),
        }
    }
}

fn is_path(path: &str) -> bool {
    !path.is_empty() && !path.contains('\0')
}

/// Names as POSIX has them (IEEE 1003.1 §8.1), either case.
fn is_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::File(path) => write!(f, "file:{}", path.display()),
            SecretSource::Env(name) => write!(f, "env:{name}"),
            SecretSource::Prompt => f.write_str("prompt"),
        }
    }
}

impl SecretSource {
    /// Reads the secret. `what` names it at the prompt: "PIN of token hsm".
    ///
    /// The prompt blocks on a person; ask before the service starts.
    pub fn read(&self, what: &str) -> Result<Secret, KeysError> {
        match self {
            SecretSource::File(path) => self.read_file(path),
            SecretSource::Env(name) => {
                let value = std::env::var_os(name).ok_or_else(|| self.fail("the variable is not set"))?;
                self.accept(Zeroizing::new(value.into_encoded_bytes()))
            }
            SecretSource::Prompt => {
                let terminal =
                    File::options().read(true).write(true).open("/dev/tty").map_err(|error| {
                        self.fail(format!("there is no terminal ({error}); use `file:PATH`"))
                    })?;
                self.accept(prompt(&terminal, what).map_err(|error| self.fail(error))?)
            }
        }
    }

    fn read_file(&self, path: &Path) -> Result<Secret, KeysError> {
        let file = File::open(path).map_err(|error| self.fail(error))?;
        let metadata = file.metadata().map_err(|error| self.fail(error))?;
        if !metadata.is_file() {
            return Err(self.fail("it is not a regular file"));
        }
        private::check(path, &metadata)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_MAX + 3));
        // One byte more than a secret with its line end may have.
        let limit = (SECRET_MAX + 3) as u64;
        file.take(limit).read_to_end(&mut bytes).map_err(|error| self.fail(error))?;
        self.accept(bytes)
    }

    /// Strips one line end; refuses what is empty, too long or more than a
    /// line, since that is another file than was meant.
    fn accept(&self, mut bytes: Zeroizing<Vec<u8>>) -> Result<Secret, KeysError> {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        match bytes.len() {
            0 => Err(self.fail("it is empty")),
            len if len > SECRET_MAX => Err(self.fail(format!("it is longer than {SECRET_MAX} bytes"))),
            _ if bytes.iter().any(|byte| matches!(byte, b'\n' | 0)) => {
                Err(self.fail("it is not a single line of text"))
            }
            _ => Ok(Secret(bytes)),
        }
    }

    fn fail(&self, why: impl fmt::Display) -> KeysError {
        KeysError::NoSecret { source_name: self.to_string(), why: why.to_string() }
    }
}

/// Puts the terminal's echo back, also when reading fails.
struct Echo<'a> {
    terminal: &'a File,
    before: Termios,
}

impl Drop for Echo<'_> {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that has gone away.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

fn prompt(mut terminal: &File, what: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let before = tcgetattr(terminal)?;
    let mut quiet = before.clone();
    quiet.local_modes -= LocalModes::ECHO;
    // The line end is echoed, so that the next output starts on its own line.
    quiet.local_modes |= LocalModes::ECHONL | LocalModes::ICANON;
    // Flush: what was typed ahead was echoed, and is no answer to this.
    tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
    let _echo = Echo { terminal, before };
    write!(terminal, "{what}: ")?;
    // The whole capacity at once: a buffer that grows leaves copies behind.
    let mut line = Zeroizing::new(Vec::with_capacity(SECRET_MAX + 3));
    let mut byte = Zeroizing::new([0u8; 1]);
    while line.len() < SECRET_MAX + 3 {
        match terminal.read(&mut byte[..]) {
            Ok(0) => break,
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if byte[0] == b'\n' {
            break;
        }
    }
    Ok(line)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::os::unix::fs::PermissionsExt;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, SecretSource) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pin");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        (dir, SecretSource::File(path))
    }

    #[test]
    fn a_source_has_one_spelling() {
        for good in ["prompt", "env:FIRMSEAL_PIN", "file:/run/pin", "file:pin"] {
            assert_eq!(good.parse::<SecretSource>().unwrap().to_string(), good);
        }
        for bad in ["", "1234", "env:", "env:1", "env:A B", "file:", "Prompt", "prompt:", "pass:1234"] {
            let error = bad.parse::<SecretSource>().unwrap_err().to_string();
            assert!(!error.contains("1234"), "{error}");
        }
    }

    #[test]
    fn only_the_owner_may_read_the_file() {
        for mode in [0o600, 0o400] {
            let (_dir, source) = file(b"hunter2\n", mode);
            assert_eq!(source.read("PIN").unwrap().expose(), b"hunter2");
        }
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let (_dir, source) = file(b"hunter2\n", mode);
            let error = source.read("PIN").unwrap_err().to_string();
            assert!(error.contains("chmod 600") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_secret_is_one_line() {
        let read = |content: &[u8]| {
            let (_dir, source) = file(content, 0o600);
            source.read("PIN").map(|secret| secret.expose().to_vec()).map_err(|error| error.to_string())
        };
        assert_eq!(read(b"a b \r\n"), Ok(b"a b ".to_vec()));
        assert_eq!(read(&[b'x'; SECRET_MAX]), Ok(vec![b'x'; SECRET_MAX]));
        for bad in [&b""[..], b"\n", b"one\ntwo\n", b"nul\0", &[b'x'; SECRET_MAX + 1], &[b'x'; 1 << 20]] {
            assert!(read(bad).is_err());
        }
        let directory = SecretSource::File(std::env::temp_dir());
        assert!(directory.read("PIN").is_err());
    }

    #[test]
    fn a_variable_is_read_and_named_when_it_is_not_there() {
        // Set by cargo for every test.
        let secret = SecretSource::Env("CARGO_PKG_NAME".to_owned()).read("PIN").unwrap();
        assert_eq!(secret.expose(), b"firmseal-keys");
        let error = SecretSource::Env("FIRMSEAL_NOT_SET".to_owned()).read("PIN").unwrap_err().to_string();
        assert!(error.contains("env:FIRMSEAL_NOT_SET") && error.contains("not set"), "{error}");
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new(b"hunter2".to_vec())), "Secret(..)");
    }

    #[test]
    fn the_prompt_does_not_echo_and_puts_the_terminal_back() {
        let host = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&host).unwrap();
        unlockpt(&host).unwrap();
        let name = ptsname(&host, Vec::new()).unwrap().into_string().unwrap();
        let mut host = File::from(host);
        let terminal = File::options().read(true).write(true).open(name).unwrap();
        let before = tcgetattr(&terminal).unwrap();
        assert!(before.local_modes.contains(LocalModes::ECHO));

        let asking = std::thread::spawn({
            let terminal = terminal.try_clone().unwrap();
            move || prompt(&terminal, "PIN")
        });
        // The prompt appears only after the echo is off.
        let mut seen = [0; 5];
        host.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"PIN: ");
        host.write_all(b"hunter2\n").unwrap();
        let line = asking.join().unwrap().unwrap();
        assert_eq!(line.as_slice(), b"hunter2\n");
        // All that came back is the line end, then what we print ourselves.
        (&terminal).write_all(b"end").unwrap();
        let mut rest = [0; 5];
        host.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"\r\nend");
        assert_eq!(tcgetattr(&terminal).unwrap().local_modes, before.local_modes);
    }
}
