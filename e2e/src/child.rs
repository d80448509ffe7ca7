//! Children: processes that end with the test, and whose lines can be waited
//! for.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take before a test gives up: far longer than it
/// ever should, so that a busy machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `ready` gives something.
pub fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for this in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Lines that a process has written so far; shared, and growing.
#[derive(Clone, Default)]
pub struct Lines(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Lines {
    fn push(&self, line: String) {
        self.0.0.lock().unwrap().push(line);
        self.0.1.notify_all();
    }

    /// Everything so far.
    pub fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap().clone()
    }

    /// Everything so far, as one text.
    pub fn text(&self) -> String {
        self.all().join("\n")
    }

    /// The lines that are JSON objects.
    pub fn json(&self) -> Vec<Value> {
        self.all().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until there are `count` lines more than now, or for `at_most`.
    pub fn wait_for_more(&self, count: usize, at_most: Duration) {
        let lines = self.0.0.lock().unwrap();
        let wanted = lines.len() + count;
        drop(self.0.1.wait_timeout_while(lines, at_most, |lines| lines.len() < wanted).unwrap());
    }

    fn collect(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let lines = self.clone();
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut bytes = Vec::new();
            while from.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
                lines.push(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned());
                bytes.clear();
            }
        })
    }
}

/// A running process. It is killed, by its id, when this is dropped.
pub struct Child {
    child: std::process::Child,
    readers: Vec<JoinHandle<()>>,
    /// What it wrote to stdout.
    pub stdout: Lines,
    /// What it wrote to stderr.
    pub stderr: Lines,
}

impl Child {
    /// Starts a process.
    pub fn start(command: &mut Command) -> Child {
        Child::writing_to(command, Lines::default())
    }

    /// Starts a process whose stderr goes on where another's ended.
    pub fn writing_to(command: &mut Command, stderr: Lines) -> Child {
        // A group of its own: a Ctrl-C at the terminal is for the test, which
        // then ends its children itself.
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|err| panic!("{command:?}: {err}"));
        let stdout = Lines::default();
        let readers =
            vec![stdout.collect(child.stdout.take().unwrap()), stderr.collect(child.stderr.take().unwrap())];
        Child { child, readers, stdout, stderr }
    }

    /// Its process id, which is also that of its group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end, and for the last of its lines.
    pub fn wait(&mut self) -> ExitStatus {
        let id = self.id();
        let status = until(&format!("the end of process {id}"), || self.ended());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    /// Ends it without a warning, as a power cut does.
    pub fn kill(&mut self) {
        // It may have ended by itself in the meantime.
        let _ = self.child.kill();
        self.wait();
    }

    /// SIGSTOP: it is there, and does nothing.
    pub fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on where it was.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id() as i32).unwrap(), signal).unwrap();
    }

    /// Asks it to end.
    pub fn terminate(&mut self) -> ExitStatus {
        if self.ended().is_none() {
            let pid = Pid::from_raw(self.id() as i32).unwrap();
            let _ = kill_process(pid, Signal::TERM);
        }
        self.wait()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Shows text in the test's output, which is printed where a test fails.
pub fn show(text: &str) {
    // Through `print!`, which the test harness captures.
    print!("{text}");
    let _ = std::io::stdout().flush();
}
