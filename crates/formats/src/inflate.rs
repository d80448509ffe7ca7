//! Deflated bytes (RFC 1951), inflated a piece at a time into a window that
//! later pieces point back into.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// How far back a piece may point.
const HISTORY: usize = 32 * 1024;
/// Room behind that: the history moves to the front each time it is full.
const ROOM: usize = 256 * 1024;

/// A stream of them.
pub(crate) struct Inflater {
    state: Box<DecompressorOxide>,
    /// What came out last. It does not wrap: what points to before the
    /// beginning is an error, and no run of zeros.
    window: Vec<u8>,
    end: usize,
}

/// What came of some input.
pub(crate) struct Inflated<'a> {
    /// How much of the input was taken.
    pub(crate) taken: usize,
    pub(crate) bytes: &'a [u8],
    /// The stream is over.
    pub(crate) ended: bool,
}

impl Inflater {
    pub(crate) fn new() -> Inflater {
        Inflater { state: Box::default(), window: vec![0; HISTORY + ROOM], end: 0 }
    }

    /// Begins another stream, which may point back into what came before.
    pub(crate) fn again(&mut self) {
        self.state.init();
    }

    /// Inflates some of an input, up to `max` bytes; `None` where it is none or
    /// ends too early. A last input should be longer than a few bytes: what was
    /// looked at ahead is given back to the one at hand.
    pub(crate) fn step(&mut self, input: &[u8], has_more: bool, max: usize) -> Option<Inflated<'_>> {
        if self.end == self.window.len() {
            self.window.copy_within(self.end - HISTORY.., 0);
            self.end = HISTORY;
        }
        let more = if has_more { TINFL_FLAG_HAS_MORE_INPUT } else { 0 };
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | more;
        let room = self.window.len().min(self.end.saturating_add(max));
        let (status, taken, came) =
            decompress(&mut self.state, input, &mut self.window[..room], self.end, flags);
        let start = self.end;
        self.end = (start + came).min(room);
        let ended = match status {
            TINFLStatus::Done => true,
            TINFLStatus::HasMoreOutput => false,
            TINFLStatus::NeedsMoreInput if has_more => false,
            _ => return None,
        };
        Some(Inflated { taken, bytes: &self.window[start..self.end], ended })
    }
}
