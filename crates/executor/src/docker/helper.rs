//! The helper's container: its image, and starting helpers.

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{BuildImageOptionsBuilder, CreateContainerOptionsBuilder};
use futures::StreamExt;
use onspot_gitlab::{Stream, TraceWriter};

use super::auth::Logins;
use super::image::{Asker, reference};
use super::{BUILDS_DIR, Inner, container, host_config};
use crate::error::Error;
use crate::gate::Gate;
use crate::helper::request::Place;
use crate::helper::{HelperAnswer, HelperCall, HelperRequest};
use crate::plan::image::ImagePlan;

/// The helper's image: git, git-lfs and certificate authorities. The `onspot` binary is mounted.
pub const HELPER_IMAGE: &str = concat!("onspot-helper:", env!("CARGO_PKG_VERSION"));

/// The Dockerfile of the image, which is built if it is missing.
pub const HELPER_DOCKERFILE: &str = include_str!("../../../../docker/helper/Dockerfile");

/// The path of the binary in the helper.
const BINARY: &str = "/usr/local/bin/onspot";

/// A running helper.
#[derive(Debug)]
pub(super) struct Helper {
    pub(super) id: String,
}

impl Inner {
    /// Checks, once, that helpers can run here at all, and returns their image.
    pub(super) async fn prove(&self) -> Result<&str, Error> {
        let proven = self.proven.get_or_try_init(|| async {
            let image = tokio::select! {
                image = self.ensure_helper_image() => image?,
                () = self.closed.cancelled() => return Err(Error::Closed),
            };
            let helper = self.start_helper(&image, None).await?;
            let said_hello = self.say_hello(&helper).await;
            container::remove(&self.docker, &helper.id).await;
            said_hello.map(|()| image)
        });
        proven.await.map(String::as_str)
    }

    async fn say_hello(&self, helper: &Helper) -> Result<(), Error> {
        let call = HelperCall {
            place: Place {
                builds: BUILDS_DIR.into(),
                project: "hello".into(),
                world_writable: false,
            },
            request: HelperRequest::Hello,
        };
        let mut output = Vec::new();
        let say = |text: &[u8]| output.extend_from_slice(text);
        let executed = self.exec_helper(&helper.id, &call, &[], None, say);
        let executed = executed.await?;
        if executed.exit_code == 0 {
            return Ok(());
        }
        output.extend_from_slice(&executed.output);
        let output = String::from_utf8_lossy(&output).trim().replace('\n', " ");
        Err(Error::HelperBinary { output })
    }

    pub(super) async fn new_helper(&self, slot: usize) -> Result<Helper, Error> {
        let image = self.prove().await?;
        self.start_helper(image, Some(slot)).await
    }

    /// Starts a helper, for a slot or only as a check.
    async fn start_helper(&self, image: &str, slot: Option<usize>) -> Result<Helper, Error> {
        let settings = &self.settings;
        let binary = std::path::absolute(&settings.helper_binary)
            .map_err(Error::io("find the onspot binary"))?;
        let mut binds = vec![format!("{}:{BINARY}:ro", binary.display())];
        binds.extend(slot.map(|slot| self.builds_mount(slot)));
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            // Instead of the image's own entrypoint.
            entrypoint: Some(vec!["sleep".into()]),
            cmd: Some(vec!["infinity".into()]),
            labels: Some(self.labels("helper", slot.unwrap_or_default(), None)),
            healthcheck: Some(container::no_health_check()),
            working_dir: Some("/".into()),
            host_config: Some(host_config::of_helper(&settings.docker, slot, binds)),
            ..ContainerCreateBody::default()
        };
        let name = format!("onspot-helper-{}", short_id());
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let created = self.docker.create_container(Some(options), body).await;
        let id = created
            .map_err(Error::docker("create the helper's container"))?
            .id;
        let helper = Helper { id };
        if let Err(error) = self.docker.start_container(&helper.id, None).await {
            container::remove(&self.docker, &helper.id).await;
            return Err(Error::docker("start the helper's container")(error));
        }
        Ok(helper)
    }

    /// Sends a request to a helper; its messages go to the trace.
    pub(super) async fn ask(
        &self,
        helper: &str,
        call: &HelperCall,
        env: &[String],
        gate: &Gate,
        trace: &TraceWriter,
    ) -> Result<HelperAnswer, Error> {
        let output = trace.stream(Stream::OUTPUT);
        let say = |text: &[u8]| output.write(text);
        let executed = self.exec_helper(helper, call, env, Some(gate), say).await?;
        let failed = |exit_code| Error::Helper {
            what: call.request.name().to_owned(),
            exit_code,
        };
        if executed.exit_code != 0 {
            return Err(failed(executed.exit_code));
        }
        serde_json::from_slice(&executed.output).map_err(|_| failed(0))
    }

    pub(super) async fn exec_helper(
        &self,
        helper: &str,
        call: &HelperCall,
        env: &[String],
        gate: Option<&Gate>,
        errors: impl FnMut(&[u8]),
    ) -> Result<container::Executed, Error> {
        let mut line = serde_json::to_vec(call)
            .map_err(|error| Error::Payload(format!("the helper's request: {error}")))?;
        line.push(b'\n');
        let program = container::Program {
            command: &[BINARY, "helper"],
            env,
            input: &line,
            gate,
        };
        container::exec(&self.docker, helper, program, errors).await
    }

    /// Provides the helper's image: the configured one, pulled like jobs' images, or the embedded
    /// one, which is built if it is missing, and only under its own name.
    async fn ensure_helper_image(&self) -> Result<String, Error> {
        if let Some(name) = &self.settings.docker.helper_image {
            return self.configured_helper_image(name).await;
        }
        let image = &self.settings.embedded_helper;
        if self.docker.inspect_image(image).await.is_err() {
            tracing::info!(
                image,
                "building the helper's image: this takes a minute, once"
            );
            build(&self.docker, image).await?;
        }
        Ok(image.clone())
    }

    async fn configured_helper_image(&self, name: &str) -> Result<String, Error> {
        tracing::info!(image = name, "the helper's image is a configured one");
        let own = self.own_logins();
        let logins = Logins::of_runner(&own, |text| tracing::warn!("{text}"));
        let plan = ImagePlan {
            name: name.to_owned(),
            pull: self.settings.docker.pull_policies().to_vec(),
            ..ImagePlan::default()
        };
        let asker = Asker {
            project: None,
            logins: &logins,
        };
        // No job requests it, so there is no trace for messages.
        let nobody =
            TraceWriter::detached(&[]).map_err(|error| Error::Payload(error.to_string()))?;
        let image = self.ensure_image(&plan, &asker, &nobody).await?;
        Ok(reference(&plan, &image))
    }
}

async fn build(docker: &Docker, image: &str) -> Result<(), Error> {
    let failed = |text: String| Error::Image {
        image: image.to_owned(),
        tried: format!("not there; building it: {text}"),
    };
    let context = build_context().map_err(|error| failed(error.to_string()))?;
    let options = BuildImageOptionsBuilder::default()
        .t(image)
        .rm(true)
        .forcerm(true)
        .build();
    let mut build = docker.build_image(options, None, Some(bollard::body_full(context.into())));
    let mut last = String::new();
    while let Some(step) = build.next().await {
        match step {
            Ok(step) => {
                if let Some(error) = step.error_detail.and_then(|detail| detail.message) {
                    return Err(failed(format!("{error}: {last}")));
                }
                if let Some(text) = step.stream.filter(|text| !text.trim().is_empty()) {
                    text.trim().clone_into(&mut last);
                    tracing::debug!(image, "{last}");
                }
            }
            Err(error) => return Err(failed(format!("{error}: {last}"))),
        }
    }
    if docker.inspect_image(image).await.is_ok() {
        Ok(())
    } else {
        Err(failed(last))
    }
}

/// The Dockerfile, and this host's certificate authorities: the build may have to use a proxy that
/// only this host trusts.
fn build_context() -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        tar.append_data(&mut header, name, content)
    };
    add("Dockerfile", HELPER_DOCKERFILE.as_bytes())?;
    let bundle = std::env::var_os("SSL_CERT_FILE")
        .unwrap_or_else(|| "/etc/ssl/certs/ca-certificates.crt".into());
    if let Ok(pem) = std::fs::read(bundle) {
        add("ca-certificates.crt", &pem)?;
    }
    tar.into_inner()
}

/// A random name, long enough to be unique.
pub(super) fn short_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..8].to_owned()
}
