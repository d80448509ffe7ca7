//! Debian's docker-registry, which lists no referrers.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

pub(crate) struct Debian {
    pub(crate) host: String,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Debian {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Debian {
    pub(crate) async fn start() -> Debian {
        let directory = tempfile::tempdir().unwrap();
        let venv = std::env::var_os("FIRMSEAL_VENV").map(PathBuf::from);
        let venv =
            venv.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
        let own = venv.join("bin/docker-registry");
        let program = if own.is_file() { own } else { PathBuf::from("docker-registry") };
        // Whoever takes the port in between makes the program end: another one.
        for _ in 0..5 {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let settings = directory.path().join("config.yml");
            let root = directory.path().join("root");
            let text = format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {free}\n",
                root.display()
            );
            std::fs::write(&settings, text).unwrap();
            let child = Command::new(&program)
                .arg("serve")
                .arg(&settings)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            let mut child = child.expect("docker-registry: run `cargo xtask setup`");
            for _ in 0..2400 {
                if TcpStream::connect(free).await.is_ok() {
                    return Debian { host: free.to_string(), child, _directory: directory };
                }
                if child.try_wait().unwrap().is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("docker-registry does not come up");
    }
}
