//! Extensions: what a certificate says, by the numbers of TBBR
//! (`include/tools_share/tbbr_oid.h`, `cca/cca_oid.h`).

use std::collections::BTreeSet;

use firmseal_manifest::PublicKey;

use super::text;
use crate::cms::scheme::hash_named;
use crate::der::{self, Bad, Element, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE};
use crate::hash::{Hash, hex};

const BOOLEAN: u8 = 0x01;
/// 1.3.6.1.4.1.4128.2100, without the last number.
pub(super) const ARC: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xa0, 0x20, 0x90, 0x34];
/// 1.3.6.1.4.1: extensions of platforms stand below numbers of their makers.
const ENTERPRISES: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01];
const SUBJECT_KEY: &[u8] = &[0x55, 0x1d, 0x0e];
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 0x23];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

enum Kind {
    Counter,
    Hash,
    Key,
}

/// The extensions of a certificate.
pub(super) struct Extensions<'a> {
    /// The counter, if there is one.
    pub(super) counter: Option<u64>,
    /// The identifier of the key by which it was first signed, if there is one.
    pub(super) key_identifier: Option<&'a [u8]>,
    /// Everything, in order, by name.
    pub(super) told: Vec<(String, String)>,
}

impl<'a> Extensions<'a> {
    /// Reads what stands in `[3]`.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Extensions<'a>, Bad> {
        let mut all = Reader::only(bytes, SEQUENCE)?;
        let mut own = Extensions { counter: None, key_identifier: None, told: Vec::new() };
        let (mut seen, mut authority, mut is_tbbr) = (BTreeSet::new(), None, false);
        while !all.is_empty() {
            let mut one = Reader::new(all.take(SEQUENCE)?);
            let oid = one.take(OID)?;
            // Of two with one number TF-A finds the first.
            if !seen.insert(oid) {
                return Err("it has an extension twice");
            }
            let critical = one.optional(BOOLEAN)?;
            if critical.is_some_and(|critical| critical.value != [0xff]) {
                return Err("it is not in DER: what is not critical does not say so");
            }
            let value = one.take(OCTET_STRING)?;
            one.end()?;
            match oid {
                SUBJECT_KEY => {
                    let mut inner = Reader::new(value);
                    own.key_identifier = Some(inner.take(OCTET_STRING)?);
                    inner.end()?;
                }
                AUTHORITY_KEY => {
                    let mut inner = Reader::only(value, SEQUENCE)?;
                    authority = Some(inner.take(0x80)?);
                    inner.end()?;
                }
                // Of a certificate that could issue others nothing here knows
                // what it would be taken for.
                BASIC_CONSTRAINTS => Reader::only(value, SEQUENCE)?
                    .end()
                    .map_err(|_| "it is a certificate of an authority, which TF-A's are not")?,
                _ => {
                    is_tbbr |= oid.starts_with(ARC) && oid.len() > ARC.len();
                    own.other(oid, value)?;
                }
            }
        }
        if !is_tbbr {
            return Err("none of its extensions is one of TBBR");
        }
        match authority.is_none_or(|authority| own.key_identifier == Some(authority)) {
            true => Ok(own),
            false => Err("it names another key as the one that signs than the one in it"),
        }
    }

    fn other(&mut self, oid: &[u8], value: &[u8]) -> Result<(), Bad> {
        let number = text::oid(oid)?;
        let last =
            number.rsplit('.').next().and_then(|last| last.parse().ok()).filter(|_| oid.starts_with(ARC));
        let short = number.split('.').count() == 9;
        let Some((name, kind)) = last.filter(|_| short).and_then(known) else {
            if !oid.starts_with(ENTERPRISES) {
                return Err("it has an extension that is neither TBBR's nor a maker's");
            }
            let shown = format!("{} bytes, sha256 {}", value.len(), hex(&Hash::Sha256.of(value)));
            self.told.push((format!("extension {number}"), shown));
            return Ok(());
        };
        let shown = match kind {
            Kind::Counter => self.count(value)?.to_string(),
            Kind::Hash => digest(value)?,
            Kind::Key => key(value)?,
        };
        self.told.push((name.to_owned(), shown));
        Ok(())
    }

    /// A counter, of which there is one: it is the epoch.
    fn count(&mut self, value: &[u8]) -> Result<u64, Bad> {
        let mut inner = Reader::new(value);
        let digits = text::positive(inner.take(INTEGER)?)?;
        inner.end()?;
        let number = digits.iter().take(8).fold(0, |number: u64, digit| number << 8 | u64::from(*digit));
        // TF-A reads it as a number of 32 bits with a sign.
        if digits.len() > 4 || number > 0x7fff_ffff {
            return Err("its counter is longer than TF-A reads it");
        }
        match self.counter.replace(number) {
            None => Ok(number),
            Some(_) => Err("it has two counters"),
        }
    }
}

/// A DigestInfo (RFC 8017 §9.2).
fn digest(value: &[u8]) -> Result<String, Bad> {
    let mut inner = Reader::only(value, SEQUENCE)?;
    let (algorithm, digest) = (inner.element(SEQUENCE)?, inner.take(OCTET_STRING)?);
    inner.end()?;
    let hash = hash_named(algorithm.whole)?
        .ok_or("it has a hash of another function than SHA-256, SHA-384 and SHA-512")?;
    if digest.len() != hash.len() {
        return Err("a hash in it has another length than its function gives");
    }
    Ok(match digest.iter().all(|byte| *byte == 0) {
        true => format!("{} of no image (zeros)", hash.name()),
        false => format!("{} {}", hash.name(), hex(digest)),
    })
}

/// A SubjectPublicKeyInfo.
fn key(value: &[u8]) -> Result<String, Bad> {
    let mut inner = Reader::only(value, SEQUENCE)?;
    let (_algorithm, bits): (Element<'_>, &[u8]) = (inner.element(SEQUENCE)?, inner.take(der::BIT_STRING)?);
    inner.end()?;
    text::bits(bits)?;
    Ok(match PublicKey::from_spki(value).ok().filter(|key| key.spki() == value) {
        Some(key) => format!("{} {}", key.algorithm(), key.id()),
        None => format!("of a kind that is not known here, sha256 {}", hex(&Hash::Sha256.of(value))),
    })
}

/// What a number stands for.
fn known(last: u32) -> Option<(&'static str, Kind)> {
    Some(match last {
        1 => ("trusted firmware counter", Kind::Counter),
        2 => ("non-trusted firmware counter", Kind::Counter),
        3 => ("CCA firmware counter", Kind::Counter),
        101 => ("hash of the AP firmware updater's configuration", Kind::Hash),
        102 => ("hash of the SCP firmware updater's configuration", Kind::Hash),
        103 => ("hash of the firmware updater", Kind::Hash),
        201 => ("hash of the trusted boot firmware", Kind::Hash),
        202 => ("hash of the trusted boot firmware's configuration", Kind::Hash),
        203 => ("hash of the hardware configuration", Kind::Hash),
        204 => ("hash of the firmware configuration", Kind::Hash),
        301 => ("primary debug key", Kind::Key),
        302 => ("trusted world key", Kind::Key),
        303 => ("non-trusted world key", Kind::Key),
        403 => ("secondary debug key", Kind::Key),
        501 => ("SoC firmware content key", Kind::Key),
        601 => ("hash of the AP ROM patch", Kind::Hash),
        602 => ("hash of the SoC configuration", Kind::Hash),
        603 => ("hash of the SoC AP firmware", Kind::Hash),
        604 => ("hash of the SoC firmware's configuration", Kind::Hash),
        701 => ("SCP firmware content key", Kind::Key),
        801 => ("hash of the SCP firmware", Kind::Hash),
        802 => ("hash of the SCP ROM patch", Kind::Hash),
        901 => ("trusted OS firmware content key", Kind::Key),
        1001 => ("hash of the trusted OS", Kind::Hash),
        1002 => ("hash of the trusted OS extra 1", Kind::Hash),
        1003 => ("hash of the trusted OS extra 2", Kind::Hash),
        1004 => ("hash of the trusted OS's configuration", Kind::Hash),
        1101 => ("non-trusted firmware content key", Kind::Key),
        1102 => ("platform root of trust key", Kind::Key),
        1103 => ("secure world root of trust key", Kind::Key),
        1104 => ("core secure world key", Kind::Key),
        1105 => ("platform key", Kind::Key),
        1106 => ("hash of the realm monitor", Kind::Hash),
        1201 => ("hash of the non-trusted world bootloader", Kind::Hash),
        1202 => ("hash of the non-trusted firmware's configuration", Kind::Hash),
        1301 => ("hash of secure partition 1", Kind::Hash),
        1302 => ("hash of secure partition 2", Kind::Hash),
        1303 => ("hash of secure partition 3", Kind::Hash),
        1304 => ("hash of secure partition 4", Kind::Hash),
        1305 => ("hash of secure partition 5", Kind::Hash),
        1306 => ("hash of secure partition 6", Kind::Hash),
        1307 => ("hash of secure partition 7", Kind::Hash),
        1308 => ("hash of secure partition 8", Kind::Hash),
        _ => return None,
    })
}
