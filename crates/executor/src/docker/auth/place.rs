//! Which registry, and which path in it, an image or a login is of.

/// Docker's name for its own hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// The place of a login: a registry, or a path in it. An address with a scheme is the old notation
/// of a registry; the path after its host (`/v1/`) is not a path of images.
pub(super) fn place_of_login(address: &str) -> String {
    let (path, with_scheme) = match address.split_once("://") {
        Some((_, rest)) => (rest, true),
        None => (address, false),
    };
    let (host, path) = path.split_once('/').unwrap_or((path, ""));
    let host = registry_name(host);
    let path = without_tag(path.trim_end_matches('/'));
    let is_api = matches!(path, "v1" | "v2");
    if with_scheme || path.is_empty() || is_api {
        host
    } else {
        format!("{host}/{path}")
    }
}

/// An image's registry and path, without its tag or digest.
pub(super) fn place_of_image(image: &str) -> String {
    let name = without_tag(image.split('@').next().unwrap_or_default());
    match name.split_once('/') {
        Some((host, path)) if is_host(host) => format!("{}/{path}", registry_name(host)),
        _ => format!("docker.io/{name}"),
    }
}

/// A colon after the last slash starts a tag, one before it a registry's port.
fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => path,
        _ => name,
    }
}

/// A registry's name; all names of the hub are treated as one.
fn registry_name(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" | "" => "docker.io".into(),
        _ => host,
    }
}

/// Whether the part of an image's name before the first slash is a registry.
fn is_host(text: &str) -> bool {
    text.contains(['.', ':']) || text.eq_ignore_ascii_case("localhost")
}

/// The registry of an image's place.
pub(super) fn registry_of(place: &str) -> &str {
    place.split('/').next().unwrap_or_default()
}

/// The address under which Docker knows a registry.
pub(super) fn server_of(registry: &str) -> String {
    match registry {
        "docker.io" => DOCKER_HUB.to_owned(),
        other => other.to_owned(),
    }
}
