//! Refusals that are no policy's word: what gate, format, evidence and keys
//! went by.
//!
//! They are kept as decisions of a policy are. The log has the digest, so
//! that nobody can say later that something else was asked for, or read, or
//! why it was refused.

use firmseal_fleet::{Asked, Time};
use firmseal_manifest::{ArtifactId, ChannelName, ProductId, RequestId};
use serde::{Deserialize, Serialize};

use crate::carry_out::Course;
use crate::judging::{artifact_facts, salt};
use crate::pipeline::{Pipeline, rules};
use crate::policy::{ArtifactFacts, Decision, Reason, Verdict};

/// A job that was refused, with what that was decided on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// Digest of the gate's rules, and of the policy in force beside them.
    pub policy: ArtifactId,
    /// The policy's own digest, where one is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<ArtifactId>,
    /// What was asked for.
    pub question: RefusedQuestion,
    /// Which rules refused it, and why; never empty.
    pub refused: Vec<Reason>,
    /// What a policy had decided before, where it was asked: this was refused
    /// although it had been permitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<Decision>,
}

/// What was asked for, and how far it was read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RefusedQuestion {
    /// The signing request.
    pub request: RequestId,
    /// Everything that was handed in: by whom, for which product, version and
    /// epoch, which files and which evidence.
    #[serde(flatten)]
    pub asked: Asked,
    /// What our own parsers had read by then; empty if nothing.
    pub artifacts: Vec<ArtifactFacts>,
    /// When it was refused.
    pub now: Time,
    /// 16 random bytes as hex: the record's digest in a public log gives
    /// nothing away to whoever guesses the rest.
    pub salt: String,
}

impl Refused {
    /// The record: JSON, fields in the order above, one spelling.
    pub fn encode(&self) -> Vec<u8> {
        // Maps in it are ordered, and no value in it can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// What the log has the digest of: whoever decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// A policy.
    Decided(Box<Decision>),
    /// Something else, which refused.
    Refused(Box<Refused>),
}

impl Recorded {
    /// Reads a record; `None` for anything but what is written here.
    pub fn read(bytes: &[u8]) -> Option<Recorded> {
        if let Ok(decision) = serde_json::from_slice::<Decision>(bytes) {
            return (decision.encode() == bytes).then(|| Recorded::Decided(Box::new(decision)));
        }
        let refused = serde_json::from_slice::<Refused>(bytes).ok()?;
        (refused.encode() == bytes).then(|| Recorded::Refused(Box::new(refused)))
    }

    /// The product and the channel that it is about.
    pub fn about(&self) -> (&ProductId, &ChannelName) {
        match self {
            Recorded::Decided(decision) => (&decision.question.product, &decision.question.channel),
            Recorded::Refused(refused) => (&refused.question.asked.product, &refused.question.asked.channel),
        }
    }

    /// Why it was not permitted; `None` if it was.
    pub fn reasons(self) -> Option<Vec<Reason>> {
        match self {
            Recorded::Refused(refused) => Some(refused.refused),
            Recorded::Decided(decision) => match decision.answer {
                Verdict::Refuse { reasons }
                | Verdict::Approvals { reasons, .. }
                | Verdict::Hold { reasons } => Some(reasons),
                Verdict::Permit => None,
            },
        }
    }
}

impl Pipeline {
    /// The record of why a job is refused, where no policy's own record says
    /// it. Made once a job is refused: nothing that is signed waits for it.
    pub(crate) fn refused(&self, course: &Course, now: Time) -> Refused {
        let policy = self.deciding().ok().flatten();
        let decided = course.decision.as_deref();
        let artifacts = course
            .examined
            .iter()
            .map(|(artifact, examined)| artifact_facts("", *artifact, &examined.inspection, examined.size));
        Refused {
            policy: ArtifactId(rules(policy.as_deref())),
            document: policy.map(|policy| ArtifactId(policy.digest())),
            question: RefusedQuestion {
                request: course.job.id,
                asked: course.job.asked.clone(),
                artifacts: artifacts.collect(),
                now,
                salt: salt(),
            },
            refused: course.reasons.clone(),
            decided: decided.and_then(|record| serde_json::from_slice(record).ok()),
        }
    }
}
