//! One job in Docker: its helper, its services, its own container.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::models::{ContainerCreateBody, HostConfig};
use futures::future::join_all;
use onspot_gitlab::TraceWriter;
use tokio::task::{JoinError, JoinHandle};

use super::auth::Logins;
use super::helper::Helper;
use super::{Inner, archive, container};
use crate::error::ExecutorError;
use crate::helper::request::{Claim, ServiceAddress};
use crate::helper::{HelperAnswer, HelperCall, HelperRequest};
use crate::host::Host;
use crate::plan::image::{ImagePlan, of_job, of_services};
use crate::plan::{JobPlan, script};
use crate::run::JobRun;

/// What exists of a job on the Docker engine.
pub(super) struct DockerJob<'a> {
    pub(super) inner: Arc<Inner>,
    pub(super) run: &'a JobRun,
    pub(super) plan: &'a JobPlan,
    pub(super) helper: Option<Helper>,
    pub(super) network: Option<String>,
    pub(super) services: Vec<String>,
    pub(super) addresses: Vec<ServiceAddress>,
    /// The job's container on its way: made while the sources are fetched.
    creating: Option<JoinHandle<Result<String, ExecutorError>>>,
    container: Option<String>,
}

impl<'a> DockerJob<'a> {
    pub(super) fn new(inner: Arc<Inner>, run: &'a JobRun, plan: &'a JobPlan) -> Self {
        Self {
            inner,
            run,
            plan,
            helper: None,
            network: None,
            services: Vec::new(),
            addresses: Vec::new(),
            creating: None,
            container: None,
        }
    }

    pub(super) fn labels(&self, kind: &str) -> HashMap<String, String> {
        self.inner
            .labels(kind, self.run.slot, Some(self.run.payload.id.0))
    }

    /// The job's variables for a container. Only root on this host sees them there; the job sees
    /// them anyway.
    pub(super) fn environment(&self) -> Vec<String> {
        let variables = &self.plan.variables;
        variables
            .iter()
            .filter(|variable| !variable.key.contains(['=', '\0']) && !variable.key.is_empty())
            .filter_map(|variable| {
                let value = variables.reference(&variable.key)?;
                (!value.contains('\0')).then(|| format!("{}={value}", variable.key))
            })
            .collect()
    }

    pub(super) fn host_config(&self) -> HostConfig {
        let builds = self.inner.builds_mount(self.run.slot);
        let config = container::job_host_config(&self.inner.settings, builds);
        match &self.network {
            Some(network) => HostConfig {
                network_mode: Some(network.clone()),
                ..config
            },
            None => config,
        }
    }

    fn job_container(&self, plan: &ImagePlan) -> ContainerCreateBody {
        let settings = &self.inner.settings;
        let user = Some(plan.user.clone()).filter(|user| !user.is_empty());
        ContainerCreateBody {
            image: Some(plan.name.clone()),
            hostname: Some(self.hostname()),
            entrypoint: (!plan.entrypoint.is_empty()).then(|| plan.entrypoint.clone()),
            cmd: Some(script::detection()),
            env: Some(self.environment()),
            labels: Some(self.labels("job")),
            user: user.or_else(|| settings.user.clone()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            tty: Some(false),
            healthcheck: Some(container::no_health_check()),
            volumes: container::anonymous_volumes(settings),
            host_config: Some(self.host_config()),
            ..ContainerCreateBody::default()
        }
    }

    fn hostname(&self) -> String {
        let project = self.run.payload.job_info.project_id;
        let runner = &self.inner.settings.runner.short_token;
        let name = format!(
            "runner-{runner}-project-{project}-concurrent-{}",
            self.run.slot
        );
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        name.to_ascii_lowercase().replace("--", "-")
    }

    /// Makes the slot's folder this project's own.
    async fn claim(&self, trace: &TraceWriter) -> Result<(), ExecutorError> {
        let (slot, project) = (self.run.slot, self.run.payload.job_info.project_id);
        // Forgotten until it is done: interrupted, it is done anew.
        let keep = self.inner.forget_project(slot) == Some(project);
        let call = HelperCall {
            place: self.plan.place.clone(),
            request: HelperRequest::Claim(Claim { keep }),
        };
        self.call(&call, trace).await?;
        self.inner.remember_project(slot, project);
        Ok(())
    }

    fn helper(&self) -> Result<&Helper, ExecutorError> {
        self.helper.as_ref().ok_or_else(|| ExecutorError::Helper {
            what: "start".into(),
            exit_code: -1,
        })
    }
}

impl Host for DockerJob<'_> {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn prepare(&mut self, trace: &TraceWriter) -> Result<(), ExecutorError> {
        let (job, variables) = (&self.run.payload, &self.plan.variables);
        let settings = &self.inner.settings;
        let image = of_job(job, settings, variables)?;
        let services = of_services(job, settings, variables)?;
        trace.info(&format!(
            "Using Docker executor with image {} ...",
            image.name
        ));
        let of_runner = settings.docker_auth_config.as_deref();
        let logins = Logins::of(job, variables, of_runner, |text| trace.warning(text));
        let inner = Arc::clone(&self.inner);
        let helper = inner.take_helper(self.run.slot);
        let images = async {
            let mut service_images = Vec::new();
            for service in &services {
                service_images.push(inner.ensure_image(service, &logins, trace).await?);
            }
            inner.ensure_image(&image, &logins, trace).await?;
            Ok::<_, ExecutorError>(service_images)
        };
        let (helper, service_images) = tokio::join!(helper, images);
        self.helper = Some(helper?);
        let service_images = service_images?;
        // Before anything of the job runs, its services included.
        self.claim(trace).await?;
        if !services.is_empty() {
            self.make_network().await?;
        }
        for (service, image) in services.iter().zip(&service_images) {
            self.start_service(service, image, trace).await?;
        }
        self.wait_for_services(trace).await?;
        let body = self.job_container(&image);
        let docker = self.inner.docker.clone();
        self.creating = Some(tokio::spawn(async move {
            let created = container::create(&docker, &image.platform, body).await;
            created.map_err(ExecutorError::docker("create the job's container"))
        }));
        Ok(())
    }

    async fn call(
        &self,
        call: &HelperCall,
        trace: &TraceWriter,
    ) -> Result<HelperAnswer, ExecutorError> {
        self.inner.ask(&self.helper()?.id, call, trace).await
    }

    async fn get_ready(&mut self, _trace: &TraceWriter) -> Result<(), ExecutorError> {
        // Taken out only when it is there: dropped before, it is still found by the clean-up.
        if let Some(creating) = &mut self.creating {
            let created = created(creating.await);
            self.creating = None;
            self.container = Some(created?);
        }
        // The next job's helper, so that it need not wait for one when it follows on this one's
        // heels. It does nothing until then, and this job cannot reach it.
        self.inner.warm_in_background(self.run.slot);
        Ok(())
    }

    async fn script(&self, script: &str, trace: &TraceWriter) -> Result<i32, ExecutorError> {
        let Some(id) = &self.container else {
            return Err(ExecutorError::Payload("the job has no container".into()));
        };
        // The second script (after_script) finds the container as the first one left it.
        container::run(&self.inner.docker, id, script, trace).await
    }

    async fn stop_script(&self) {
        if let Some(id) = &self.container {
            container::stop(&self.inner.docker, id).await;
        }
    }

    async fn end_scripts(&self) {
        let all = self.container.iter().chain(&self.services);
        join_all(all.map(|id| container::remove(&self.inner.docker, id))).await;
    }

    fn helper_file(&self, name: &str) -> PathBuf {
        Path::new("/tmp/onspot").join(name)
    }

    async fn put_file(&self, from: &Path, at: &Path) -> Result<(), ExecutorError> {
        archive::put(&self.inner.docker, &self.helper()?.id, from, at).await
    }

    async fn take_file(&self, from: &Path, to: &Path) -> Result<(), ExecutorError> {
        archive::take(&self.inner.docker, &self.helper()?.id, from, to).await
    }

    async fn clean_up(&mut self) {
        if let Some(creating) = self.creating.take() {
            self.container = created(creating.await).ok();
        }
        let helper = async {
            if let Some(helper) = &self.helper {
                container::remove(&self.inner.docker, &helper.id).await;
            }
        };
        tokio::join!(self.end_scripts(), helper);
        if let Some(network) = self.network.take()
            && let Err(error) = self.inner.docker.remove_network(&network).await
        {
            tracing::warn!(network, %error, "the job's network was not removed");
        }
    }
}

/// The container that a task was to make.
fn created(
    made: Result<Result<String, ExecutorError>, JoinError>,
) -> Result<String, ExecutorError> {
    made.unwrap_or_else(|error| {
        let source = std::io::Error::other(error);
        Err(ExecutorError::io("create the job's container")(source))
    })
}
