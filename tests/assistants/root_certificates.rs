//! Assistants whose certificate a private authority vouches for, as in a cluster or a company.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use telegram_connector_operator::api::connector::{AssistantProtocol, TranscriptionSpec};
use telegram_connector_operator::assistant::AssistantFault;
use telegram_connector_operator::assistant::{
    AddressPolicy, AssistantHttpClient, ExtraRootCertificates, HttpLimits, Recording,
    build_assistant, build_transcriber,
};

use crate::fixtures::{TEXT, ask, ask_expecting_error, question, spec};

/// An authority: its certificate as PEM, and what signs in its name.
fn authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let pem = params.self_signed(&key).expect("a certificate").pem();
    (pem, Issuer::new(params, key))
}

/// A server on loopback with a certificate of that authority; it answers every question, and every recording, with the same words.
async fn server(issuer: &Issuer<'static, KeyPair>) -> String {
    let key = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned()];
    let params = CertificateParams::new(names).expect("an address");
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let address = listener.local_addr().expect("bound");
    let router = axum::Router::new().fallback(|| async { axum::Json(json!({"text": "Hello"})) });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let stream = hyper_util::rt::TokioIo::new(stream);
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(stream, service)
                        .await;
                }
            });
        }
    });
    format!("https://{address}/v1")
}

/// What a connector is built with where this is in `--assistant-ca-file`.
fn trusting(bundle: &str) -> AssistantHttpClient {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, bundle).expect("written");
    let roots = ExtraRootCertificates::read("--assistant-ca-file", &path).expect("a bundle");
    AssistantHttpClient::with_extra_roots(
        &roots,
        HttpLimits::default(),
        AddressPolicy::allowing_loopback(),
    )
    .expect("a client")
}

#[tokio::test]
async fn assistant_with_a_private_authority_needs_the_ca_file() {
    let (pem, issuer) = authority();
    let url = server(&issuer).await;
    let spec = spec(AssistantProtocol::Webhook, &url);
    let with = |http_client: &AssistantHttpClient| {
        build_assistant(&spec, None, http_client).expect("an assistant")
    };

    let stranger =
        AssistantHttpClient::new(HttpLimits::default(), AddressPolicy::allowing_loopback())
            .expect("a client");
    let error = ask_expecting_error(&with(&stranger)).await;
    assert_eq!(error.fault(), AssistantFault::Unreachable);
    assert!(error.detail.contains("--assistant-ca-file"), "{error}");
    // Another authority's word does not help.
    let error = ask_expecting_error(&with(&trusting(&authority().0))).await;
    assert!(error.detail.contains("--assistant-ca-file"), "{error}");

    let bundle = format!("{}{pem}", authority().0);
    let answer = ask(&with(&trusting(&bundle)), question()).await;
    assert_eq!(answer.expect("an answer").text, "Hello");
    assert!(!error.detail.contains(TEXT), "{error}");
}

#[tokio::test]
async fn a_transcription_server_with_a_private_authority_is_heard() {
    let (pem, issuer) = authority();
    let spec = TranscriptionSpec {
        url: server(&issuer).await,
        model: "whisper-1".into(),
        language: None,
        api_key_secret_ref: None,
        timeout_seconds: Some(10),
    };
    let recording = Recording {
        name: "voice.ogg",
        media_type: "audio/ogg",
        bytes: bytes::Bytes::from_static(b"hello"),
    };
    let transcriber = build_transcriber(&spec, None, &trusting(&pem)).expect("a transcriber");
    let words = transcriber.transcribe(&recording, "1").await;
    assert_eq!(words.expect("words"), "Hello");
}
