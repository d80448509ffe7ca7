//! U-Boot's own tools, in a directory of their own: mkimage makes FITs and
//! devicetrees with keys, fit_check_sign verifies as the bootloader does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::common::{OpenSsl, fixture_path};

/// The tools.
pub(crate) struct Uboot {
    pub(crate) openssl: OpenSsl,
    /// Debian's verifier, and the same with ECDSA keys from the devicetree, where
    /// U-Boot has them.
    rsa: PathBuf,
    ecdsa: PathBuf,
}

/// What a FIT is made of.
pub(crate) const SOURCE: &str = r#"/dts-v1/;
/ {
    description = "a board";
    #address-cells = <1>;
    images {
        kernel-1 {
            description = "kernel"; data = /incbin/("kernel"); type = "kernel"; arch = "arm64"; os = "linux";
            compression = "none"; load = <0x40080000>; entry = <0x40080000>;
            hash-1 { algo = "sha256"; };
        };
        fdt-1 {
            description = "tree"; data = /incbin/("board.dtb"); type = "flat_dt"; arch = "arm64";
            compression = "none"; hash-1 { algo = "sha384"; };
        };
        fdt-2 {
            description = "other tree"; data = /incbin/("board.dtb"); type = "flat_dt"; arch = "arm64";
            compression = "none"; hash-1 { algo = "sha256"; };
        };
    };
    configurations {
        default = "conf-1";
        conf-1 { description = "one"; kernel = "kernel-1"; fdt = "fdt-1"; SIGNATURE };
        CONFIGURATIONS
    };
};
"#;

pub(crate) const KEYS: [&str; 5] = ["rsa2048", "rsa3072", "rsa4096", "other-rsa3072", "p256"];

impl Uboot {
    pub(crate) fn new() -> Uboot {
        let venv = std::env::var_os("FIRMSEAL_VENV")
            .map(PathBuf::from)
            .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
        let [rsa, ecdsa] = ["fit_check_sign", "fit_check_sign_ecdsa"].map(|name| {
            let tool = venv.join("bin").join(name);
            assert!(tool.exists(), "{} is not there: run `cargo xtask setup`", tool.display());
            tool
        });
        let this = Uboot { openssl: OpenSsl::new(&KEYS), rsa, ecdsa };
        for key in KEYS {
            // mkimage finds keys by this name.
            std::fs::copy(this.path(&format!("{key}.pem")), this.path(&format!("{key}.key"))).unwrap();
        }
        std::fs::copy(fixture_path("firmware.bin"), this.path("kernel")).unwrap();
        this.write("board.dts", b"/dts-v1/; / { compatible = \"example,board\"; };");
        this.ok("dtc", "-q -I dts -O dtb -o board.dtb board.dts");
        this.write("empty.dts", b"/dts-v1/; / { };");
        this.ok("dtc", "-q -I dts -O dtb -p 4096 -o empty.dtb empty.dts");
        this
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.openssl.dir.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        self.openssl.write(name, bytes)
    }

    pub(crate) fn run(&self, program: &str, line: &str) -> Output {
        let mut command = Command::new(program);
        command.args(line.split_whitespace()).current_dir(self.dir());
        // The same time in every file.
        command.env("SOURCE_DATE_EPOCH", "1790000000");
        command.output().unwrap_or_else(|error| panic!("{program}: {error}; run `cargo xtask setup`"))
    }

    pub(crate) fn ok(&self, program: &str, line: &str) -> String {
        let out = self.run(program, line);
        assert!(out.status.success(), "{program} {line}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// A FIT that mkimage makes: with this in its first configuration, and
    /// these behind it.
    pub(crate) fn make(&self, signature: &str, configurations: &str, options: &str) -> Vec<u8> {
        let source = SOURCE.replace("SIGNATURE", signature).replace("CONFIGURATIONS", configurations);
        self.write("made.its", source.as_bytes());
        self.ok("mkimage", &format!("-f made.its {options} made.itb"));
        self.openssl.read("made.itb")
    }

    /// A FIT that mkimage makes and signs with a key, which is also put into
    /// `KEY.dtb` as required.
    pub(crate) fn signed(&self, key: &str, padding: &str, options: &str) -> Vec<u8> {
        std::fs::copy(self.path("empty.dtb"), self.path(&format!("{key}.dtb"))).unwrap();
        let bits = key.trim_start_matches("other-");
        let node = format!(
            "signature-1 {{ algo = \"sha256,{bits}\"; key-name-hint = \"{key}\"; {padding} \
             sign-images = \"kernel\", \"fdt\"; }};"
        );
        let made = self.make(&node, "", &format!("-k . -K {key}.dtb -r {options}"));
        self.requires(&format!("{key}.dtb"), key);
        made
    }

    /// Without this the judge accepts everything.
    pub(crate) fn requires(&self, control: &str, key: &str) {
        let required = self.ok("fdtget", &format!("{control} /signature/key-{key} required"));
        assert_eq!(required.trim(), "conf");
    }

    /// Whether U-Boot with this devicetree boots the default configuration.
    pub(crate) fn accepts(&self, fit: &[u8], control: &str) -> bool {
        self.verdict(&self.rsa, fit, control, "")
    }

    /// The same of a configuration.
    pub(crate) fn accepts_configuration(&self, fit: &[u8], control: &str, name: &str) -> bool {
        self.verdict(&self.rsa, fit, control, &format!("-c {name}"))
    }

    /// The same of U-Boot with an ECDSA key in its devicetree.
    pub(crate) fn accepts_ecdsa(&self, fit: &[u8], control: &str) -> bool {
        self.verdict(&self.ecdsa, fit, control, "")
    }

    fn verdict(&self, tool: &Path, fit: &[u8], control: &str, options: &str) -> bool {
        self.write("judged.itb", fit);
        let line = format!("-f judged.itb -k {control} {options}");
        self.run(tool.to_str().unwrap(), &line).status.success()
    }
}
