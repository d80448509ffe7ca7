//! What is signed, and by whom else.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{OpenSsl, Random};

/// An image for UEFI, from Debian's systemd-boot-efi.
const EFI: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// Size of what is made here.
const SIZE: usize = 16 << 20;
/// Size of a large microcontroller's firmware.
const APP: usize = 1 << 20;

/// A format, a file in it, and a peer.
pub(crate) struct Case {
    pub(crate) format: &'static str,
    pub(crate) key: &'static str,
    pub(crate) file: &'static str,
    pub(crate) parameters: Vec<(&'static str, String)>,
    /// The peer's command.
    pub(crate) peer: Vec<&'static str>,
    /// How much faster we have to be.
    pub(crate) at_least: f64,
}

/// A directory with keys, certificates and files.
pub(crate) struct Place {
    openssl: OpenSsl,
}

impl Place {
    pub(crate) fn new() -> Place {
        let openssl = OpenSsl::new(&["p256", "rsa3072"]);
        let mut random = Random(1);
        let noise: Vec<u8> = (0..SIZE / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        openssl.write("firmware.bin", &noise);
        openssl.write("app.bin", &noise[..APP]);
        openssl.write("app.efi", &std::fs::read(EFI).expect("systemd-boot-efi: run `cargo xtask setup`"));
        Place { openssl }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.openssl.dir.path().join(name)
    }

    /// The peer, which works in the directory.
    pub(crate) fn peer(&self, case: &Case) -> Command {
        let venv = std::env::var_os("FIRMSEAL_VENV")
            .map(PathBuf::from)
            .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
        let program = venv.join("bin").join(case.peer[0]);
        let mut command = Command::new(if program.exists() { program } else { case.peer[0].into() });
        command.args(&case.peer[1..]).current_dir(self.openssl.dir.path());
        command
    }
}

/// All of them.
pub(crate) fn all(place: &Place) -> Vec<Case> {
    let certificate = |key: &str| ("certificate", place.openssl.text(&format!("{key}.crt")));
    let text = |name, value: &str| (name, value.to_owned());
    let words = |line: &'static str| line.split_whitespace().collect();
    vec![
        Case {
            format: "raw",
            key: "p256",
            file: "firmware.bin",
            parameters: vec![],
            peer: words("openssl dgst -sha256 -sign p256.pem -out its firmware.bin"),
            at_least: 1.0,
        },
        Case {
            format: "cms",
            key: "p256",
            file: "firmware.bin",
            parameters: vec![certificate("p256")],
            peer: words(
                "openssl cms -sign -binary -in firmware.bin -signer p256.crt -inkey p256.pem -outform DER -out its",
            ),
            at_least: 1.0,
        },
        Case {
            format: "mcuboot",
            key: "p256",
            file: "app.bin",
            parameters: vec![
                text("header-size", "0x200"),
                text("slot-size", "0x2000000"),
                text("pad-header", "true"),
            ],
            peer: words(
                "imgtool sign --key p256.pem --header-size 0x200 --slot-size 0x2000000 --pad-header \
                 --version 1.2.3 app.bin its",
            ),
            at_least: 5.0,
        },
        Case {
            format: "pe",
            key: "rsa3072",
            file: "app.efi",
            parameters: vec![certificate("rsa3072")],
            peer: words("sbsign --key rsa3072.pem --cert rsa3072.crt --output its app.efi"),
            at_least: 1.0,
        },
    ]
}
