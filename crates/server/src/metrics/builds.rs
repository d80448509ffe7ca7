//! What was signed, and with which evidence: coverage is one over the other.

use firmseal_fleet::product::Environment;
use firmseal_sign::Covered;

use super::{Counters, Making, SignedFor, SignedWith};

/// Counts of what was signed anew.
pub(crate) struct Builds {
    signed: Counters<SignedFor>,
    signed_with: Counters<SignedWith>,
}

impl Builds {
    pub(super) fn new(make: &mut Making) -> Builds {
        let builds = Builds {
            signed: make.one("builds_signed", "Files and releases that were signed, by what for"),
            signed_with: make.one("builds_signed_with", "Those of them with evidence of a kind"),
        };
        // A share of none is none, and not unknown.
        for environment in [Environment::Test, Environment::Production] {
            let none = Covered { environment, sbom: false, provenance: false, reproduced: false };
            drop(builds.signed.get_or_create(&SignedFor { environment: environment.name() }));
            for (labels, _) in labels(&none) {
                drop(builds.signed_with.get_or_create(&labels));
            }
        }
        builds
    }

    /// Counts one.
    pub(crate) fn signed(&self, covered: &Covered) {
        self.signed.get_or_create(&SignedFor { environment: covered.environment.name() }).inc();
        for (labels, _) in labels(covered).iter().filter(|(_, has)| *has) {
            self.signed_with.get_or_create(labels).inc();
        }
    }
}

/// Each kind of evidence, and whether it was there.
fn labels(covered: &Covered) -> [(SignedWith, bool); 3] {
    let Covered { environment, sbom, provenance, reproduced } = *covered;
    let environment = environment.name();
    [("sbom", sbom), ("provenance", provenance), ("reproduced", reproduced)]
        .map(|(evidence, has)| (SignedWith { environment, evidence }, has))
}
