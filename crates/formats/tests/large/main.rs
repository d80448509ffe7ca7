//! Files of gigabytes in processes of 64 MiB: every format that takes them
//! inspects, lays out, attaches and verifies one in a process of its own, whose
//! peak is what the kernel counted (VmHWM). One bit of a finished file counts.
//!
//! `FIRMSEAL_LARGE_MIB` sets how long files are (80 if not set, and longer than
//! the bound at least); `cargo xtask test --long` has them 4 GiB long, or as long
//! as a format takes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod archives;
mod child;
#[path = "../common/mod.rs"]
mod common;
mod files;
// Its archives alone, and not the tool that judges them.
#[path = "../mender/peer.rs"]
#[allow(dead_code)]
mod mender;

use std::path::Path;
use std::process::Command;

use child::{CHILD, Job};
use common::{OpenSsl, fixture};
use files::marked;

const GIB: u64 = 1 << 30;
/// Bound on the memory of a process.
const PEAK_MAX: u64 = 64 << 20;

/// How long files are.
fn wanted() -> u64 {
    let mib = std::env::var("FIRMSEAL_LARGE_MIB").map_or(80, |text| text.parse().expect("a number of MiB"));
    let len: u64 = mib << 20;
    assert!(len > PEAK_MAX, "a file that fits into the bound shows nothing");
    len
}

/// A directory with keys, and a file to be signed in it.
fn place() -> OpenSsl {
    OpenSsl::new(&["p256", "rsa2048"])
}

/// Has a process of its own do all that is done with a file.
fn run(directory: &Path, job: &Job) {
    std::fs::write(directory.join("job"), serde_json::to_vec(job).unwrap()).unwrap();
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child::works", "--nocapture"])
        .env(CHILD, directory)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}: {said}{errors}", job.format);
    let peak = said.lines().find_map(|line| line.strip_prefix("PEAK "));
    let peak: u64 = peak.and_then(|peak| peak.parse().ok()).unwrap_or_else(|| panic!("{said}{errors}"));
    println!("{}: {} MiB at most, of a file of {} MiB", job.format, peak >> 20, length(directory) >> 20);
    assert!(peak < PEAK_MAX, "{}: {peak} bytes", job.format);
}

fn length(directory: &Path) -> u64 {
    std::fs::metadata(directory.join("source")).unwrap().len()
}

fn signed(format: &str, key: &str, parameters: &[(&str, &str)], make: impl FnOnce(&OpenSsl)) {
    let place = place();
    make(&place);
    let text = place.text(&format!("{key}.crt"));
    let parameters = parameters.iter().map(|(name, value)| {
        // The certificate of the key.
        let value = if *value == "@" { &text } else { *value };
        ((*name).to_owned(), value.to_owned())
    });
    run(place.dir.path(), &Job::new(format, key, parameters.collect()));
}

fn refused(format: &str, why: &str, make: impl FnOnce(&OpenSsl)) {
    let place = place();
    make(&place);
    run(place.dir.path(), &Job { refused: Some(why.to_owned()), ..Job::new(format, "p256", Vec::new()) });
}

/// Any bytes, as many as asked for.
fn any(place: &OpenSsl) {
    marked(place, b"firmware", wanted());
}

/// What a file is followed by for as long as this.
fn padded(place: &OpenSsl, name: &str, len: u64) {
    marked(place, &fixture(name), len);
}

#[test]
fn raw() {
    signed("raw", "p256", &[], any);
}

#[test]
fn cms() {
    signed("cms", "p256", &[("certificate", "@")], any);
}

#[test]
fn sigstore() {
    signed("sigstore", "p256", &[], any);
}

#[test]
fn jcat() {
    signed("jcat", "p256", &[("certificate", "@"), ("name", "firmware.bin")], any);
}

#[test]
fn fsverity() {
    signed("fsverity", "p256", &[("certificate", "@")], any);
}

#[test]
fn dmverity() {
    signed("dmverity", "p256", &[("certificate", "@")], |place| {
        any(place);
        files::tree(place, wanted());
    });
}

#[test]
fn mcuboot() {
    let slot = ("slot-size", "0x200000000");
    let wish = [("header-size", "0x200"), ("pad-header", "true"), slot];
    // Lengths have 32 bits.
    signed("mcuboot", "p256", &wish, |place| marked(place, b"firmware", wanted().min(4 * GIB - (16 << 20))));
}

/// A finished bundle is signed again, as its next owner does.
#[test]
fn rauc() {
    let place = place();
    marked(&place, &fixture("rauc/plain.bin")[..96], wanted());
    let manifest = format!(
        "[update]\ncompatible=board\nversion=1.2.3\n\n[bundle]\nformat=verity\n\n[image.rootfs]\nsha256={}\n\
         size=7\nfilename=root.img\n",
        "00".repeat(32)
    );
    let certificate = ("certificate".to_owned(), place.text("p256.crt"));
    let parameters = vec![certificate.clone(), ("manifest".to_owned(), manifest)];
    let directory = place.dir.path();
    run(directory, &Job::new("rauc", "p256", parameters));
    std::fs::rename(directory.join("signed"), directory.join("source")).unwrap();
    assert!(length(directory) > wanted() + wanted() / 128, "with its tree");
    run(directory, &Job::new("rauc", "p256", vec![certificate]));
}

#[test]
fn swupdate() {
    signed("swupdate", "p256", &[("certificate", "@")], |place| archives::swupdate(place, wanted()));
}

#[test]
fn suit() {
    signed("suit", "p256", &[], |place| archives::suit(place, wanted()));
}

#[test]
fn mender() {
    signed("mender", "p256", &[], |place| archives::mender(place, wanted()));
}

#[test]
fn oci() {
    signed("oci", "p256", &[], |place| archives::oci(place, wanted()));
}

/// In a folder that is not packed, of as many blocks as one has.
#[test]
fn fwupd() {
    signed("fwupd", "p256", &[("certificate", "@")], |place| {
        archives::cabinet(place, wanted().min(2 * GIB - (1 << 20)));
    });
}

#[test]
fn fwupd_beyond_its_numbers() {
    refused("fwupd", "another length than the file has", |place| {
        padded(place, "fwupd/unsigned.bin", 4 * GIB);
    });
}

#[test]
fn avb() {
    let size = (wanted() + (1 << 20)).to_string();
    signed("avb", "rsa2048", &[("partition-name", "system"), ("partition-size", &size)], any);
}

#[test]
fn fit() {
    signed("fit", "rsa2048", &[], |place| archives::fit(place, wanted().min(2 * GIB - (1 << 20))));
}

#[test]
fn fit_beyond_its_numbers() {
    refused("fit", "where U-Boot counts no further", |place| archives::fit(place, 2 * GIB - 16));
}

#[test]
fn pe() {
    signed("pe", "p256", &[("certificate", "@")], |place| {
        padded(place, "pe/unsigned.bin", wanted().min(2 * GIB - (1 << 20)));
    });
}

#[test]
fn pe_beyond_its_numbers() {
    refused("pe", "longer than 2 GiB", |place| padded(place, "pe/unsigned.bin", 4 * GIB));
}

#[test]
fn capsule() {
    let guid = ("guid", "09d7cf52-0720-4710-91d1-08469b7fe9c8");
    signed("capsule", "p256", &[("certificate", "@"), guid], |place| {
        marked(place, b"firmware", wanted().min(4 * GIB - (16 << 20)));
    });
}

#[test]
fn kmod() {
    signed("kmod", "p256", &[("certificate", "@")], |place| padded(place, "kmod/unsigned.bin", wanted()));
}

/// Formats of chips and certificates, which end where they say.
#[test]
fn what_is_short_ends_early() {
    for (format, name, why) in [
        ("esp32", "esp32/esp32.bin", "it ends neither where its image does"),
        ("tfa", "tfa/soc.bin", "longer than 16 KiB"),
        ("hex", "hex/two_ranges.bin", "line"),
    ] {
        refused(format, why, |place| padded(place, name, 4 * GIB));
    }
}
