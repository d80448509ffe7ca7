//! Debian's U-Boot as the judge, in QEMU, with a key in its devicetree: it boots
//! what we sign with that key, to the kernel's first words, and nothing else.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{TestKey, make};
use crate::peer::Uboot;
use firmseal_formats::{ControlKey, control_tree, inspect};

const UBOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
const MACHINE: &str = "-machine virt -cpu cortex-a57 -m 512 -nodefaults -display none -no-reboot -net none";
/// A machine that says nothing for so long never will.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the kernel says.
const WORDS: &[u8] = b"THE KERNEL RUNS\n";

/// A kernel for QEMU's `virt`: it writes its words to the PL011 at 0x09000000.
fn kernel() -> Vec<u8> {
    let code = [
        0xd2a1_2001_u32, // movz x1, #0x900, lsl #16
        0x1000_00e2,     // adr x2, 0x20
        0x3840_1443,     // ldrb w3, [x2], #1
        0x3400_0063,     // cbz w3, 0x18
        0xb900_0023,     // str w3, [x1]
        0x17ff_fffd,     // b 0x08
        0xd503_207f,     // wfi
        0x17ff_ffff,     // b 0x18
    ];
    let mut out = code.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    out.extend(WORDS);
    out.resize(256, 0);
    out
}

fn qemu(directory: &Path) -> Command {
    let mut machine = Command::new("qemu-system-aarch64");
    machine.current_dir(directory).stdin(Stdio::null());
    machine
}

/// What U-Boot makes of `bootm`: whether the kernel runs, and all that was said.
fn boots(directory: &Path, name: &str, fit: &[u8]) -> (bool, String) {
    let place = directory.join(format!("machine-{name}"));
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("image.itb"), fit).unwrap();
    let line = format!(
        "{MACHINE} -bios {UBOOT} -dtb ../control.dtb -serial stdio \
         -device loader,file=image.itb,addr=0x50000000,force-raw=on"
    );
    let mut machine = qemu(&place)
        .args(line.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(place.join("serial.log")).unwrap())
        .spawn()
        .expect("qemu-system-aarch64 is installed: run `cargo xtask setup`");
    let mut keyboard = machine.stdin.take().unwrap();
    let since = Instant::now();
    let mut asked = false;
    let told = loop {
        let log = std::fs::read(place.join("serial.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        // The serial line ends lines in its own way.
        let runs = log.contains(String::from_utf8_lossy(WORDS).trim_end());
        if runs || log.contains("VERDICT=1") {
            break Some((runs, log));
        }
        let ended = machine.try_wait().unwrap().is_some();
        if since.elapsed() > PATIENCE || ended {
            break None;
        }
        // It counts down, and is then at its prompt.
        if !asked && log.contains("=> ") {
            keyboard.write_all(b"bootm 0x50000000#conf-1; echo VERDICT=$?\n").unwrap();
            asked = true;
        } else if !asked && log.contains("Hit any key") {
            keyboard.write_all(b" ").unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let _ = machine.kill();
    let _ = machine.wait();
    told.unwrap_or_else(|| {
        let log = std::fs::read(place.join("serial.log")).unwrap_or_default();
        panic!("{name}: the machine says neither: {}", String::from_utf8_lossy(&log))
    })
}

#[test]
fn uboot_takes_what_its_owner_signed_and_nothing_else() {
    let uboot = Uboot::new();
    let (owner, stranger) = (TestKey::load("rsa3072"), TestKey::load("other-rsa3072"));
    let out =
        qemu(uboot.dir()).args(MACHINE.replace("virt", "virt,dumpdtb=virt.dtb").split_whitespace()).output();
    assert!(out.expect("qemu-system-aarch64 is installed: run `cargo xtask setup`").status.success());
    // The machine's devicetree, with the owner's key, put there by us.
    let wanted = ControlKey { key: &owner.public, hint: "owner", any: false };
    uboot.write("control.dtb", &control_tree(&uboot.openssl.read("virt.dtb"), &wanted).unwrap());
    uboot.requires("control.dtb", "owner");
    uboot.write("kernel", &kernel());
    let plain = uboot.make("", "", "");
    let good = make("fit", &plain, &owner, &[("key-name-hint", "owner")]).unwrap();
    let outside = make("fit", &uboot.make("", "", "-E"), &owner, &[]).unwrap();
    let foreign = make("fit", &plain, &stranger, &[("key-name-hint", "owner")]).unwrap();
    let changed = |wanted: &[u8], at: usize| {
        let start = good.windows(wanted.len()).position(|window| window == wanted).unwrap();
        let mut bytes = good.clone();
        bytes[start + at] ^= 1;
        bytes
    };
    let (kernel, load) = (changed(&kernel(), 70), changed(&[0x40, 0x08, 0, 0], 1));
    let signature = changed(&inspect(&good).unwrap().signatures[0].signature.0, 9);
    let cases = [
        ("good", &good, None),
        ("outside", &outside, None),
        ("kernel", &kernel, Some("Bad Data Hash")),
        ("load", &load, Some("Failed to verify required signature 'key-owner'")),
        ("signature", &signature, Some("Failed to verify required signature 'key-owner'")),
        ("foreign", &foreign, Some("Failed to verify required signature 'key-owner'")),
        ("unsigned", &plain, Some("Failed to verify required signature 'key-owner'")),
    ];
    for (name, fit, why) in cases {
        let (runs, log) = boots(uboot.dir(), name, fit);
        assert_eq!(runs, why.is_none(), "{name}: {log}");
        assert!(log.contains(why.unwrap_or("sha256,rsa3072:")), "{name}: {log}");
    }
}
