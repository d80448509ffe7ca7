//! Devices: directories with slots and an agent, and the hardware around
//! them: somebody has to press the power button.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::child::{Child, Lines};
use crate::server::Server;
use crate::shell::{Ran, Shell};

/// What a kind of device is made with.
pub struct Model<'a> {
    /// Its product.
    pub product: &'a str,
    /// Components and what fits into a slot of each.
    pub components: &'a [(&'a str, u64)],
    /// More lines for its configuration, before the components.
    pub settings: &'a str,
}

/// A device.
pub struct Device {
    home: PathBuf,
    shell: Shell,
}

/// Vendor and class that `firmseal product create --vendor example.com
/// --class NAME` gives a product.
pub fn identifiers(class: &str) -> (uuid::Uuid, uuid::Uuid) {
    let vendor = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, b"example.com");
    (vendor, uuid::Uuid::new_v5(&vendor, class.as_bytes()))
}

impl Device {
    /// Builds a device in `devices/NAME`; its class is named like its
    /// product.
    pub fn build(shell: &Shell, name: &str, model: &Model<'_>) -> Device {
        let home = shell.path("devices").join(name);
        std::fs::create_dir_all(&home).unwrap();
        let Model { product, components, settings } = model;
        let (vendor, class) = identifiers(product);
        let mut text = format!(
            "state = \"state\"\nproduct = \"{product}\"\nvendor = \"{vendor}\"\nclass = \"{class}\"\n\
             reboot = [\"touch\", \"{}\"]\n{settings}\n\
             [poll]\ninterval = 1\njitter = 10\nback_off = 1\nmax = 2\n",
            home.join("reboot").display(),
        );
        for (name, capacity) in *components {
            text += &format!(
                "\n[[components]]\nname = \"{name}\"\nslots = [\"{name}.a\", \"{name}.b\"]\n\
                 capacity = {capacity}\n"
            );
            for slot in ["a", "b"] {
                std::fs::write(home.join(format!("{name}.{slot}")), b"").unwrap();
            }
        }
        std::fs::write(home.join("agent.toml"), text).unwrap();
        let shell = Shell::at(&home);
        Device { home, shell }
    }

    /// Builds and enrols a device with a token that `firmseal` makes.
    pub fn enrol(shell: &Shell, server: &Server, name: &str, model: &Model<'_>) -> Device {
        let device = Device::build(shell, name, model);
        device.enrol_with(shell, server.place(), &server.devices(), model.product).exits(0);
        device
    }

    /// Enrols with a new token. Gives the first command that failed, or the
    /// last one.
    pub fn enrol_with(&self, shell: &Shell, place: &Path, server: &str, product: &str) -> Ran {
        let token = shell.run(&format!("firmseal device token create --product {product}"));
        if token.code != Some(0) {
            return token;
        }
        std::fs::write(self.home.join("token"), token.stdout).unwrap();
        let place = place.display();
        self.run(&format!(
            "enrol --anchor {place}/trust/root.cbor --server {server} --ca {place}/tls/server.pem \
             --token-file token"
        ))
    }

    /// Runs the agent with a command.
    pub fn run(&self, command: &str) -> Ran {
        self.shell.run(&format!("firmseal-agent --config agent.toml {command}"))
    }

    /// Runs the agent with a command that must succeed.
    pub fn ok(&self, command: &str) -> Ran {
        self.run(command).exits(0)
    }

    /// `firmseal-agent status`.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.ok("status --json").stdout).unwrap()
    }

    /// Its directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The slot that runs: `a` or `b`.
    pub fn active(&self) -> String {
        self.status()["boot"]["active"].as_str().unwrap().to_owned()
    }

    /// What is in a slot of a component.
    pub fn slot(&self, component: &str, slot: &str) -> Vec<u8> {
        std::fs::read(self.home.join(format!("{component}.{slot}"))).unwrap()
    }

    /// Sends it to another server, as whoever owns the network could.
    pub fn redirect(&self, url: &str) {
        let path = self.home.join("agent.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let rest: Vec<&str> = text.lines().filter(|line| !line.starts_with("server = ")).collect();
        std::fs::write(path, format!("server = \"{url}\"\n{}\n", rest.join("\n"))).unwrap();
    }

    /// Every file that a refusal must not change: all but the inactive slot,
    /// the queue of reports and the quarantine.
    pub fn untouchable(&self, active: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        self.files(active, &["reports.", "quarantine"])
    }

    /// The same, for a download that broke off and may go on: its journal
    /// changes as well.
    pub fn untouchable_by_carriers(&self, active: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        self.files(active, &["reports.", "quarantine", "install.", "progress."])
    }

    fn files(&self, active: &str, except: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
        let inactive = if active == "a" { ".b" } else { ".a" };
        let mut files = BTreeMap::new();
        let mut todo = vec![self.home.clone()];
        while let Some(directory) = todo.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if except.iter().any(|prefix| name.starts_with(prefix)) || name.ends_with(inactive) {
                    continue;
                }
                match path.is_dir() {
                    true => todo.push(path),
                    false => drop(files.insert(path.clone(), std::fs::read(path).unwrap())),
                }
            }
        }
        files
    }

    /// Switches it on.
    pub fn power_on(&self) -> Powered {
        let log = Lines::default();
        let running = Arc::new(Mutex::new(None));
        let on = Arc::new(AtomicBool::new(true));
        let hardware = Hardware {
            shell: Shell::at(&self.home),
            reboot: self.home.join("reboot"),
            log: log.clone(),
            running: running.clone(),
            on: on.clone(),
        };
        let thread = std::thread::spawn(move || hardware.run());
        Powered { on, running, log, thread: Some(thread) }
    }
}

/// A device with its power on: it boots, runs its agent, and boots again
/// whenever the agent asks for it or dies.
pub struct Powered {
    on: Arc<AtomicBool>,
    running: Arc<Mutex<Option<Child>>>,
    log: Lines,
    thread: Option<JoinHandle<()>>,
}

impl Powered {
    /// Cuts the power for a moment: SIGKILL for whatever runs.
    pub fn cut(&self) -> bool {
        let mut running = self.running.lock().unwrap();
        let Some(child) = running.as_mut() else { return false };
        let alive = child.ended().is_none();
        child.kill();
        alive
    }

    /// The agent's and the boot stage's log, over all boots.
    pub fn log(&self) -> &Lines {
        &self.log
    }
}

impl Drop for Powered {
    fn drop(&mut self) {
        self.on.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed, and failed nothing but itself.
            let failed = thread.join().is_err();
            assert!(!failed || std::thread::panicking(), "a device broke");
        }
    }
}

struct Hardware {
    shell: Shell,
    reboot: PathBuf,
    log: Lines,
    running: Arc<Mutex<Option<Child>>>,
    on: Arc<AtomicBool>,
}

impl Hardware {
    fn run(self) {
        while self.on.load(Ordering::Relaxed) {
            // A device fresh from the factory has nothing to boot yet, and
            // runs its agent from elsewhere: 12.
            let booted = self.process("firmseal-agent --config agent.toml boot");
            assert!(
                matches!(booted, None | Some(0 | 12)),
                "the boot stage ended with {booted:?}:\n{}",
                self.log.text()
            );
            if matches!(booted, Some(0 | 12)) {
                let ended = self.process("firmseal-agent --config agent.toml --log-json run");
                assert!(ended.is_none(), "the agent ended with {ended:?}:\n{}", self.log.text());
            }
        }
    }

    /// Runs a process until it ends, is killed, asks for a reboot, or the
    /// power goes. Its exit code, if it ended by itself.
    fn process(&self, line: &str) -> Option<i32> {
        let child = Child::writing_to(&mut self.shell.command(line), self.log.clone());
        *self.running.lock().unwrap() = Some(child);
        loop {
            let mut running = self.running.lock().unwrap();
            let child = running.as_mut().unwrap();
            if let Some(status) = child.ended() {
                child.wait();
                return status.code();
            }
            // The last thing an agent does before a reboot is to ask for it.
            if std::fs::remove_file(&self.reboot).is_ok() || !self.on.load(Ordering::Relaxed) {
                child.kill();
                return None;
            }
            drop(running);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
