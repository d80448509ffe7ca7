//! Entities of callers and products, kept from one question to the next: the
//! same few ask for the same products again and again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use cedar_policy::Entities;
use firmseal_fleet::{Caller, Environment};
use firmseal_manifest::ProductId;
use firmseal_sign::{PolicyError, Question};

/// Most that are kept. Callers of pipelines have claims of their own in each
/// run: what is kept longer than it is asked for would be memory for nothing.
const KEPT: usize = 16;

/// What entities are made of.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Who {
    caller: Caller,
    product: ProductId,
    environment: Environment,
}

impl Who {
    fn asks(&self, question: &Question) -> bool {
        (&self.product, self.environment) == (&question.product, question.environment)
            && self.caller == question.caller
    }
}

/// The entities of those who asked last, the newest first.
#[derive(Default, Debug)]
pub(crate) struct Known(Mutex<VecDeque<(Who, Arc<Entities>)>>);

impl Known {
    /// Those of a question, made where they are not known.
    pub(crate) fn of(
        &self,
        question: &Question,
        make: impl FnOnce() -> Result<Entities, PolicyError>,
    ) -> Result<Arc<Entities>, PolicyError> {
        // Nothing that runs under this lock leaves a value half changed.
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, entities)) = lock().iter().find(|(who, _)| who.asks(question)) {
            return Ok(entities.clone());
        }
        let entities = Arc::new(make()?);
        let (caller, product) = (question.caller.clone(), question.product.clone());
        let who = Who { caller, product, environment: question.environment };
        let mut known = lock();
        known.truncate(KEPT - 1);
        known.push_front((who, entities.clone()));
        Ok(entities)
    }
}
