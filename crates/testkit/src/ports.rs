//! Ports for programs that are started, stopped and started again.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Below those that the system hands out by itself (ip(7),
/// ip_local_port_range): a program that is killed finds its port free when it
/// comes back.
const FIRST: u16 = 10_000;
const BLOCKS: u16 = 7_000;

/// What this process has taken, until it ends.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// The first of three ports in a row that are free, and that no other test
/// takes as long as this process lives: what is bound later is free to
/// everybody until then.
pub fn free() -> u16 {
    let directory = std::env::temp_dir().join("firmseal-ports");
    fs::create_dir_all(&directory).expect("a directory for taken ports");
    let seed = std::process::id() ^ std::time::UNIX_EPOCH.elapsed().map_or(0, |now| now.subsec_nanos());
    let from = (seed % u32::from(BLOCKS)) as u16;
    for step in 0..BLOCKS {
        let first = FIRST + 3 * ((from + step) % BLOCKS);
        let lock = File::create(directory.join(first.to_string())).expect("a file for a taken port");
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if lock.try_lock().is_ok() && (first..first + 3).all(is_free) {
            TAKEN.lock().expect("nobody panics with it").push(lock);
            return first;
        }
    }
    panic!("no three free ports in a row from {FIRST} on");
}
