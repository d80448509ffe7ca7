//! Records that others keep of what keys did: key hosts, KMS, Vault and HSMs.
//!
//! The log says what was announced; whatever holds the keys says what was
//! done. A host's record is a log as well, signed by the host, and followed
//! as every log is: what it showed once it cannot take back.

use std::collections::BTreeSet;
use std::path::PathBuf;

use firmseal_manifest::KeyId;

use crate::counted::compare_trail;
use crate::error::MonitorError;
use crate::finding::Finding;
use crate::follow::{Trusted, follow};
use crate::memory::{Known, Memory};
use crate::trail::{Keeper, Trail};
use crate::uses::{Hosted, compare_hosts};

/// Where the records are.
#[derive(Debug, Default)]
pub struct Records {
    /// Of key hosts.
    pub hosts: Vec<HostRecord>,
    /// Of keys elsewhere, one by one.
    pub trails: Vec<TrailRecord>,
}

/// The record of a key host.
#[derive(Debug)]
pub struct HostRecord {
    /// What findings call it.
    pub name: String,
    /// A copy of its tiles.
    pub tiles: PathBuf,
    /// The keys that sign it.
    pub trusted: Trusted,
    /// The keys that nothing has but this host and others that name them.
    pub keys: BTreeSet<KeyId>,
    /// The first entry of the server's log for which they were there.
    pub first: u64,
    /// What was seen of it.
    pub memory: Memory,
}

/// What was written down of one key.
#[derive(Clone, Debug)]
pub struct TrailRecord {
    /// By whom, and the key's name there.
    pub keeper: Keeper,
    /// Its name here.
    pub key: KeyId,
    /// Where the files are.
    pub directory: PathBuf,
}

/// What the records said when they were read.
pub(crate) struct Read<'a> {
    hosts: &'a [HostRecord],
    trails: Vec<(&'a TrailRecord, Trail)>,
    findings: Vec<Finding>,
}

impl Records {
    /// Reads them. What is wrong with a host's record itself is among the
    /// findings of the comparison.
    pub(crate) async fn read(&mut self, now: u64) -> Result<Read<'_>, MonitorError> {
        let mut findings = Vec::new();
        for HostRecord { name, tiles, trusted, memory, .. } in &mut self.hosts {
            let followed = follow(tiles.as_path(), trusted, memory, now).await?;
            let named = |found: Finding| Finding { about: format!("{name}: {}", found.about), ..found };
            findings.extend(followed.findings.into_iter().map(named));
        }
        let mut trails = Vec::new();
        for record in &self.trails {
            trails.push((record, record.keeper.read(&record.directory)?));
        }
        Ok(Read { hosts: &self.hosts, trails, findings })
    }
}

impl Read<'_> {
    /// How many uses of keys they tell of.
    pub(crate) fn count(&self) -> u64 {
        let hosted = self.hosts.iter().map(|host| host.memory.size());
        let of = |(_, trail): &(&TrailRecord, Trail)| trail.uses.len() as u64;
        hosted.chain(self.trails.iter().map(of)).sum()
    }

    /// What is wrong, with them and between them and the log.
    pub(crate) fn compare(self, entries: &[Known], now: u64, grace: u64) -> Vec<Finding> {
        let hosted = self.hosts.iter().map(|host| {
            let HostRecord { name, keys, first, memory, .. } = host;
            Hosted { name, keys, first: *first, uses: memory.entries() }
        });
        let hosts: Vec<_> = hosted.collect();
        let mut findings = self.findings;
        findings.extend(compare_hosts(entries, &hosts, now, grace));
        for (record, trail) in &self.trails {
            findings.extend(compare_trail(entries, (&record.keeper, record.key), trail, grace));
        }
        findings
    }
}
