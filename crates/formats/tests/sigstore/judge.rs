//! Node, with the library that npm verifies with.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

pub(crate) struct Judge(RefCell<Running>);

struct Running {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Judge {
    pub(crate) fn new() -> Judge {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let venv = std::env::var_os("FIRMSEAL_VENV").map(PathBuf::from);
        let venv = venv.unwrap_or_else(|| here.join("../../target/venv"));
        let child = Command::new("node")
            .arg(here.join("tests/sigstore/judge.js"))
            .env("NODE_PATH", venv.join("node/node_modules"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("node: run `cargo xtask setup`");
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Judge(RefCell::new(Running { child, to, from }))
    }

    fn ask(&self, question: &Value) -> Value {
        let running = &mut *self.0.borrow_mut();
        writeln!(running.to, "{question}").unwrap();
        let mut line = String::new();
        running.from.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the judge left: run `cargo xtask setup`");
        serde_json::from_str(&line).unwrap()
    }

    /// Whether it takes a bundle over a file, under a key.
    pub(crate) fn takes(&self, bundle: &[u8], file: &[u8], key: &str) -> bool {
        // What is no text, it is not even asked.
        let Ok(text) = std::str::from_utf8(bundle) else { return false };
        let artifact = Base64::encode_string(file);
        let answer = self.ask(&json!({ "op": "verify", "bundle": text, "artifact": artifact, "key": key }));
        answer["valid"].as_bool().unwrap()
    }

    /// A bundle that it makes: of the file itself, or of a statement.
    pub(crate) fn signs(&self, file: &[u8], statement: Option<&str>, key: &str) -> String {
        let artifact = Base64::encode_string(file);
        let answer =
            self.ask(&json!({ "op": "sign", "artifact": artifact, "payload": statement, "key": key }));
        answer["bundle"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}
