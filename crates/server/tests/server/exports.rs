//! Exports of the audit trail: what an auditor needs, proven, and found out
//! where somebody changed it.

use firmseal_api::audit::{AuditQuery, AuditRecord, LogEntry, LogQuery};
use firmseal_api::encoding::PAGE_MAX;
use firmseal_fleet::audit::AuditAction;
use firmseal_fleet::{Role, Scope};
use firmseal_manifest::{Event, Leaf, ProductId, Purpose};
use firmseal_monitor::audited::Scope as Period;
use firmseal_monitor::{Export, Kind, Trusted};
use firmseal_server::Serves;
use http::StatusCode;

use crate::bench::{Bench, product};
use crate::monitor::trusted;

/// Everything that there is, the last thing too.
async fn export(bench: &Bench) -> Export {
    let auditor = bench.operator(&[Role::Auditor]).await;
    let operator = auditor.operator();
    let all = AuditQuery { limit: Some(PAGE_MAX), ..AuditQuery::default() };
    let mut records = operator.audit(&all).await.unwrap().items;
    records.reverse();
    // The auditor's own token was made just now.
    let newest = records.iter().rfind(|record| record.action != AuditAction::CredentialCreated);
    assert_eq!(newest.map(|record| record.action), Some(AuditAction::ReleaseRetired), "{records:#?}");
    let end = records.iter().filter_map(|record| record.log_index).max().unwrap() + 1;
    let query = LogQuery { from: 0, size: None, limit: Some(PAGE_MAX) };
    let proven = loop {
        let proven = operator.log_entries(&query).await.unwrap();
        if proven.size >= end {
            break proven;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(proven.retention_days, 3653);
    let scope = Period { from: None, to: None, retention_days: 3653, first: 0, end };
    let checkpoint = proven.checkpoint.unwrap().into_bytes();
    Export { scope, checkpoint, records, entries: proven.entries, decisions: Default::default() }
}

fn kinds(export: &Export, trusted: &Trusted) -> Vec<Kind> {
    let mut kinds: Vec<_> =
        firmseal_monitor::audit(export, trusted, &[], 0).findings.iter().map(|found| found.kind).collect();
    kinds.dedup();
    kinds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_holds_by_itself_and_shows_what_was_changed() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let release = bench.release(&admin, "gateway", "1.0.0", &[7; 5000]).await;
    bench.release(&admin, "gateway", "1.1.0", &[8; 5000]).await;
    admin.operator().withdraw_release(release.id).await.unwrap();
    let whole = export(&bench).await;
    let trusted = trusted(&bench);
    let audited = firmseal_monitor::audit(&whole, &trusted, &[], 0);
    assert_eq!((&audited.findings[..], &audited.open[..]), (&[][..], &[][..]), "{audited:?}");
    assert_eq!(audited.actions["release-signed"], 2);
    assert!(audited.entries.1 <= audited.size);

    let altered = |change: &dyn Fn(&mut Export)| {
        let mut export = whole.clone();
        change(&mut export);
        kinds(&export, &trusted)
    };
    let mine = |export: &Export| {
        export.records.iter().position(|record| record.action == AuditAction::ReleaseSigned).unwrap()
    };
    // A record is left out, or says something else.
    let gone = altered(&|export| {
        let at = mine(export);
        export.records.remove(at);
    });
    assert!(gone.contains(&Kind::Unrecorded), "{gone:?}");
    let other = altered(&|export| {
        let at = mine(export);
        export.records[at].digest = Some(release.components[0].artifact);
    });
    assert_eq!(other, [Kind::Contradicted]);
    // A token that allows more than the log says, is somebody else's, or was
    // made by somebody else.
    type Change = fn(&mut AuditRecord);
    let changes: [Change; 4] = [
        |made| made.credential.as_mut().unwrap().roles = [Role::Auditor].into(),
        |made| made.credential.as_mut().unwrap().holder = "mallory".to_owned(),
        |made| made.credential.as_mut().unwrap().products = ["gateway".parse().unwrap()].into(),
        |made| made.by = Some("mallory".to_owned()),
    ];
    for change in changes {
        let bolder = altered(&|export| {
            let made = |record: &&mut AuditRecord| record.action == AuditAction::CredentialCreated;
            change(export.records.iter_mut().find(made).unwrap());
        });
        assert_eq!(bolder, [Kind::Contradicted]);
    }
    let elsewhere = altered(&|export| {
        let at = mine(export);
        export.records[at].log_index = Some(export.scope.end + 70);
    });
    assert!(elsewhere.contains(&Kind::Unlogged), "{elsewhere:?}");
    let nowhere = altered(&|export| {
        let at = mine(export);
        export.records[at].log_index = None;
    });
    assert!(nowhere.contains(&Kind::Unlogged), "{nowhere:?}");
    // An entry is left out, is another one, or is moved; the period claims
    // more than it has.
    let fewer = altered(&|export| {
        export.entries.remove(1);
    });
    assert!(fewer.contains(&Kind::Incomplete), "{fewer:?}");
    let forged = altered(&|export| export.entries[1].leaf = export.entries[0].leaf.clone());
    assert!(forged.contains(&Kind::Incomplete), "{forged:?}");
    let moved = altered(&|export| export.entries[1].index = 2);
    assert!(moved.contains(&Kind::Incomplete), "{moved:?}");
    let more = altered(&|export| export.scope.end = u64::MAX);
    assert_eq!(more, [Kind::Incomplete]);
    // A key's use that nobody tells of: open first, and a fault where the next
    // export does not end it.
    let mut behind = whole.clone();
    let leaf = |entry: &LogEntry| Leaf::decode(&entry.leaf.0).unwrap();
    let announces =
        |entry: &&LogEntry| leaf(entry).intent().is_some_and(|intent| intent.purpose == Purpose::Release);
    let used = whole.entries.iter().find(announces).unwrap().index;
    let released = |entry: &LogEntry| matches!(leaf(entry), Leaf::Event(Event::Released { intent, .. }) if intent == used);
    let told = whole.entries.iter().find(|entry| released(entry)).unwrap().index;
    behind.scope.end = told;
    behind.entries.retain(|entry| entry.index < told);
    behind.records.retain(|record| record.log_index < Some(told));
    let audited = firmseal_monitor::audit(&behind, &trusted, &[], 0);
    assert!(audited.open.contains(&used) && audited.findings.is_empty(), "{audited:?}");
    let audited = firmseal_monitor::audit(&behind, &trusted, &[used], 0);
    assert_eq!(audited.findings[0].kind, Kind::Unrecorded, "{audited:?}");
    assert!(firmseal_monitor::audit(&whole, &trusted, &[used], 0).findings.is_empty());
    behind.entries.clear();
    behind.scope.end = behind.scope.first;
    let missing = firmseal_monitor::audit(&behind, &trusted, &[used], 0);
    assert!(missing.findings.iter().any(|found| found.kind == Kind::Incomplete), "{missing:?}");
    // A decision that nobody hands out.
    let undecided = altered(&|export| export.records[0].decision = Some(release.components[0].artifact));
    assert!(undecided.contains(&Kind::Unlogged), "{undecided:?}");
    // Another checkpoint, and another log's key.
    let unsigned = altered(&|export| {
        let text = String::from_utf8(export.checkpoint.clone()).unwrap();
        export.checkpoint = text.replacen('\n', "x\n", 1).into_bytes();
    });
    assert_eq!(unsigned, [Kind::BadSignature]);
    let twin = bench.twin().await;
    assert_eq!(kinds(&whole, &crate::monitor::trusted(&twin)), [Kind::BadSignature]);
    let watched = Trusted { quorum: 1, ..trusted };
    assert_eq!(kinds(&whole, &watched), [Kind::NoQuorum]);

    // The log names every product: not for whoever is confined to one.
    let gateway: ProductId = "gateway".parse().unwrap();
    let scope = Scope { products: [gateway].into(), ..Scope::default() };
    let (secret, _) = bench.scoped(&[Role::Auditor], scope).await;
    let confined = bench.builder(Serves::Operator).token(&secret).build().unwrap();
    let refused = confined.operator().log_entries(&LogQuery::default()).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::FORBIDDEN));
    // A file is no decision.
    let auditor = bench.operator(&[Role::Auditor]).await;
    let file = auditor.operator().decision(&release.components[0].artifact).await.unwrap_err();
    assert_eq!(file.status(), Some(StatusCode::NOT_FOUND));
    let beyond = LogQuery { from: 0, size: Some(1 << 40), limit: None };
    let refused = auditor.operator().log_entries(&beyond).await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::BAD_REQUEST));
}
