//! Callers' memory: read and written here and nowhere else, under the
//! contract that stands above in `ffi`.

use cryptoki_sys::{CK_ULONG, CKR_ARGUMENTS_BAD, CKR_BUFFER_TOO_SMALL};

use crate::fault::{Fault, Result};

/// Bytes that a caller handed in.
pub(super) unsafe fn input<'a>(start: *const u8, len: CK_ULONG) -> Result<&'a [u8]> {
    match (start.is_null(), usize::try_from(len)) {
        (_, Ok(0)) => Ok(&[]),
        // SAFETY: not null, and valid for `len` bytes by the contract above.
        (false, Ok(len)) if len <= isize::MAX as usize => {
            Ok(unsafe { std::slice::from_raw_parts(start, len) })
        }
        _ => Err(Fault(CKR_ARGUMENTS_BAD)),
    }
}

/// Writes one value where a caller wants it.
pub(super) unsafe fn put<T>(to: *mut T, value: T) -> Result {
    if to.is_null() {
        return Err(Fault(CKR_ARGUMENTS_BAD));
    }
    // SAFETY: not null, and a place for a `T` by the contract above.
    unsafe { to.write(value) };
    Ok(())
}

/// Writes several where a caller has room for `*room` of them; without a
/// place for them it learns how many there are.
pub(super) unsafe fn put_all<T: Copy>(values: &[T], to: *mut T, room: *mut CK_ULONG) -> Result {
    if room.is_null() {
        return Err(Fault(CKR_ARGUMENTS_BAD));
    }
    // SAFETY: not null, and a number by the contract above.
    let had = unsafe { room.replace(values.len() as CK_ULONG) };
    match (to.is_null(), had >= values.len() as CK_ULONG) {
        (true, _) => Ok(()),
        (false, false) => Err(Fault(CKR_BUFFER_TOO_SMALL)),
        (false, true) => {
            // SAFETY: the caller has room for `had` of them, which are enough.
            unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()) };
            Ok(())
        }
    }
}

/// A text of a fixed width, filled with blanks (PKCS #11 v2.40 §3.1).
pub(super) fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [b' '; N];
    let len = text.len().min(N);
    out[..len].copy_from_slice(&text.as_bytes()[..len]);
    out
}
