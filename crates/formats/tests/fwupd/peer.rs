//! Cabinets made by hand, and fwupdtool, jcat-tool and gcab as their judges.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::OpenSsl;

pub(crate) const METAINFO: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<component type="firmware">
  <id>com.example.board.firmware</id>
  <name>Board</name>
  <summary>Firmware</summary>
  <provides><firmware type="flashed">09d7cf52-0720-4710-91d1-08469b7fe9c8</firmware></provides>
  <releases>
    <release version="1.2.3" date="2026-01-01">
      <checksum type="sha256" filename="fw.bin" target="content">SHA256</checksum>
      <description><p>One</p></description>
    </release>
  </releases>
</component>
"#;

pub(crate) type Files = Vec<(String, Vec<u8>)>;

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A metainfo and its payload.
pub(crate) fn files(metainfo: &str, payload: &[u8]) -> Files {
    let text = metainfo.replace("SHA256", &sha256(payload));
    vec![("board.metainfo.xml".to_owned(), text.into_bytes()), ("fw.bin".to_owned(), payload.to_vec())]
}

/// The checksum of a block, byte by byte.
fn sum(block: &[u8], size: u16) -> u32 {
    let whole = block.len() / 4 * 4;
    let words = block[..whole].chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let rest = block[whole..].iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    words.fold(rest, |sum, word| sum ^ word) ^ block.len() as u32 ^ u32::from(size) << 16
}

/// A cabinet with folders that are not packed.
pub(crate) fn cabinet(folders: &[Files]) -> Vec<u8> {
    let (mut table, mut data, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for (folder, files) in folders.iter().enumerate() {
        let mut at = 0u32;
        for (name, content) in files {
            table.extend([(content.len() as u32).to_le_bytes(), at.to_le_bytes()].concat());
            table.extend([folder as u8, 0, 0x21, 0x5c, 0, 0, 0x20, 0]);
            table.extend([name.as_bytes(), &[0]].concat());
            at += content.len() as u32;
        }
    }
    let base = 36 + 8 * folders.len() + table.len();
    for files in folders {
        let content: Vec<u8> = files.iter().flat_map(|(_, content)| content.clone()).collect();
        entries.extend(((base + data.len()) as u32).to_le_bytes());
        entries.extend([(content.len().div_ceil(32_768) as u16).to_le_bytes(), [0, 0]].concat());
        for block in content.chunks(32_768) {
            let len = block.len() as u16;
            data.extend(sum(block, len).to_le_bytes());
            data.extend([len.to_le_bytes(), len.to_le_bytes()].concat());
            data.extend(block);
        }
    }
    let mut out = b"MSCF\0\0\0\0".to_vec();
    out.extend(((base + data.len()) as u32).to_le_bytes());
    out.extend([0; 4]);
    out.extend((36 + 8 * folders.len() as u32).to_le_bytes());
    out.extend([0, 0, 0, 0, 3, 1, folders.len() as u8, 0]);
    out.extend((folders.iter().map(Vec::len).sum::<usize>() as u16).to_le_bytes());
    out.extend([0; 6]);
    [out, entries, table, data].concat()
}

fn run(directory: &Path, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    command.env("FWUPD_SYSCONFDIR", directory.join("etc")).env("FWUPD_LOCALSTATEDIR", directory.join("var"));
    command.output().unwrap_or_else(|error| panic!("{program}: {error}: run `cargo xtask setup`"))
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&[out.stdout.clone(), out.stderr.clone()].concat()).into_owned()
}

/// Certificates that GnuTLS takes: they say what their keys are for. The first
/// key is one that fwupd trusts.
pub(crate) fn place(keys: &[&str]) -> OpenSsl {
    let openssl = OpenSsl::new(keys);
    for key in keys {
        openssl.ok(&format!(
            "req -x509 -new -key {key}.pem -subj /CN={key} -days 30 -addext keyUsage=digitalSignature -out {key}.crt.pem"
        ));
    }
    let trusted = openssl.dir.path().join("etc/pki/fwupd");
    fs::create_dir_all(&trusted).unwrap();
    fs::create_dir_all(openssl.dir.path().join("var")).unwrap();
    fs::copy(openssl.dir.path().join(format!("{}.crt.pem", keys[0])), trusted.join("trusted.pem")).unwrap();
    openssl
}

/// Whether jcat-tool finds a signature of a key over a file in a jcat.
pub(crate) fn verifies(openssl: &OpenSsl, jcat: &[u8], file: &[u8], key: &str) -> bool {
    openssl.write("judged.jcat", jcat);
    openssl.write("fw.bin", file);
    let arguments = ["verify", "judged.jcat", "fw.bin", "--public-key", &format!("{key}.crt.pem")];
    let out = run(openssl.dir.path(), "jcat-tool", &arguments);
    out.status.success() && said(&out).contains("PASSED pkcs7")
}

/// Adds a signature by jcat-tool to a jcat, or to a new one.
pub(crate) fn jcat_sign(openssl: &OpenSsl, jcat: &str, file: &str, key: &str) {
    let arguments = ["sign", jcat, file, &format!("{key}.crt.pem"), &format!("{key}.pem")];
    let out = run(openssl.dir.path(), "jcat-tool", &arguments);
    assert!(out.status.success(), "{}", said(&out));
}

/// What fwupd trusts of a cabinet: payload and metainfo. `None` where it does
/// not read it.
pub(crate) fn trusted(openssl: &OpenSsl, cabinet: &[u8]) -> Option<(bool, bool)> {
    openssl.write("judged.cab", cabinet);
    // One at a time on a machine: it locks a file of its own name.
    let lock = std::env::temp_dir().join("firmseal-fwupd.lock");
    let arguments = [lock.to_str().unwrap(), "fwupdtool", "get-details", "judged.cab"];
    let out = run(openssl.dir.path(), "flock", &arguments);
    let text = said(&out);
    let read = out.status.success() && text.contains("New version:");
    read.then(|| (text.contains("Trusted payload"), text.contains("Trusted metadata")))
}

/// What gcab takes out of a cabinet.
pub(crate) fn extracted(openssl: &OpenSsl, cabinet: &[u8], name: &str) -> Vec<u8> {
    openssl.write("extracted.cab", cabinet);
    let to = openssl.dir.path().join("extracted");
    fs::create_dir_all(&to).unwrap();
    let out = run(&to, "gcab", &["-x", "../extracted.cab"]);
    assert!(out.status.success(), "{}", said(&out));
    fs::read(to.join(name)).unwrap()
}

/// What gcab packs.
pub(crate) fn packed(openssl: &OpenSsl, files: &Files) -> Vec<u8> {
    files.iter().for_each(|(name, content)| drop(openssl.write(name, content)));
    let names = files.iter().map(|(name, _)| name.as_str());
    let arguments: Vec<&str> = ["-z", "-n", "-c", "packed.cab"].into_iter().chain(names).collect();
    let out = run(openssl.dir.path(), "gcab", &arguments);
    assert!(out.status.success(), "{}", said(&out));
    openssl.read("packed.cab")
}

/// What fwupdtool builds.
pub(crate) fn built(openssl: &OpenSsl, files: &Files) -> Vec<u8> {
    files.iter().for_each(|(name, content)| drop(openssl.write(name, content)));
    let _ = fs::remove_file(openssl.dir.path().join("built.cab"));
    let names = files.iter().map(|(name, _)| name.as_str());
    let arguments: Vec<&str> = ["build-cabinet", "built.cab"].into_iter().chain(names).collect();
    let out = run(openssl.dir.path(), "fwupdtool", &arguments);
    assert!(out.status.success(), "{}", said(&out));
    openssl.read("built.cab")
}
