//! A minimal registry: one image, for clients with the password, or for all.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode};
use axum::routing::any;
use base64::Engine;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use super::IMAGE;

const PASSWORD: &str = "open-sesame";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The configuration and the layers of the usual image.
static SAVED: OnceCell<(Value, Vec<Vec<u8>>)> = OnceCell::const_new();

pub(crate) struct Registry {
    /// The image's name, registry and tag included.
    pub(crate) image: String,
    address: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    manifest: Vec<u8>,
    blobs: BTreeMap<String, Vec<u8>>,
    is_private: AtomicBool,
    is_exhausted: AtomicBool,
    manifests_given: AtomicUsize,
}

impl Registry {
    /// Serves its own image: the usual one with a label.
    pub(crate) async fn start(dir: &Path) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let image = format!("{address}/team/private:1");
        let (config, layers) = SAVED.get_or_init(|| async { saved(dir) }).await.clone();
        let (manifest, blobs) = labelled(config, layers, &image);
        let shared = Arc::new(Shared {
            manifest,
            blobs,
            is_private: AtomicBool::new(true),
            is_exhausted: AtomicBool::new(false),
            manifests_given: AtomicUsize::new(0),
        });
        let app = Router::new()
            .fallback(any(answer))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            image,
            address,
            shared,
            task,
        }
    }

    /// A `DOCKER_AUTH_CONFIG` with its login, only for its team's path.
    pub(crate) fn login(&self) -> String {
        let place = format!("{}/team", self.address);
        json!({ "auths": { place: { "username": "ci", "password": PASSWORD } } }).to_string()
    }

    /// The image by its digest.
    pub(crate) fn pinned(&self) -> String {
        let name = self.image.rsplit_once(':').unwrap().0;
        format!("{name}@{}", digest(&self.shared.manifest))
    }

    pub(crate) fn open_to_all(&self) {
        self.shared.is_private.store(false, Ordering::SeqCst);
    }

    /// From now on it answers that a rate limit is exceeded.
    pub(crate) fn exhaust(&self) {
        self.shared.is_exhausted.store(true, Ordering::SeqCst);
    }

    /// How often the manifest was served, which is what hubs count.
    pub(crate) fn pulls(&self) -> usize {
        self.shared.manifests_given.load(Ordering::SeqCst)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
        for image in [&self.image, &self.pinned()] {
            docker(&["rmi", "--force", image]);
        }
    }
}

fn docker(args: &[&str]) -> std::process::Output {
    Command::new("docker").args(args).output().unwrap()
}

fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// Reads the parts of the usual image.
fn saved(dir: &Path) -> (Value, Vec<Vec<u8>>) {
    let file = dir.join("image.tar");
    let output = docker(&["save", "--output", file.to_str().unwrap(), IMAGE]);
    assert!(output.status.success(), "{output:?}");
    let mut files = BTreeMap::new();
    let mut archive = tar::Archive::new(std::fs::File::open(&file).unwrap());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        files.insert(entry.path().unwrap().display().to_string(), content);
    }
    let index: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let part = |path: &Value| files[path.as_str().unwrap()].clone();
    let config = serde_json::from_slice(&part(&index[0]["Config"])).unwrap();
    let layers = index[0]["Layers"].as_array().unwrap();
    (config, layers.iter().map(part).collect())
}

/// Makes a different image of it by adding a label: its manifest and its blobs. Engines recognise
/// images that they have had before from any source.
fn labelled(
    mut config: Value,
    layers: Vec<Vec<u8>>,
    label: &str,
) -> (Vec<u8>, BTreeMap<String, Vec<u8>>) {
    config["config"]["Labels"] = json!({ "image": label });
    let config = serde_json::to_vec(&config).unwrap();
    let described = |kind: &str, content: &[u8]| {
        json!({
            "mediaType": format!("application/vnd.docker.{kind}"),
            "size": content.len(),
            "digest": digest(content),
        })
    };
    let of_layer = |layer: &Vec<u8>| described("image.rootfs.diff.tar.gzip", layer);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described("container.image.v1+json", &config),
        "layers": layers.iter().map(of_layer).collect::<Vec<_>>(),
    });
    let blobs = layers.into_iter().chain([config]);
    let blobs = blobs.map(|blob| (digest(&blob), blob)).collect();
    (serde_json::to_vec(&manifest).unwrap(), blobs)
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let known = base64::engine::general_purpose::STANDARD.encode(format!("ci:{PASSWORD}"));
    let given = request.headers().get("authorization");
    let is_known = given.is_some_and(|given| given == &format!("Basic {known}"));
    let path = request.uri().path();
    let response = Response::builder();
    if shared.is_exhausted.load(Ordering::SeqCst) {
        let body =
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your limit"}]}"#;
        return response
            .status(StatusCode::TOO_MANY_REQUESTS)
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap();
    }
    if shared.is_private.load(Ordering::SeqCst) && !is_known {
        return response
            .status(StatusCode::UNAUTHORIZED)
            .header("www-authenticate", "Basic realm=\"test\"")
            .body(Body::empty())
            .unwrap();
    }
    if path.contains("/manifests/") {
        if request.method() == Method::GET {
            shared.manifests_given.fetch_add(1, Ordering::SeqCst);
        }
        return response
            .header("content-type", MANIFEST)
            .header("docker-content-digest", digest(&shared.manifest))
            .body(Body::from(shared.manifest.clone()))
            .unwrap();
    }
    let blob = path
        .rsplit_once("/blobs/")
        .and_then(|(_, digest)| shared.blobs.get(digest).cloned());
    match blob {
        Some(blob) => response.body(Body::from(blob)).unwrap(),
        None if path == "/v2/" => response.body(Body::from("{}")).unwrap(),
        None => response
            .status(StatusCode::NOT_FOUND)
            .body(Body::empty())
            .unwrap(),
    }
}
