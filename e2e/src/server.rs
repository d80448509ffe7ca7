//! Servers: a place on free ports of the loopback interface, and
//! `firmseal serve` in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use firmseal_testkit::ports;
use serde_json::Value;

use crate::child::{Child, Lines, show, until};
use crate::shell::Shell;

/// A place, and the server in it while it runs.
pub struct Server {
    place: PathBuf,
    port: u16,
    command: Box<dyn Fn() -> Command + Send>,
    child: Option<Child>,
    log: Lines,
}

/// Makes a place whose three ports are free. Returns the first of them.
pub fn init(shell: &Shell, place: &str) -> u16 {
    let port = ports::free();
    shell.ok(&format!("firmseal init {place} --port {port}"));
    // Devices are told to come again at once: sessions have no time.
    let settings = format!("{place}/server.toml");
    let text = String::from_utf8(shell.read(&settings)).unwrap();
    shell.write(&settings, format!("{text}\n[limits]\npoll_seconds = 1\n"));
    port
}

impl Server {
    /// Makes the place `place` and starts its server.
    pub fn new(shell: &Shell) -> Server {
        let port = init(shell, "place");
        let mut server = Server::in_place(shell, "place", port);
        server.start();
        server
    }

    /// The server of a place that was made before; it does not run yet.
    pub fn in_place(shell: &Shell, place: &str, port: u16) -> Server {
        Server::by(format!("firmseal serve {place} --log json"), Shell::at(&shell.path("")), place, port)
    }

    /// The same in the shell's own environment, which says how its modules do.
    pub fn in_environment(shell: Shell, place: &str, port: u16) -> Server {
        Server::by(format!("firmseal serve {place} --log json"), shell, place, port)
    }

    /// A server that waits while another has its place, in the shell's own
    /// environment; it does not run yet.
    pub fn standby_in_place(shell: Shell, place: &str, port: u16) -> Server {
        Server::by(format!("firmseal serve {place} --standby --log json"), shell, place, port)
    }

    fn by(line: String, shell: Shell, place: &str, port: u16) -> Server {
        Server {
            place: shell.path(place),
            port,
            command: Box::new(move || {
                show(&format!("$ {line} &\n"));
                shell.command(&line)
            }),
            child: None,
            log: Lines::default(),
        }
    }

    /// Starts it, and waits until it answers.
    pub fn start(&mut self) {
        let before = self.log.all().len();
        let mut child = Child::writing_to(&mut (self.command)(), self.log.clone());
        until("the server to listen", || {
            let listening =
                self.log.all()[before..].iter().filter(|line| line.contains("\"listening\"")).count();
            if listening < 3
                && let Some(status) = child.ended()
            {
                panic!("the server did not start ({status}):\n{}", self.log.text());
            }
            (listening >= 3).then_some(())
        });
        self.child = Some(child);
    }

    /// Starts it, in the background and whenever that comes to be.
    pub fn start_unobserved(&mut self) {
        self.child = Some(Child::writing_to(&mut (self.command)(), self.log.clone()));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill();
        }
    }

    /// SIGSTOP: its ports are open, and nobody answers.
    pub fn hang(&self) {
        self.child.as_ref().unwrap().hang();
    }

    /// Ends a hang.
    pub fn go_on(&self) {
        self.child.as_ref().unwrap().go_on();
    }

    /// SIGTERM; it must end well.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let status = child.terminate();
            assert!(status.success(), "the server ended with {status}:\n{}", self.log.text());
        }
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.ended().is_none())
    }

    /// The process, which runs.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Its log, over all its starts.
    pub fn log(&self) -> &Lines {
        &self.log
    }

    /// Its log lines with this message.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        self.log.json().into_iter().filter(|line| line["message"] == message).collect()
    }

    /// The place's directory.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// What it says of itself to a scraper.
    pub fn metrics(&self) -> String {
        let shell = Shell::at(self.place.parent().unwrap());
        let token =
            String::from_utf8(shell.read(&format!("{}/operator.token", self.place.display()))).unwrap();
        shell.write("scraper", format!("authorization: Bearer {}\n", token.trim()));
        let (place, url) = (self.place.display(), self.operators());
        let line =
            format!("curl --silent --fail --cacert {place}/tls/server.pem --header @scraper {url}/metrics");
        shell.ok(&line).stdout
    }

    /// The first of its ports.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where operators find it.
    pub fn operators(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// Where devices find it.
    pub fn devices(&self) -> String {
        format!("https://localhost:{}", self.port + 1)
    }

    /// Where everybody finds it.
    pub fn public(&self) -> String {
        format!("https://localhost:{}", self.port + 2)
    }
}
