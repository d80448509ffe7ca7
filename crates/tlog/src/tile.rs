//! Tiles: how a tree is cut into files, and what these are called (C2SP
//! tlog-tiles).

use crate::error::Error;
use crate::lines;

/// Levels of the tree in one tile.
pub const HEIGHT: u32 = 8;
/// Hashes in a full tile, and entries in a full bundle.
pub const WIDTH: u64 = 256;
/// Levels of tiles: 8 times 8 cover every tree.
const LEVELS: u8 = 8;

/// A tile's coordinates. With 0 < `width` <= 256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Tile {
    /// Tiles between it and the leaves.
    pub level: u8,
    /// Which of its level, from the left.
    pub index: u64,
    /// Hashes in it.
    pub width: u64,
}

impl Tile {
    /// The tile at these coordinates in a tree of `size` leaves; `None`
    /// where the tree has no such tile.
    pub fn of(size: u64, level: u8, index: u64) -> Option<Tile> {
        if level >= LEVELS {
            return None;
        }
        let nodes = size >> (HEIGHT * u32::from(level));
        let width = nodes.checked_sub(index.checked_mul(WIDTH)?)?.min(WIDTH);
        (width > 0).then_some(Tile { level, index, width })
    }

    /// Whether it will never change.
    pub fn is_full(&self) -> bool {
        self.width == WIDTH
    }

    /// Its path below the log's prefix.
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, self.name())
    }

    /// The path of the entries below it; of a tile of level 0.
    pub fn entries_path(&self) -> String {
        format!("tile/entries/{}", self.name())
    }

    /// The full tile that a partial one becomes.
    pub fn full(&self) -> Tile {
        Tile { width: WIDTH, ..*self }
    }

    fn name(&self) -> String {
        let mut name = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            name = format!("x{:03}/{name}", rest % 1000);
            rest /= 1000;
        }
        match self.is_full() {
            true => name,
            false => format!("{name}.p/{}", self.width),
        }
    }

    /// Reads a path; the flag is set for one of entries.
    pub fn parse(path: &str) -> Result<(Tile, bool), Error> {
        let bad = Error::malformed("tile path");
        let rest = path.strip_prefix("tile/").ok_or(bad("it does not begin with tile/"))?;
        let (level, name) = rest.split_once('/').ok_or(bad("it has no index"))?;
        let (level, entries) = match level {
            "entries" => (0, true),
            level => (
                lines::number(level)
                    .and_then(|level| u8::try_from(level).ok())
                    .filter(|level| *level < LEVELS)
                    .ok_or(bad("its level is not one of a tree"))?,
                false,
            ),
        };
        let (name, width) = match name.split_once(".p/") {
            None => (name, WIDTH),
            Some((name, width)) => {
                let width = lines::number(width).filter(|width| (1..WIDTH).contains(width));
                (name, width.ok_or(bad("its width is not 1 to 255"))?)
            }
        };
        let mut index = 0u64;
        for group in name.split('/') {
            let digits = group.strip_prefix('x').unwrap_or(group);
            if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(bad("its index is not in groups of three digits"));
            }
            let group = digits.bytes().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
            index = index
                .checked_mul(1000)
                .and_then(|index| index.checked_add(group))
                .ok_or(bad("its index is too large"))?;
        }
        let tile = Tile { level, index, width };
        // Where an x stands and where a zero may is said by writing it.
        let written = if entries { tile.entries_path() } else { tile.path() };
        if written == path { Ok((tile, entries)) } else { Err(bad("its index is not spelt as it must be")) }
    }
}

/// The tiles that a tree has after growing from `old` to `new` leaves and
/// had not before: every full tile that was completed, and the partial one
/// at the end of each level that gained a hash.
pub fn written(old: u64, new: u64) -> impl Iterator<Item = Tile> {
    (0..LEVELS).flat_map(move |level| {
        let shift = HEIGHT * u32::from(level);
        let (before, after) = (old >> shift, new >> shift);
        let range = if after > before { before / WIDTH..after.div_ceil(WIDTH) } else { 0..0 };
        range.filter_map(move |index| Tile::of(new, level, index))
    })
}
