//! The schema: numbered files, each applied once, in a transaction.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use firmseal_store::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{file, sql};

/// Every migration, in order. Files are never changed once released: a
/// store remembers only how many it has.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_foundation.sql"),
    include_str!("../migrations/0002_equipment.sql"),
    include_str!("../migrations/0003_bounds.sql"),
    include_str!("../migrations/0004_trust.sql"),
    include_str!("../migrations/0005_signing_requests.sql"),
    include_str!("../migrations/0006_events.sql"),
    include_str!("../migrations/0007_sboms.sql"),
    include_str!("../migrations/0008_running_manifest.sql"),
    include_str!("../migrations/0009_jobs.sql"),
    include_str!("../migrations/0010_roles.sql"),
    include_str!("../migrations/0011_evidence.sql"),
    include_str!("../migrations/0012_keys.sql"),
    include_str!("../migrations/0013_audit.sql"),
    include_str!("../migrations/0014_job_bounds.sql"),
    include_str!("../migrations/0015_policies.sql"),
    include_str!("../migrations/0016_habits.sql"),
    include_str!("../migrations/0017_decisions.sql"),
    include_str!("../migrations/0018_open_jobs.sql"),
    include_str!("../migrations/0019_circumstances.sql"),
    include_str!("../migrations/0020_used_tokens.sql"),
    include_str!("../migrations/0021_highest_signed.sql"),
    include_str!("../migrations/0022_audited_files.sql"),
];

/// What this program's databases say they are: `FSLS`.
const APPLICATION_ID: i32 = 0x4653_4c53;

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 128;

/// Pages in memory: the upper parts of the indexes of a database with millions
/// of signatures, which each new one goes into at random places. Not more:
/// SQLite looks through all of them at a commit that divided a page.
const CACHE_KIB: u32 = 4 * 1024;

/// Pages of the log, 32 MiB of them, after which the writer itself copies
/// what the checkpoints beside it have left, and begins it anew.
const CHECKPOINT_PAGES: u32 = 8192;

fn failed(error: rusqlite::Error) -> StoreError {
    sql("open the database", &error)
}

/// Opens the database as every connection does.
pub(crate) fn connect(path: &Path) -> Result<Connection, StoreError> {
    // Each connection belongs to one thread, so SQLite's own mutexes would
    // only cost.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Nobody else writes, but a person's backup may read for a moment.
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(failed)?;
    // FULL makes SQLite sync the log at every commit: in WAL mode, NORMAL
    // would lose the last commits to a power cut (pragma.html#pragma_synchronous).
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;",
        )
        .map_err(failed)?;
    connection
        .execute_batch(&format!(
            "PRAGMA cache_size = -{CACHE_KIB}; PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};"
        ))
        .map_err(failed)?;
    // Else statements are planned anew as often as they run, since a value
    // that is bound might make another plan better, by statistics. There are
    // none here.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(failed)?;
    Ok(connection)
}

/// Opens the database for writing and brings its schema up to date.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = connect(path)?;
    migrate(&mut connection, MIGRATIONS)?;
    Ok(connection)
}

/// Refuses a database that a newer program wrote, without opening it: another
/// process has it, perhaps on another machine. What is read is what its header
/// says (SQLite's file format, 1.3: the user version, at 60, big-endian), which
/// may be behind its log and is never ahead.
pub(crate) fn check_version(path: &Path) -> Result<(), StoreError> {
    let mut version = [0; 4];
    File::open(path)
        .and_then(|database| database.read_exact_at(&mut version, 60))
        .map_err(file("read the header of", path))?;
    let (found, known) = (u32::from_be_bytes(version), MIGRATIONS.len() as u32);
    match found > known {
        true => Err(StoreError::Newer { found, known }),
        false => Ok(()),
    }
}

/// Opens the database for reading.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    connection.execute_batch("PRAGMA query_only = ON").map_err(failed)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection, migrations: &[&str]) -> Result<(), StoreError> {
    let pragma = |connection: &Connection, name: &str| -> Result<i32, StoreError> {
        connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).map_err(failed)
    };
    let application = pragma(connection, "application_id")?;
    let found = pragma(connection, "user_version")?;
    if application != APPLICATION_ID && (application != 0 || found != 0) {
        return Err(StoreError::conflict("the database belongs to another program; use another directory"));
    }
    let known = migrations.len() as u32;
    let found = u32::try_from(found).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (migration, version) in migrations.iter().zip(1u32..).skip(found as usize) {
        // A crash before the commit leaves the schema before, after it the
        // schema after: the number is part of the transaction.
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(migration).map_err(failed)?;
        transaction
            .execute_batch(&format!(
                "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};"
            ))
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::devices::{get_device, set_equipment};
    use firmseal_fleet::{CredentialId, Role};

    fn database() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        (dir, path)
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let (_dir, path) = database();
        open_writer(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        let refused = open_writer(&path).unwrap_err();
        assert_eq!(refused, StoreError::Newer { found: 99, known: MIGRATIONS.len() as u32 });
        let connection = connect(&path).unwrap();
        let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, 99);
    }

    #[test]
    fn a_database_of_the_first_version_keeps_its_devices() {
        let (_dir, path) = database();
        let mut old = connect(&path).unwrap();
        migrate(&mut old, &MIGRATIONS[..1]).unwrap();
        let (device, product) = ("dev-0197c0de-0000-7000-8000-000000000001", "gateway");
        old.execute_batch(&format!(
            "INSERT INTO products VALUES (1, '{product}', 'test', 'v', 'c', '[]', 'raw', '[]', 0);
             INSERT INTO tokens VALUES (zeroblob(32), '{product}', '{{}}', 9, 0, 'alice', 0);
             INSERT INTO devices VALUES (1, '{device}', '{product}', 'active', '1.2.3', 7, 2, 'b', 'confirmed',
                                         5, '{{\"site\":\"lab\"}}', zeroblob(32), 0);
             INSERT INTO device_keys VALUES (zeroblob(32), '{device}');
             INSERT INTO certificates VALUES (1, zeroblob(32), '{device}', zeroblob(32), '01', 9);"
        ))
        .unwrap();
        drop(old);
        let connection = open_writer(&path).unwrap();
        let id = device.parse().unwrap();
        let kept = get_device(&connection, id).unwrap();
        assert_eq!((kept.running.unwrap().sequence, kept.labels["site"].as_str()), (7, "lab"));
        assert_eq!(kept.equipment, None, "it has not said yet");
        let equipment = firmseal_store::conformance::samples::equipment(3);
        set_equipment(&connection, id, &equipment).unwrap();
        drop(connection);
        // Opening again has nothing to migrate and changes nothing.
        let connection = open_writer(&path).unwrap();
        assert_eq!(get_device(&connection, id).unwrap().equipment, Some(equipment));
    }

    #[test]
    fn old_credentials_keep_what_they_allowed() {
        let (_dir, path) = database();
        let mut old = connect(&path).unwrap();
        migrate(&mut old, &MIGRATIONS[..8]).unwrap();
        let id = "0197c0de-0000-7000-8000-000000000001";
        old.execute_batch(&format!(
            "INSERT INTO credentials VALUES (1, '{id}', 'alice', 'token', zeroblob(32),
                                             '[\"viewer\",\"engineer\",\"operator\",\"admin\"]', 0, NULL, NULL);"
        ))
        .unwrap();
        drop(old);
        let connection = open_writer(&path).unwrap();
        let kept = crate::operators::find(&connection, CredentialId(id.parse().unwrap())).unwrap().unwrap();
        assert_eq!(kept.roles, Role::ALL.into());
        assert!(kept.team.is_none() && kept.scope.is_open());
    }

    #[test]
    fn events_of_before_are_recorded_without_circumstances() {
        let (_dir, path) = database();
        let mut old = connect(&path).unwrap();
        migrate(&mut old, &MIGRATIONS[..18]).unwrap();
        let event =
            firmseal_manifest::Event::Root { version: 1, document: firmseal_manifest::Digest([7; 32]) };
        old.execute("INSERT INTO events (event, log_index) VALUES (?, 5)", [event.encode()]).unwrap();
        drop(old);
        let connection = open_writer(&path).unwrap();
        let found = crate::audit::unrecorded(&connection, 9).unwrap().happened;
        let expected = firmseal_store::Happened::Event { event, log_index: 5, circumstances: None };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn what_was_signed_before_is_held_against_what_comes() {
        let (_dir, path) = database();
        let mut old = connect(&path).unwrap();
        let own = MIGRATIONS.iter().position(|own| own.contains("CREATE TABLE highest_signed")).unwrap();
        migrate(&mut old, &MIGRATIONS[..own]).unwrap();
        old.execute_batch(
            "INSERT INTO products (n, id, environment, vendor, class, hardware, format, components, created)
             VALUES (1, 'gateway', 'test', 'v', 'c', '[]', 'raw', '[]', 0);",
        )
        .unwrap();
        let sign = |channel: &str, version: &str, epoch: u64| {
            use firmseal_store::conformance::samples;
            let mut job = samples::job("red", "k", firmseal_fleet::Priority::Release);
            job.asked.channel = channel.parse().unwrap();
            (job.asked.version, job.asked.epoch) = (version.parse().unwrap(), epoch);
            let asked = serde_json::to_string(&job.asked).unwrap();
            // One record is damaged.
            let asked = if version == "99.0.0" { &asked[1..] } else { &asked };
            old.execute(
                "INSERT INTO jobs (id, key, fingerprint, product, requester, signing_key, priority, share,
                                   created, deadline, state, asked)
                 VALUES (?1, ?1, zeroblob(32), 'gateway', 'ci', 'k', 1, 'red', 0, 0, 'signed', ?2)",
                [job.id.to_string(), asked.to_owned()],
            )
            .unwrap();
            old.execute(
                "INSERT INTO signatures (request, key_id, tbs, log_index, signature)
                 VALUES (?, zeroblob(32), zeroblob(32), 0, '')",
                [job.id.to_string()],
            )
            .unwrap();
        };
        for (channel, version, epoch) in [
            ("stable", "1.9.0", 7),
            ("stable", "1.10.0-rc.9", 2),
            ("stable", "1.10.0-rc.10+5-a", 3),
            ("stable", "99.0.0", 9),
            ("beta", "2.0.0-rc.1", 1),
            ("beta", "2.0.0", 0),
            ("beta", "1.99.99", 0),
        ] {
            sign(channel, version, epoch);
        }
        drop(old);
        let connection = open_writer(&path).unwrap();
        for (channel, version, epoch) in [("stable", "1.10.0-rc.10+5-a", 7), ("beta", "2.0.0", 1)] {
            let channel = channel.parse().unwrap();
            let found = crate::highest::find(&connection, &"gateway".parse().unwrap(), &channel).unwrap();
            let version = version.parse().unwrap();
            let on_channel = Some(firmseal_store::Mark { version, epoch });
            assert_eq!(found, firmseal_store::Highest { epoch: 7, on_channel });
        }
    }

    #[test]
    fn who_has_a_file_finds_what_was_on_record_before() {
        let (_dir, path) = database();
        let mut old = connect(&path).unwrap();
        let own = MIGRATIONS.iter().position(|own| own.contains("CREATE TABLE audit_artifacts")).unwrap();
        migrate(&mut old, &MIGRATIONS[..own]).unwrap();
        let [digest, handed_in, signed, payload] = ["aa", "bb", "cc", "dd"].map(|byte| byte.repeat(32));
        old.execute_batch(&format!(
            r#"INSERT INTO products (n, id, environment, vendor, class, hardware, format, components, created)
               VALUES (1, 'gateway', 'test', 'v', 'c', '[]', 'raw', '[]', 0);
               INSERT INTO blobs (digest, size, chunks) VALUES (zeroblob(32), 0, zeroblob(0));
               INSERT INTO audit (time, action, request, record) VALUES
                 (1, 'artifact-signed', 'one',
                  '{{"subject":{{"digest":"{handed_in}","build":"job-1","commit":"c0ffee"}}}}'),
                 (2, 'release-signed', 'two', '{{"subject":{{"digest":"{digest}"}}}}'),
                 (3, 'approved', NULL, 'damaged'),
                 (4, 'approved', NULL, '{{"subject":{{}}}}');
               INSERT INTO signatures (request, key_id, tbs, log_index, signature)
               VALUES ('one', zeroblob(32), zeroblob(32), 0, '{{"signed":"{signed}"}}');
               INSERT INTO releases (id, product, channel, version, sequence, epoch, components, manifest, envelope,
                                     state, build, source_commit, request, requester, log_index, created)
               VALUES ('r', 'gateway', 'stable', '1.0.0', 1, 1,
                       '[{{"artifact":"{handed_in}","payload":"{payload}"}}]',
                       zeroblob(32), zeroblob(32), 'verified', '', '', 'two', 'ci', 0, 0);"#
        ))
        .unwrap();
        drop(old);
        let connection = open_writer(&path).unwrap();
        let found: Vec<(String, i64)> = connection
            .prepare("SELECT artifact, number FROM audit_artifacts ORDER BY artifact, number")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let expected = [(digest, 2), (handed_in.clone(), 1), (handed_in, 2), (signed, 1), (payload, 2)];
        assert_eq!(found, expected);
        let of_build = "SELECT number FROM audit WHERE build = 'job-1' AND source_commit = 'c0ffee'";
        assert_eq!(connection.query_row(of_build, [], |row| row.get(0)), Ok(1));
    }

    #[test]
    fn a_failing_migration_changes_nothing() {
        let (_dir, path) = database();
        let mut connection = connect(&path).unwrap();
        let steps = ["CREATE TABLE one (a);", "CREATE TABLE two (a); CREATE TABLE one (a);"];
        migrate(&mut connection, &steps).unwrap_err();
        let tables: Vec<String> = connection
            .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(tables, ["one"], "the first step stands, nothing of the second does");
        migrate(&mut connection, &["CREATE TABLE one (a);", "CREATE TABLE two (a);"]).unwrap();
    }

    #[test]
    fn a_foreign_database_is_refused() {
        let (_dir, path) = database();
        connect(&path).unwrap().execute_batch("PRAGMA application_id = 7").unwrap();
        assert!(matches!(open_writer(&path), Err(StoreError::Conflict { .. })));
        std::fs::write(&path, [0x55; 8192]).unwrap();
        assert!(matches!(open_writer(&path), Err(StoreError::Corrupt { .. })));
    }
}
