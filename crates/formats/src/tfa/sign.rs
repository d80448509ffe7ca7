//! A certificate by another key: with that key in it, and all else as it was.

use super::NAME;
use super::certificate::{Certificate, load, scheme};
use super::inspect::describe;
use crate::der::{self, BIT_STRING, SEQUENCE};
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::plan::Plan;
use crate::source::Source;

pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    wanted.parameters.check(&[])?;
    let bytes = load(source)?;
    let own = Certificate::read(&bytes)?;
    agree(own.extensions.counter, wanted.epoch)?;
    let scheme = scheme(wanted.key)?;
    let identifier = scheme.identifier();
    let tbs = own.rebuilt(wanted.key, &identifier);
    let (signed, inspection, len) = (scheme.tbs(&tbs), describe(&own), bytes.len() as u64);
    let attach = move |signature: &_| {
        let bits = der::tlv(BIT_STRING, &[&[0], &scheme.encode(signature)?]);
        Ok(Plan::new(len).bytes(der::tlv(SEQUENCE, &[&tbs, &identifier, &bits])))
    };
    Ok(Unsigned::new(signed, inspection, Box::new(attach)))
}

/// The counter is what the order says: nobody here writes another one into what
/// a build has put together.
fn agree(counter: Option<u64>, epoch: u64) -> Result<(), FormatError> {
    match counter {
        Some(counter) if counter == epoch => Ok(()),
        Some(counter) => {
            let (inside, wanted) = (counter.to_string(), epoch.to_string());
            Err(FormatError::Disagrees { field: "counter", inside, wanted })
        }
        None if epoch == 0 => Ok(()),
        None => Err(FormatError::DoesNotFit {
            format: NAME,
            field: "epoch",
            value: epoch.to_string(),
            why: "the certificate has no counter, so its epoch is 0",
        }),
    }
}
