//! The client of each kind of store, set up from the environment's conventional variables.

use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{BackoffConfig, ClientOptions, HeaderMap, HeaderValue, ObjectStore, RetryConfig};

use crate::error::{Error, Result};
use crate::location::{Location, Scheme};
use crate::remote::said::in_words;
use crate::remote::{hub, profile};

const VARIABLES: &str = "docs/sharing.md lists the variables that are read";

/// A store's builder with what the environment says of it, which goes before what we would have.
macro_rules! from_environment {
    ($builder:ty, $prefix:literal) => {{
        let builder = <$builder>::from_env().with_client_options(options(true)).with_retry(retries());
        let said = std::env::vars().filter(|(name, _)| name.starts_with($prefix));
        said.fold(builder, |builder, (name, value)| match name.to_ascii_lowercase().parse() {
            Ok(key) => builder.with_config(key, value),
            Err(_) => builder,
        })
    }};
}

/// The store of a place, and the key under which its label set lies.
pub(super) fn connect(location: &Location) -> Result<(Box<dyn ObjectStore>, Key)> {
    provide_tls();
    let key = |path: &str| {
        Key::parse(path).map_err(|error| wrong(location, error.to_string(), "write the path without escapes"))
    };
    let failed = |error: object_store::Error| wrong(location, in_words(&error), VARIABLES);
    let (host, path) = (location.host(), location.path());
    Ok(match location.scheme() {
        Scheme::S3 => {
            let mut store = from_environment!(AmazonS3Builder, "AWS_").with_bucket_name(host);
            for (name, value) in profile::settings(location)? {
                let key = name.to_ascii_lowercase().parse().expect("object_store knows these");
                store = store.with_config(key, value);
            }
            // Every such store can delete one object; some cannot delete many.
            let store = store.with_disable_bulk_delete(true).build();
            (Box::new(store.map_err(failed)?), key(path)?)
        }
        Scheme::Gs => {
            let store =
                from_environment!(GoogleCloudStorageBuilder, "GOOGLE_").with_bucket_name(host).build();
            (Box::new(store.map_err(failed)?), key(path)?)
        }
        Scheme::Az => {
            let store = from_environment!(MicrosoftAzureBuilder, "AZURE_").with_container_name(host).build();
            (Box::new(store.map_err(failed)?), key(path)?)
        }
        Scheme::Http | Scheme::Https => {
            let store = web(&location.to_string(), HeaderMap::new());
            (Box::new(store.map_err(failed)?), Key::default())
        }
        Scheme::Hf => (hub_files(location, &hub::files_of(location.path()))?, Key::default()),
        Scheme::File => unreachable!("folders are no remote stores"),
    })
}

/// The same provider for whoever else speaks TLS in this process; who was faster is right.
pub(super) fn provide_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The files below an address of the Hub's.
pub(super) fn hub_files(location: &Location, address: &str) -> Result<Box<dyn ObjectStore>> {
    let mut headers = HeaderMap::new();
    if let Some(token) = hub::token() {
        let header = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut header = header.map_err(|_| {
            wrong(location, "the hub's token has signs that no token has".into(), "check HF_TOKEN")
        })?;
        header.set_sensitive(true);
        headers.insert("authorization", header);
    }
    let store = web(address, headers);
    Ok(Box::new(store.map_err(|error| wrong(location, in_words(&error), VARIABLES))?))
}

fn web(url: &str, headers: HeaderMap) -> object_store::Result<impl ObjectStore + use<>> {
    let options = options(url.starts_with("http://")).with_default_headers(headers);
    HttpBuilder::new().with_url(url).with_client_options(options).with_retry(retries()).build()
}

fn wrong(location: &Location, what: String, hint: &str) -> Error {
    Error::Location { place: location.to_string(), what, hint: hint.into() }
}

/// No limit on how long a file may take, as long as it moves.
fn options(allow_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(allow_http)
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(10))
        .with_read_timeout(Duration::from_mins(2))
        .with_user_agent(HeaderValue::from_static(concat!("rslad/", env!("CARGO_PKG_VERSION"))))
}

/// A server that is busy is asked a few times more, over some seconds; one that is away for longer is the user's to
/// judge, who can run the same command again.
fn retries() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 6, retry_timeout: Duration::from_mins(2) }
}
