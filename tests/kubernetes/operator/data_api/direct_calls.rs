//! Calls over TLS that do not come from the aggregator: refused, whoever they say they are.

use kube::config::Kubeconfig;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use reqwest::{Certificate, Identity};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::world::{RELEASE_NAMESPACE, ROOT, SERVICE, World};
use telegram_connector_operator::data_api::certificate::API_SERVICE;

/// Asks for everybody's denied messages as a forged admin, showing this certificate; returns status and body.
async fn ask(world: &World, identity: Option<&str>) -> (u16, Value) {
    let api_service = format!("/apis/apiregistration.k8s.io/v1/apiservices/{API_SERVICE}");
    let api_service = world.cluster().get(&api_service).await.expect_status(200);
    let bundle = api_service
        .at("/spec/caBundle")
        .as_str()
        .expect("published");
    let bundle = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, bundle);
    let host = format!("{SERVICE}.{RELEASE_NAMESPACE}.svc");
    let mut client = reqwest::Client::builder()
        .use_rustls_tls()
        .no_proxy()
        .tls_built_in_root_certs(false)
        .add_root_certificate(
            Certificate::from_pem(&bundle.expect("base64")).expect("an authority"),
        )
        .resolve(&host, world.address);
    if let Some(identity) = identity {
        client = client.identity(Identity::from_pem(identity.as_bytes()).expect("an identity"));
    }
    let url = format!(
        "https://{host}:{}{ROOT}/deniedmessages",
        world.address.port()
    );
    let client = client.build().expect("a client").get(url);
    let forged = client
        .header("X-Remote-User", "admin")
        .header("X-Remote-Group", "system:masters");
    let answer = forged
        .send()
        .await
        .expect("the certificate is the Service's");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// Certificate and key of the aggregator's name, by an authority that nobody knows.
fn of_another_authority() -> String {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = Issuer::new(params, KeyPair::generate().expect("a key"));
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params
        .distinguished_name
        .push(DnType::CommonName, "front-proxy-client");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    params
        .signed_by(&key, &issuer)
        .expect("a certificate")
        .pem()
        + &key.serialize_pem()
}

/// Certificate and key of the cluster's admin. On the real servers it is of the aggregator's own authority, and has another name; the embedded
/// control plane has none.
fn of_the_admin(world: &World) -> Option<String> {
    let kubeconfig = Kubeconfig::from_yaml(world.kubeconfig()).expect("our own kubeconfig");
    let user = kubeconfig.auth_infos.into_iter().next()?.auth_info?;
    let decode = |text: &str| {
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text);
        String::from_utf8(bytes.expect("base64")).expect("PEM")
    };
    let key = user.client_key_data?;
    Some(decode(&user.client_certificate_data?) + &decode(key.expose_secret()))
}

pub async fn callers_beside_the_aggregator_are_refused(world: &World) {
    let others = [None, Some(of_another_authority())].into_iter();
    let named = of_the_admin(world);
    assert_eq!(named.is_some(), world.cluster().control_plane.is_none());
    for identity in others.chain(named.map(Some)) {
        let (code, status) = ask(world, identity.as_deref()).await;
        assert_eq!(
            (code, &status["reason"]),
            (401, &"Unauthorized".into()),
            "{status}"
        );
        assert!(status.get("items").is_none(), "{status}");
    }
}
