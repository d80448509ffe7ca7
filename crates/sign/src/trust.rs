//! The trust that releases are signed under: the chain of root documents and
//! the newest revocation, live.
//!
//! One value for the pipeline and the server: what is published here is what
//! the next order is checked against, without a restart. Core verifies each
//! document under the one before it; the store keeps them.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Refusal, Revocation, Root, Trust};
use firmseal_fleet::Time;
use firmseal_manifest::KeyId;
use firmseal_store::{Store, StoreError, TrustDocument, TrustKind};

use crate::pipeline::Pipeline;

/// Why trust documents cannot be used, or one is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Devices would not follow to it.
    #[error("devices would refuse this {name}{}: {refusal} (refusal {code})", numbered(*version), code = refusal.code())]
    Refused {
        /// What kind of document it is.
        name: &'static str,
        /// The number it has, as far as it could be read; 0 otherwise.
        version: u64,
        /// What core says.
        refusal: Refusal,
    },
    /// Another document of this number was published.
    #[error("another {name} {version} was published; what was published is never replaced")]
    Taken {
        /// What kind of document it is.
        name: &'static str,
        /// The number.
        version: u64,
    },
    /// The number does not follow.
    #[error("{name} {offered} does not follow {name} {newest}, the newest here")]
    OutOfTurn {
        /// What kind of document it is.
        name: &'static str,
        /// Its number.
        offered: u64,
        /// The newest one's.
        newest: u64,
    },
    /// It forgets what an earlier one took away.
    #[error(
        "revocation {offered} gives back what revocation {newest} took away; carry every entry of that one on"
    )]
    Forgets {
        /// Its number.
        offered: u64,
        /// The newest one's.
        newest: u64,
    },
    /// The chain does not begin.
    #[error("the chain of root documents begins at version 1, and this one has version {0}")]
    NoFirst(u64),
    /// The store belongs to another chain.
    #[error("root document {0} of the settings is not the one that was published here")]
    OtherAnchor(u64),
    /// Storage.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// ` 7`, or nothing where the number could not be read.
fn numbered(version: u64) -> String {
    if version == 0 { String::new() } else { format!(" {version}") }
}

/// The root documents from the first to the newest, each verified under the
/// one before it, and the newest revocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    roots: Vec<Bytes>,
    newest: u64,
    lowest_epoch: u64,
    revocation: Option<Revoked>,
}

/// A revocation, and which of the roots verified it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Revoked {
    version: u64,
    bytes: Bytes,
    root: usize,
    /// The keys it names: every use of a key asks.
    keys: BTreeSet<KeyId>,
}

impl Chain {
    /// A chain of one, as it stands in the settings. [`Pipeline::load_trust`]
    /// puts it behind what was published since.
    pub(crate) fn anchored(root: Vec<u8>) -> Chain {
        let (newest, lowest_epoch) =
            Root::decode(&root).map_or((0, 0), |root| (root.version(), root.minimum_epoch()));
        Chain { roots: vec![root.into()], newest, lowest_epoch, revocation: None }
    }

    /// The newest root document.
    pub fn root(&self) -> &Bytes {
        // There is always one: both makers see to it.
        &self.roots[self.roots.len() - 1]
    }

    /// The newest root document's number.
    pub fn root_version(&self) -> u64 {
        self.newest
    }

    /// The lowest security epoch that the newest root document lets devices
    /// take. Kept beside the document: every signature asks.
    pub(crate) fn lowest_epoch(&self) -> u64 {
        self.lowest_epoch
    }

    /// A root document by its number.
    pub fn version(&self, version: u64) -> Option<&Bytes> {
        let back = usize::try_from(self.newest.checked_sub(version)?).ok()?;
        self.roots.iter().nth_back(back)
    }

    /// Every root document, the first one first.
    pub fn roots(&self) -> &[Bytes] {
        &self.roots
    }

    /// The newest revocation, as it was signed.
    pub fn revocation(&self) -> Option<&Bytes> {
        self.revocation.as_ref().map(|revoked| &revoked.bytes)
    }

    /// The keys that the newest revocation names.
    pub(crate) fn revoked_keys(&self) -> Option<&BTreeSet<KeyId>> {
        self.revocation.as_ref().map(|revoked| &revoked.keys)
    }

    /// The newest revocation's number; 0 where there is none.
    pub fn revocation_version(&self) -> u64 {
        self.revocation.as_ref().map_or(0, |revoked| revoked.version)
    }

    /// Whether devices that hold the newest root document would take the
    /// newest revocation: not so after the role's keys were replaced, until
    /// its entries are published again.
    pub fn revocation_stands(&self) -> bool {
        self.revocation.as_ref().is_none_or(|revoked| revoked.root + 1 == self.roots.len())
    }

    /// Asks a question of the trust in force: the newest root document and
    /// the newest revocation.
    pub fn ask<T>(&self, question: impl FnOnce(Trust<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
        self.ask_under(self.root(), question)
    }

    /// The same under an earlier root document. The revocation counts under
    /// each: it names keys and releases, wherever they stand.
    pub(crate) fn ask_under<T>(
        &self,
        root: &[u8],
        question: impl FnOnce(Trust<'_>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let root = Root::decode(root)?;
        let Some(revoked) = &self.revocation else { return question(Trust::anchored(&root)) };
        let signed_under = Root::decode(&self.roots[revoked.root])?;
        let revocation = signed_under.revocation(&revoked.bytes, &RustCrypto)?;
        question(Trust { revocation: Some(&revocation), ..Trust::anchored(&root) })
    }

    /// Reads the chain from a store. Each step is verified again: a database
    /// that was edited by hand must not become what releases are signed
    /// under.
    async fn read(store: &dyn Store) -> Result<Option<Chain>, TrustError> {
        let roots = store.trust_documents(TrustKind::Root).await?;
        let revocation = store.newest_trust_document(TrustKind::Revocation).await?;
        let roots = roots.into_iter().map(|document| document.bytes);
        Chain::verify(roots, revocation.map(|document| document.bytes))
    }

    /// Verifies root documents, the first one first, and a revocation under
    /// them. `None` where there is no root document.
    pub fn verify(
        roots: impl IntoIterator<Item = Bytes>,
        revocation: Option<Bytes>,
    ) -> Result<Option<Chain>, TrustError> {
        let mut chain: Option<Chain> = None;
        for bytes in roots {
            chain = Some(match chain {
                None => Chain::begin(bytes)?,
                Some(chain) => {
                    let version = chain.newest.saturating_add(1);
                    chain.append(version, bytes)?
                }
            });
        }
        match (chain, revocation) {
            (Some(chain), Some(bytes)) => chain.revoke(bytes).map(Some),
            (chain, _) => Ok(chain),
        }
    }

    fn begin(bytes: Bytes) -> Result<Chain, TrustError> {
        let refused = |version| move |refusal| TrustError::Refused { name: ROOT, version, refusal };
        let root = Root::decode(&bytes).map_err(refused(0))?;
        if root.version() != 1 {
            return Err(TrustError::NoFirst(root.version()));
        }
        root.verify(&RustCrypto).map_err(refused(1))?;
        let lowest_epoch = root.minimum_epoch();
        Ok(Chain { roots: vec![bytes], newest: 1, lowest_epoch, revocation: None })
    }

    fn append(mut self, version: u64, bytes: Bytes) -> Result<Chain, TrustError> {
        let refused = |refusal| TrustError::Refused { name: ROOT, version, refusal };
        let newest = Root::decode(self.root()).map_err(refused)?;
        let next = newest.successor(&bytes, &RustCrypto).map_err(refused)?;
        (self.newest, self.lowest_epoch) = (next.version(), next.minimum_epoch());
        self.roots.push(bytes);
        Ok(self)
    }

    /// Puts a revocation in force. The role that signed it may have been
    /// given other keys since: what it took away stays away.
    fn revoke(mut self, bytes: Bytes) -> Result<Chain, TrustError> {
        let mut refused = None;
        for (root, document) in self.roots.iter().enumerate().rev() {
            let read = |revocation: &Revocation<'_>| {
                (revocation.version(), revocation.keys().map(|entry| entry.id()).collect())
            };
            match verify(document, &bytes, read) {
                Ok((version, keys)) => {
                    self.revocation = Some(Revoked { version, bytes, root, keys });
                    return Ok(self);
                }
                // The newest root's word is the one to tell.
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        let refusal = refused.unwrap_or(Refusal::RoleMissing);
        Err(TrustError::Refused { name: REVOCATION, version: 0, refusal })
    }

    /// Checks that a revocation may follow the one in force: signed under
    /// the newest root document, with a higher number and every entry.
    fn check_revocation(&self, bytes: &[u8]) -> Result<u64, TrustError> {
        let refused = |refusal| TrustError::Refused { name: REVOCATION, version: 0, refusal };
        let offered = verify(self.root(), bytes, |revocation| revocation.version()).map_err(refused)?;
        let newest = self.revocation_version();
        if offered <= newest {
            return Err(TrustError::OutOfTurn { name: REVOCATION, offered, newest });
        }
        let contains = self.ask(|trust| {
            let Some(held) = trust.revocation else { return Ok(true) };
            Ok(trust.root.revocation(bytes, &RustCrypto)?.contains(held))
        });
        if contains.map_err(refused)? { Ok(offered) } else { Err(TrustError::Forgets { offered, newest }) }
    }
}

fn verify<T>(root: &[u8], bytes: &[u8], read: impl FnOnce(&Revocation<'_>) -> T) -> Result<T, Refusal> {
    Root::decode(root)?.revocation(bytes, &RustCrypto).map(|revocation| read(&revocation))
}

const REVOCATION: &str = TrustKind::Revocation.name();
const ROOT: &str = TrustKind::Root.name();

/// The chain that is in force, and one publisher at a time.
pub(crate) struct Live {
    chain: RwLock<Arc<Chain>>,
    publishing: tokio::sync::Mutex<()>,
}

impl Live {
    pub(crate) fn anchored(root: Vec<u8>) -> Live {
        Live {
            chain: RwLock::new(Arc::new(Chain::anchored(root))),
            publishing: tokio::sync::Mutex::default(),
        }
    }

    fn get(&self) -> Arc<Chain> {
        self.chain.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, chain: Chain) -> Arc<Chain> {
        let chain = Arc::new(chain);
        *self.chain.write().unwrap_or_else(PoisonError::into_inner) = chain.clone();
        chain
    }
}

impl Pipeline {
    /// The trust that is in force.
    pub fn trust(&self) -> Arc<Chain> {
        self.live().get()
    }

    /// The root document that releases must satisfy: the newest.
    pub fn root(&self) -> Bytes {
        self.trust().root().clone()
    }

    /// Reads what was published from the store and puts it in force. Where
    /// nothing was, the root document that the pipeline was made with is
    /// published as the first. The policy that people agreed to under these
    /// documents comes with them: nobody signs here and forgets it.
    pub async fn load_trust(&self, now: Time) -> Result<Arc<Chain>, TrustError> {
        let chain = {
            let _one = self.live().publishing.lock().await;
            self.reload(now).await?
        };
        self.load_policy().await?;
        Ok(chain)
    }

    async fn reload(&self, now: Time) -> Result<Arc<Chain>, TrustError> {
        let held = self.trust();
        let chain = match Chain::read(self.store()).await? {
            Some(chain) => chain,
            None => {
                let chain = Chain::begin(held.root().clone())?;
                self.store().insert_trust_document(first(held.root().clone(), now)).await?;
                chain
            }
        };
        // What the settings name must be in the chain: a store that was put
        // beside other keys would otherwise decide whom they sign for.
        if chain.version(held.root_version()) != Some(held.root()) {
            return Err(TrustError::OtherAnchor(held.root_version()));
        }
        Ok(self.live().set(chain))
    }

    /// Publishes a root document: verified under the newest, durable, then
    /// in force. Returns its number. The same document again changes nothing.
    pub async fn publish_root(&self, bytes: Bytes, by: &str, now: Time) -> Result<u64, TrustError> {
        let refused = |version| move |refusal| TrustError::Refused { name: ROOT, version, refusal };
        let version = Root::decode(&bytes).map_err(refused(0))?.version();
        let _one = self.live().publishing.lock().await;
        let chain = self.trust();
        if let Some(known) = chain.version(version) {
            let same = known == &bytes;
            return if same { Ok(version) } else { Err(TrustError::Taken { name: ROOT, version }) };
        }
        if chain.newest.checked_add(1) != Some(version) {
            return Err(TrustError::OutOfTurn { name: ROOT, offered: version, newest: chain.newest });
        }
        Chain::clone(&chain).append(version, bytes.clone())?;
        self.keep(TrustKind::Root, version, bytes, by, now).await?;
        Ok(version)
    }

    /// Publishes a revocation: verified under the newest root document,
    /// durable, then in force. Returns its number. The same document again
    /// changes nothing.
    pub async fn publish_revocation(&self, bytes: Bytes, by: &str, now: Time) -> Result<u64, TrustError> {
        let _one = self.live().publishing.lock().await;
        let chain = self.trust();
        if chain.revocation() == Some(&bytes) {
            return Ok(chain.revocation_version());
        }
        let version = match chain.check_revocation(&bytes) {
            Ok(version) => version,
            // Whoever repeats an old one learns whether it is that one.
            Err(TrustError::OutOfTurn { name, offered, newest }) => {
                let known = self.store().trust_document(TrustKind::Revocation, offered).await?;
                return match known {
                    Some(known) if known.bytes == bytes => Ok(offered),
                    Some(_) => Err(TrustError::Taken { name, version: offered }),
                    None => Err(TrustError::OutOfTurn { name, offered, newest }),
                };
            }
            Err(other) => return Err(other),
        };
        self.keep(TrustKind::Revocation, version, bytes, by, now).await?;
        Ok(version)
    }

    async fn keep(
        &self,
        kind: TrustKind,
        version: u64,
        bytes: Bytes,
        by: &str,
        now: Time,
    ) -> Result<(), TrustError> {
        let published_by = by.to_owned();
        let document = TrustDocument { kind, version, bytes, published_by, published: now };
        self.store().insert_trust_document(document).await?;
        // Durable from here on. If we crash now, the next start reads the
        // same chain; the same call does it below.
        self.reload(now).await?;
        Ok(())
    }
}

/// The document that a place began with.
fn first(bytes: Bytes, now: Time) -> TrustDocument {
    let published_by = "the settings".to_owned();
    TrustDocument { kind: TrustKind::Root, version: 1, bytes, published_by, published: now }
}
