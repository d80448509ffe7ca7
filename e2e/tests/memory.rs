//! What a running server keeps in its memory: the key that it signs with, for
//! that is what a key in a file means, and nothing of what opened it.

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

use firmseal_e2e::{Server, Shell};
use firmseal_testkit::ports;

/// As no other text of this process is.
const PASSPHRASE: &str = "Zq7vKx-wagtail-Umbra93-hornbeam";
const SECRET: &str = "--secret file:pw";

/// Everything that the process can read itself, a mapping at a time; what is
/// there of each needle, counted. An error if nobody lets us.
fn count(pid: u32, needles: &[(&str, Vec<u8>)]) -> std::io::Result<Vec<usize>> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut first = [false; 256];
    needles.iter().for_each(|(_, needle)| first[usize::from(needle[0])] = true);
    let mut found = vec![0; needles.len()];
    let mut seen = 0;
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        // [vvar] belongs to the kernel, and cannot be read this way.
        if !rest.starts_with('r') || rest.contains("[v") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|digits| u64::from_str_radix(digits, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // A mapping may go while we read.
        if memory.read_exact_at(&mut bytes, from).is_err() {
            continue;
        }
        seen += bytes.len();
        for (at, byte) in bytes.iter().enumerate() {
            if !first[usize::from(*byte)] {
                continue;
            }
            for (count, (_, needle)) in found.iter_mut().zip(needles) {
                *count += usize::from(bytes[at..].starts_with(needle));
            }
        }
    }
    assert!(seen > 1 << 20, "only {seen} bytes of its memory were read");
    Ok(found)
}

#[test]
fn what_opened_a_key_is_wiped_and_its_encoding_too() {
    let t = Shell::new();
    t.write("pw", format!("{PASSPHRASE}\n"));
    t.ok("chmod 600 pw");
    t.ok(&format!("firmseal keys generate file:image.pem --algorithm p256 {SECRET}"));
    let ports = ports::free();
    t.ok(&format!("firmseal init place --port {ports} --artifact-key file:image.pem {SECRET}"));
    let mut server = Server::in_place(&t, "place", ports);
    server.start();
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    t.write("firmware.bin", vec![7; 10_000]);
    t.ok("firmseal sign firmware.bin --product gateway --version 1.0.0 --epoch 0 --signature own.sig");

    // The private half, as OpenSSL finds it in the file.
    t.ok("openssl pkey -in image.pem -passin file:pw -outform DER -out plain.der");
    t.ok("openssl pkey -in image.pem -passin file:pw -out plain.pem");
    let der = t.read("plain.der");
    // ECPrivateKey (RFC 5915 §3): version 1, then the number in 32 bytes.
    let head = [2, 1, 1, 4, 32];
    let at = der.windows(head.len()).position(|window| window == head).unwrap() + head.len();
    let number = der[at..at + 32].to_vec();
    let reversed: Vec<u8> = number.iter().rev().copied().collect();
    let plain = String::from_utf8(t.read("plain.pem")).unwrap().lines().nth(1).unwrap().as_bytes().to_vec();
    let needles = [
        ("the number that it signs with, as this machine stores numbers", reversed),
        ("the number as the file has it", number),
        ("the passphrase", PASSPHRASE.as_bytes().to_vec()),
        ("the text of the key without a passphrase", plain),
        ("the key's encoding", der[..at + 16].to_vec()),
    ];
    match count(server.pid(), &needles) {
        Ok(found) => {
            // That it is found says that the others would be, too.
            assert!(found[0] > 0, "the server signs without a key?");
            for ((what, _), found) in needles.iter().zip(&found).skip(1) {
                assert_eq!(*found, 0, "{what} is still in memory, {found} times");
            }
        }
        // Nobody but root may look: then that is what this shows.
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(!rustix::process::geteuid().is_root(), "root may read it: {error}");
        }
    }
}
