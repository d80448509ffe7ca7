//! The archive: cpio's "new ASCII format" and that with checksums (cpio(5)),
//! of which every reader reads the same.

use std::io;
use std::ops::Range;

use sha2::{Digest, Sha256};

use super::{DESCRIPTION, NAME, SIGNATURE};
use crate::error::FormatError;
use crate::source::{Source, bytes_at, for_each_piece, head};

/// Length of a header, without the name.
const HEADER: u64 = 110;
/// Most members, the end not counted.
const MEMBERS_MAX: usize = 1024;
/// Longest name with its NUL, as SWUpdate reads them.
const NAME_MAX: u32 = 255;
const TRAILER: &str = "TRAILER!!!";
/// Archives are filled with zeros to a multiple of this.
const BLOCK: u64 = 512;

/// Which of the two formats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Plain,
    /// Each header has the sum of its file's bytes.
    Summed,
}

/// An archive.
pub(super) struct Archive {
    kind: Kind,
    /// The description is the first, its signature the second if there is one.
    pub(super) members: Vec<Member>,
    /// Where the last header begins, which has no file.
    pub(super) trailer: u64,
    /// End of the last header's name: zeros follow.
    pub(super) end: u64,
    pub(super) len: u64,
}

/// A file in it.
pub(super) struct Member {
    pub(super) name: String,
    /// Where its header begins.
    pub(super) start: u64,
    pub(super) data: Range<u64>,
    sum: u32,
}

/// Whether a file is an archive that begins with a description.
pub(super) fn is_package(source: &dyn Source) -> io::Result<bool> {
    const FIRST: &[u8] = b"sw-description\0";
    let Some(start) = head::<125>(source)? else { return Ok(false) };
    Ok(kind(&start).is_some() && start[HEADER as usize..] == *FIRST)
}

fn kind(header: &[u8]) -> Option<Kind> {
    match header.get(..6)? {
        b"070701" => Some(Kind::Plain),
        b"070702" => Some(Kind::Summed),
        _ => None,
    }
}

fn malformed(what: impl Into<String>) -> FormatError {
    FormatError::malformed(NAME, what)
}

/// What a header says.
struct Header {
    kind: Kind,
    mode: u32,
    links: u32,
    size: u32,
    name_size: u32,
    sum: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Header, FormatError> {
        let kind = kind(bytes).ok_or_else(|| malformed("a header of its archive is neither newc nor crc"))?;
        let mut fields = [0; 13];
        for (field, digits) in fields.iter_mut().zip(bytes[6..].chunks(8)) {
            // Readers differ on blanks and signs.
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return Err(malformed("a number of its archive is not eight hexadecimal digits"));
            }
            *field = digits.iter().fold(0, |sum: u32, digit| {
                sum << 4 | u32::from(if digit.is_ascii_digit() { digit & 15 } else { (digit & 15) + 9 })
            });
        }
        let [_, mode, _, _, links, _, size, _, _, _, _, name_size, sum] = fields;
        Ok(Header { kind, mode, links, size, name_size, sum })
    }
}

impl Archive {
    /// Reads the headers; of the files nothing but where they lie.
    pub(super) fn read(source: &dyn Source) -> Result<Archive, FormatError> {
        let len = source.len()?;
        let (mut members, mut at, mut first) = (Vec::<Member>::new(), 0, None);
        loop {
            let bytes: [u8; HEADER as usize] = bytes_at(source, at, len, (NAME, "its archive"))?;
            let header = Header::read(&bytes)?;
            if *first.get_or_insert(header.kind) != header.kind {
                return Err(malformed("its archive is of two formats"));
            }
            let (name, end) = name(source, at + HEADER, header.name_size, len)?;
            if header.kind == Kind::Plain && header.sum != 0 {
                return Err(malformed("a header has a checksum where its format has none"));
            }
            if name == TRAILER {
                if header.size != 0 || header.sum != 0 {
                    return Err(malformed("the end of its archive has a content"));
                }
                // SWUpdate reads on "up to 512 bytes".
                if len - end >= BLOCK || !zeros(source, end..len)? {
                    return Err(malformed("something stands behind the end of its archive"));
                }
                return Archive { kind: header.kind, members, trailer: at, end, len }.checked();
            }
            let start = end.next_multiple_of(4);
            let data = start..start + u64::from(header.size);
            let next = data.end.next_multiple_of(4);
            if next > len {
                let what = "a file in its archive";
                return Err(FormatError::Truncated { format: NAME, what, need: next, have: len });
            }
            if !zeros(source, end..start)? || !zeros(source, data.end..next)? {
                return Err(malformed("something stands between the files of its archive"));
            }
            // Whoever unpacks it with cpio makes links and devices; SWUpdate
            // takes what stands there for the file.
            if header.mode & 0o170_000 != 0o100_000 || (header.links > 1 && header.size == 0) {
                return Err(malformed(format!("`{name}` is something else than a file")));
            }
            if members.len() == MEMBERS_MAX {
                return Err(malformed("it has more than 1024 files"));
            }
            members.push(Member { name, start: at, data, sum: header.sum });
            at = next;
        }
    }

    /// Names that stand once, and where they have to.
    fn checked(self) -> Result<Archive, FormatError> {
        let mut names: Vec<&str> = self.members.iter().map(|member| member.name.as_str()).collect();
        let signed_late = names.iter().skip(2).any(|name| *name == SIGNATURE);
        if names.first() != Some(&DESCRIPTION) || signed_late {
            return Err(malformed("its description is not the first file, or the signature not the second"));
        }
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(malformed(format!("`{}` stands in it twice", twice[0])));
        }
        Ok(self)
    }

    /// The signature's file.
    pub(super) fn signature(&self) -> Option<&Member> {
        self.members.get(1).filter(|member| member.name == SIGNATURE)
    }

    /// The artifacts.
    pub(super) fn artifacts(&self) -> &[Member] {
        let before = 1 + usize::from(self.signature().is_some());
        self.members.get(before..).unwrap_or_default()
    }

    /// A short file of it, in whole.
    pub(super) fn content(
        &self,
        source: &dyn Source,
        member: &Member,
        max: u64,
    ) -> Result<Vec<u8>, FormatError> {
        let len = member.data.end - member.data.start;
        if len > max {
            return Err(malformed(format!("`{}` is longer than {max} bytes", member.name)));
        }
        let mut bytes = vec![0; len as usize];
        source.read_at(member.data.start, &mut bytes)?;
        self.summed(member, sum_of(&bytes))?;
        Ok(bytes)
    }

    /// The SHA-256 of a file of it, whose checksum is checked on the way.
    pub(super) fn digest(&self, source: &dyn Source, member: &Member) -> Result<[u8; 32], FormatError> {
        let (mut hasher, mut sum) = (Sha256::new(), 0u32);
        for_each_piece(source, member.data.clone(), |piece| {
            hasher.update(piece);
            if self.kind == Kind::Summed {
                sum = sum.wrapping_add(sum_of(piece));
            }
            Ok(())
        })?;
        self.summed(member, sum)?;
        Ok(hasher.finalize().into())
    }

    fn summed(&self, member: &Member, sum: u32) -> Result<(), FormatError> {
        match self.kind == Kind::Plain || sum == member.sum {
            true => Ok(()),
            false => Err(malformed(format!("the checksum of `{}` is wrong", member.name))),
        }
    }

    /// A file of this archive's format, with its header and padding.
    pub(super) fn member(&self, name: &str, content: &[u8]) -> Vec<u8> {
        let (magic, sum) = match self.kind {
            Kind::Plain => ("070701", 0),
            Kind::Summed => ("070702", sum_of(content)),
        };
        // A file of root's, read by all; neither number nor time, which would
        // differ from run to run.
        let (size, name_size) = (content.len() as u32, name.len() as u32 + 1);
        let fields = [0, 0o100_644, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, sum];
        let mut out = magic.as_bytes().to_vec();
        out.extend(fields.iter().flat_map(|field| format!("{field:08X}").into_bytes()));
        out.extend(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(content);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    /// Zeros behind the end, if it moves to there.
    pub(super) fn padding(&self, end: u64) -> Vec<u8> {
        let zeros = match self.len.is_multiple_of(BLOCK) {
            true => end.next_multiple_of(BLOCK) - end,
            false => self.len - self.end,
        };
        vec![0; zeros as usize]
    }
}

fn sum_of(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(u32::from(*byte)))
}

/// The name at an offset, and where it ends.
fn name(source: &dyn Source, at: u64, size: u32, len: u64) -> Result<(String, u64), FormatError> {
    let end = at + u64::from(size);
    if !(2..=NAME_MAX).contains(&size) || end > len {
        return Err(malformed("a name in its archive is empty, longer than 254 bytes, or cut off"));
    }
    let mut bytes = vec![0; size as usize];
    source.read_at(at, &mut bytes)?;
    let ended = bytes.pop() == Some(0);
    let name = String::from_utf8(bytes).ok().filter(|name| {
        ended && !name.contains(|own: char| own == '/' || own.is_control()) && name != "." && name != ".."
    });
    // A path writes elsewhere; what stands behind a NUL some read and some do not.
    Ok((name.ok_or_else(|| malformed("a name in its archive is a path, or no text"))?, end))
}

fn zeros(source: &dyn Source, range: Range<u64>) -> io::Result<bool> {
    // Three bytes of padding, or less than a block behind the end.
    let mut bytes = vec![0; (range.end - range.start) as usize];
    source.read_at(range.start, &mut bytes)?;
    Ok(bytes.iter().all(|byte| *byte == 0))
}
