//! Starting a real API server on free loopback ports, with certificates made for this run.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::ServerKind;

/// How long a server may take to become ready.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// A server with everything it needs; dropping it ends all its processes and removes its files.
pub struct ServerProcesses {
    pub kubeconfig: String,
    processes: Vec<(String, Child)>,
    /// Removed when dropped, after the processes.
    folder: tempfile::TempDir,
}

impl Drop for ServerProcesses {
    fn drop(&mut self) {
        for (name, process) in self.processes.iter_mut().rev() {
            // Killed, not asked: nothing of theirs is kept, and an orderly end takes seconds.
            if let Err(error) = process.kill().and_then(|()| process.wait()) {
                eprintln!("{name} (pid {}) could not be ended: {error}", process.id());
            }
        }
    }
}

/// A certificate authority and what it signed.
struct Certificates {
    folder: PathBuf,
    authority: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    fn new(folder: PathBuf) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "kubernetes-tests");
        let key = KeyPair::generate().expect("a key");
        let authority = params.self_signed(&key).expect("a certificate").pem();
        fs::write(folder.join("ca.crt"), &authority).expect("a writable folder");
        Self {
            folder,
            authority,
            issuer: Issuer::new(params, key),
        }
    }

    /// Signs a certificate and writes it and its key to `<name>.crt` and `<name>.key`; returns both.
    fn sign(&self, name: &str, user: &str, organization: &str, server: bool) -> (String, String) {
        let names = if server {
            vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
        } else {
            Vec::new()
        };
        let mut params = CertificateParams::new(names).expect("plain names");
        params.distinguished_name.push(DnType::CommonName, user);
        if !organization.is_empty() {
            params
                .distinguished_name
                .push(DnType::OrganizationName, organization);
        }
        let purpose = if server {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        };
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().expect("a key");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate")
            .pem();
        fs::write(self.folder.join(format!("{name}.crt")), &certificate)
            .expect("a writable folder");
        fs::write(self.folder.join(format!("{name}.key")), key.serialize_pem())
            .expect("a writable folder");
        (certificate, key.serialize_pem())
    }

    fn kubeconfig(&self, port: u16, name: &str, user: &str, organization: &str) -> String {
        let (certificate, key) = self.sign(name, user, organization, false);
        let base64 = |text: &str| STANDARD.encode(text);
        format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: tests, cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority-data: {}}}}}]\n\
             users: [{{name: {name}, user: {{client-certificate-data: {}, client-key-data: {}}}}}]\n\
             contexts: [{{name: tests, context: {{cluster: tests, user: {name}}}}}]\ncurrent-context: tests\n",
            base64(&self.authority),
            base64(&certificate),
            base64(&key),
        )
    }
}

impl ServerProcesses {
    pub fn start(assets: &Path, server_kind: ServerKind) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pki = folder.path().join("pki");
        fs::create_dir(&pki).expect("a writable folder");
        let certificates = Certificates::new(pki.clone());
        certificates.sign("server", "kube-apiserver", "", true);
        certificates.sign("proxy", "front-proxy-client", "", false);
        let ports: [u16; 4] = free_ports();
        let [api, etcd, peer, controllers] = ports;
        let kubeconfig = certificates.kubeconfig(api, "admin", "admin", "system:masters");
        let mut running = Self {
            kubeconfig,
            processes: Vec::new(),
            folder,
        };

        running.spawn(
            assets,
            "etcd",
            &etcd_flags(running.folder.path(), etcd, peer),
        );
        let mut flags = common_flags(&pki, api, etcd);
        if server_kind == ServerKind::CrdServer {
            flags.extend(crd_flags(&certificates, &pki));
            running.spawn(assets, "crd-server", &flags);
            running.wait(
                "crd-server",
                api,
                "healthz/poststarthook/crd-informer-synced",
            );
        } else {
            flags.extend(apiserver_flags(&pki));
            running.spawn(assets, "kube-apiserver", &flags);
            running.wait("kube-apiserver", api, "readyz");
            let path = pki.join("controllers.kubeconfig");
            let text =
                certificates.kubeconfig(api, "controllers", "system:kube-controller-manager", "");
            fs::write(&path, text).expect("a writable folder");
            running.spawn(
                assets,
                "kube-controller-manager",
                &controller_flags(assets, &pki, &path, controllers),
            );
        }
        running
    }

    fn spawn(&mut self, assets: &Path, name: &str, flags: &[String]) {
        let log = File::create(self.folder.path().join(format!("{name}.log")))
            .expect("a writable folder");
        let process = Command::new(assets.join(name))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        self.processes.push((name.to_owned(), process));
    }

    /// Waits until a health check says ok; panics with the end of the log if it does not.
    fn wait(&mut self, name: &str, port: u16, check: &str) {
        let url = format!("https://127.0.0.1:{port}/{check}");
        let kubeconfig = self.kubeconfig.clone();
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let ended = self
                .processes
                .iter_mut()
                .any(|(_, process)| matches!(process.try_wait(), Ok(Some(_))));
            // The tests run inside runtimes of their own; this one is left at once.
            let ready = std::thread::scope(|scope| {
                scope
                    .spawn(|| is_ok(&kubeconfig, &url))
                    .join()
                    .unwrap_or(false)
            });
            if ready {
                return;
            }
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.path().join(format!("{name}.log")))
                    .unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(15).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                panic!(
                    "{name} {}:\n{}",
                    if ended { "ended" } else { "is not ready" },
                    tail.join("\n")
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn is_ok(kubeconfig: &str, url: &str) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let client = super::connect(kubeconfig).await;
        let request = http::Request::get(url).body(Vec::new()).expect("a request");
        let asked =
            tokio::time::timeout(Duration::from_secs(2), client.request_text(request)).await;
        matches!(asked, Ok(Ok(text)) if text == "ok")
    })
}

/// Ports that are free at the moment in which this returns.
fn free_ports<const N: usize>() -> [u16; N] {
    let held: Vec<TcpListener> = (0..N)
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    std::array::from_fn(|index| held[index].local_addr().expect("an address").port())
}

fn flags(all: &[String]) -> Vec<String> {
    all.to_vec()
}

fn etcd_flags(folder: &Path, client: u16, peer: u16) -> Vec<String> {
    let data = folder.join("etcd");
    flags(&[
        "--name=tests".into(),
        format!("--data-dir={}", data.display()),
        "--unsafe-no-fsync".into(),
        "--log-level=warn".into(),
        format!("--listen-client-urls=http://127.0.0.1:{client}"),
        format!("--advertise-client-urls=http://127.0.0.1:{client}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
        format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
        format!("--initial-cluster=tests=http://127.0.0.1:{peer}"),
    ])
}

fn common_flags(pki: &Path, api: u16, etcd: u16) -> Vec<String> {
    let file = |name: &str| pki.join(name).display().to_string();
    flags(&[
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={api}"),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--requestheader-client-ca-file={}", file("ca.crt")),
        "--requestheader-allowed-names=front-proxy-client".into(),
        "--requestheader-username-headers=X-Remote-User".into(),
        "--requestheader-group-headers=X-Remote-Group".into(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".into(),
        "--profiling=false".into(),
    ])
}

fn apiserver_flags(pki: &Path) -> Vec<String> {
    let key = KeyPair::generate().expect("a key");
    fs::write(pki.join("sa.key"), key.serialize_pem()).expect("a writable folder");
    fs::write(pki.join("sa.pub"), key.public_key_pem()).expect("a writable folder");
    let file = |name: &str| pki.join(name).display().to_string();
    flags(&[
        "--advertise-address=127.0.0.1".into(),
        "--authorization-mode=RBAC".into(),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--endpoint-reconciler-type=none".into(),
        format!("--proxy-client-cert-file={}", file("proxy.crt")),
        format!("--proxy-client-key-file={}", file("proxy.key")),
    ])
}

fn crd_flags(certificates: &Certificates, pki: &Path) -> Vec<String> {
    // There is no core API to ask: whatever asks it gets no answer.
    let nowhere = pki.join("nowhere.kubeconfig");
    fs::write(
        &nowhere,
        certificates.kubeconfig(1, "nowhere", "nobody", ""),
    )
    .expect("a writable folder");
    let nowhere = nowhere.display();
    flags(&[
        "--authentication-skip-lookup".into(),
        format!("--authentication-kubeconfig={nowhere}"),
        format!("--authorization-kubeconfig={nowhere}"),
        format!("--kubeconfig={nowhere}"),
        "--enable-priority-and-fairness=false".into(),
        "--disable-admission-plugins=NamespaceLifecycle,MutatingAdmissionPolicy,MutatingAdmissionWebhook,ValidatingAdmissionPolicy,ValidatingAdmissionWebhook".into(),
    ])
}

fn controller_flags(assets: &Path, pki: &Path, kubeconfig: &Path, port: u16) -> Vec<String> {
    let file = |name: &str| pki.join(name).display().to_string();
    let mut all = flags(&[
        format!("--kubeconfig={}", kubeconfig.display()),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        "--leader-elect=false".into(),
        "--use-service-account-credentials=true".into(),
        format!("--service-account-private-key-file={}", file("sa.key")),
        format!("--root-ca-file={}", file("ca.crt")),
        "--authentication-skip-lookup".into(),
    ]);
    // Up to 1.23 there is a port without TLS besides, always the same one: a second process on this machine would not start.
    let help = Command::new(assets.join("kube-controller-manager"))
        .arg("--help")
        .output()
        .expect("it can be started");
    if String::from_utf8_lossy(&help.stdout).contains("--port int") {
        all.push("--port=0".into());
    }
    all
}
