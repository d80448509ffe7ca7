//! A desk with a repository's keys and settings, and a client of it.

use firmseal_e2e::Shell;
use serde_json::Value;

/// A key of each kind that TUF clients verify with.
pub(crate) const KEYS: &[(&str, &str)] = &[
    ("root-1", "ed25519"),
    ("root-2", "p256"),
    ("root-3", "rsa3072"),
    ("targets", "p256"),
    ("snapshot", "rsa3072"),
    ("timestamp", "ed25519"),
];

pub(crate) const SETTINGS: &str = r#"
secret = "file:passphrase"
sign = ["file:snapshot.pem", "file:timestamp.pem"]
root = { keys = ["root-1.pub", "root-2.pub", "root-3.pub"], threshold = 2, valid = "365d" }
targets = { keys = ["targets.pub"], valid = "90d" }
snapshot = { keys = ["snapshot.pub"], valid = "7d" }
timestamp = { keys = ["timestamp.pub"], valid = "1d" }
"#;

/// The keys that are not opened by the settings.
pub(crate) const OFFLINE: &[&str] = &["root-1", "root-2", "targets"];

/// A desk with the keys of a repository.
pub(crate) struct Desk {
    pub(crate) t: Shell,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        let desk = Desk { t: Shell::new() };
        desk.t.write("tuf/passphrase", "a passphrase of the repository's\n");
        desk.t.ok("chmod 600 tuf/passphrase");
        KEYS.iter().for_each(|(name, algorithm)| desk.key(name, algorithm));
        desk.settings(SETTINGS);
        desk
    }

    /// With a place of its own, and no server.
    pub(crate) fn with_place() -> Desk {
        let desk = Desk::new();
        desk.t.ok("firmseal init place");
        let product = "id = \"gateway\"\nenvironment = \"test\"\nvendor = \"example.com\"\n\
                       class = \"gateway\"\nformat = \"raw\"\n\
                       components = [{ name = \"main\", capacity = \"1MiB\" }]\n";
        desk.t.write("gateway.toml", product);
        desk
    }

    pub(crate) fn key(&self, name: &str, algorithm: &str) {
        self.t.ok(&format!(
            "firmseal keys generate file:tuf/{name}.pem --algorithm {algorithm} --secret file:tuf/passphrase \
             --public tuf/{name}.pub"
        ));
    }

    pub(crate) fn settings(&self, text: &str) {
        self.t.write("tuf/tuf.toml", text);
    }

    /// Signs a release in the place, offline.
    pub(crate) fn release(&self, version: &str, channel: &str) {
        let firmware = self.t.write("firmware.bin", firmware(version));
        self.t.ok(&format!(
            "firmseal sign-offline --place place --product-file gateway.toml --version {version} --channel {channel} \
             --epoch 1 --component main={} -o {version}.bundle",
            firmware.display()
        ));
    }

    pub(crate) fn line(&self, repository: &str, more: &str, keys: &[&str]) -> String {
        let keys: String = keys.iter().map(|key| format!(" --key file:tuf/{key}.pem")).collect();
        format!("firmseal export tuf {repository} --settings tuf/tuf.toml {more}{keys}")
    }

    /// Exports the place; what was done.
    pub(crate) fn export(&self, repository: &str, keys: &[&str]) -> Value {
        self.t.json(&self.line(repository, "--place place", keys))
    }

    /// What a client with this memory says to a repository. One without a
    /// memory begins with our first root.
    pub(crate) fn client(&self, repository: &str, memory: &str, more: &str) -> Value {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tuf_client.py");
        let line = format!("python {script} {repository} {memory} repo/metadata/1.root.json {more}");
        serde_json::from_str(&self.t.ok(&line).stdout).unwrap()
    }

    pub(crate) fn copy(&self, from: &str, to: &str) {
        self.t.ok(&format!("rm -rf {to}"));
        self.t.ok(&format!("cp -a {from} {to}"));
    }

    /// Changes a file's text.
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = String::from_utf8(self.t.read(path)).unwrap();
        assert!(text.contains(from), "{path} has no {from}:\n{text}");
        self.t.write(path, text.replacen(from, to, 1));
    }

    /// The file of a target in a repository.
    pub(crate) fn target(&self, repository: &str, version: &str) -> String {
        let directory = format!("{repository}/targets");
        let listed = std::fs::read_dir(self.t.path(&directory)).unwrap();
        let mut names = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let wanted = format!(".gateway_stable_{version}_main.bin");
        format!("{directory}/{}", names.find(|name| name.ends_with(&wanted)).unwrap())
    }
}

pub(crate) fn firmware(version: &str) -> Vec<u8> {
    version.bytes().cycle().take(9_000).collect()
}

/// Root, targets, snapshot and timestamp of a client or an export.
pub(crate) fn versions(said: &Value) -> [u64; 4] {
    ["root", "targets", "snapshot", "timestamp"].map(|role| {
        let own = &said["versions"][role];
        let version = own.as_u64().or_else(|| said["roles"][role]["version"].as_u64());
        version.unwrap_or_else(|| panic!("no {role} in {said}"))
    })
}

/// A program that writes into the place's database what never happened.
pub(crate) fn lie(change: &str) -> String {
    format!(
        "import sqlite3\n\
         base = sqlite3.connect('place/store/store.db')\n\
         names = base.execute(\"SELECT name FROM sqlite_master WHERE type = 'trigger'\").fetchall()\n\
         [base.execute('DROP TRIGGER ' + name) for (name,) in names]\n\
         base.execute(\"UPDATE releases SET {change} WHERE version = '1.1.0'\")\n\
         base.commit()\n"
    )
}

/// How long a role's metadata is good in the settings.
pub(crate) fn period(role: &str) -> String {
    let days = [("timestamp", 1), ("snapshot", 7), ("targets", 90), ("root", 365)];
    let days = days.into_iter().find(|(name, _)| *name == role).unwrap().1;
    format!("valid = \"{days}d\"")
}
