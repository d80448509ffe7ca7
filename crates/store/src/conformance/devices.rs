//! Devices: admitted exactly as often as a token allows, revoked for good.

use firmseal_fleet::{Device, DeviceState, EnrolmentToken};
use firmseal_manifest::DeviceId;
use futures_util::future::join_all;

use super::{Engine, conflict, not_found, refused, samples};
use crate::{Allowance, Enrolled, Page, StoreError};

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    a_token_admits_as_often_as_it_says(engine).await;
    a_lost_answer_is_repeated(engine).await;
    tokens_are_refused_for_a_reason(engine).await;
    tokens_are_listed_and_ended(engine).await;
    certificates_lead_to_their_device(engine).await;
    certificates_are_bounded_by_the_day(engine).await;
    devices_are_listed_and_changed(engine).await;
}

async fn a_token_admits_as_often_as_it_says(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    store.insert_product(samples::product("gateway"), &samples::admin()).await.unwrap();
    for uses in [1, 3] {
        let token = samples::token("gateway", uses);
        store.insert_token(token.clone()).await.unwrap();
        let devices: Vec<_> = (0..20).map(|_| samples::device(&token.product)).collect();
        let outcomes = join_all(
            devices.iter().map(|device| store.enrol(&token.hash, device.clone(), samples::ALLOWANCE)),
        )
        .await;
        let admitted: Vec<_> = devices
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| matches!(outcome, Ok(Enrolled::New)))
            .collect();
        assert_eq!(admitted.len(), uses as usize, "{outcomes:?}");
        store = engine.reopen(store).await;
        assert_eq!(store.token(&token.hash).await.unwrap().uses, 0);
        for (device, _) in admitted {
            assert_eq!(store.device(device.id).await.unwrap(), *device);
        }
        conflict(store.enrol(&token.hash, samples::device(&token.product), samples::ALLOWANCE).await);
        // Adding the token again does not fill it up.
        store.insert_token(token.clone()).await.unwrap();
        assert_eq!(store.token(&token.hash).await.unwrap().uses, 0);
    }
    assert_eq!(store.devices(None, Page::first(100)).await.unwrap().len(), 4);
}

async fn a_lost_answer_is_repeated(engine: &dyn Engine) {
    let store = engine.fresh().await;
    store.insert_product(samples::product("gateway"), &samples::admin()).await.unwrap();
    let token = samples::token("gateway", 2);
    store.insert_token(token.clone()).await.unwrap();
    let device = samples::device(&token.product);
    assert_eq!(store.enrol(&token.hash, device.clone(), samples::ALLOWANCE).await.unwrap(), Enrolled::New);
    // The device asks again with the same key; the server made a new id
    // and certificate for what it took for a new device.
    let certificate = samples::certificate(device.certificate.spki);
    let second = Device { id: DeviceId::new(), certificate: certificate.clone(), ..device.clone() };
    let expected = Device { certificate: certificate.clone(), ..device.clone() };
    let outcome = store.enrol(&token.hash, second.clone(), samples::ALLOWANCE).await.unwrap();
    assert_eq!(outcome, Enrolled::Again(Box::new(expected.clone())));
    assert_eq!(store.token(&token.hash).await.unwrap().uses, 1);
    not_found(store.device(second.id).await);
    let found = store.device_of_certificate(&certificate.fingerprint).await.unwrap();
    assert_eq!(found, Some((expected, certificate)));
    // A revoked device does not come back this way, nor through another
    // token.
    let other = samples::token("gateway", 1);
    store.insert_token(other.clone()).await.unwrap();
    conflict(store.enrol(&other.hash, second.clone(), samples::ALLOWANCE).await);
    store.set_device_state(device.id, DeviceState::Revoked).await.unwrap();
    conflict(store.enrol(&token.hash, second, samples::ALLOWANCE).await);
}

async fn tokens_are_refused_for_a_reason(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let token = samples::token("gateway", 1);
    not_found(store.insert_token(token.clone()).await);
    store.insert_product(samples::product("gateway"), &samples::admin()).await.unwrap();
    store.insert_product(samples::product("camera"), &samples::admin()).await.unwrap();
    store.insert_token(token.clone()).await.unwrap();
    conflict(store.insert_token(EnrolmentToken { expires: samples::later(1), ..token.clone() }).await);
    let device = samples::device(&token.product);
    not_found(store.enrol(&samples::digest(), device.clone(), samples::ALLOWANCE).await);
    not_found(store.token(&samples::digest()).await);
    let late = Allowance { now: token.expires, ..samples::ALLOWANCE };
    conflict(store.enrol(&token.hash, device.clone(), late).await);
    conflict(store.enrol(&token.hash, samples::device(&"camera".parse().unwrap()), samples::ALLOWANCE).await);
    assert_eq!(store.token(&token.hash).await.unwrap(), token, "refusals use nothing up");
    store.enrol(&token.hash, device, samples::ALLOWANCE).await.unwrap();
}

async fn certificates_lead_to_their_device(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let device = samples::enrolled(&*store, "gateway").await;
    let other = samples::enrolled(&*store, "gateway").await;
    let first = device.certificate.clone();
    let second = samples::certificate(first.spki);
    let third = samples::certificate(samples::digest());
    for certificate in [&second, &third, &second] {
        store.add_certificate(device.id, certificate.clone(), samples::ALLOWANCE).await.unwrap();
    }
    let fresh = || samples::certificate(samples::digest());
    not_found(store.add_certificate(DeviceId::new(), fresh(), samples::ALLOWANCE).await);
    conflict(store.add_certificate(other.id, samples::certificate(first.spki), samples::ALLOWANCE).await);
    conflict(store.add_certificate(other.id, third.clone(), samples::ALLOWANCE).await);
    store = engine.reopen(store).await;
    let device = Device { certificate: third.clone(), ..device };
    for certificate in [first, second, third] {
        let found = store.device_of_certificate(&certificate.fingerprint).await.unwrap();
        assert_eq!(found, Some((device.clone(), certificate)));
    }
    assert_eq!(store.device_of_certificate(&samples::digest()).await.unwrap(), None);
    store.set_device_state(device.id, DeviceState::Revoked).await.unwrap();
    let found = store.device_of_certificate(&device.certificate.fingerprint).await.unwrap();
    assert_eq!(found.map(|(device, _)| device.state), Some(DeviceState::Revoked));
    conflict(store.add_certificate(device.id, fresh(), samples::ALLOWANCE).await);
}

async fn devices_are_listed_and_changed(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    let one = samples::enrolled(&*store, "gateway").await;
    let two = samples::enrolled(&*store, "gateway").await;
    let three = samples::enrolled(&*store, "camera").await;
    let ids = |devices: Vec<Device>| devices.into_iter().map(|device| device.id).collect::<Vec<_>>();
    assert_eq!(ids(store.devices(None, Page::first(9)).await.unwrap()), [three.id, two.id, one.id]);
    let gateways = store.devices(Some(&one.product), Page::first(1)).await.unwrap();
    assert_eq!(ids(gateways), [two.id]);
    let rest = store.devices(Some(&one.product), Page::after(two.id, 9)).await.unwrap();
    assert_eq!(ids(rest), [one.id]);
    store.set_labels(one.id, [("ring".to_owned(), "canary".to_owned())].into()).await.unwrap();
    store.set_device_state(one.id, DeviceState::Revoked).await.unwrap();
    not_found(store.set_labels(DeviceId::new(), [].into()).await);
    not_found(store.set_device_state(DeviceId::new(), DeviceState::Revoked).await);
    not_found(store.device(DeviceId::new()).await);
    store = engine.reopen(store).await;
    let now = store.device(one.id).await.unwrap();
    assert_eq!(now.state, DeviceState::Revoked);
    assert_eq!(now.labels.get("ring").map(String::as_str), Some("canary"));
    store.set_device_state(one.id, DeviceState::Active).await.unwrap();
    assert_eq!(store.device(one.id).await.unwrap().state, DeviceState::Active);
}

async fn tokens_are_listed_and_ended(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    store.insert_product(samples::product("gateway"), &samples::admin()).await.unwrap();
    let tokens = [1, 2, 3].map(|uses| samples::token("gateway", uses));
    for token in &tokens {
        store.insert_token(token.clone()).await.unwrap();
    }
    let [first, second, third] = tokens;
    assert_eq!(store.tokens(Page::first(2)).await.unwrap(), [third.clone(), second.clone()]);
    assert_eq!(store.tokens(Page::after(second.hash, 9)).await.unwrap(), std::slice::from_ref(&first));
    store.end_token(&first.hash, samples::NOW).await.unwrap();
    store.end_token(&first.hash, samples::later(1)).await.unwrap();
    not_found(store.end_token(&samples::digest(), samples::NOW).await);
    store = engine.reopen(store).await;
    conflict(store.enrol(&first.hash, samples::device(&first.product), samples::ALLOWANCE).await);
    let ended = EnrolmentToken { expires: samples::NOW, ..first.clone() };
    assert_eq!(store.token(&first.hash).await.unwrap(), ended);
    store.enrol(&third.hash, samples::device(&third.product), samples::ALLOWANCE).await.unwrap();
}

async fn certificates_are_bounded_by_the_day(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    store.insert_product(samples::product("gateway"), &samples::admin()).await.unwrap();
    let token = samples::token("gateway", 2);
    store.insert_token(token.clone()).await.unwrap();
    let allowance = |seconds| Allowance { now: samples::later(seconds), most: 3 };
    let device = samples::device(&token.product);
    store.enrol(&token.hash, device.clone(), allowance(0)).await.unwrap();
    let next = || samples::certificate(device.certificate.spki);
    let newest = next();
    for certificate in [next(), newest.clone()] {
        store.add_certificate(device.id, certificate, allowance(1)).await.unwrap();
    }
    store = engine.reopen(store).await;
    refused!(store.add_certificate(device.id, next(), allowance(2)).await, StoreError::Quota { .. });
    // Asking the same again costs nothing, and enrolling again no less.
    store.add_certificate(device.id, newest.clone(), allowance(2)).await.unwrap();
    let again = Device { id: DeviceId::new(), certificate: next(), ..device.clone() };
    refused!(store.enrol(&token.hash, again, allowance(2)).await, StoreError::Quota { .. });
    assert_eq!(store.device(device.id).await.unwrap().certificate, newest, "refusals change nothing");
    // Others are not concerned, and a day later there is more.
    store.enrol(&token.hash, samples::device(&token.product), allowance(2)).await.unwrap();
    store.add_certificate(device.id, next(), allowance(86_400)).await.unwrap();
    refused!(store.add_certificate(device.id, next(), allowance(86_400)).await, StoreError::Quota { .. });
}
