//! Lines and numbers of the C2SP texts.

/// Takes one line off the front, without its newline; `None` where no
/// newline follows.
pub(crate) fn take<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (line, after) = rest.split_once('\n')?;
    *rest = after;
    Some(line)
}

/// A decimal number as the specifications write it: digits only, no zero in
/// front of others. At most 2^63 - 1, which every implementation can hold.
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok().filter(|number| *number <= i64::MAX as u64)
}
