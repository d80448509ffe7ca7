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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use firmseal_store::StoreError;
    use tokio::task::JoinSet;

    use super::*;
    use crate::pool::Pool;
    use crate::schema;

    fn number(reader: &mut Reader) -> Result<u32, StoreError> {
        Ok(reader.connection().query_row("SELECT n FROM t", [], |row| row.get(0)).unwrap())
    }

    #[tokio::test]
    async fn reads_that_share_a_transaction_see_what_was_there_when_they_were_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let writer = schema::open_writer(&path).unwrap();
        writer.execute_batch("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (0);").unwrap();
        let readers = (0..2).map(|_| Reader::new(schema::open_reader(&path).unwrap())).collect();
        let pool = Pool::start("reader", readers).unwrap();
        for n in 1..100u32 {
            writer.execute("UPDATE t SET n = ?", [n]).unwrap();
            let mut reading = JoinSet::new();
            for _ in 0..40 {
                let handle = pool.handle().clone();
                reading.spawn(async move { handle.run("read", number).await.unwrap() });
            }
            assert!(reading.join_all().await.into_iter().all(|seen| seen == n));
        }
    }

    #[tokio::test]
    async fn a_read_that_failed_does_not_keep_the_next_from_what_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let writer = schema::open_writer(&path).unwrap();
        writer.execute_batch("CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (0);").unwrap();
        let pool = Pool::start("reader", vec![Reader::new(schema::open_reader(&path).unwrap())]).unwrap();
        let leave_open = |reader: &mut Reader| {
            // Whatever a read leaves behind: here a transaction within its own.
            reader.connection().execute_batch("COMMIT; BEGIN; SELECT * FROM nowhere").unwrap_err();
            number(reader)
        };
        assert_eq!(pool.handle().run("read", leave_open).await.unwrap(), 0);
        writer.execute("UPDATE t SET n = 1", []).unwrap();
        assert_eq!(pool.handle().run("read", number).await.unwrap(), 1);
    }
}
