//! A writer of deterministic CBOR (RFC 8949 §4.2.1) into memory.
//!
//! Writing to memory cannot fail, so it returns nothing; the caller writes
//! map keys in ascending order of their encodings, and core's strict reader
//! refuses what did not.

/// A growing encoding.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty encoding.
    pub fn new() -> Writer {
        Writer(Vec::new())
    }

    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    fn head(&mut self, major: u8, argument: u64) -> &mut Writer {
        let major = major << 5;
        match argument {
            0..24 => self.0.push(major | argument as u8),
            24..0x100 => self.0.extend([major | 24, argument as u8]),
            0x100..0x1_0000 => {
                self.0.push(major | 25);
                self.0.extend((argument as u16).to_be_bytes());
            }
            0x1_0000..0x1_0000_0000 => {
                self.0.push(major | 26);
                self.0.extend((argument as u32).to_be_bytes());
            }
            _ => {
                self.0.push(major | 27);
                self.0.extend(argument.to_be_bytes());
            }
        }
        self
    }

    /// An unsigned integer.
    pub fn uint(&mut self, value: u64) -> &mut Writer {
        self.head(0, value)
    }

    /// An integer.
    pub fn int(&mut self, value: i64) -> &mut Writer {
        if value < 0 { self.head(1, !value as u64) } else { self.head(0, value as u64) }
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Writer {
        self.head(2, value.len() as u64);
        self.0.extend(value);
        self
    }

    /// The head of a byte string whose content the caller writes elsewhere.
    pub fn bytes_head(&mut self, len: u64) -> &mut Writer {
        self.head(2, len)
    }

    /// A text string.
    pub fn text(&mut self, value: &str) -> &mut Writer {
        self.head(3, value.len() as u64);
        self.0.extend(value.as_bytes());
        self
    }

    /// The head of an array.
    pub fn array(&mut self, items: usize) -> &mut Writer {
        self.head(4, items as u64)
    }

    /// The head of a map.
    pub fn map(&mut self, pairs: usize) -> &mut Writer {
        self.head(5, pairs as u64)
    }

    /// A tag.
    pub fn tag(&mut self, tag: u64) -> &mut Writer {
        self.head(6, tag)
    }

    /// `true` or `false`.
    pub fn bool(&mut self, value: bool) -> &mut Writer {
        self.0.push(if value { 0xf5 } else { 0xf4 });
        self
    }

    /// `null`.
    pub fn null(&mut self) -> &mut Writer {
        self.0.push(0xf6);
        self
    }

    /// Bytes that are encoded already.
    pub fn raw(&mut self, encoded: &[u8]) -> &mut Writer {
        self.0.extend(encoded);
        self
    }
}
