//! TLS 1.3 with raw public keys (RFC 7250): both ends show their Ed25519 device key, no more.
//!
//! A device id is a public key, so there is nothing that a certificate could add. The provider is
//! passed explicitly and the process's default never used or set.

use std::sync::Arc;

use dunlin_identity::{DeviceId, DeviceKey};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, sign::any_eddsa_type};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error,
    PeerMisbehaved, ServerConfig, SignatureScheme,
};

/// The application protocol, with its major version.
pub(crate) const ALPN: &[u8] = b"dunlin/blocks/1";

/// What comes before the 32 bytes of an Ed25519 key as SubjectPublicKeyInfo (RFC 8410).
const SPKI_HEAD: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What comes before the 32 bytes of an Ed25519 seed as PKCS #8 (RFC 8410).
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A device's identity for TLS, on both sides.
#[derive(Clone)]
pub(crate) struct Identity {
    provider: Arc<CryptoProvider>,
    key: Arc<CertifiedKey>,
}

impl Identity {
    pub(crate) fn new(key: &DeviceKey) -> Result<Self, Error> {
        let mut provider = default_provider();
        // AES-128-GCM is the fastest where the processor has AES, as nearly all have.
        provider.cipher_suites = vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ];
        let mut pkcs8 = PKCS8_HEAD.to_vec();
        pkcs8.extend_from_slice(key.seed());
        let signing = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8))?;
        let public = CertificateDer::from(spki(&key.device()));
        Ok(Self {
            provider: Arc::new(provider),
            key: Arc::new(CertifiedKey::new(vec![public], signing)),
        })
    }

    /// Returns the configuration for connecting to exactly this device.
    pub(crate) fn client(&self, expected: DeviceId) -> Result<ClientConfig, Error> {
        let verifier = ExpectDevice { expected, keys: KeyVerifier(self.provider.clone()) };
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(
                self.key.clone(),
            )));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Every connection proves its key anew; tickets would only link them.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }

    /// Returns the configuration for being connected to by any device that proves its key.
    pub(crate) fn server(&self) -> Result<ServerConfig, Error> {
        let verifier = AnyDevice(KeyVerifier(self.provider.clone()));
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.key.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

fn spki(device: &DeviceId) -> Vec<u8> {
    let mut der = SPKI_HEAD.to_vec();
    der.extend_from_slice(device.as_bytes());
    der
}

/// Returns the device that a raw public key names; `None` unless it is an Ed25519 key.
pub(crate) fn device_of(key: &CertificateDer<'_>) -> Option<DeviceId> {
    let bytes = key.strip_prefix(&SPKI_HEAD)?.try_into().ok()?;
    Some(DeviceId::from_bytes(bytes))
}

/// Checks the signature over the handshake against the key that was shown.
#[derive(Debug)]
struct KeyVerifier(Arc<CryptoProvider>);

impl KeyVerifier {
    fn verify(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(key.as_ref()),
            signed,
            &self.0.signature_verification_algorithms,
        )
    }
}

/// TLS 1.2 is never offered, so a signature of it is a breach.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
}

#[derive(Debug)]
struct ExpectDevice {
    expected: DeviceId,
    keys: KeyVerifier,
}

impl ServerCertVerifier for ExpectDevice {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if device_of(end_entity) == Some(self.expected) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.keys.verify(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[derive(Debug)]
struct AnyDevice(KeyVerifier);

impl ClientCertVerifier for AnyDevice {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match device_of(end_entity) {
            Some(_) => Ok(ClientCertVerified::assertion()),
            None => Err(CertificateError::BadEncoding.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
