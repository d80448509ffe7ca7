//! Actions: what the command engine asks of its caller, and the answers.

use crate::measure::Measured;
use crate::tree::Streamed;

/// What a device says of itself to the engine.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'d> {
    /// Vendor UUID.
    pub vendor: &'d [u8; 16],
    /// Class UUID.
    pub class: &'d [u8; 16],
    /// UUID of this very device, where it has one.
    pub device: Option<&'d [u8; 16]>,
}

/// What is to be done next. Components are named by their index in the
/// manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action<'a> {
    /// Store what `uri` names into the component.
    Fetch {
        /// The destination.
        component: usize,
        /// A URI reference (RFC 3986).
        uri: &'a str,
        /// Arguments, meant for the device.
        args: Option<&'a [u8]>,
    },
    /// Store a copy of `source` into the component.
    Copy {
        /// The destination.
        component: usize,
        /// The source.
        source: usize,
    },
    /// Exchange the contents of two components.
    Swap {
        /// One of them.
        component: usize,
        /// The other one.
        source: usize,
    },
    /// Store these bytes into the component.
    Write {
        /// The destination.
        component: usize,
        /// The bytes.
        content: &'a [u8],
    },
    /// Measure the component; answer with [`Outcome::Measured`], or with
    /// [`Outcome::Streamed`] when this run wrote all of it.
    Measure {
        /// The component.
        component: usize,
        /// Bytes to measure; the whole component where it is absent.
        size: Option<u64>,
    },
    /// Compare the component with these bytes, in constant time.
    Compare {
        /// The component.
        component: usize,
        /// What it should hold.
        content: &'a [u8],
    },
    /// Transfer execution to the component.
    Invoke {
        /// The component.
        component: usize,
        /// Arguments, meant for the device.
        args: Option<&'a [u8]>,
    },
    /// Every section has run.
    Finished,
}

/// How an action went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was done, or the comparison matched.
    Done,
    /// What the component holds; answers [`Action::Measure`].
    Measured(Measured),
    /// The component was written block by block, each checked before, from
    /// the first to the last; answers [`Action::Measure`].
    Streamed(Streamed),
    /// It failed, or the comparison did not match.
    Failed,
}
