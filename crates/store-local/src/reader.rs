//! A read connection. Reads that wait at the same time share a transaction.
//!
//! Every commit makes each connection's cached pages old, and every
//! transaction takes and gives up a lock of its own: both are paid once for
//! all that wait. Nobody reads something older by it, since the transaction
//! begins after the last of them was handed in.

use rusqlite::Connection;

use crate::pool::Context;

pub(crate) struct Reader(Connection);

impl Reader {
    pub(crate) fn new(connection: Connection) -> Reader {
        Reader(connection)
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.0
    }

    fn step(&self, statement: &str) -> rusqlite::Result<()> {
        self.0.prepare_cached(statement)?.execute([]).map(drop)
    }
}

impl Context for Reader {
    const TOGETHER: usize = 16;

    fn begin(&mut self) {
        // One that stayed open would show what there was before.
        if !self.0.is_autocommit() {
            let _ = self.step("ROLLBACK");
        }
        // Without a transaction each read has one of its own.
        let _ = self.step("BEGIN");
    }

    fn end(&mut self) {
        // It changed nothing: if it fails, nothing is lost.
        let _ = self.step("COMMIT");
    }
}
