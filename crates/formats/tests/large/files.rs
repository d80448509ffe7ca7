//! Long files that take little room: what is zero is no block of theirs.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::process::Command;

use aws_lc_rs::digest::{Context, SHA256};

use crate::common::OpenSsl;

const PIECE: usize = 1 << 20;
static ZEROS: [u8; PIECE] = [0; PIECE];

/// A file that is written from its start, and holds no zeros.
pub(crate) struct Sparse {
    file: File,
    at: u64,
}

impl Sparse {
    pub(crate) fn create(path: &std::path::Path) -> Sparse {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
        Sparse { file: file.unwrap(), at: 0 }
    }

    /// The file to be signed.
    pub(crate) fn source(place: &OpenSsl) -> Sparse {
        Sparse::create(&place.dir.path().join("source"))
    }

    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.write_all(bytes).unwrap();
    }

    /// Zeros.
    pub(crate) fn skip(&mut self, len: u64) {
        self.at += len;
    }

    /// Zeros up to a multiple.
    pub(crate) fn align(&mut self, to: u64) {
        self.at = self.at.next_multiple_of(to);
    }

    pub(crate) fn end(self) {
        self.file.set_len(self.at).unwrap();
    }
}

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        if *piece != ZEROS[..piece.len()] {
            self.file.write_all_at(piece, self.at)?;
        }
        self.at += piece.len() as u64;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.set_len(self.at)
    }
}

/// The file to be signed: a beginning, and zeros.
pub(crate) fn marked(place: &OpenSsl, head: &[u8], len: u64) {
    let mut file = Sparse::source(place);
    file.put(head);
    file.skip(len - head.len() as u64);
    file.end();
}

/// SHA-256 of a beginning and zeros, so many bytes in all, in hexadecimal.
pub(crate) fn sha256(head: &[u8], len: u64) -> String {
    digest(head, len).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn digest(head: &[u8], len: u64) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(head);
    let mut left = len - head.len() as u64;
    while left > 0 {
        let piece = left.min(PIECE as u64);
        context.update(&ZEROS[..piece as usize]);
        left -= piece;
    }
    context.finish().as_ref().to_vec()
}

/// Has veritysetup put a tree behind the file.
pub(crate) fn tree(place: &OpenSsl, len: u64) {
    let path = std::env::var("PATH").unwrap_or_default();
    let out = Command::new("veritysetup")
        .args(["format", &format!("--hash-offset={len}"), "source", "source"])
        .current_dir(place.dir.path())
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .unwrap_or_else(|error| panic!("veritysetup: {error}: run `cargo xtask setup`"));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}
