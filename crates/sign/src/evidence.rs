//! Build evidence in the store, and the facts that it comes to.

use std::sync::Arc;

use firmseal_evidence::gather::{DOCUMENT_MAX, DOCUMENTS_MAX};
use firmseal_evidence::{EvidenceError, Facts, Gathering};
use firmseal_fleet::product::Environment;
use firmseal_manifest::{ArtifactId, ProductId, PublicKey, Signature};

use crate::error::PipelineError;
use crate::order::Order;
use crate::pipeline::Pipeline;

/// Most bytes of evidence that one request is decided on.
const TOTAL_MAX: usize = 4 * DOCUMENT_MAX;

/// What something that was signed had of the evidence that coverage is measured
/// by. Everything in it has to have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Covered {
    /// What it was signed for.
    pub environment: Environment,
    /// A bill of materials, whoever made it.
    pub sbom: bool,
    /// Provenance that a configured builder signed.
    pub provenance: bool,
    /// A second build by somebody who may say so, which came out the same.
    pub reproduced: bool,
}

impl Covered {
    pub(crate) fn by(facts: &Facts, environment: Environment) -> Covered {
        Covered {
            environment,
            sbom: facts.sbom.is_some(),
            provenance: facts.attested,
            reproduced: facts.reproduced == Some(true),
        }
    }
}

impl Pipeline {
    /// What documents in the store say about artifacts that are to be signed
    /// for a product: the evidence of a policy's question. A document that
    /// cannot be read is an error; one that proves nothing is counted in
    /// [`Facts::unproven`].
    pub async fn facts(
        &self,
        product: &ProductId,
        evidence: &[ArtifactId],
        artifacts: &[ArtifactId],
    ) -> Result<Facts, PipelineError> {
        let mut documents = Vec::new();
        let mut total = 0;
        for id in evidence {
            if documents.iter().any(|(known, _)| known == id) {
                continue;
            }
            if documents.len() == DOCUMENTS_MAX {
                return Err(PipelineError::Evidence(*id, EvidenceError::Many("64 documents of a request")));
            }
            let limit = match self.store().size(&id.0).await? {
                Some(size) if size > DOCUMENT_MAX as u64 => {
                    return Err(PipelineError::Evidence(*id, EvidenceError::Long(DOCUMENT_MAX)));
                }
                size => size.unwrap_or_default(),
            };
            total += limit as usize;
            if total > TOTAL_MAX {
                return Err(PipelineError::Evidence(*id, EvidenceError::Many("32 MiB for one request")));
            }
            documents.push((*id, self.store().read_all(&id.0, limit).await?));
        }
        if documents.is_empty() {
            return Ok(Facts::default());
        }
        // Megabytes of JSON and some thousand signatures at worst: not on a
        // thread that others wait for.
        let (builders, product, artifacts) =
            (Arc::clone(&self.builders), product.clone(), artifacts.to_vec());
        let gathered = tokio::task::spawn_blocking(move || {
            let mut gathering = Gathering::new(&product, &artifacts, &builders, &holds);
            for (id, document) in documents {
                gathering.read(&document).map_err(|error| PipelineError::Evidence(id, error))?;
            }
            Ok(gathering.finish())
        });
        gathered.await.map_err(|error| PipelineError::Spool(error.into()))?
    }

    /// What the evidence of an order says of its artifacts.
    pub(crate) async fn facts_of(&self, order: &Order) -> Result<Facts, PipelineError> {
        let evidence: Vec<ArtifactId> = order.sbom.iter().chain(&order.evidence).copied().collect();
        let artifacts: Vec<ArtifactId> = order.components.iter().map(|part| part.artifact).collect();
        self.facts(&order.product, &evidence, &artifacts).await
    }

    /// What there is of evidence for an order.
    pub(crate) async fn covered(&self, order: &Order) -> Result<Covered, PipelineError> {
        let product = self.store().product(&order.product).await?;
        Ok(Covered::by(&self.facts_of(order).await?, product.environment))
    }
}

fn holds(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    firmseal_keys::verify::verify_message(key, message, signature).is_ok()
}
