//! `firmseal inspect` on real files of Debian: boot managers, kernels, modules,
//! boot loaders, firmware. What it prints is kept in `real/inspections.txt`
//! for people to read; `UPDATE=1` writes it anew.
//!
//! Debian mends its packages. A file that is the one of then has to read as it
//! did, word for word; one that changed has to be of the same format, for the
//! same target, and say the same things.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use firmseal_core::crypto::{Crypto, RustCrypto};
use serde_json::Value;

/// From the root, or from where set-up unpacks what it does not install.
const FILES: [&str; 37] = [
    "boot/ipxe.efi",
    "boot/ipxe.lkrn",
    "boot/memtest86+ia32.efi",
    "boot/memtest86+x64.bin",
    "boot/memtest86+x64.efi",
    "kernel/modules/adiantum.ko",
    "kernel/modules/af_alg.ko",
    "kernel/modules/algif_hash.ko",
    "kernel/vmlinuz",
    "u-boot/rock64.itb",
    "/usr/lib/shim/fbx64.efi.signed",
    "/usr/lib/shim/mmx64.efi.signed",
    "/usr/lib/shim/shimx64.efi",
    "/usr/lib/systemd/boot/efi/linuxx64.efi.stub",
    "/usr/lib/systemd/boot/efi/systemd-bootx64.efi",
    "/usr/lib/u-boot/qemu_arm64/u-boot.bin",
    "/usr/libexec/fwupd/efi/fwupdx64.efi.signed",
    "/usr/share/OVMF/OVMF_VARS_4M.fd",
    "/usr/share/firmware-microbit-micropython/firmware.hex",
    "usr/lib/grub/i386-efi/monolithic/gcdia32.efi",
    "usr/lib/grub/i386-efi/monolithic/grubia32.efi",
    "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed",
    "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed",
    "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
    "usr/lib/grub/x86_64-efi/monolithic/grubnetx64.efi",
    "usr/lib/grub/x86_64-efi/monolithic/grubx64.efi",
    "usr/lib/ipxe/snponly.efi",
    "usr/lib/shim/shimx64.efi.signed",
    "usr/share/arduino/hardware/arduino/avr/bootloaders/atmega/ATmegaBOOT_168_atmega1280.hex",
    "usr/share/arduino/hardware/arduino/avr/bootloaders/bt/ATmegaBOOT_168_atmega328_bt.hex",
    "usr/share/arduino/hardware/arduino/avr/bootloaders/atmega/ATmegaBOOT_168_diecimila.hex",
    "usr/share/arduino/hardware/arduino/avr/bootloaders/stk500v2/stk500boot_v2_mega2560.hex",
    "usr/share/refind/refind/drivers_x64/ext4_x64.efi",
    "usr/share/refind/refind/refind_x64.efi",
    "usr/share/refind/refind/tools_x64/gptsync_x64.efi",
    "usr/share/seabios/bios.bin",
    "usr/share/seabios/vgabios-virtio.bin",
];

fn path(name: &str) -> PathBuf {
    let venv = std::env::var_os("FIRMSEAL_VENV")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
    let share = venv.join("share");
    let places = [share.join(name), share.join("real").join(name)];
    let found = places.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not here: run `cargo xtask setup`"))
}

fn inspect(path: &Path, more: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_firmseal")).arg("inspect").arg(path).args(more).output();
    let out = out.unwrap();
    assert!(out.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// The names of what is said, and what must not change of it.
fn shape(text: &str) -> Vec<&str> {
    text.lines()
        .map(|line| match line.split_once("  ") {
            Some(("format" | "target", _)) | None => line,
            Some((name, _)) => name,
        })
        .collect()
}

/// What was kept, by file.
fn kept(text: &str) -> BTreeMap<&str, (&str, &str)> {
    let sections = text.split("\n== ").skip(1).map(|section| {
        let (head, said) = section.split_once('\n').unwrap();
        let (name, digest) = head.split_once(' ').unwrap();
        (name, (digest, said.trim_end()))
    });
    sections.collect()
}

#[test]
fn real_files_are_read_as_they_were() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/inspections.txt");
    let mut text =
        "What `firmseal inspect` prints of real files of Debian, each with its SHA-256.\n".to_owned();
    let mut said = Vec::new();
    for name in FILES {
        let path = path(name);
        let digest = RustCrypto.digest(&std::fs::read(&path).unwrap());
        let printed = inspect(&path, &[]);
        text += &format!("\n== {name} {digest}\n{printed}");
        said.push((name, digest.to_string(), printed));
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    let before = std::fs::read_to_string(&golden).unwrap();
    let before = kept(&before);
    for (name, digest, printed) in &said {
        let (then, told) = before[name];
        match then == digest {
            true => assert_eq!(printed.trim_end(), told, "{name}"),
            false => assert_eq!(shape(printed.trim_end()), shape(told), "{name}, which Debian has changed"),
        }
    }
    assert_eq!(before.len(), FILES.len());
}

/// A boot loader of Arduino's fills two bytes twice: which of them a programmer
/// keeps is its own affair.
#[test]
fn what_is_said_twice_is_refused_in_real_files_too() {
    let path = path("usr/share/arduino/hardware/arduino/avr/bootloaders/optiboot/optiboot_atmega328.hex");
    let out = Command::new(env!("CARGO_BIN_EXE_firmseal")).arg("inspect").arg(path).output().unwrap();
    assert_eq!(out.status.code(), Some(3));
    let told = String::from_utf8(out.stderr).unwrap();
    assert!(told.contains("line 35: address 0x7ffe or one behind it is filled twice"), "{told}");
}

#[test]
fn programs_read_what_people_do() {
    for name in FILES {
        let path = path(name);
        let (text, json) = (inspect(&path, &[]), inspect(&path, &["--json"]));
        let json: Value = serde_json::from_str(&json).unwrap();
        assert!(
            text.lines().any(|line| line.split_whitespace().eq(["format", json["format"].as_str().unwrap()]))
        );
        let said = ["fields", "notes"].map(|list| json[list].as_array().unwrap());
        for field in said.into_iter().flatten() {
            let value = field["value"].as_str().unwrap();
            assert!(value.lines().all(|line| text.contains(line.trim())), "{name}: {field}");
        }
        let signatures = json["signatures"].as_array().unwrap().len();
        let shown = text.lines().filter(|line| line.starts_with("signature ")).count();
        assert_eq!(signatures, shown, "{name}");
    }
}
