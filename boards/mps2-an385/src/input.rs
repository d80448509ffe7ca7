//! Input through semihosting: a file of the host in the board's memory.

use core::ffi::CStr;

use semihosting::fs::File;
use semihosting::io::{self, Read};

/// Room for the cases; the board has 4 MB.
pub const ROOM: usize = 2 << 20;

/// Reads a whole file of the host's working directory into `room`. A file
/// that fills the room is an error: it may have been longer.
pub fn read<'a>(path: &CStr, room: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let mut file = File::open(path)?;
    let mut length = 0;
    while length < room.len() {
        match file.read(&mut room[length..])? {
            0 => return Ok(&room[..length]),
            more => length += more,
        }
    }
    Err(io::ErrorKind::Other.into())
}
