//! SUIT manifests (draft-ietf-suit-manifest-37 §8.4): what was signed.
//!
//! Only [`authenticate`] makes an [`Authenticated`]: the full parser never
//! sees a byte that no trusted key has signed.

use minicbor::data::Type;

use crate::cbor::{Bstr, Reader};
use crate::command::{self, Census, Section};
use crate::cose::Context;
use crate::crypto::Crypto;
use crate::delegation::Chains;
use crate::digest::Digest;
use crate::envelope::{Envelope, INSTALL, PAYLOAD_FETCH, TEXT, read_digest};
use crate::facts::{FACTS, Facts};
use crate::key::{KeyId, PublicKey};
use crate::limits::{COMMANDS_MAX, COMPONENT_PARTS_MAX, COMPONENTS_MAX, Limit};
use crate::refusal::Refusal;
use crate::role::{Role, RoleEntry, SignedBy};
use crate::root::Root;

/// A manifest whose signatures, severed members and commands were checked.
#[derive(Clone, Debug)]
pub struct Authenticated<'a> {
    envelope: Envelope<'a>,
    manifest: Manifest<'a>,
}

/// A decoded manifest.
#[derive(Clone, Debug)]
pub struct Manifest<'a> {
    /// Orders manifests; never goes back.
    pub sequence: u64,
    /// Where the full manifest can be had.
    pub reference_uri: Option<&'a str>,
    components: [Option<ComponentId<'a>>; COMPONENTS_MAX],
    component_count: usize,
    sections: [Option<&'a [u8]>; 6],
    dropped: Option<i64>,
    identities: usize,
    text: Option<&'a [u8]>,
    facts: Option<Facts<'a>>,
}

/// A component identifier: a path of byte strings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ComponentId<'a> {
    parts: [&'a [u8]; COMPONENT_PARTS_MAX],
    len: usize,
}

impl<'a> ComponentId<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<ComponentId<'a>, Refusal> {
        let len = reader.array(COMPONENT_PARTS_MAX, Limit::ComponentPartsMax)?;
        let mut parts: [&[u8]; COMPONENT_PARTS_MAX] = [&[]; COMPONENT_PARTS_MAX];
        for part in parts.iter_mut().take(len) {
            *part = reader.bytes()?;
        }
        Ok(ComponentId { parts, len })
    }

    /// The byte strings, outermost first.
    pub fn parts(&self) -> &[&'a [u8]] {
        &self.parts[..self.len]
    }
}

/// A member that may stand in the manifest or be severed to the envelope.
enum Member<'a> {
    Inline(&'a [u8]),
    Severed(Digest),
}

impl<'a> Manifest<'a> {
    /// Decodes a manifest and resolves its severed members against the
    /// envelope. Nothing in it is trusted: this is for people who are asked
    /// to sign it. [`authenticate`] is for everybody else.
    pub fn decode(envelope: &Envelope<'a>, crypto: &impl Crypto) -> Result<Manifest<'a>, Refusal> {
        let mut reader = Reader::new(envelope.manifest().content);
        let mut keys = reader.map()?;
        let mut manifest = Manifest {
            sequence: 0,
            reference_uri: None,
            components: [None; COMPONENTS_MAX],
            component_count: 0,
            sections: [None; 6],
            dropped: None,
            identities: 0,
            text: None,
            facts: None,
        };
        let (mut version, mut sequence, mut common) = (None, None, false);
        let mut members: [Option<Member<'a>>; 3] = [None, None, None];
        while let Some(label) = keys.next_int(&mut reader)? {
            match label {
                1 => version = Some(reader.uint()?),
                2 => sequence = Some(reader.uint()?),
                3 => {
                    manifest.decode_common(reader.bytes()?)?;
                    common = true;
                }
                4 => manifest.reference_uri = Some(reader.text()?),
                7 => manifest.sections[Section::Validate as usize] = Some(reader.bytes()?),
                8 => manifest.sections[Section::Load as usize] = Some(reader.bytes()?),
                9 => manifest.sections[Section::Invoke as usize] = Some(reader.bytes()?),
                PAYLOAD_FETCH => members[0] = Some(member(&mut reader)?),
                INSTALL => members[1] = Some(member(&mut reader)?),
                TEXT => members[2] = Some(member(&mut reader)?),
                FACTS => manifest.facts = Some(Facts::decode(reader.bytes()?)?),
                _ => return Err(Refusal::Unsupported("a manifest member")),
            }
        }
        reader.end()?;
        if version != Some(1) {
            return Err(Refusal::Unsupported("a manifest version other than 1"));
        }
        manifest.sequence = sequence.ok_or(Refusal::Malformed("no sequence number"))?;
        if !common {
            return Err(Refusal::Malformed("no common section"));
        }
        let [fetch, install, text] = members;
        for (label, section, member) in
            [(PAYLOAD_FETCH, Section::PayloadFetch, fetch), (INSTALL, Section::Install, install)]
        {
            let named = member.is_some();
            let content = resolve(envelope, label, member, crypto)?;
            if named && content.is_none() {
                manifest.dropped = Some(label);
            }
            manifest.sections[section as usize] = content;
        }
        manifest.text = resolve(envelope, TEXT, text, crypto)?;
        manifest.check_commands()?;
        Ok(manifest)
    }

    fn decode_common(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        let mut reader = Reader::new(bytes);
        let mut keys = reader.map()?;
        while let Some(label) = keys.next_int(&mut reader)? {
            match label {
                2 => {
                    self.component_count = reader.array(COMPONENTS_MAX, Limit::ComponentsMax)?;
                    for slot in self.components.iter_mut().take(self.component_count) {
                        *slot = Some(ComponentId::decode(&mut reader)?);
                    }
                }
                4 => self.sections[Section::Shared as usize] = Some(reader.bytes()?),
                1 => return Err(Refusal::Unsupported("dependencies")),
                _ => return Err(Refusal::Unsupported("a member of the common section")),
            }
        }
        reader.end()?;
        if self.component_count == 0 {
            return Err(Refusal::Malformed("no components"));
        }
        Ok(())
    }

    fn check_commands(&mut self) -> Result<(), Refusal> {
        let mut total = Census::default();
        for section in [
            Section::Shared,
            Section::PayloadFetch,
            Section::Install,
            Section::Validate,
            Section::Load,
            Section::Invoke,
        ] {
            if let Some(bytes) = self.section(section) {
                let census = command::check(bytes, section, self.component_count)?;
                total.commands += census.commands;
                total.identities += census.identities;
            }
        }
        self.identities = total.identities;
        if total.commands > COMMANDS_MAX { Err(Refusal::Limit(Limit::CommandsMax)) } else { Ok(()) }
    }

    /// How many parameters, in all sequences, set a vendor or a class.
    pub(crate) fn identities(&self) -> usize {
        self.identities
    }

    /// A section's sequence, if the manifest has it and it was not dropped.
    pub(crate) fn section(&self, section: Section) -> Option<&'a [u8]> {
        self.sections[section as usize]
    }

    /// The component identifiers, in order.
    pub fn components(&self) -> impl Iterator<Item = &ComponentId<'a>> {
        self.components.iter().flatten()
    }

    /// How many components the manifest declares.
    pub fn component_count(&self) -> usize {
        self.component_count
    }

    /// The text for people, if it was not dropped. It is authentic but not
    /// parsed here.
    pub fn text(&self) -> Option<&'a [u8]> {
        self.text
    }

    /// The facts, in manifests of our profile.
    pub fn facts(&self) -> Option<&Facts<'a>> {
        self.facts.as_ref()
    }

    /// The section that an install needs and that was severed and then
    /// dropped, if there is one: such an envelope can boot and not install.
    /// A carrier who drops a section would drop its conditions with it.
    pub(crate) fn dropped(&self) -> Option<i64> {
        self.dropped
    }
}

fn member<'a>(reader: &mut Reader<'a>) -> Result<Member<'a>, Refusal> {
    match reader.kind()? {
        Type::Array => read_digest(reader).map(Member::Severed),
        _ => reader.bytes().map(Member::Inline),
    }
}

/// Finds a severable member's content. A member in the envelope that the
/// manifest does not sever is not covered by any signature.
fn resolve<'a>(
    envelope: &Envelope<'a>,
    label: i64,
    member: Option<Member<'a>>,
    crypto: &impl Crypto,
) -> Result<Option<&'a [u8]>, Refusal> {
    match (member, envelope.severed(label)) {
        (Some(Member::Severed(digest)), Some(Bstr { wrapped, content })) => {
            if crypto.digest(wrapped) == digest {
                Ok(Some(content))
            } else {
                Err(Refusal::SeveredMismatch(label))
            }
        }
        (Some(Member::Severed(_)) | None, None) => Ok(None),
        (Some(Member::Inline(content)), None) => Ok(Some(content)),
        (Some(Member::Inline(_)) | None, Some(_)) => Err(Refusal::UnsignedMember(label)),
    }
}

/// Verifies an envelope's signatures against the release role of a product,
/// its delegations included, then decodes its manifest. It does not look at
/// what a delegation covers, nor at any evidence.
///
/// This answers who signed, not whether a device may install: only
/// [`admit`](crate::admit()) and [`boot`](crate::boot) decide that.
pub fn authenticate<'a>(
    envelope: Envelope<'a>,
    root: &Root<'_>,
    product: &str,
    crypto: &impl Crypto,
) -> Result<Authenticated<'a>, Refusal> {
    envelope.check_digest(crypto)?;
    let role = root.role(Role::Release, product)?;
    let chains = Chains::verify(envelope.delegation(), &role, root, |_| false, crypto)?;
    let keys = || role.keys().chain(chains.keys());
    signed(envelope, &role, keys, |_| false, crypto).map(|(authenticated, _)| authenticated)
}

/// Verifies signatures by the keys that may sign for a role, but for those
/// that no longer may. The digest was checked before.
pub(crate) fn signed<'a, 'k, K: Iterator<Item = (usize, PublicKey<'k>)>>(
    envelope: Envelope<'a>,
    role: &RoleEntry<'_>,
    keys: impl Fn() -> K,
    revoked: impl Fn(&KeyId) -> bool,
    crypto: &impl Crypto,
) -> Result<(Authenticated<'a>, SignedBy), Refusal> {
    let (signatures, digest) = (envelope.signatures(), envelope.manifest_digest());
    let signed = role.check(keys, revoked, signatures, Context::Manifest, digest, crypto)?;
    let manifest = Manifest::decode(&envelope, crypto)?;
    Ok((Authenticated { envelope, manifest }, signed))
}

impl<'a> Authenticated<'a> {
    /// The manifest.
    pub fn manifest(&self) -> &Manifest<'a> {
        &self.manifest
    }

    /// The envelope it came in.
    pub fn envelope(&self) -> &Envelope<'a> {
        &self.envelope
    }
}
