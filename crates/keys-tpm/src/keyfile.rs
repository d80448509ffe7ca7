//! Key files: what a TPM wrapped, in the form of "TPM 2.0 Key Files"
//! (draft-bottomley-tpm2-keys), as tpm2-openssl writes it:
//!
//! ```text
//! TPMKey ::= SEQUENCE {
//!     type        OBJECT IDENTIFIER,           -- 2.23.133.10.1.3
//!     emptyAuth   [0] EXPLICIT BOOLEAN OPTIONAL,
//!     parent      INTEGER,
//!     pubkey      OCTET STRING,                -- TPM2B_PUBLIC
//!     privkey     OCTET STRING                 -- TPM2B_PRIVATE
//! }
//! ```
//!
//! Nothing in it is secret: the TPM encrypted the private half under a key
//! that never leaves it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use pkcs8::ObjectIdentifier;
use pkcs8::der::asn1::{OctetStringRef, UintRef};
use pkcs8::der::pem::{LineEnding, decode_vec, encode_string};
use pkcs8::der::{Decode, Encode, Reader, SliceReader, Tag};
use tss_esapi::structures::{Private, Public, PublicBuffer};
use tss_esapi::traits::{Marshall, UnMarshall};

use crate::error::TpmError;

const LABEL: &str = "TSS2 PRIVATE KEY";
const LOADABLE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.3");
/// TPM_RH_OWNER: the parent is the storage key of the owner's hierarchy.
const OWNER: u32 = 0x4000_0001;
/// Longest file that is read; RSA keys need three thousand.
const FILE_MAX: u64 = 16 * 1024;

/// A wrapped key.
pub(crate) struct Wrapped {
    pub(crate) public: Public,
    pub(crate) private: Private,
}

fn fail(path: &Path, why: impl std::fmt::Display) -> TpmError {
    TpmError::File { path: path.to_owned(), why: why.to_string() }
}

impl Wrapped {
    pub(crate) fn read(path: &Path) -> Result<Wrapped, TpmError> {
        let file = File::open(path).map_err(|error| fail(path, error))?;
        let mut pem = Vec::new();
        file.take(FILE_MAX).read_to_end(&mut pem).map_err(|error| fail(path, error))?;
        match decode_vec(&pem) {
            Ok((LABEL, der)) => decode(&der).ok_or_else(|| fail(path, "it is no key that this program uses")),
            _ => Err(fail(path, format_args!("it is not PEM with the label {LABEL}"))),
        }
    }

    /// Writes a new file; one that is there stays.
    pub(crate) fn write(&self, path: &Path) -> Result<(), TpmError> {
        let der = self.encode().ok_or_else(|| fail(path, "the key could not be encoded"))?;
        let pem = encode_string(LABEL, LineEnding::LF, &der).map_err(|error| fail(path, error))?;
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let write = |mut file: File| {
            file.write_all(pem.as_bytes())?;
            // The TPM keeps no copy: what is not on the disk is lost.
            file.sync_all()?;
            File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
        };
        file.and_then(write).map_err(|error| fail(path, error))
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let public = PublicBuffer::try_from(self.public.clone()).ok()?.marshall().ok()?;
        let private = self.private.value();
        let private = [&u16::try_from(private.len()).ok()?.to_be_bytes()[..], private].concat();
        let mut content = LOADABLE.to_der().ok()?;
        content.extend(UintRef::new(&OWNER.to_be_bytes()).ok()?.to_der().ok()?);
        content.extend(OctetStringRef::new(&public).ok()?.to_der().ok()?);
        content.extend(OctetStringRef::new(&private).ok()?.to_der().ok()?);
        let header =
            pkcs8::der::Header::new(Tag::Sequence, pkcs8::der::Length::try_from(content.len()).ok()?);
        let mut der = header.to_der().ok()?;
        der.extend(content);
        Some(der)
    }
}

fn decode(der: &[u8]) -> Option<Wrapped> {
    let mut reader = SliceReader::new(der).ok()?;
    let (kind, parent, public, private) = reader
        .sequence(|inner: &mut SliceReader<'_>| -> Result<_, pkcs8::der::Error> {
            let kind = ObjectIdentifier::decode(inner)?;
            // emptyAuth: whether a PIN is needed the TPM knows as well.
            if inner.peek_byte() == Some(0xa0) {
                pkcs8::der::asn1::AnyRef::decode(inner)?;
            }
            let parent = UintRef::decode(inner)?;
            let public = <&OctetStringRef>::decode(inner)?;
            let private = <&OctetStringRef>::decode(inner)?;
            Ok((kind, parent, public, private))
        })
        .ok()?;
    reader.finish().ok()?;
    if kind != LOADABLE || parent.as_bytes() != OWNER.to_be_bytes() {
        return None;
    }
    let public = PublicBuffer::unmarshall(public.as_bytes()).ok()?;
    let (length, private) = private.as_bytes().split_first_chunk::<2>()?;
    if usize::from(u16::from_be_bytes(*length)) != private.len() {
        return None;
    }
    Some(Wrapped { public: public.try_into().ok()?, private: private.to_vec().try_into().ok()? })
}
