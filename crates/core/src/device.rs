//! Devices: what one knows of itself when it decides.

use crate::action::Identity;
use crate::freshness::Freshness;
use crate::revocation::Revocation;
use crate::root::Root;
use crate::time::Time;

/// Whom a device trusts, and what it has learnt since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'d> {
    /// The root document it trusts.
    pub root: &'d Root<'d>,
    /// The owner's root document, once ownership has passed.
    pub owner: Option<&'d Root<'d>>,
    /// The newest revocation document it has seen under its root.
    pub revocation: Option<&'d Revocation<'d>>,
    /// The newest freshness document it has seen under its root.
    pub freshness: Option<&'d Freshness<'d>>,
    /// How old the freshness document may be when something is installed,
    /// in seconds; `None` where the device asks for none.
    pub max_age: Option<u64>,
    /// What it knows of the time.
    pub time: Time,
}

impl<'d> Trust<'d> {
    /// What a device knows that has learnt nothing but its root: no owner,
    /// no revocation, no news and no time.
    pub const fn anchored(root: &'d Root<'d>) -> Trust<'d> {
        let time = Time { clock: None, floor: 0, leeway: 0 };
        Trust { root, owner: None, revocation: None, freshness: None, max_age: None, time }
    }
}

/// Which channels' releases a device takes, and so whose approvals count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes<'d> {
    /// Releases of every channel, each approved as the root document asks
    /// where no channel is named: what is easier to approve on some channel
    /// does not come in that way.
    General,
    /// Releases of this channel, approved as the root document asks on it.
    Channel(&'d str),
    /// Releases of every channel, each approved as is asked on its own: for
    /// those who judge in place of devices that they do not know, and for
    /// the boot of what was admitted from a channel.
    Any,
}

/// What a device knows of itself and demands.
#[derive(Clone, Copy, Debug)]
pub struct Device<'d> {
    /// Whom it trusts, and what it knows besides.
    pub trust: Trust<'d>,
    /// The board reports that no slot can boot, or that somebody stands in
    /// front of it and asks for recovery.
    pub stranded: bool,
    /// Product name.
    pub product: &'d str,
    /// The channels that it takes.
    pub takes: Takes<'d>,
    /// Vendor UUID.
    pub vendor: &'d [u8; 16],
    /// Class UUID.
    pub class: &'d [u8; 16],
    /// UUID of this very device, where it has one.
    pub id: Option<&'d [u8; 16]>,
    /// The monotonic counter of security epochs.
    pub epoch: u64,
    /// The highest delegation index committed.
    pub delegation: u64,
    /// The components it has.
    pub components: &'d [Component<'d>],
}

/// A component that a device has.
#[derive(Clone, Copy, Debug)]
pub struct Component<'d> {
    /// Its SUIT component identifier.
    pub id: &'d [&'d [u8]],
    /// Index of the slot that is written by an install or run by a boot.
    pub slot: u64,
    /// Bytes the slot holds.
    pub capacity: u64,
    /// The sequence number of the confirmed image.
    pub sequence: u64,
}

impl<'d> Device<'d> {
    pub(crate) fn identity(&self) -> Identity<'d> {
        Identity { vendor: self.vendor, class: self.class, device: self.id }
    }
}
