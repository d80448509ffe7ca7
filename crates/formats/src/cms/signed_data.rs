//! SignedData with one signer (RFC 5652 §5): written around a signature.

use firmseal_manifest::{Signature, Tbs};

use super::certificate::Chain;
use super::scheme::{Scheme, hash_identifier};
use crate::der::{self, Bad, INTEGER, OCTET_STRING, OID, SEQUENCE, SET};
use crate::error::FormatError;

/// `id-signedData`.
pub(crate) const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

/// Everything but the signature.
pub(crate) struct Draft {
    pub(crate) format: &'static str,
    pub(crate) scheme: Scheme,
    pub(crate) chain: Chain,
    /// The signed attributes, a SET.
    pub(crate) attributes: Vec<u8>,
    /// The content's type.
    pub(crate) content_type: &'static [u8],
    /// The content, if it stands inside.
    pub(crate) content: Option<Vec<u8>>,
}

impl Draft {
    /// What the key signs.
    pub(crate) fn tbs(&self) -> Tbs {
        self.scheme.tbs(&self.attributes)
    }

    /// The ContentInfo, with the signature.
    pub(crate) fn seal(&self, signature: &Signature) -> Result<Vec<u8>, FormatError> {
        let value = self.scheme.encode(signature)?;
        self.written(&value).map_err(|why| FormatError::malformed(self.format, why))
    }

    fn written(&self, signature: &[u8]) -> Result<Vec<u8>, Bad> {
        // Version 1 wherever the signer is named by issuer and number and the
        // content is `data` (RFC 5652 §5.1); Authenticode, which is PKCS #7,
        // has 1 always.
        let one = der::tlv(INTEGER, &[&[1]]);
        let hash = hash_identifier(self.scheme.hash(), self.content_type != super::DATA);
        let content = self.content.as_ref().map(|content| der::tlv(der::context(0), &[content]));
        let encapsulated = der::tlv(
            SEQUENCE,
            &[&der::tlv(OID, &[self.content_type]), content.as_deref().unwrap_or_default()],
        );
        // "IMPLICIT": the set's tag is replaced, its content is not.
        let attributes = der::tlv(der::context(0), &[der::Reader::only(&self.attributes, SET)?.rest()]);
        let signer = der::tlv(
            SEQUENCE,
            &[
                &one,
                &self.chain.signer()?.name(),
                &hash,
                &attributes,
                &self.scheme.identifier(),
                &der::tlv(OCTET_STRING, &[signature]),
            ],
        );
        let signed = der::tlv(
            SEQUENCE,
            &[
                &one,
                &der::tlv(SET, &[&hash]),
                &encapsulated,
                &der::set(der::context(0), self.chain.all()),
                &der::tlv(SET, &[&signer]),
            ],
        );
        Ok(der::tlv(SEQUENCE, &[&der::tlv(OID, &[SIGNED_DATA]), &der::tlv(der::context(0), &[&signed])]))
    }
}
