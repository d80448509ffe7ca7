//! Bad input on every surface: a clear error that names the thing, a
//! documented exit code (docs/exit-codes.md), no panic, and nothing lost.
#![allow(clippy::unwrap_used, clippy::panic)]

mod agent;
mod commands;
mod disk;
mod place;
mod server;

use firmseal_e2e::device::Model;
use firmseal_e2e::{Child, Ran, Shell, until};

const GATEWAY: Model<'_> = Model { product: "gateway", components: &[("main", 1 << 20)], settings: "" };

/// Failures that are collected, so that one run shows all of them.
#[derive(Default)]
struct Verdicts(Vec<String>);

impl Verdicts {
    /// One of these codes, the thing's name, and no panic.
    fn check(&mut self, ran: &Ran, codes: &[i32], naming: &str) {
        let Ran { line, code, stdout, stderr } = ran;
        let said = format!("`{line}`: exit code {code:?}, not {codes:?} naming {naming:?}\n{stdout}{stderr}");
        let coded = code.is_some_and(|code| codes.contains(&code));
        if !coded || !stderr.contains("error: ") || !stderr.contains(naming) || !stdout.is_empty() {
            self.0.push(said);
        }
    }

    fn end(self) {
        assert!(self.0.is_empty(), "{} of them:\n\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// Starts a server that should not start; one that does is stopped, and has
/// no exit code.
fn serve(t: &Shell, place: &str) -> Ran {
    let line = format!("firmseal serve {place}");
    let mut child = Child::start(&mut t.command(&line));
    let code = until("the server to fail", || match child.ended() {
        Some(status) => Some(status.code()),
        None => child.stderr.text().contains("public    https://").then_some(None),
    });
    child.kill();
    let stderr = child.stderr.text();
    assert!(!stderr.contains("panicked at"), "{stderr}");
    Ran { line, code, stdout: child.stdout.text(), stderr: last_lines(&stderr) }
}

/// Without the log lines before them.
fn last_lines(stderr: &str) -> String {
    let from = stderr.find("error: ").unwrap_or(0);
    stderr[from..].to_owned()
}
