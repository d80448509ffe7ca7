//! Security epochs on record, which orders and files are held against.

use firmseal_fleet::{Asked, Release};
use firmseal_manifest::{ChannelName, ProductId};
use firmseal_store::Before;

use crate::draft::Draft;
use crate::error::PipelineError;
use crate::gate::{self, Epochs};
use crate::pipeline::Pipeline;

impl Pipeline {
    /// What a release is held against. A roll-back brings back what is signed
    /// already, under the security epoch of the release that it rolls back:
    /// files that were signed since must not keep a bad release on devices.
    pub(crate) async fn epochs(
        &self,
        product: &ProductId,
        channel: &ChannelName,
        rolls_back: bool,
        latest: Option<&Release>,
    ) -> Result<Epochs, PipelineError> {
        let files = match rolls_back {
            true => 0,
            false => self.store().highest_signed(product, channel).await?.epoch,
        };
        let highest = files.max(latest.map_or(0, |release| release.epoch));
        Ok(Epochs { lowest: self.trust().lowest_epoch(), highest })
    }

    /// Checks the security epoch of a release that is about to be signed: while
    /// people thought, others may have been signed, or a root document
    /// published.
    pub(crate) async fn check_epoch(
        &self,
        draft: &Draft,
        latest: Option<&Release>,
    ) -> Result<(), PipelineError> {
        let rolls_back = draft.rollback_of.is_some();
        let epochs = self.epochs(&draft.product, &draft.channel, rolls_back, latest).await?;
        Ok(gate::check_epoch(draft.epoch, epochs)?)
    }

    /// What a file is held against. A signature that is on record already, and
    /// is the answer once more, lets nothing in that other files have locked
    /// out since; only what is new must not go back.
    pub(crate) fn epochs_of_file(&self, asked: &Asked, before: &Before, is_known: bool) -> Epochs {
        let files = match is_known {
            true => before.highest.epoch.min(asked.epoch),
            false => before.highest.epoch,
        };
        let highest = files.max(before.latest.as_ref().map_or(0, |release| release.epoch));
        Epochs { lowest: self.trust().lowest_epoch(), highest }
    }
}
