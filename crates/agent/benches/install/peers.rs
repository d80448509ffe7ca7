//! Debian's rauc and swupdate, installing the same raw image.
//!
//! Both check a signature over the image's SHA-256 and copy it into a file
//! that stands for a slot. Their own waiting counts, as it does for a device.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A key and a bundle of each kind around one image.
pub(crate) struct Peers {
    dir: PathBuf,
}

const RAUC: &str = r#"export DBUS_SYSTEM_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS
rauc --conf=system.conf --override-boot-slot=a service >service.log 2>&1 & service=$!
until grep -q 'Using central status file' service.log; do sleep 0.05; done; sleep 0.2
from=$(date +%s%N); rauc --conf=system.conf install "$PWD/x.raucb" >install.log 2>&1; code=$?; to=$(date +%s%N)
kill $service; wait; echo $((to - from)); exit $code"#;

impl Peers {
    /// Makes both bundles; `None` where a tool is missing.
    pub(crate) fn new(dir: &Path, image: &Path) -> Option<Peers> {
        for tool in ["rauc", "swupdate", "mksquashfs", "dbus-run-session", "openssl"] {
            if Command::new("which")
                .arg(tool)
                .stdout(Stdio::null())
                .status()
                .is_ok_and(|done| !done.success())
            {
                println!("{tool} is missing (`cargo xtask setup bench`): rauc and swupdate are left out");
                return None;
            }
        }
        let peers = Peers { dir: dir.join("peers") };
        fs::create_dir_all(peers.dir.join("content")).unwrap();
        let place = peers.dir.display();
        peers.run("openssl", "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out ca.crt -days 2 -subj /CN=bench -addext extendedKeyUsage=emailProtection,codeSigning");

        let digest = Command::new("sha256sum").arg(image).output().unwrap().stdout;
        let digest = String::from_utf8_lossy(&digest[..64]).into_owned();
        let description = format!(
            "software = {{ version = \"1.0\"; hardware-compatibility: [ \"1.0\" ]; images: ( {{ filename = \"image\"; \
             device = \"{place}/slot\"; type = \"raw\"; installed-directly = true; sha256 = \"{digest}\"; }} ); }}\n"
        );
        fs::write(peers.dir.join("sw-description"), description).unwrap();
        peers.run("openssl", "cms -sign -in sw-description -out sw-description.sig -signer ca.crt -inkey key.pem -outform DER -nosmimecap -binary");
        fs::copy(image, peers.dir.join("image")).unwrap();
        peers.cpio(&["sw-description", "sw-description.sig", "image"]).unwrap();

        fs::rename(peers.dir.join("image"), peers.dir.join("content/rootfs.img")).unwrap();
        let manifest = "[update]\ncompatible=bench\nversion=1\n[image.rootfs]\nfilename=rootfs.img\n";
        fs::write(peers.dir.join("content/manifest.raucm"), manifest).unwrap();
        peers.run("rauc", "--cert=ca.crt --key=key.pem bundle content x.raucb");
        fs::remove_dir_all(peers.dir.join("content")).unwrap();
        let slot = |name: &str| {
            format!("[slot.rootfs.{name}]\ndevice={place}/slot{name}\ntype=raw\nbootname={name}\n")
        };
        let system = format!(
            "[system]\ncompatible=bench\nbootloader=noop\nstatusfile={place}/status\nmountprefix={place}/mnt\n\
             [keyring]\npath={place}/ca.crt\n{}{}",
            slot("0"),
            slot("1").replace("bootname=1", "bootname=a")
        );
        // The service believes that it runs from slot 1, and installs into 0.
        fs::write(peers.dir.join("system.conf"), system).unwrap();
        let size = fs::metadata(image).unwrap().len();
        for slot in ["slot", "slot0", "slot1"] {
            File::create(peers.dir.join(slot)).unwrap().set_len(size).unwrap();
        }
        Some(peers)
    }

    /// One install by swupdate. Its exit code is no judge (a good image gives
    /// 1 now and then): the slot is.
    pub(crate) fn swupdate(&self, image: &Path) -> Duration {
        let mut command = self.command("swupdate", "-i x.swu -k ca.crt -H bench:1.0 -l 0");
        let started = Instant::now();
        command.status().unwrap();
        let took = started.elapsed();
        self.compare(image, "slot");
        took
    }

    /// One install by rauc, from the request to the answer of its service.
    pub(crate) fn rauc(&self, image: &Path) -> Duration {
        let done = Command::new("dbus-run-session")
            .args(["--", "sh", "-c", RAUC])
            .current_dir(&self.dir)
            .stderr(Stdio::null())
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", fs::read_to_string(self.dir.join("install.log")).unwrap());
        self.compare(image, "slot0");
        Duration::from_nanos(String::from_utf8_lossy(&done.stdout).trim().parse().unwrap())
    }

    fn compare(&self, image: &Path, slot: &str) {
        let same = Command::new("cmp").arg("-s").arg(image).arg(self.dir.join(slot)).status().unwrap();
        assert!(same.success(), "{slot} does not hold the image");
        // The next run has everything to write again.
        let slot = File::options().write(true).open(self.dir.join(slot)).unwrap();
        let size = slot.metadata().unwrap().len();
        slot.set_len(0).and_then(|()| slot.set_len(size)).unwrap();
    }

    fn command(&self, program: &str, arguments: &str) -> Command {
        let mut command = Command::new(program);
        command.args(arguments.split(' ')).current_dir(&self.dir);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &str) {
        assert!(self.command(program, arguments).status().unwrap().success(), "{program} {arguments}");
    }

    /// An archive as swupdate reads it: cpio's "crc" form, whose checksum is
    /// the sum of all bytes.
    fn cpio(&self, names: &[&str]) -> io::Result<()> {
        let mut out = io::BufWriter::new(File::create(self.dir.join("x.swu"))?);
        let mut entry = |name: &str, bytes: &[u8]| {
            let sum = bytes.iter().fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
            let fields =
                [0, 0o100_644, 0, 0, 1, 0, bytes.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, sum];
            let mut head =
                fields.iter().fold("070702".to_owned(), |head, field| head + &format!("{field:08X}"));
            head += name;
            head.push('\0');
            out.write_all(head.as_bytes())?;
            out.write_all(&vec![0; head.len().next_multiple_of(4) - head.len()])?;
            out.write_all(bytes)?;
            out.write_all(&vec![0; bytes.len().next_multiple_of(4) - bytes.len()])
        };
        for name in names {
            entry(name, &fs::read(self.dir.join(name))?)?;
        }
        entry("TRAILER!!!", b"")
    }
}
