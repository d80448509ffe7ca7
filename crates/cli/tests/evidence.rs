//! Build evidence and timestamps, as somebody at a shell uses them; OpenSSL
//! has the last word on timestamps.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_firmseal");

struct Room(tempfile::TempDir);

impl Room {
    fn new() -> Room {
        let room = Room(tempfile::tempdir().unwrap());
        room.write("pw", b"correct horse battery staple\n");
        std::fs::set_permissions(room.path("pw"), std::fs::Permissions::from_mode(0o600)).unwrap();
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn command(&self, program: &str, line: &str) -> Command {
        let mut command = Command::new(program);
        command.args(line.split_whitespace()).current_dir(self.0.path()).env_remove("FIRMSEAL_PROFILE");
        command
    }

    fn output(&self, line: &str) -> Output {
        self.command(PROGRAM, line).output().unwrap()
    }

    fn run(&self, line: &str) -> String {
        let out = self.output(line);
        assert!(out.status.success(), "{line}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    fn fails(&self, line: &str, code: i32) -> String {
        let out = self.output(line);
        assert_eq!(out.status.code(), Some(code), "{line}: {out:?}");
        String::from_utf8([out.stdout, out.stderr].concat()).unwrap()
    }

    fn openssl(&self, line: &str) -> bool {
        self.command("openssl", line).output().unwrap().status.success()
    }
}

#[test]
fn a_second_build_is_compared_and_handed_in() {
    let room = Room::new();
    let image: Vec<u8> = (0..40_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut other = image.clone();
    other[4096] ^= 1;
    room.write("firmware", &image);
    room.write("again", &image);
    room.write("other", &other);
    assert_eq!(room.run("reproduce firmware again"), "identical\n");
    let told = room.fails("reproduce firmware other", 3);
    assert!(told.starts_with("different\nbyte 0x1000\n") && told.contains("the two builds differ"), "{told}");
    assert_eq!(room.output("reproduce firmware absent").status.code(), Some(8));

    room.run("keys generate --algorithm ed25519 file:rebuilder.key --secret file:pw --public rebuilder.pub");
    let sign = "--key file:rebuilder.key --secret file:pw --log rebuilder-log";
    room.run(&format!("reproduce firmware again {sign} --commit abc -o same.json"));
    room.fails(&format!("reproduce firmware other {sign} -o different.json"), 3);
    room.fails(&format!("reproduce firmware again {sign} -o same.json"), 6);
    room.fails("reproduce firmware again -o unsigned.json", 2);
    let statement: Value = serde_json::from_slice(&std::fs::read(room.path("same.json")).unwrap()).unwrap();
    assert_eq!(statement["payloadType"], "application/vnd.in-toto+json");

    room.run("init place --host 127.0.0.1");
    let settings = std::fs::read_to_string(room.path("place/signing.toml")).unwrap();
    let key = std::fs::read_to_string(room.path("rebuilder.pub")).unwrap();
    let builder = |id: &str| {
        format!(
            "{settings}\n[[builder]]\nid = \"{id}\"\nkey = \"\"\"{key}\"\"\"\nattests = [\"reproduction\"]\n"
        )
    };
    room.write("place/signing.toml", builder("rebuilder").as_bytes());
    room.write("product.toml", b"id = \"gateway\"\nenvironment = \"test\"\nvendor = \"example.com\"\nclass = \"one\"\nformat = \"raw\"\n\n[[components]]\nname = \"main\"\ncapacity = \"1MiB\"\n");
    room.write("junit.xml", b"<testsuite name='unit'><testcase name='a'/></testsuite>");
    room.write("twice.json", b"{\"a\":1,\"a\":2}");
    let sign = "sign-offline --place place --product-file product.toml --epoch 1 --component main=firmware";
    let refused = room.fails(&format!("{sign} --version 1.0.0 --evidence twice.json -o x.bundle"), 3);
    assert!(refused.contains("handed in as evidence, names something twice"), "{refused}");
    let made = room.run(&format!(
        "--json {sign} --version 1.0.0 --evidence same.json --evidence junit.xml -o gateway.bundle"
    ));
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["release"]["evidence"].as_array().map(Vec::len), Some(2), "{made}");

    room.write("place/signing.toml", builder("").as_bytes());
    let wrong = room.fails(&format!("{sign} --version 1.0.1 -o y.bundle"), 2);
    assert!(wrong.contains("builder id"), "{wrong}");
    room.write("place/signing.toml", builder("x").replace("reproduction\"]", "everything\"]").as_bytes());
    room.fails(&format!("{sign} --version 1.0.1 -o y.bundle"), 2);
}

/// The authority as a process, killed at the end.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_small_authority_stamps_by_file_and_over_http() {
    let room = Room::new();
    room.write("data", b"a signature");
    room.write("other", b"another");
    room.run("keys generate --algorithm p256 file:tsa.key --secret file:pw");
    let own = "--key file:tsa.key --secret file:pw --log tsa-log";
    room.run(&format!("timestamp init --name lab {own} -o tsa.pem"));
    room.run(&format!("timestamp init --name lab {own} -o second.pem"));
    assert!(room.openssl("ts -query -data data -sha256 -cert -out q.tsq"));
    room.run(&format!("timestamp answer q.tsq {own} --certificate tsa.pem -o r.tsr"));
    assert!(room.openssl("ts -verify -queryfile q.tsq -in r.tsr -CAfile tsa.pem"));
    assert!(!room.openssl("ts -verify -data other -in r.tsr -CAfile tsa.pem"));
    let told = room.run("timestamp verify data r.tsr --authority tsa.pem");
    assert!(told.contains("existed at") && told.contains("CN=lab"), "{told}");
    let wrong = room.fails("timestamp verify other r.tsr --authority tsa.pem", 3);
    assert!(wrong.contains("over other bytes"), "{wrong}");
    // The same name and key in another certificate is another authority.
    room.fails("timestamp verify data r.tsr --authority second.pem", 3);
    room.fails("timestamp verify data r.tsr --authority data", 2);
    let refused = room.fails(&format!("timestamp answer data {own} --certificate tsa.pem -o x.tsr"), 3);
    assert!(refused.contains("malformed") && !room.path("x.tsr").exists(), "{refused}");

    let mut child = room
        .command(PROGRAM, &format!("timestamp serve {own} --certificate tsa.pem --listen 127.0.0.1:0"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let _serving = Serving(child);
    let url = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_whitespace().last().map(str::to_owned))
        .unwrap();
    let get = format!("timestamp get data --url {url} --authority");
    room.run(&format!("{get} tsa.pem -o data.tst"));
    assert!(room.openssl("ts -verify -data data -in data.tst -token_in -CAfile tsa.pem"));
    room.run("timestamp verify data data.tst --authority tsa.pem");
    let stranger = room.fails(&format!("{get} second.pem -o x.tst"), 7);
    assert!(stranger.contains("certificate") && !room.path("x.tst").exists(), "{stranger}");
}
