//! Comparing the log with the registry. Pure: values in, findings out.

use std::collections::{BTreeMap, BTreeSet};

use firmseal_manifest::{Digest, Event, Intent, KeyId, Leaf, Purpose, RequestId};

use crate::finding::{Finding, Kind};
use crate::memory::Known;

/// What the registry says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Registry {
    /// Its releases, in any state.
    pub releases: Vec<Registered>,
    /// Its signatures of files.
    pub signatures: Vec<Signed>,
    /// What marks the intents of requests that people were asked about: their
    /// images are signed before anybody agrees.
    pub orders: BTreeSet<Digest>,
    /// Its devices that said what they run.
    pub devices: Vec<Installed>,
    /// The root documents behind the trusted one and the newest revocation
    /// that it serves: a name, and SHA-256.
    pub documents: Vec<(String, Digest)>,
}

/// A release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    /// Its id.
    pub id: String,
    /// Its product.
    pub product: String,
    /// Its sequence number.
    pub sequence: u64,
    /// Its version.
    pub version: String,
    /// The digest of its manifest: the subject of its intent.
    pub manifest: Digest,
    /// Where it says that its intent stands.
    pub log_index: u64,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Why the root in force does not find enough approvals on it; `None`
    /// where it does, or was not asked.
    pub unapproved: Option<String>,
}

/// A signature of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// The request that it was made for.
    pub request: RequestId,
    /// The fingerprint of what was signed: the subject of its intent.
    pub tbs: Digest,
    /// The key.
    pub key: KeyId,
    /// Where it says that its intent stands.
    pub log_index: u64,
    /// When it was made, in seconds since 1970.
    pub finished: u64,
}

impl Signed {
    fn is_by(&self, intent: &Intent) -> bool {
        intent.purpose == Purpose::Artifact
            && intent.subject == self.tbs
            && intent.keys == [self.key]
            // Another's signature is not a second one.
            && intent.context.contains(&Intent::mark(&self.request))
    }
}

/// What a device says that it runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Installed {
    /// Its id.
    pub id: String,
    /// Its product.
    pub product: String,
    /// The sequence number; 0 is what the factory put there.
    pub sequence: u64,
    /// The version.
    pub version: String,
    /// The manifest, where the device says it.
    pub manifest: Option<Digest>,
}

/// Compares. What is younger than `grace` seconds may still be under way.
pub fn reconcile(entries: &[Known], registry: &Registry, now: u64, grace: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    // What is said to come from the future is late as well: a server that lies
    // about the time would have all the time it wants.
    let due = |since: u64| now.abs_diff(since) > grace;
    let manifests: BTreeSet<Digest> = registry.releases.iter().map(|release| release.manifest).collect();
    // Several keys that sign one manifest have an entry each: it is one
    // signing that is missing its release, not several.
    let mut missing: BTreeMap<Digest, u64> = BTreeMap::new();
    for (known, index) in entries.iter().zip(0u64..) {
        let Some(intent) = known.leaf.as_ref().and_then(Leaf::intent) else { continue };
        let lost = intent.purpose == Purpose::Release && !manifests.contains(&intent.subject);
        if lost && due(known.seen) {
            missing.entry(intent.subject).or_insert(index);
        }
    }
    for (manifest, index) in missing {
        let detail = format!("a signature over manifest {manifest} was announced, and no release has it");
        findings.push(Finding::new(Kind::Unreleased, index, detail));
    }
    findings.extend(files(entries, registry, &manifests, &due));
    let mut logged = BTreeMap::new();
    for release in &registry.releases {
        let entry = usize::try_from(release.log_index).ok().and_then(|index| entries.get(index));
        let fits = entry
            .and_then(|known| known.leaf.as_ref()?.intent())
            .is_some_and(|intent| intent.purpose == Purpose::Release && intent.subject == release.manifest);
        if !fits && (entry.is_some() || due(release.created)) {
            let detail = match entry {
                Some(_) => format!("entry {} of the log is about something else", release.log_index),
                None => format!("the log has no entry {}", release.log_index),
            };
            findings.push(Finding::new(Kind::Unlogged, &release.id, detail));
        }
        if let Some(why) = &release.unapproved {
            findings.push(Finding::new(Kind::Unapproved, &release.id, why));
        }
        let image = (release.product.as_str(), release.sequence, release.version.as_str());
        *logged.entry(image).or_insert(false) |= fits || entry.is_none();
    }
    let told: BTreeSet<Digest> = entries.iter().filter_map(|known| document(known.leaf.as_ref()?)).collect();
    for (name, digest) in &registry.documents {
        if !told.contains(digest) {
            let detail = format!("{digest} is served, and the log does not tell of it");
            findings.push(Finding::new(Kind::Unlogged, name, detail));
        }
    }
    for device in &registry.devices {
        if device.sequence == 0 {
            continue;
        }
        let image = (device.product.as_str(), device.sequence, device.version.as_str());
        let stranger = device.manifest.filter(|manifest| !manifests.contains(manifest));
        let detail = match (logged.get(&image), stranger) {
            (_, Some(manifest)) => format!("manifest {manifest} is that of no release"),
            (Some(true), None) => continue,
            (Some(false), None) => "the release that it says it runs is not logged".to_owned(),
            (None, None) => "no release is what it says it runs".to_owned(),
        };
        let detail =
            format!("{} {} (sequence {}): {detail}", device.product, device.version, device.sequence);
        findings.push(Finding::new(Kind::UnknownImage, &device.id, detail));
    }
    findings
}

/// Compares signatures of files, and of images inside of releases.
fn files(
    entries: &[Known],
    registry: &Registry,
    manifests: &BTreeSet<Digest>,
    due: &dyn Fn(u64) -> bool,
) -> Vec<Finding> {
    let (mut findings, mut accounted) = (Vec::new(), BTreeSet::new());
    for signed in &registry.signatures {
        let index = signed.log_index;
        let entry = usize::try_from(index).ok().and_then(|index| entries.get(index));
        let detail = match entry {
            Some(known)
                if known.leaf.as_ref().and_then(Leaf::intent).is_some_and(|own| signed.is_by(own)) =>
            {
                accounted.insert(index);
                continue;
            }
            Some(_) => format!("entry {index} of the log is about something else"),
            None if due(signed.finished) => format!("the log has no entry {index}"),
            None => continue,
        };
        findings.push(Finding::new(Kind::Unlogged, signed.request, detail));
    }
    let leaves = || entries.iter().filter_map(|known| known.leaf.as_ref());
    // Uses of keys that came to nothing, or of which nobody knows what came.
    accounted.extend(leaves().filter_map(attempted));
    // The intent of a release names the leaves of its images.
    let images: BTreeSet<Digest> = leaves()
        .filter_map(Leaf::intent)
        .filter(|intent| intent.purpose == Purpose::Release && manifests.contains(&intent.subject))
        .flat_map(|intent| intent.context.iter().copied())
        .collect();
    for (known, index) in entries.iter().zip(0u64..) {
        let Some(intent) = known.leaf.as_ref().and_then(Leaf::intent) else { continue };
        if intent.purpose != Purpose::Artifact || !due(known.seen) || accounted.contains(&index) {
            continue;
        }
        let waits = intent.context.iter().any(|mark| registry.orders.contains(mark));
        if !waits && !images.contains(&intent.leaf_hash()) {
            let subject = intent.subject;
            let detail = format!("a signature over {subject} was announced, and nothing on record has it");
            findings.push(Finding::new(Kind::Unreleased, index, detail));
        }
    }
    findings
}

/// The use of a key that an entry tells the end of.
fn attempted(leaf: &Leaf) -> Option<u64> {
    match leaf {
        Leaf::Event(Event::Attempt { intent, .. }) => Some(*intent),
        _ => None,
    }
}

/// The trust document that an entry tells of.
fn document(leaf: &Leaf) -> Option<Digest> {
    match leaf {
        Leaf::Event(Event::Root { document, .. } | Event::Revocation { document, .. }) => Some(*document),
        _ => None,
    }
}
