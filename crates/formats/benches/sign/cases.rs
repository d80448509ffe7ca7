//! What is signed, and by whom else.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{OpenSsl, Random, fixture};

/// An image for UEFI, from Debian's systemd-boot-efi.
const EFI: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
/// Size of what is made here.
const SIZE: usize = 16 << 20;
/// Size of a large microcontroller's firmware.
const APP: usize = 1 << 20;

/// A FIT, a description of a SWUpdate package and the manifest of a RAUC bundle,
/// all around the same firmware.
const ITS: &str = r#"/dts-v1/;
/ {
    description = "a board";
    #address-cells = <1>;
    images { kernel { data = /incbin/("firmware.bin"); type = "kernel"; arch = "arm64"; os = "linux";
        compression = "none"; load = <0x40080000>; entry = <0x40080000>; hash { algo = "sha256"; }; }; };
    configurations { default = "conf"; conf { kernel = "kernel"; signature-1 {
        algo = "sha256,rsa3072"; key-name-hint = "rsa3072"; sign-images = "kernel"; }; }; };
};
"#;
const SW_DESCRIPTION: &str = r#"software = { version = "1.2.3"; hardware-compatibility: [ "1.0" ];
    images: ( { filename = "firmware.bin"; type = "raw"; device = "/dev/null"; sha256 = "@firmware.bin"; } ); };
"#;
const MANIFEST: &str = "[update]\ncompatible=Board\nversion=1.2.3\n\n[bundle]\nformat=verity\n\n\
                        [image.rootfs]\nfilename=root.img\n";
/// What a cabinet says of the firmware.
const METAINFO: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<component type="firmware"><id>com.example.board.firmware</id><name>Board</name><summary>Firmware</summary>
  <provides><firmware type="flashed">09d7cf52-0720-4710-91d1-08469b7fe9c8</firmware></provides>
  <releases><release version="1.2.3" date="2026-01-01">
    <checksum type="sha256" filename="firmware.bin" target="content">SHA256</checksum>
  </release></releases></component>
"#;
/// Makes a SUIT envelope around the firmware, and signs it.
const COSIGN: &str = include_str!("../../judges/suit_cosign.py");
const MADE: [&str; 11] = [
    "python cosign.py make firmware.bin app.suit",
    "cp rsa3072.pem rsa3072.key",
    "mkimage -f app.its app.itb",
    "swugenerator -s app.swd -a . -o app.swu create",
    "cp firmware.bin content/root.img && rauc --cert=p256.crt --key=p256.pem bundle content app.raucb",
    "openssl ec -in p256.pem -out p256.sec1 && mender-artifact write rootfs-image --no-progress -n app -t board \
     -f firmware.bin --software-version 1.2.3 -o app.mender",
    "openssl req -x509 -new -key p256.pem -subj /CN=p256 -days 30 -addext keyUsage=digitalSignature -out p256.crt.pem",
    "sed s/SHA256/$(sha256sum firmware.bin | cut -d' ' -f1)/ metainfo >app.metainfo.xml && \
     gcab -n -c app.cab firmware.bin app.metainfo.xml",
    "printf firmware >small && \
     cert_create -n -a rsa --tfw-nvctr 7 --rot-key rsa2048.pem --tb-fw small --tb-fw-cert app.crt",
    "cp firmware.bin app.verity && /usr/sbin/veritysetup format --hash-offset 16777216 app.verity app.verity",
    "python layout.py firmware.bin app.oci",
];

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
        let openssl = OpenSsl::new(&["p256", "rsa2048", "rsa3072"]);
        let mut random = Random(1);
        let noise: Vec<u8> = (0..SIZE / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        openssl.write("firmware.bin", &noise);
        openssl.write("app.bin", &noise[..APP]);
        openssl.write("app.efi", &std::fs::read(EFI).expect("systemd-boot-efi: run `cargo xtask setup`"));
        openssl.write("app.esp", &fixture("esp32/esp32.bin"));
        openssl.write("app.ko", &fixture("kmod/unsigned.bin"));
        openssl.write("sigstore.js", include_bytes!("sigstore.js"));
        openssl.write("app.its", ITS.as_bytes());
        openssl.write("cosign.py", COSIGN.as_bytes());
        openssl.write("layout.py", include_bytes!("layout.py"));
        openssl.write("metainfo", METAINFO.as_bytes());
        openssl.write("app.swd", SW_DESCRIPTION.as_bytes());
        let place = Place { openssl };
        std::fs::create_dir(place.path("content")).unwrap();
        place.openssl.write("content/manifest.raucm", MANIFEST.as_bytes());
        for line in MADE {
            let done = place.command(&["sh", "-c", line]).output().unwrap();
            assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.openssl.dir.path().join(name)
    }

    /// The peer, which works in the directory.
    pub(crate) fn peer(&self, case: &Case) -> Command {
        self.command(&case.peer)
    }

    fn command(&self, words: &[&str]) -> Command {
        let venv = std::env::var_os("FIRMSEAL_VENV")
            .map(PathBuf::from)
            .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
        let path = std::env::var("PATH").unwrap_or_default();
        let places = ["bin", "share/kernel", "share/avb"].map(|place| venv.join(place));
        let all = places.each_ref().map(|place| place.display().to_string()).join(":");
        let path = format!("{all}:{path}");
        let program = places.map(|place| place.join(words[0])).into_iter().find(|program| program.exists());
        let mut command = Command::new(program.unwrap_or_else(|| words[0].into()));
        command.args(&words[1..]).current_dir(self.openssl.dir.path()).env("PATH", path);
        command.env("NODE_PATH", venv.join("node/node_modules"));
        // fwupdtool keeps a state and reads a configuration: here, not the machine's.
        for name in ["FWUPD_SYSCONFDIR", "FWUPD_LOCALSTATEDIR"] {
            command.env(name, self.openssl.dir.path());
        }
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
        Case {
            format: "capsule",
            key: "rsa3072",
            file: "firmware.bin",
            parameters: vec![certificate("rsa3072"), text("guid", "09d7cf52-0720-4710-91d1-08469b7fe9c8")],
            peer: words(
                "mkeficapsule --monotonic-count 7 --private-key rsa3072.pem --certificate rsa3072.crt --index 1 \
                 --guid 09d7cf52-0720-4710-91d1-08469b7fe9c8 firmware.bin its",
            ),
            at_least: 1.0,
        },
        Case {
            format: "fit",
            key: "rsa3072",
            file: "app.itb",
            parameters: vec![],
            // It signs in place.
            peer: vec!["sh", "-c", "cp app.itb its && mkimage -F -k . -r its"],
            at_least: 1.0,
        },
        Case {
            format: "esp32",
            key: "rsa3072",
            file: "app.esp",
            parameters: vec![],
            peer: words("espsecure sign-data --version 2 --keyfile rsa3072.pem --output its app.esp"),
            at_least: 5.0,
        },
        Case {
            format: "avb",
            key: "rsa2048",
            file: "firmware.bin",
            parameters: vec![text("partition-name", "boot"), text("partition-size", "0x2000000")],
            // It signs in place.
            peer: vec![
                "sh",
                "-c",
                "cp firmware.bin its && avbtool.py add_hash_footer --image its --partition_name boot \
                 --partition_size 33554432 --algorithm SHA256_RSA2048 --key rsa2048.pem",
            ],
            at_least: 1.0,
        },
        Case {
            format: "rauc",
            key: "rsa3072",
            file: "app.raucb",
            parameters: vec![certificate("rsa3072")],
            peer: vec![
                "sh",
                "-c",
                "rm -f its && rauc --cert=rsa3072.crt --key=rsa3072.pem --keyring=p256.crt \
                 --signing-keyring=rsa3072.crt resign app.raucb its",
            ],
            at_least: 1.0,
        },
        Case {
            format: "swupdate",
            key: "p256",
            file: "app.swu",
            parameters: vec![certificate("p256")],
            peer: words("swugenerator -s app.swd -a . -o its -k CMS,p256.pem,p256.crt create"),
            at_least: 5.0,
        },
        Case {
            format: "suit",
            key: "p256",
            file: "app.suit",
            parameters: vec![text("algorithm-id", "older")],
            peer: words("python cosign.py p256.pem app.suit its"),
            at_least: 2.0,
        },
        Case {
            format: "mender",
            key: "p256",
            file: "app.mender",
            parameters: vec![],
            peer: words("mender-artifact sign app.mender --force -k p256.sec1 -o its"),
            at_least: 1.0,
        },
        Case {
            format: "tfa",
            key: "rsa2048",
            file: "app.crt",
            parameters: vec![],
            // With every key that it knows, or it makes those that are missing.
            peer: words(
                "cert_create -a rsa --tfw-nvctr 7 --ntfw-nvctr 0 --rot-key rsa2048.pem --trusted-world-key rsa2048.pem \
                 --non-trusted-world-key rsa2048.pem --scp-fw-key rsa2048.pem --soc-fw-key rsa2048.pem \
                 --tos-fw-key rsa2048.pem --nt-fw-key rsa2048.pem --tb-fw small --tb-fw-cert its",
            ),
            at_least: 1.0,
        },
        Case {
            format: "kmod",
            key: "p256",
            file: "app.ko",
            parameters: vec![certificate("p256")],
            peer: words("sign-file sha256 p256.pem p256.crt app.ko its"),
            at_least: 1.0,
        },
        Case {
            format: "sigstore",
            key: "p256",
            file: "firmware.bin",
            parameters: vec![],
            peer: words("node sigstore.js p256.pem firmware.bin its"),
            at_least: 5.0,
        },
        Case {
            format: "oci",
            key: "p256",
            file: "app.oci",
            parameters: vec![],
            // skopeo reads the layout, the library signs its manifest.
            peer: vec![
                "sh",
                "-c",
                "skopeo --insecure-policy copy -q oci-archive:app.oci dir:copy && \
                 node sigstore.js p256.pem copy/manifest.json its",
            ],
            at_least: 5.0,
        },
        Case {
            format: "fwupd",
            key: "p256",
            file: "app.cab",
            parameters: vec![("certificate", place.openssl.text("p256.crt.pem"))],
            // It signs in place.
            peer: vec![
                "sh",
                "-c",
                "cp app.cab its.cab && fwupdtool firmware-sign its.cab p256.crt.pem p256.pem",
            ],
            at_least: 1.0,
        },
        Case {
            format: "jcat",
            key: "p256",
            file: "firmware.bin",
            parameters: vec![
                ("certificate", place.openssl.text("p256.crt.pem")),
                text("name", "firmware.bin"),
            ],
            // It adds to what is there.
            peer: vec!["sh", "-c", "rm -f its && jcat-tool sign its firmware.bin p256.crt.pem p256.pem"],
            at_least: 1.0,
        },
        Case {
            format: "fsverity",
            key: "p256",
            file: "firmware.bin",
            parameters: vec![certificate("p256")],
            peer: words("fsverity sign firmware.bin its --key=p256.pem --cert=p256.crt"),
            at_least: 1.0,
        },
        Case {
            format: "dmverity",
            key: "p256",
            file: "app.verity",
            parameters: vec![certificate("p256")],
            // Whoever signs a root has just made the tree.
            peer: vec![
                "sh",
                "-c",
                "/usr/sbin/veritysetup format --hash-offset 16777216 app.verity app.verity | \
                 sed -n 's/^Root hash:[[:space:]]*//p' | tr -d '\\n' >root && \
                 openssl cms -sign -binary -in root -signer p256.crt -inkey p256.pem -outform DER -out its",
            ],
            at_least: 1.0,
        },
    ]
}
