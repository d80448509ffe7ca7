//! Channels with approvers of their own, and devices that take some channel.

use super::Cases;
use crate::vectors::told::{NED, nightly};

pub(super) fn add(cases: &mut Cases) {
    cases.ok("ok_channel_of_its_own", "the channel that the device takes asks for one approver", |scene| {
        nightly(scene, Some("nightly"), vec![NED]);
    });
    cases.ok(
        "ok_channel_without_entry",
        "the channel has no entry of its own: two approvers of all",
        |scene| {
            scene.tell(|_| ()).device.knows.channel = Some("stable".to_owned());
        },
    );
    cases.refused(309, "channel_not_taken", "a release of another channel than the device takes", |scene| {
        nightly(scene, Some("stable"), vec![0, 1]);
    });
    cases.refused(
        701,
        "channel_approved_for_others",
        "approved as its channel asks; the device takes none",
        |scene| {
            nightly(scene, None, vec![NED]);
        },
    );
    cases.refused(
        701,
        "channel_approved_by_strangers",
        "approved by two who are not asked on the channel",
        |scene| {
            nightly(scene, Some("nightly"), vec![0, 1]);
        },
    );
    cases.ok("boot_ok_channel", "what was admitted from a channel boots as that asks", |scene| {
        nightly(scene.boot(), Some("*"), vec![NED]);
    });
    cases.refused(
        701,
        "boot_channel_approved_for_others",
        "never admitted here: the device takes no channel",
        |scene| {
            nightly(scene.boot(), None, vec![NED]);
        },
    );
}
