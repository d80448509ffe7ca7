//! A supervisor, as systemd is one: it is told how its process is, and ends
//! one that it has not heard of for long (sd_notify(3), `WatchdogSec=`).

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::until;

/// Where a process reports to.
pub struct Supervisor {
    heard: Arc<Mutex<Heard>>,
}

struct Heard {
    last: Instant,
    statuses: Vec<String>,
}

impl Supervisor {
    /// Listens at a path, which is the `NOTIFY_SOCKET` of the process.
    pub fn new(path: &Path) -> Supervisor {
        let socket = UnixDatagram::bind(path).unwrap();
        let heard = Arc::new(Mutex::new(Heard { last: Instant::now(), statuses: Vec::new() }));
        let noted = heard.clone();
        // It ends with the test, whose processes end before.
        std::thread::spawn(move || {
            let mut message = [0; 4096];
            while let Ok(len) = socket.recv(&mut message) {
                let text = String::from_utf8(message[..len].to_vec()).unwrap();
                let mut noted = noted.lock().unwrap();
                noted.last = Instant::now();
                let status = |line: &str| line.strip_prefix("STATUS=").map(str::to_owned);
                noted.statuses.extend(text.lines().filter_map(status));
            }
        });
        Supervisor { heard }
    }

    /// What the process said last that it does.
    pub fn status(&self) -> Option<String> {
        self.heard.lock().unwrap().statuses.last().cloned()
    }

    /// Waits until the process says that it does this.
    pub fn wait_for(&self, status: &str) {
        until(&format!("the process to be {status}"), || {
            (self.status().as_deref() == Some(status)).then_some(())
        });
    }

    /// Forgets what an earlier process said.
    pub fn begin(&self) {
        self.heard.lock().unwrap().statuses.clear();
    }

    /// Waits until nothing was heard for so long.
    pub fn wait_for_silence(&self, long: Duration) {
        until("the process to fall silent", || {
            (self.heard.lock().unwrap().last.elapsed() > long).then_some(())
        });
    }
}
