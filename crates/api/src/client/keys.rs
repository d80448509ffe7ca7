//! What operators call about signing keys.

use firmseal_fleet::Time;
use firmseal_manifest::KeyName;
use http::Method;

use super::{ClientError, OperatorClient};
use crate::encoding::Page;
use crate::keys::{ChangeKey, DestroyKey, DisableKey, KeyUsage, SigningKey};

impl OperatorClient<'_> {
    /// Every signing key.
    pub async fn keys(&self) -> Result<Page<SigningKey>, ClientError> {
        self.0.get("/v1/keys").await
    }

    /// One of them, with its uses in a period; in the last week unless told.
    pub async fn key(
        &self,
        name: &KeyName,
        from: Option<Time>,
        until: Option<Time>,
    ) -> Result<KeyUsage, ClientError> {
        let ends = [("from", from), ("until", until)];
        let query = ends.into_iter().filter_map(|(end, time)| Some(format!("{end}={}", time?)));
        let query: Vec<_> = query.collect();
        self.0.get(&format!("/v1/keys/{name}?{}", query.join("&"))).await
    }

    /// Lets a key sign again.
    pub async fn enable_key(&self, name: &KeyName, change: &ChangeKey) -> Result<SigningKey, ClientError> {
        self.0.call(Method::POST, &format!("/v1/keys/{name}/enable"), Some(change)).await
    }

    /// Ends that a key signs.
    pub async fn disable_key(&self, name: &KeyName, change: &DisableKey) -> Result<SigningKey, ClientError> {
        self.0.call(Method::POST, &format!("/v1/keys/{name}/disable"), Some(change)).await
    }

    /// Has the private half of a disabled key destroyed at a day.
    pub async fn destroy_key(&self, name: &KeyName, change: &DestroyKey) -> Result<SigningKey, ClientError> {
        self.0.call(Method::POST, &format!("/v1/keys/{name}/destroy"), Some(change)).await
    }

    /// Cancels that, until the day has come.
    pub async fn keep_key(&self, name: &KeyName, change: &ChangeKey) -> Result<SigningKey, ClientError> {
        self.0.call(Method::POST, &format!("/v1/keys/{name}/keep"), Some(change)).await
    }
}
