//! The policy in force: given with the settings, or agreed to by people and
//! verified whenever it is read.
//!
//! What people agreed to is kept in the store and told to the log. Both have
//! to say the same: an older policy that was put back into the store, and one
//! that was taken out of it, decide nothing. Then nothing is signed, and
//! everything else goes on.

use std::sync::{Arc, PoisonError};

use firmseal_fleet::PolicyActivation;
use firmseal_keys::{Log, LogError};
use firmseal_manifest::{Digest, Event};
use firmseal_store::{Page, StoreError};

use crate::pipeline::{Pipeline, rules};
use crate::policies::{PolicyChangeError, check};
use crate::policy::{Policy, PolicyError, PolicyReader, Question, Verdict};

/// Entries of the log that are read at once.
const PAGE: u64 = 1024;
/// Events that may wait for the log, and activations among them.
const WAITING: u32 = 1000;
const BEHIND: u32 = 64;

/// What decides, beside the gate.
#[derive(Clone, Default)]
pub(crate) enum InForce {
    /// Nothing.
    #[default]
    Nothing,
    /// A policy of the settings, which nobody agreed to.
    Given(Arc<dyn Policy>),
    /// A policy that people agreed to.
    Agreed(Arc<dyn Policy>, Arc<PolicyActivation>),
    /// What should be in force does not verify.
    Broken(Arc<dyn Policy>, String),
}

/// The same, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PolicyStanding {
    /// The gate decides alone.
    None,
    /// A policy of the settings, by its digest.
    Given(Digest),
    /// A policy that people agreed to.
    Agreed(Arc<PolicyActivation>),
    /// None that verifies, and why. Nothing is signed.
    Broken(String),
}

/// Takes the place of a policy that does not verify.
struct Broken(String);

impl Policy for Broken {
    fn digest(&self) -> Digest {
        Digest([0; 32])
    }

    fn decide(&self, _: &Question) -> Result<Verdict, PolicyError> {
        Err(PolicyError(self.0.clone()))
    }
}

/// Why the policy of the store is not put in force.
enum Trouble {
    /// The store cannot be asked now.
    Store(StoreError),
    /// What it says does not verify.
    Unsound(String),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        match error {
            StoreError::Corrupt { .. } | StoreError::NotFound { .. } | StoreError::OutOfRange { .. } => {
                Trouble::Unsound(error.to_string())
            }
            other => Trouble::Store(other),
        }
    }
}

impl From<PolicyChangeError> for Trouble {
    fn from(error: PolicyChangeError) -> Trouble {
        match error {
            PolicyChangeError::Store(error) => error.into(),
            other => Trouble::Unsound(other.to_string()),
        }
    }
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Trouble {
        Trouble::Unsound(format!("the log cannot be read: {error}"))
    }
}

impl Pipeline {
    /// Asks a policy, beside the gate.
    pub fn with_policy(self, policy: Arc<dyn Policy>) -> Pipeline {
        self.set_policy(Some(policy));
        self
    }

    /// Reads policies that people agree to.
    pub fn with_policy_reader(mut self, reader: Arc<dyn PolicyReader>) -> Pipeline {
        self.policy_reader = Some(reader);
        self
    }

    pub(crate) fn policy_reader(&self) -> Option<&dyn PolicyReader> {
        self.policy_reader.as_deref()
    }

    /// Puts a policy of the settings in force, or none; for what is decided
    /// from here on.
    pub fn set_policy(&self, policy: Option<Arc<dyn Policy>>) {
        self.put(policy.map_or(InForce::Nothing, InForce::Given));
    }

    fn put(&self, policy: InForce) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    fn in_force(&self) -> InForce {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The policy in force, if there is one.
    pub fn policy(&self) -> Option<Arc<dyn Policy>> {
        match self.in_force() {
            InForce::Nothing => None,
            InForce::Given(policy) | InForce::Agreed(policy, _) | InForce::Broken(policy, _) => Some(policy),
        }
    }

    /// The policy that decides, if there is one; an error where what should
    /// be in force does not verify. To be asked once for each decision: what
    /// is recorded and announced is the policy that was asked.
    pub(crate) fn deciding(&self) -> Result<Option<Arc<dyn Policy>>, PolicyError> {
        match self.in_force() {
            InForce::Nothing => Ok(None),
            InForce::Given(policy) | InForce::Agreed(policy, _) => Ok(Some(policy)),
            InForce::Broken(_, why) => Err(PolicyError(why)),
        }
    }

    /// Digest of the rules in force, the gate's and the policy's, as it
    /// stands in intents.
    pub fn rules(&self) -> Digest {
        rules(self.policy().as_deref())
    }

    /// Where the policy in force comes from.
    pub fn policy_standing(&self) -> PolicyStanding {
        match self.in_force() {
            InForce::Nothing => PolicyStanding::None,
            InForce::Given(policy) => PolicyStanding::Given(policy.digest()),
            InForce::Agreed(_, activation) => PolicyStanding::Agreed(activation),
            InForce::Broken(_, why) => PolicyStanding::Broken(why),
        }
    }

    /// Why nothing is signed, where the policy in force does not verify.
    pub fn policy_trouble(&self) -> Option<String> {
        match self.in_force() {
            InForce::Broken(_, why) => Some(why),
            _ => None,
        }
    }

    /// Puts the policy in force that people agreed to, if they did to any:
    /// its document, their word and the log are asked anew. Part of
    /// [`Pipeline::load_trust`]. What does not verify is told by
    /// [`Pipeline::policy_trouble`], and is no error here: the server has
    /// other work.
    pub async fn load_policy(&self) -> Result<(), StoreError> {
        match self.read_policy().await {
            // One of the settings stays until people have agreed to another.
            Ok(None) => {}
            Ok(Some(agreed)) => self.put(agreed),
            Err(Trouble::Unsound(why)) => {
                let why = format!("the policy in force does not verify: {why}");
                self.put(InForce::Broken(Arc::new(Broken(why.clone())), why));
            }
            Err(Trouble::Store(error)) => return Err(error),
        }
        Ok(())
    }

    async fn read_policy(&self) -> Result<Option<InForce>, Trouble> {
        let unsound = |why: &str| Trouble::Unsound(why.to_owned());
        let all = self.store().policy_activations(Page::first(BEHIND)).await?;
        let logged = self.logged_policy().await?;
        let Some(newest) = all.first() else {
            return match logged {
                None => Ok(None),
                Some(_) => Err(unsound("the log tells of one, and the store has none")),
            };
        };
        // The log has the newest, or that one and those before it are still
        // on their way.
        let waiting = self.store().waiting_events(WAITING).await?;
        let waits = |event: &Event| waiting.iter().any(|waiting| waiting.event == *event);
        let on_their_way = all.iter().take_while(|own| waits(&own.event())).count();
        let mut told = all.iter().take(on_their_way + 1).map(|own| Some(own.event()));
        let none_yet = on_their_way == all.len() && logged.is_none();
        if !none_yet && !told.any(|own| own == logged) {
            return Err(unsound("the store says another one is in force than the log"));
        }
        let before = all.get(1);
        let follows = (newest.number, newest.previous)
            == (before.map_or(1, |before| before.number + 1), before.map(|before| before.policy));
        if !follows {
            return Err(unsound("it does not follow the one before it"));
        }
        let proposal = self.store().policy_proposal(newest.proposal).await?;
        let proposal = proposal.ok_or_else(|| unsound("nobody proposed it"))?;
        check(newest, &proposal, &self.trust())?;
        let document = self.policy_document(&newest.policy).await?;
        let reader = self.policy_reader().ok_or_else(|| unsound("this program reads no policies"))?;
        let policy = reader.read(&document).map_err(|PolicyError(why)| Trouble::Unsound(why))?;
        Ok(Some(InForce::Agreed(policy, Arc::new(newest.clone()))))
    }

    /// The newest activation that the log tells of.
    async fn logged_policy(&self) -> Result<Option<Event>, LogError> {
        let (mut until, mut found) = (self.log().size(), None);
        while until > 0 {
            let from = until.saturating_sub(PAGE);
            let here = self.logged_between(from, until).await?;
            // Events that were entered together may stand in any order: one
            // page more decides.
            let done = found.is_some();
            found = [found, here].into_iter().flatten().max_by_key(|(number, _)| *number);
            if done {
                break;
            }
            until = from;
        }
        Ok(found.map(|(_, event)| event))
    }

    async fn logged_between(&self, mut from: u64, until: u64) -> Result<Option<(u64, Event)>, LogError> {
        let mut found: Option<(u64, Event)> = None;
        while from < until {
            let limit = usize::try_from(until - from).unwrap_or(usize::MAX);
            let leaves = self.log().read(from, limit).await?;
            if leaves.is_empty() {
                break;
            }
            from += leaves.len() as u64;
            let policies = leaves.iter().filter_map(|leaf| match Event::decode(leaf) {
                Some(event @ Event::Policy { number, .. }) => Some((number, event)),
                _ => None,
            });
            found = found.into_iter().chain(policies).max_by_key(|(number, _)| *number);
        }
        Ok(found)
    }
}
