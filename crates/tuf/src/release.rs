//! Releases as targets: which files a release becomes, and what is said of
//! them.

use std::collections::BTreeMap;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::{ChannelName, Digest, ProductId};
use semver::Version;
use serde_json::{Value, json};

use crate::canonical;
use crate::error::TufError;
use crate::target::{Target, check_name};

/// A release that core admits, whose payloads clients may have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Released {
    /// Its product.
    pub product: ProductId,
    /// Its channel.
    pub channel: ChannelName,
    /// Its version.
    pub version: Version,
    /// Its sequence number.
    pub sequence: u64,
    /// Its security epoch.
    pub epoch: u64,
    /// SHA-256 of its manifest.
    pub manifest: Digest,
    /// Length and SHA-256 of its envelope.
    pub envelope: (u64, Digest),
    /// Its components, in order.
    pub components: Vec<Component>,
}

/// What a release puts into one component.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Bytes of the payload.
    pub size: u64,
    /// Their SHA-256.
    pub payload: Digest,
}

/// Where a target's bytes come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// The envelope of a release, by its place in the list.
    Envelope(usize),
    /// The payload of a release's component, each by its place.
    Payload(usize, usize),
    /// These.
    Bytes(Vec<u8>),
}

/// A name, what metadata says of it, and its bytes.
pub type Offered = (String, Target, Content);

impl Released {
    /// How the names of everything begin that it consists of. No product,
    /// channel or version has an underscore: a name says one thing.
    fn prefix(&self) -> String {
        format!("{}_{}_{}", self.product, self.channel, self.version)
    }

    fn custom(&self, kind: &str) -> Value {
        json!({
            "kind": kind,
            "product": self.product.to_string(),
            "channel": self.channel.to_string(),
            "version": self.version.to_string(),
            "sequence": self.sequence,
            "epoch": self.epoch,
            "manifest": self.manifest.to_string(),
        })
    }

    /// Its files: each payload, and the envelope that `firmseal verify` and
    /// devices judge them by. Nothing that changes with the day: what was
    /// offered under a name stays what it is.
    pub fn files(&self, index: usize) -> Result<Vec<Offered>, TufError> {
        let prefix = self.prefix();
        let mut files = Vec::new();
        for (place, component) in self.components.iter().enumerate() {
            let mut custom = self.custom("payload");
            custom["component"] = component.name.as_str().into();
            let target = Target { length: component.size, sha256: component.payload, custom };
            // No component can be called what the envelope is called.
            files.push((format!("{prefix}_{}.bin", component.name), target, Content::Payload(index, place)));
        }
        let (length, sha256) = self.envelope;
        let target = Target { length, sha256, custom: self.custom("envelope") };
        files.push((format!("{prefix}_release.suit"), target, Content::Envelope(index)));
        files.iter().try_for_each(|(name, ..)| check_name(name))?;
        Ok(files)
    }
}

/// Every target of these releases. Beside them each channel has a file
/// `newest.json`, whose name a client can know: it names the release with
/// the highest sequence number, and its files.
pub fn offered(releases: &[Released]) -> Result<Vec<Offered>, TufError> {
    let mut newest: BTreeMap<(&ProductId, &ChannelName), (&Released, Vec<String>)> = BTreeMap::new();
    let mut all = Vec::new();
    for (index, release) in releases.iter().enumerate() {
        let files = release.files(index)?;
        let names = files.iter().map(|(name, ..)| name.clone()).collect();
        let entry = newest.entry((&release.product, &release.channel)).or_insert((release, Vec::new()));
        if release.sequence >= entry.0.sequence {
            *entry = (release, names);
        }
        all.extend(files);
    }
    for ((product, channel), (release, names)) in newest {
        let mut value = release.custom("newest");
        // Not in the file itself: there it would say nothing.
        value.as_object_mut().map(|members| members.remove("kind"));
        value["targets"] = names.into();
        let bytes = canonical::encode(&value).unwrap_or_default();
        let target = Target {
            length: bytes.len() as u64,
            sha256: RustCrypto.digest(&bytes),
            custom: release.custom("newest"),
        };
        all.push((format!("{product}_{channel}_newest.json"), target, Content::Bytes(bytes)));
    }
    Ok(all)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn release(version: &str, sequence: u64, component: &str) -> Released {
        Released {
            product: "gateway".parse().unwrap(),
            channel: "stable".parse().unwrap(),
            version: version.parse().unwrap(),
            sequence,
            epoch: 1,
            manifest: Digest([1; 32]),
            envelope: (9, Digest([2; 32])),
            components: vec![Component { name: component.to_owned(), size: 5, payload: Digest([3; 32]) }],
        }
    }

    #[test]
    fn a_channel_names_its_newest_release() {
        let all = offered(&[release("2.0.0", 7, "main"), release("1.9.0", 8, "main")]).unwrap();
        let names: Vec<_> = all.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "gateway_stable_2.0.0_main.bin",
                "gateway_stable_2.0.0_release.suit",
                "gateway_stable_1.9.0_main.bin",
                "gateway_stable_1.9.0_release.suit",
                "gateway_stable_newest.json",
            ]
        );
        let (_, target, Content::Bytes(bytes)) = &all[4] else { unreachable!("the last is the channel's") };
        let value: Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(value["version"], "1.9.0", "the sequence decides, not the version");
        assert_eq!(value["targets"][0], names[2]);
        assert_eq!(target.length, bytes.len() as u64);
        assert_eq!(all[0].1.custom["component"], "main");
    }

    #[test]
    fn a_component_that_is_no_file_name_is_refused() {
        for bad in ["../../etc/passwd", "a/b/../c", "a\"b", "a%2fb"] {
            assert!(release("1.0.0", 1, bad).files(0).is_err(), "{bad}");
        }
        // It can have any other name without standing in the envelope's way.
        assert_eq!(release("1.0.0", 1, "release.suit").files(0).unwrap().len(), 2);
    }
}
