//! imgtool as a program, and as a module in one process for many files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{self, fixture_path};

/// imgtool, and a directory for what it reads and writes.
pub(crate) struct Imgtool {
    bin: PathBuf,
    dir: tempfile::TempDir,
}

impl Imgtool {
    pub(crate) fn new() -> Imgtool {
        let venv = std::env::var_os("FIRMSEAL_VENV")
            .map(PathBuf::from)
            .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
        let bin = venv.join("bin");
        assert!(bin.join("imgtool").exists(), "imgtool is not in {}: run `cargo xtask setup`", bin.display());
        let this = Imgtool { bin, dir: tempfile::tempdir().unwrap() };
        let names = common::ALGORITHMS.into_iter().chain(["x25519"]);
        for name in names.flat_map(|name| [name.to_owned(), format!("other-{name}")]) {
            for (public, suffix) in [(false, "pem"), (true, "pub.pem")] {
                let mut openssl = Command::new("openssl");
                openssl.args(["pkey", "-inform", "DER", "-in"]).arg(fixture_path(&format!("keys/{name}.p8")));
                openssl.arg("-out").arg(this.path(&format!("{name}.{suffix}")));
                openssl.args(public.then_some("-pubout"));
                assert!(openssl.status().expect("openssl is installed").success());
            }
        }
        this
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A public key in PEM.
    pub(crate) fn public(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.pub.pem"))).unwrap()
    }

    /// A private key in PEM.
    pub(crate) fn private(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.pem"))).unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        Command::new(self.bin.join("imgtool")).args(args).output().unwrap()
    }

    pub(crate) fn verify(&self, key: &str, image: &[u8]) -> Result<String, String> {
        let image = self.write("verify.bin", image);
        let key = self.path(&format!("{key}.pub.pem"));
        let out = self.run(&["verify", "-k", key.to_str().unwrap(), image.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        if out.status.success() { Ok(text) } else { Err(text) }
    }

    pub(crate) fn sign(
        &self,
        key: &str,
        version: &str,
        counter: &str,
        args: &[&str],
        firmware: &Path,
    ) -> Vec<u8> {
        let (key, out) = (self.path(&format!("{key}.pem")), self.path("signed.bin"));
        let mut all = vec!["sign", "-k", key.to_str().unwrap(), "-v", version, "-s", counter];
        all.extend(args);
        all.extend([firmware.to_str().unwrap(), out.to_str().unwrap()]);
        let result = self.run(&all);
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
        std::fs::read(out).unwrap()
    }

    /// `imgtool sign` of many wishes in one process, with what `sign` takes.
    pub(crate) fn sign_all(&self, key: &str, wishes: &[&[&str]], firmware: &Path) -> Vec<Vec<u8>> {
        const SCRIPT: &str = "
import json, sys
from imgtool.main import imgtool
for line in sys.stdin:
    imgtool.main(args=json.loads(line), standalone_mode=False)
";
        let (key, out) = (self.path(&format!("{key}.pem")), |index| self.path(&format!("wish-{index}.bin")));
        let mut lines = String::new();
        for (index, wish) in wishes.iter().enumerate() {
            let mut all = vec!["sign", "-k", key.to_str().unwrap(), "-v", "1.2.3+4", "-s", "7"];
            all.extend(*wish);
            let path = out(index);
            all.extend([firmware.to_str().unwrap(), path.to_str().unwrap()]);
            lines += &(serde_json::to_string(&all).unwrap() + "\n");
        }
        self.python(SCRIPT, &[], &lines);
        (0..wishes.len()).map(|index| std::fs::read(out(index)).unwrap()).collect()
    }

    /// What a script prints.
    pub(crate) fn python(&self, script: &str, arguments: &[&Path], input: &str) -> String {
        let list = self.write("list", input.as_bytes());
        let out = Command::new(self.bin.join("python"))
            .args(["-c", script])
            .args(arguments)
            .stdin(std::fs::File::open(list).unwrap())
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// `Image.verify` on many files in one process: one verdict for each.
    /// A Python exception is a refusal.
    pub(crate) fn verify_all(&self, key: &str, images: &[Vec<u8>]) -> Vec<bool> {
        self.verdicts(key, images, "")
    }

    /// The same on machines of the byte order that each image is built for:
    /// imgtool reads all images in the order of the machine that it runs on.
    pub(crate) fn verify_as_built(&self, key: &str, images: &[Vec<u8>]) -> Vec<bool> {
        self.verdicts(key, images, "big")
    }

    fn verdicts(&self, key: &str, images: &[Vec<u8>], machines: &str) -> Vec<bool> {
        const SCRIPT: &str = "
import struct, sys
from imgtool import image, keys
key = keys.load(sys.argv[1])
class Big:
    pack, calcsize = staticmethod(struct.pack), staticmethod(struct.calcsize)
    unpack = staticmethod(lambda form, data: struct.unpack('>' + form, data))
for line in sys.stdin:
    try:
        first = open(line.strip(), 'rb').read(1)
        image.struct = Big if len(sys.argv) > 2 and first == b'\\x96' else struct
        ok = image.Image.verify(line.strip(), key)[0] == image.VerifyResult.OK
    except Exception:
        ok = False
    print(int(ok))
";
        let names: String = images
            .iter()
            .enumerate()
            .map(|(index, image)| format!("{}\n", self.write(&format!("{index}.bin"), image).display()))
            .collect();
        let key = self.path(&format!("{key}.pub.pem"));
        let arguments = [key.as_path(), Path::new(machines)];
        let out = self.python(SCRIPT, &arguments[..if machines.is_empty() { 1 } else { 2 }], &names);
        out.lines().map(|line| line == "1").collect()
    }
}
