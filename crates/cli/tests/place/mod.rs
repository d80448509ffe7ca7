//! A place with a running server, and the program that talks to it.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod people;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use firmseal_testkit::ports;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_firmseal");

/// Bytes that repeat nowhere, the same for the same seed.
pub(crate) fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// A directory with a place in it, whose server runs until this is dropped.
pub(crate) struct Place {
    directory: tempfile::TempDir,
    port: u16,
    server: Option<Child>,
}

impl Place {
    /// A new place and its server.
    pub(crate) fn start() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let init = Command::new(PROGRAM)
            .args(["init", "place", "--host", "127.0.0.1"])
            .current_dir(directory.path())
            .output()
            .expect("the program runs");
        assert!(init.status.success(), "{init:?}");
        copy(&directory.path().join("place"), &directory.path().join("pristine"));
        Place { directory, port: 0, server: None }.serve()
    }

    /// Another place with the same root and keys, and a registry of its own.
    pub(crate) fn twin(&self) -> Place {
        let other = tempfile::tempdir().unwrap();
        copy(&self.path("pristine"), &other.path().join("place"));
        Place { directory: other, port: 0, server: None }.serve()
    }

    /// Starts the server on three free ports in a row.
    fn serve(mut self) -> Place {
        for _ in 0..20 {
            let port = ports::free();
            self.set_port(port);
            let mut server = Command::new(PROGRAM)
                .args(["serve", "place", "--filter", "error"])
                .current_dir(self.directory.path())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the program runs");
            let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
            // It names its listeners once they accept connections. If
            // somebody was faster with a port, it ends, and so do its lines.
            let named = lines.by_ref().map_while(Result::ok).filter(|line| line.contains("https://"));
            if named.take(3).count() == 3 {
                // Whoever writes a log wants it read to the end.
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                self.port = port;
                self.server = Some(server);
                return self;
            }
            let _ = server.kill();
            let _ = server.wait();
        }
        panic!("no server came up on any port");
    }

    /// Puts the ports into server.toml and the profile.
    fn set_port(&self, port: u16) {
        let path = self.path("place/server.toml");
        let mut next = port;
        let text: Vec<String> = std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(|line| {
                if line.starts_with("port = ") {
                    next += 1;
                    format!("port = {}", next - 1)
                } else {
                    line.to_owned()
                }
            })
            .collect();
        std::fs::write(&path, text.join("\n")).unwrap();
        let profile = self.path("place/operator.toml");
        let text: Vec<String> = std::fs::read_to_string(&profile)
            .unwrap()
            .lines()
            .map(|line| match line.starts_with("server = ") {
                true => format!("server = \"https://127.0.0.1:{port}\""),
                false => line.to_owned(),
            })
            .collect();
        std::fs::write(&profile, text.join("\n")).unwrap();
    }

    /// Starts the server that was stopped again, on other ports.
    pub(crate) fn again(self) -> Place {
        self.serve()
    }

    pub(crate) fn server_id(&self) -> u32 {
        self.server.as_ref().unwrap().id()
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    pub(crate) fn operator_port(&self) -> u16 {
        self.port
    }

    pub(crate) fn device_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port + 1)
    }

    pub(crate) fn public_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port + 2)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn write_private(&self, name: &str, content: &[u8]) {
        self.write(name, content);
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(0o600)).unwrap();
    }

    /// A profile like the first operator's, but for some of its lines.
    pub(crate) fn profile_with(&self, changes: &[(&str, &str)]) -> String {
        let mut values = vec![
            ("server", format!("https://127.0.0.1:{}", self.port)),
            ("authority", "place/tls/server.pem".to_owned()),
            ("token", "place/operator.token".to_owned()),
        ];
        for (key, value) in &mut values {
            if let Some((_, changed)) = changes.iter().find(|(name, _)| name == key) {
                *value = (*changed).to_owned();
            }
        }
        let name = format!("{}.toml", changes.iter().map(|(key, _)| *key).collect::<String>());
        let text: String = values.iter().map(|(key, value)| format!("{key} = \"{value}\"\n")).collect();
        self.write(&name, text.as_bytes());
        name
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(line.split_whitespace())
            .current_dir(self.directory.path())
            .env("FIRMSEAL_PROFILE", "place/operator.toml")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn spawn(&self, line: &str) -> Child {
        self.command(line).spawn().expect("the program runs")
    }

    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).output().expect("the program runs")
    }

    /// The same without a profile, with these variables.
    pub(crate) fn run_in_pipeline(&self, line: &str, variables: &[(&str, &str)]) -> Output {
        let mut command = self.command(line);
        command.env_remove("FIRMSEAL_PROFILE").envs(variables.iter().copied());
        command.output().expect("the program runs")
    }

    /// What a command that succeeds prints for people.
    pub(crate) fn stdout(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it prints for programs.
    pub(crate) fn json(&self, line: &str) -> Value {
        let text = self.stdout(&format!("--json {line}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
    }

    /// What a command that fails with this code says.
    pub(crate) fn fails(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {text}");
        assert!(text.contains("error: "), "{line}: {text}");
        text
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop();
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}
