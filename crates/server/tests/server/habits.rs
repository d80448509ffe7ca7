//! Uses of a key that depart from the usual, as whoever watches numbers and
//! whoever reads records sees them.

use std::time::Duration;

use firmseal_api::audit::AuditQuery;
use firmseal_api::signatures::{CreateSignature, SignatureState};
use firmseal_fleet::audit::AuditAction;

use crate::bench::{Bench, product};
use crate::chain::metrics;
use crate::signatures::{WAIT, wish};

/// Until what was entered into the log is on record.
const RECORDED: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn an_unusual_use_is_counted_once_by_the_way_in_which_it_is() {
    let bench = Bench::start().await;
    let admin = bench.everything().await;
    for name in ["gateway", "camera"] {
        admin.operator().create_product(&product(name)).await.unwrap();
    }
    let sign = async |key: &str, name: &str| {
        let file = bench.upload(&admin, key.as_bytes()).await;
        let wish = CreateSignature { product: name.parse().unwrap(), ..wish(file) };
        let request = admin.operator().create_signature(key, &wish, WAIT).await.unwrap();
        assert_eq!(request.state, SignatureState::Signed, "{request:?}");
        request.id
    };
    // Five days make a habit.
    for day in 0..5 {
        sign(&format!("day {day}"), "gateway").await;
        bench.clock.forward(1);
    }
    sign("day 5", "gateway").await;
    let counted = |count: u32| format!("firmseal_anomalies_total{{deviation=\"product\"}} {count}\n");
    assert!(
        metrics(&admin).await.contains(&counted(0)),
        "it is as it was, and an alert has where to rise from"
    );
    let first = sign("another product", "camera").await;
    let seen = async {
        loop {
            let text = metrics(&admin).await;
            if !text.contains(&counted(0)) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let text = tokio::time::timeout(RECORDED, seen).await.unwrap();
    assert!(text.contains(&counted(1)), "{text}");
    // What was signed once is usual.
    sign("another product, again", "camera").await;
    let query = AuditQuery { action: Some(AuditAction::Anomaly), ..AuditQuery::default() };
    let records = admin.operator().audit(&query).await.unwrap().items;
    assert_eq!(records.iter().map(|record| record.request).collect::<Vec<_>>(), [Some(first)]);
    let text = metrics(&admin).await;
    assert!(text.contains(&counted(1)), "{text}");
}
