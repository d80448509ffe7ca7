//! Artifacts made by hand, and mender-artifact, which makes, signs and judges
//! them.

use std::path::Path;
use std::process::Command;

use crate::common::OpenSsl;

pub(crate) type Files = Vec<(String, Vec<u8>)>;

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A header of tar's with its checksum.
pub(crate) fn summed(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// An archive of tar.
pub(crate) fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in files {
        let mut header = [0; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        for (at, digits) in
            [(100, "0000644"), (108, "0000000"), (116, "0000000"), (329, "0000000"), (337, "0000000")]
        {
            header[at..at + 7].copy_from_slice(digits.as_bytes());
        }
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        summed(&mut header);
        out.extend(header);
        out.extend(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// What an artifact is made of.
#[derive(Clone)]
pub(crate) struct Artifact {
    pub(crate) version: String,
    pub(crate) header: Files,
    pub(crate) data: Vec<Files>,
}

impl Artifact {
    pub(crate) fn new() -> Artifact {
        let file = |name: &str, content: &str| (name.to_owned(), content.as_bytes().to_vec());
        let info = "{\"payloads\":[{\"type\":\"app\"}],\"artifact_provides\":{\"artifact_name\":\"one\"},\
                    \"artifact_depends\":{\"device_type\":[\"board\"]}}";
        let type_info = "{\"type\":\"app\",\"artifact_provides\":{\"app.version\":\"1.0.0\"}}";
        Artifact {
            version: "{\"format\":\"mender\",\"version\":3}".to_owned(),
            header: vec![
                file("header-info", info),
                file("scripts/ArtifactInstall_Enter_10", "#!/bin/sh\n"),
                file("headers/0000/type-info", type_info),
                file("headers/0000/meta-data", ""),
            ],
            data: vec![vec![file("app.bin", "firmware"), file("app.cfg", "a = 1\n")]],
        }
    }

    /// With a part of its header replaced.
    pub(crate) fn with(&self, name: &str, content: &str) -> Artifact {
        let mut out = self.clone();
        let part = out.header.iter_mut().find(|(own, _)| own == name).unwrap();
        part.1 = content.as_bytes().to_vec();
        out
    }

    /// All members but the signature.
    pub(crate) fn members(&self) -> Files {
        let mut lines = Vec::new();
        let mut line = |name: &str, content: &[u8]| lines.push(format!("{}  {name}\n", sha256(content)));
        let mut rest = vec![("header.tar".to_owned(), tar(&self.header))];
        for (index, files) in self.data.iter().enumerate() {
            files.iter().for_each(|(name, content)| line(&format!("data/{index:04}/{name}"), content));
            rest.push((format!("data/{index:04}.tar"), tar(files)));
        }
        line("header.tar", &rest[0].1);
        line("version", self.version.as_bytes());
        let first = [("version", self.version.clone()), ("manifest", lines.concat())];
        first.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).chain(rest).collect()
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        tar(&self.members())
    }
}

fn run(directory: &Path, line: &str) -> (bool, String) {
    let out = Command::new("mender-artifact").args(line.split_whitespace()).current_dir(directory).output();
    let out = out.expect("mender-artifact: run `cargo xtask setup`");
    let said = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Keys in the encodings that mender-artifact 3.9 reads: PKCS #8 is none.
pub(crate) fn keys(openssl: &OpenSsl, names: &[&str]) {
    for name in names {
        match name.starts_with("rsa") {
            true => openssl.ok(&format!("rsa -in {name}.pem -traditional -out {name}.own")),
            false => openssl.ok(&format!("ec -in {name}.pem -out {name}.own")),
        }
    }
}

/// What mender-artifact signs.
pub(crate) fn sign(openssl: &OpenSsl, artifact: &[u8], key: &str) -> Vec<u8> {
    openssl.write("to-sign.mender", artifact);
    let (ok, said) =
        run(openssl.dir.path(), &format!("sign to-sign.mender --force -k {key}.own -o signed.mender"));
    assert!(ok, "{said}");
    openssl.read("signed.mender")
}

/// What mender-artifact makes.
pub(crate) fn write(openssl: &OpenSsl, line: &str) -> Vec<u8> {
    let (ok, said) = run(openssl.dir.path(), &format!("write {line} -o made.mender"));
    assert!(ok, "{line}: {said}");
    openssl.read("made.mender")
}

/// Whether mender-artifact takes a file that has to be signed with a key. It
/// says that all is well of keys that it does not know, too.
pub(crate) fn takes(openssl: &OpenSsl, file: &[u8], key: &str) -> bool {
    openssl.write("judged.mender", file);
    let (ok, said) = run(openssl.dir.path(), &format!("validate judged.mender -k {key}.pub.pem"));
    ok && said.contains("validated successfully")
}
