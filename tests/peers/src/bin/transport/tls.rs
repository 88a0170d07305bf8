//! quinn with rustls on ring, with one cipher at a time.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{cipher_suite, default_provider};
use rustls::quic::Suite;
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::version::TLS13;

use crate::keys::{AnyRawKey, fresh};

/// The cipher of the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cipher {
    ChaCha20,
    Aes128,
}

fn provider(cipher: Cipher) -> Arc<CryptoProvider> {
    let suite = match cipher {
        Cipher::ChaCha20 => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        Cipher::Aes128 => cipher_suite::TLS13_AES_128_GCM_SHA256,
    };
    Arc::new(CryptoProvider { cipher_suites: vec![suite], ..default_provider() })
}

/// Initial packets are AES-128-GCM's whatever comes after (RFC 9001 section 5.2).
fn initial() -> Suite {
    let suite = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().expect("a suite of TLS 1.3");
    suite.quic_suite().expect("a suite of QUIC")
}

/// Proves its key, and asks the client for one.
pub(crate) fn server(cipher: Cipher) -> quinn::Endpoint {
    let provider = provider(cipher);
    let mut tls = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("the suite is TLS 1.3's")
        .with_client_cert_verifier(Arc::new(AnyRawKey(provider.clone())))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(fresh(&provider))));
    tls.max_early_data_size = u32::MAX;
    let crypto = QuicServerConfig::with_initial(Arc::new(tls), initial()).expect("a suite of QUIC");
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    quinn::Endpoint::server(config, loopback()).expect("the loopback is there")
}

/// Dials with a fresh key. `resumes`: takes up earlier sessions, with early data.
pub(crate) fn client(cipher: Cipher, resumes: bool) -> quinn::Endpoint {
    let mut endpoint = quinn::Endpoint::client(loopback()).expect("the loopback is there");
    endpoint.set_default_client_config(client_config(cipher, resumes));
    endpoint
}

pub(crate) fn client_config(cipher: Cipher, resumes: bool) -> quinn::ClientConfig {
    let provider = provider(cipher);
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .expect("the suite is TLS 1.3's")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyRawKey(provider.clone())))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(fresh(&provider))));
    tls.enable_early_data = resumes;
    if !resumes {
        tls.resumption = rustls::client::Resumption::disabled();
    }
    let crypto = QuicClientConfig::with_initial(Arc::new(tls), initial()).expect("a suite of QUIC");
    quinn::ClientConfig::new(Arc::new(crypto))
}

pub(crate) fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}
