//! A policy in force: rules, and what they come to for a question.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::{Authorizer, Entities, PolicySet, Request, Response};
use firmseal_manifest::{Digest, PolicyDocument};
use firmseal_sign::{Policy, PolicyError, PolicyReader, Question, Reason, Tried, Verdict};

use crate::example::{Differs, Examples};
use crate::known::Known;
use crate::load::{Loaded, load};
use crate::problem::LoadError;
use crate::reads::Reads;
use crate::rule::{Demand, NO_PERMIT, Rule};

/// A policy in Cedar.
#[derive(Debug)]
pub struct CedarPolicy {
    digest: Digest,
    loaded: Loaded,
    known: Known,
}

/// Reads policies in Cedar for a service that knows nothing of it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Reader;

impl PolicyReader for Reader {
    fn read(&self, document: &PolicyDocument) -> Result<Arc<dyn Policy>, PolicyError> {
        match CedarPolicy::load(document) {
            Ok(policy) => Ok(Arc::new(policy)),
            Err(error) => Err(PolicyError(error.to_string())),
        }
    }

    fn try_out(&self, document: &PolicyDocument) -> Result<Tried, PolicyError> {
        let policy = self.read(document)?;
        let mut tried = Tried::default();
        for file in document.files.iter().filter(|file| Examples::stand_in(&file.name)) {
            let wrong = |error| PolicyError(format!("{}: {error}", file.name));
            for case in Examples::read(&file.text).map_err(wrong)?.cases {
                tried.cases += 1;
                if let (_, Some(Differs { wanted, got })) = case.ask(&*policy) {
                    tried
                        .failed
                        .push(format!("{}: `{}` wants {wanted} and gets {got}", file.name, case.name));
                }
            }
        }
        Ok(tried)
    }
}

impl CedarPolicy {
    /// Reads a policy: every rule is parsed, named and validated strictly
    /// against the schema, or none is.
    pub fn load(document: &PolicyDocument) -> Result<CedarPolicy, LoadError> {
        Ok(CedarPolicy { digest: document.digest(), loaded: load(document)?, known: Known::default() })
    }

    /// Whether everything is permitted, and which rules forbid anything, as
    /// far as a question is handed over.
    fn ask(&self, question: &Question, reads: &Reads) -> Result<(bool, BTreeSet<String>), PolicyError> {
        let asked = crate::question::translate(question, reads, &self.known)?;
        let mut standing: BTreeSet<String> = BTreeSet::new();
        let mut permitted = true;
        for request in &asked.requests {
            // In sets of their own: beside a forbid Cedar says nothing of
            // permits, and approvals would be asked for what is never signed.
            permitted &= !applies(&self.loaded.permits, request, &asked.entities)?.is_empty();
            standing.extend(applies(&self.loaded.forbids, request, &asked.entities)?);
        }
        Ok((permitted, standing))
    }

    /// Its rules, by name.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.loaded.rules.values()
    }
}

/// Which rules of a set apply.
///
/// Cedar leaves a rule that fails out and goes on ("skip on error"); a
/// forbid that is left out is a permit. So one failure is no answer at all.
fn applies(set: &PolicySet, request: &Request, entities: &Entities) -> Result<Vec<String>, PolicyError> {
    let response: Response = Authorizer::new().is_authorized(request, set, entities);
    let mut failures: Vec<_> = response.diagnostics().errors().map(|error| error.to_string()).collect();
    if !failures.is_empty() {
        failures.sort();
        return Err(PolicyError(failures.join("; ")));
    }
    Ok(response.diagnostics().reason().map(|id| id.to_string()).collect())
}

impl Policy for CedarPolicy {
    fn digest(&self) -> Digest {
        self.digest
    }

    fn decide(&self, question: &Question) -> Result<Verdict, PolicyError> {
        let (permitted, standing) = self.ask(question, &self.loaded.reads)?;
        // What no rule reads changes nothing: tests ask with all of it, too.
        debug_assert_eq!(
            self.ask(question, &Reads::Everything).ok().as_ref(),
            Some(&(permitted, standing.clone()))
        );
        let mut way = InTheWay::default();
        if !permitted {
            way.refusing.push(Reason {
                rule: NO_PERMIT.to_owned(),
                why: "no rule of the policy permits it".to_owned(),
            });
        }
        for id in standing {
            let rule = self.loaded.rules.get(&id);
            let rule = rule.ok_or_else(|| PolicyError(format!("rule `{id}` is not one of this policy")))?;
            way.add(rule, question);
        }
        Ok(way.verdict())
    }
}

/// What stands in the way of a signature.
#[derive(Default)]
struct InTheWay {
    refusing: Vec<Reason>,
    holding: Vec<Reason>,
    need: u32,
    approvals: Vec<Reason>,
}

impl InTheWay {
    fn add(&mut self, rule: &Rule, question: &Question) {
        let reason = Reason { rule: rule.id.clone(), why: rule.reason.clone() };
        match rule.demand {
            // A permit is in no set of forbids; were it, it would refuse.
            Demand::Refuse | Demand::Permit => self.refusing.push(reason),
            Demand::Hold if question.released => {}
            Demand::Hold => self.holding.push(reason),
            Demand::Approvals(need) if question.approvals >= need => {}
            Demand::Approvals(need) => {
                self.need = self.need.max(need);
                self.approvals.push(reason);
            }
        }
    }

    /// The strictest comes first. A hold hides approvals: once it has been
    /// released the question is asked again.
    fn verdict(self) -> Verdict {
        let InTheWay { refusing, holding, need, approvals } = self;
        match (refusing.is_empty(), holding.is_empty(), approvals.is_empty()) {
            (false, ..) => Verdict::Refuse { reasons: refusing },
            (true, false, _) => Verdict::Hold { reasons: holding },
            (true, true, false) => Verdict::Approvals { need, reasons: approvals },
            (true, true, true) => Verdict::Permit,
        }
    }
}
