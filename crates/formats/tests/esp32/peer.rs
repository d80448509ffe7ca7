//! espsecure and esptool: as programs, and as modules in one process for many
//! files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use firmseal_formats::{FormatError, Parameters, Wanted, attach, find, lay_out};

use crate::common::{OpenSsl, TestKey, fixture_path};

/// Keys, and a chip that verifies with them.
pub(crate) const KEYS: [(&str, u16); 3] = [("rsa3072", 0), ("p256", 13), ("p384", 23)];

fn venv() -> PathBuf {
    let venv = std::env::var_os("FIRMSEAL_VENV").map(PathBuf::from);
    venv.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv")).join("bin")
}

fn program(name: &str, openssl: &OpenSsl, words: &[&str]) -> Output {
    let out = Command::new(venv().join(name)).args(words).current_dir(openssl.dir.path()).output();
    out.unwrap_or_else(|error| panic!("{name}: {error}; run `cargo xtask setup`"))
}

/// A program of the peer's, which has to succeed.
pub(crate) fn run(name: &str, openssl: &OpenSsl, line: &str) -> String {
    let out = program(name, openssl, &line.split_whitespace().collect::<Vec<_>>());
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{name} {line}: {text}");
    text
}

/// An app for a chip.
pub(crate) fn app(chip: u16, version: &str, secure: u32) -> Vec<u8> {
    let script = fixture_path("esp32.py");
    let out = Command::new(venv().join("python"))
        .arg(script)
        .args([&chip.to_string(), version, &secure.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("{error}; run `cargo xtask setup`"));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// A program for Xtensa with these segments: as little ELF as esptool reads.
pub(crate) fn elf(segments: &[(u32, &[u8])]) -> Vec<u8> {
    let words = |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let halves = |values: &[u16]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let count = segments.len() as u32;
    let data: Vec<u8> = segments.iter().flat_map(|(_, data)| *data).copied().collect();
    let mut at = 52 + 32 * count;
    let sections = at + data.len() as u32;
    let mut out = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    out.extend(halves(&[2, 94]));
    out.extend(words(&[1, 0x4008_0004, 52, sections, 0]));
    out.extend(halves(&[52, 32, count as u16, 40, 1, 0]));
    for (address, data) in segments {
        let len = (*data).len() as u32;
        out.extend(words(&[1, at, *address, *address, len, len, 5, 4]));
        at += len;
    }
    out.extend(data);
    // One section, of names, which is empty.
    out.extend(words(&[0, 3, 0, 0, sections + 40, 4, 0, 0, 1, 0, 0]));
    out
}

/// Checksum and hash of an image that was edited, without what follows it.
pub(crate) fn mended(mut image: Vec<u8>) -> Vec<u8> {
    let (mut at, mut sum) = (24, 0xef);
    for _ in 0..image[1] {
        let len = u32::from_le_bytes(image[at + 4..at + 8].try_into().unwrap()) as usize;
        sum = image[at + 8..at + 8 + len].iter().fold(sum, |sum, byte| sum ^ byte);
        at += 8 + len;
    }
    let end = (at + 1).next_multiple_of(16);
    image.truncate(end);
    image[end - 1] = sum;
    if image[23] == 1 {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &image);
        image.extend(hash.as_ref());
    }
    image
}

/// Signs with what the order says.
pub(crate) fn make(
    source: &[u8],
    key: &TestKey,
    version: &str,
    epoch: u64,
    parameters: &[(&str, &str)],
) -> Result<Vec<u8>, FormatError> {
    let source = source.to_vec();
    let parameters: Parameters = parameters.iter().copied().collect();
    let version = semver::Version::parse(version).unwrap();
    let wanted = Wanted { version, epoch, key: &key.public, parameters: &parameters };
    let format = find("esp32")?;
    let laid_out = lay_out(format, &source, &wanted)?;
    let plan = attach(format, &laid_out.unsigned.unwrap(), &source, &key.sign(&laid_out.tbs))?;
    let mut out = Vec::new();
    plan.write_to(&source, &mut out)?;
    Ok(out)
}

/// Whether espsecure verifies images with a key, and esptool finds nothing wrong
/// with them: one verdict for each, an exception is a refusal. (Of a key of
/// another kind espsecure's own program says so by ending with 1 and a trace,
/// and with 2 of other signatures.)
pub(crate) fn verify_all(openssl: &OpenSsl, key: &str, images: &[Vec<u8>]) -> Vec<bool> {
    const SCRIPT: &str = "
import io, sys, espsecure
from esptool.bin_image import LoadFirmwareImage
from esptool.cmds import _parse_image_info_header
key = open(sys.argv[1], 'rb').read()
verdicts = []
for index in range(int(sys.argv[2])):
    data = open(f'{index}.bin', 'rb').read()
    try:
        espsecure.verify_signature('2', False, None, io.BytesIO(key), io.BytesIO(data))
        image = LoadFirmwareImage(_parse_image_info_header(data), data)
        ok = image.checksum == image.calculate_checksum()
        ok &= not image.append_digest or image.stored_digest == image.calc_digest
    except (Exception, SystemExit):
        ok = False
    verdicts.append('1' if ok else '0')
open('verdicts', 'w').write(''.join(verdicts))
";
    for (index, image) in images.iter().enumerate() {
        openssl.write(&format!("{index}.bin"), image);
    }
    let out =
        program("python", openssl, &["-c", SCRIPT, &format!("{key}.pub.pem"), &images.len().to_string()]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let verdicts: Vec<bool> = openssl.text("verdicts").chars().map(|verdict| verdict == '1').collect();
    assert_eq!(verdicts.len(), images.len());
    verdicts
}
