//! The client of AWS's SDK, with the SDK's own ideas of retries turned off:
//! what may be asked again only the queue of requests knows, which logs each
//! attempt.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_kms::Client;

use crate::uri::AwsKmsUri;

/// A client for the region of the URI. Where credentials come from is
/// looked up here, and they are renewed when they run out; none is read
/// before the first request.
pub(crate) async fn client(uri: &AwsKmsUri, deadline: Duration) -> Client {
    let timeouts = TimeoutConfig::builder().operation_timeout(deadline).connect_timeout(deadline / 2).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(uri.region.clone()))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts);
    if let Some(profile) = &uri.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &uri.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    Client::new(&loader.load().await)
}
