//! Policies: which logs count, and which witnesses must have seen a
//! checkpoint (C2SP tlog-policy).

use std::collections::BTreeMap;

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::key::{Kind, VerifierKey};
use crate::lines;
use crate::note::Note;

const TEXT_MAX: usize = 256 * 1024;
/// Most logs, and half of the most witnesses and groups. The specification
/// recommends room for 32 of each.
const MOST: usize = 256;

/// A policy.
#[derive(Clone, Debug)]
pub struct Policy {
    logs: Vec<VerifierKey>,
    urls: BTreeMap<String, String>,
    /// Defined before use, so an entry names only earlier ones: evaluating
    /// in order needs no recursion and cannot loop.
    entries: Vec<Entry>,
    /// `None` is the word `none`: the log's signature is enough.
    quorum: Option<usize>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Witness(Box<VerifierKey>),
    Group { threshold: usize, members: Vec<usize> },
}

/// A checkpoint that a policy accepts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The names of the witnesses that cosigned it, and when.
    pub witnesses: Vec<(String, u64)>,
}

impl Policy {
    /// Reads a policy.
    pub fn parse(text: &str) -> Result<Policy, Error> {
        let bad = Error::malformed("policy");
        if text.len() > TEXT_MAX {
            return Err(bad("it is too long"));
        }
        // Octets are not lines elsewhere: with a carriage return, say, two
        // readers could see two policies.
        if text.bytes().any(|byte| byte == 0x7f || byte < 0x20 && byte != b'\n' && byte != b'\t') {
            return Err(bad("it has a control character"));
        }
        // A policy that was cut short must not pass for a weaker one.
        if !text.ends_with('\n') {
            return Err(bad("its last line has no newline"));
        }
        let mut policy =
            Policy { logs: Vec::new(), urls: BTreeMap::new(), entries: Vec::new(), quorum: None };
        let mut grouped = Vec::new();
        let mut has_quorum = false;
        for line in text.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words[..] {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                ["log", key, ref url @ ..] if url.len() < 2 => {
                    let key = VerifierKey::parse(key)?;
                    if key.kind() != Kind::Ed25519 || policy.logs.len() == MOST {
                        return Err(bad("a log's key has type 1, and there are not too many"));
                    }
                    // "Two vkeys are considered duplicate if they wrap the same
                    // underlying public key, even if they differ by key name".
                    if policy.logs.iter().any(|log| log.public() == key.public()) {
                        return Err(bad("a log stands in it twice"));
                    }
                    policy.name_url(&key, url);
                    policy.logs.push(key);
                }
                ["witness", name, key, ref url @ ..] if url.len() < 2 => {
                    let key = VerifierKey::parse(key)?;
                    if key.kind() != Kind::Cosignature {
                        return Err(bad("a witness's key has type 4"));
                    }
                    // One key under two names would count twice.
                    let same = |other: &VerifierKey| other.public() == key.public();
                    if policy.witnesses().any(|(_, other)| same(other)) {
                        return Err(bad("a witness's key stands in it twice"));
                    }
                    policy.name_url(&key, url);
                    policy.define(name, Rule::Witness(Box::new(key)))?;
                }
                ["group", name, threshold, ref members @ ..] if !members.is_empty() => {
                    let members = members
                        .iter()
                        .map(|member| {
                            policy.find(member).ok_or(bad("a group names what is not defined above it"))
                        })
                        .collect::<Result<Vec<_>, _>>()?;
                    for member in &members {
                        if grouped.contains(member) {
                            return Err(bad("a name is in two groups, or twice in one"));
                        }
                        grouped.push(*member);
                    }
                    let threshold = match threshold {
                        "all" => members.len() as u64,
                        "any" => 1,
                        number => {
                            lines::number(number).ok_or(bad("a threshold is not all, any or a number"))?
                        }
                    };
                    if threshold == 0 || threshold > members.len() as u64 {
                        return Err(bad("a threshold is zero or more than the members"));
                    }
                    policy.define(name, Rule::Group { threshold: threshold as usize, members })?;
                }
                ["quorum", name] => {
                    if has_quorum {
                        return Err(bad("it has two quorums"));
                    }
                    has_quorum = true;
                    if name != "none" {
                        let quorum = policy.find(name);
                        policy.quorum = Some(quorum.ok_or(bad("its quorum is not defined above it"))?);
                    }
                }
                _ => return Err(bad("a line is none of log, witness, group and quorum")),
            }
        }
        match has_quorum {
            true => Ok(policy),
            // An absent quorum must not mean that none is needed.
            false => Err(bad("it has no quorum; write `quorum none` if that is meant")),
        }
    }

    /// The logs that count.
    pub fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// The witnesses, by name.
    pub fn witnesses(&self) -> impl Iterator<Item = (&str, &VerifierKey)> {
        self.entries.iter().filter_map(|entry| match &entry.rule {
            Rule::Witness(key) => Some((entry.name.as_str(), &**key)),
            Rule::Group { .. } => None,
        })
    }

    /// Where a log or a witness is reached.
    pub fn url(&self, key: &VerifierKey) -> Option<&str> {
        self.urls.get(&key.to_string()).map(String::as_str)
    }

    /// Whether a checkpoint counts: signed by a log of this policy that is
    /// named as its origin, and cosigned by the quorum.
    pub fn evaluate(&self, note: &Note) -> Result<Accepted, Error> {
        let signed = note.verify(&self.logs)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        // A key name "MUST correspond to the log's origin line": otherwise
        // one log could speak for another.
        if !signed.iter().any(|verified| verified.key.name() == checkpoint.origin) {
            return Err(Error::Unsigned);
        }
        let keys: Vec<VerifierKey> = self.witnesses().map(|(_, key)| key.clone()).collect();
        let cosigned = match note.verify(&keys) {
            Err(Error::Unsigned) => Vec::new(),
            other => other?,
        };
        let mut witnesses = Vec::new();
        let mut met: Vec<bool> = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            met.push(match &entry.rule {
                Rule::Witness(key) => match cosigned.iter().find(|verified| *verified.key == **key) {
                    Some(verified) => {
                        witnesses.push((entry.name.clone(), verified.time.unwrap_or_default()));
                        true
                    }
                    None => false,
                },
                Rule::Group { threshold, members } => {
                    members.iter().filter(|member| met.get(**member) == Some(&true)).count() >= *threshold
                }
            });
        }
        match self.quorum {
            Some(quorum) if met.get(quorum) != Some(&true) => {
                let name = self.entries.get(quorum).map(|entry| entry.name.clone());
                Err(Error::NoQuorum { quorum: name.unwrap_or_default() })
            }
            _ => Ok(Accepted { checkpoint, witnesses }),
        }
    }

    fn name_url(&mut self, key: &VerifierKey, url: &[&str]) {
        if let [url] = url {
            self.urls.insert(key.to_string(), (*url).to_owned());
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name == name)
    }

    fn define(&mut self, name: &str, rule: Rule) -> Result<(), Error> {
        let bad = Error::malformed("policy");
        if name == "none" || self.find(name).is_some() {
            return Err(bad("a name is `none` or stands in it twice"));
        }
        if self.entries.len() == 2 * MOST {
            return Err(bad("it has too many witnesses and groups"));
        }
        self.entries.push(Entry { name: name.to_owned(), rule });
        Ok(())
    }
}
