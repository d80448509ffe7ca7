//! Key hosts: a SoftHSM token, and the process with its keys, which may die.

use std::path::PathBuf;

use firmseal_testkit::ports;

use crate::child::{Child, until};
use crate::shell::Shell;

const PIN: &str = "123456";

/// A token whose keys a key host signs with.
pub struct KeyHost {
    shell: Shell,
    port: u16,
    running: Option<Child>,
}

/// Where Debian puts SoftHSM2.
pub fn softhsm() -> PathBuf {
    let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
    let found = places.iter().map(PathBuf::from).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("SoftHSM2 is not installed: run `cargo xtask setup`"))
}

fn uri(object: &str) -> String {
    format!("pkcs11:token=hsm;object={object}?module-path={}", softhsm().display())
}

/// Makes the token `hsm` in the shell's directory, without keys, and its PIN in
/// the file `pin`: a shell that has it.
pub fn token(t: &Shell) -> Shell {
    std::fs::create_dir(t.path("tokens")).unwrap();
    let tokens = t.path("tokens");
    let settings = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
    let settings = t.write("softhsm2.conf", settings);
    let shell = Shell::at(&t.path("")).with("SOFTHSM2_CONF", settings);
    shell.ok(&format!("softhsm2-util --init-token --free --label hsm --pin {PIN} --so-pin 87654321"));
    shell.write("pin", format!("{PIN}\n"));
    shell.ok("chmod 600 pin");
    shell
}

impl KeyHost {
    /// A token without keys, in the shell's directory.
    pub fn new(t: &Shell) -> KeyHost {
        KeyHost { shell: token(t), port: ports::free(), running: None }
    }

    /// The URI of a key, for whoever has the token: the PIN is in the file `pin`.
    pub fn uri(&self, object: &str) -> String {
        format!("{}&pin-source=file:{}", uri(object), self.shell.path("pin").display())
    }

    /// Makes a P-256 key, whose public half goes into `OBJECT.pub`.
    pub fn generate(&self, object: &str) {
        let uri = self.uri(object);
        self.shell.ok(&format!("firmseal keys generate '{uri}' --algorithm p256 --public {object}.pub"));
    }

    /// Makes the host, in `host`, for the server with this log: keys with the
    /// names of their objects, and what each is for.
    pub fn init(&self, log: &str, keys: &[(&str, &str)]) {
        let (shell, port) = (&self.shell, self.port);
        shell.ok(&format!("firmseal keyhost init host --name keys.example/1 --log {log} --port {port}"));
        shell.write("host/pin", format!("{PIN}\n"));
        shell.ok("chmod 600 host/pin");
        let settings = String::from_utf8(shell.read("host/keyhost.toml")).unwrap();
        let settings = settings
            .replace("secret = \"prompt\"", "secret = \"file:pin\"")
            .replace("writable = []", "writable = [\"../tokens\"]");
        let table = |(object, purpose): &(&str, &str)| {
            format!("\n[[key]]\nname = \"{object}\"\nuri = \"{}\"\nuses = [\"{purpose}\"]\n", uri(object))
        };
        let tables: String = keys.iter().map(table).collect();
        shell.write("host/keyhost.toml", settings + &tables);
        std::fs::rename(shell.path("host/client"), shell.path("place/keyhost")).unwrap();
    }

    /// What the server's signing.toml says of it; its keys are
    /// `keyhost:room/OBJECT`.
    pub fn table(&self) -> String {
        format!(
            "\n[[keyhost]]\nname = \"room\"\nurl = \"https://localhost:{}\"\n\
             authority = \"keyhost/server.pem\"\ncertificate = \"keyhost/client.pem\"\n\
             key = \"keyhost/client.key\"\n",
            self.port
        )
    }

    /// Starts it, and waits until it listens.
    pub fn start(&mut self) {
        let child = Child::start(&mut self.shell.command("firmseal serve host --serve signing"));
        until("the key host to listen", || child.stderr.text().contains("https://").then_some(()));
        self.running = Some(child);
    }

    /// SIGKILL, and nobody at the port.
    pub fn dies(&mut self) {
        self.running.take().unwrap().kill();
    }

    /// SIGSTOP: its port is open, and nobody answers.
    pub fn hangs(&self) {
        self.running.as_ref().unwrap().hang();
    }

    /// Ends a hang.
    pub fn goes_on(&self) {
        self.running.as_ref().unwrap().go_on();
    }
}
