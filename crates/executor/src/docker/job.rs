//! One job in Docker: its helper, its services, its own container.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig};
use futures::future::join_all;
use onspot_gitlab::{TraceWriter, Variable};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::auth::Logins;
use super::helper::Helper;
use super::host_config::Limits;
use super::image::{Asker, reference};
use super::removal::{remove_networks, remove_volumes};
use super::service::Service;
use super::{
    Inner, JOB_LABEL, KIND_LABEL, Owner, RUNNER_LABEL, SLOT_LABEL, archive, container, host_config,
};
use crate::error::Error;
use crate::gate::Gate;
use crate::helper::request::Claim;
use crate::helper::{HelperAnswer, HelperCall, HelperRequest};
use crate::host::Host;
use crate::plan::image::{ImagePlan, of_job, of_services};
use crate::plan::{JobPlan, script};
use crate::run::JobRun;

/// How long to wait for unfinished creations before everything of a job is removed.
const MAKING: Duration = Duration::from_mins(1);
/// How long the helper of an aborted job may take to remove its secrets.
const SECRETS: Duration = Duration::from_secs(5);

/// The parts of a job on the Docker engine.
pub(super) struct DockerJob<'a> {
    pub(super) inner: Arc<Inner>,
    pub(super) run: &'a JobRun,
    pub(super) plan: &'a JobPlan,
    pub(super) helper: Option<Helper>,
    /// The task that takes or starts a helper while the images are pulled.
    taking: Option<JoinHandle<Result<Helper, Error>>>,
    /// The memory limit of each of its containers if the settings have none.
    memory: Option<u64>,
    pub(super) network: Option<String>,
    pub(super) services: Vec<Service>,
    /// What the settings mount, and the volumes of bare paths.
    pub(super) volumes: Vec<String>,
    /// The task that creates the job's container while the sources are fetched.
    creating: Option<JoinHandle<Result<String, Error>>>,
    container: Option<String>,
    /// Running creations on the engine.
    making: TaskTracker,
    /// Whether the slot's folder may hold secrets of this job.
    secrets: AtomicBool,
    /// The gate that every start passes.
    pub(super) gate: Arc<Gate>,
}

impl<'a> DockerJob<'a> {
    pub(super) fn new(inner: Arc<Inner>, run: &'a JobRun, plan: &'a JobPlan) -> Self {
        Self {
            gate: inner.gates.of(run.slot),
            inner,
            run,
            plan,
            helper: None,
            taking: None,
            memory: None,
            network: None,
            services: Vec::new(),
            volumes: Vec::new(),
            creating: None,
            container: None,
            making: TaskTracker::new(),
            secrets: AtomicBool::new(false),
        }
    }

    /// Lets the engine finish creating something, even if the job is stopped meanwhile: only what
    /// exists can be found and removed.
    pub(super) async fn made<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Error> {
        let made = self.making.spawn(work).await;
        made.map_err(|error| Error::io("ask the engine")(std::io::Error::other(error)))
    }

    /// The labels of a part of this job; the runner's own labels may contain variables.
    pub(super) fn labels(&self, kind: &str) -> HashMap<String, String> {
        let own = self
            .inner
            .labels(kind, self.run.slot, Some(self.run.payload.id.0));
        let of_runner = &self.inner.settings.docker.labels;
        let expanded = of_runner
            .iter()
            .map(|(key, value)| (key.clone(), self.plan.variables.expand(value)));
        expanded
            .chain(
                own.into_iter()
                    .filter(|(key, _)| !of_runner.contains_key(key) || is_ours(key)),
            )
            .collect()
    }

    /// The job's variables for a container, where only root on this host can see them.
    pub(super) fn environment(&self, wanted: impl Fn(&Variable) -> bool) -> Vec<String> {
        let variables = &self.plan.variables;
        variables
            .iter()
            .filter(|variable| wanted(variable))
            .filter(|variable| !variable.key.contains(['=', '\0']) && !variable.key.is_empty())
            .filter_map(|variable| {
                let value = variables.reference(&variable.key)?;
                (!value.contains('\0')).then(|| format!("{}={value}", variable.key))
            })
            .collect()
    }

    /// The mounts of the job's container and its services: the slot's folder, the job's own
    /// volumes, and what the settings mount.
    pub(super) fn binds(&self) -> Vec<String> {
        let mut binds = vec![self.inner.builds_mount(self.run.slot)];
        binds.extend(self.volumes.iter().cloned());
        binds
    }

    /// What a container of this job gets of its host.
    pub(super) fn limits(&self, privileged: bool) -> Limits {
        Limits {
            slot: self.run.slot,
            privileged,
            memory: self.memory,
        }
    }

    /// Connects a container to the network of the job, if there is one.
    pub(super) fn in_network(&self, config: HostConfig) -> HostConfig {
        match &self.network {
            Some(network) => HostConfig {
                network_mode: Some(network.clone()),
                ..config
            },
            None => config,
        }
    }

    fn job_container(
        &self,
        plan: &ImagePlan,
        image: Option<&String>,
    ) -> Result<ContainerCreateBody, Error> {
        let settings = &self.inner.settings.docker;
        let limits = self.limits(plan.privileged);
        let init = self.plan.variables.flag("FF_USE_INIT_WITH_DOCKER_EXECUTOR");
        let config = HostConfig {
            init: init.then_some(true),
            ..host_config::of_job(settings, limits, self.binds())?
        };
        Ok(ContainerCreateBody {
            image: image.cloned(),
            hostname: Some(match &settings.hostname {
                Some(name) if !name.is_empty() => name.clone(),
                _ => self.hostname(),
            }),
            entrypoint: (!plan.entrypoint.is_empty()).then(|| plan.entrypoint.clone()),
            cmd: Some(script::detection()),
            env: Some(self.environment(|_| true)),
            labels: Some(self.labels("job")),
            user: Some(plan.user.clone()).filter(|user| !user.is_empty()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            tty: Some(false),
            healthcheck: Some(container::no_health_check()),
            host_config: Some(self.in_network(config)),
            networking_config: self.place_of_job(),
            ..ContainerCreateBody::default()
        })
    }

    fn hostname(&self) -> String {
        let project = self.run.payload.job_info.project_id;
        let runner = self.plan.variables.get("CI_RUNNER_SHORT_TOKEN");
        let runner = runner.unwrap_or_default();
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

    /// Claims the slot's folder for this job.
    async fn claim(&self, trace: &TraceWriter) -> Result<(), Error> {
        let (slot, owner) = (self.run.slot, Owner::of(&self.run.payload));
        // The owner is unset until this is done, so that an interrupted claim is repeated.
        let keep = self.inner.forget_owner(slot) == Some(owner);
        let call = HelperCall {
            place: self.plan.place.clone(),
            request: HelperRequest::Claim(Claim { keep }),
        };
        self.call(&call, trace).await?;
        self.inner.remember_owner(slot, owner);
        self.secrets.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Sends a helper a request of this job.
    pub(super) async fn ask(
        &self,
        helper: &str,
        call: &HelperCall,
        trace: &TraceWriter,
    ) -> Result<HelperAnswer, Error> {
        let proxies = self.plan.proxies().into_iter();
        let env: Vec<String> = proxies
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        self.inner.ask(helper, call, &env, &self.gate, trace).await
    }

    fn helper(&self) -> Result<&Helper, Error> {
        self.helper.as_ref().ok_or_else(|| Error::Helper {
            what: "start".into(),
            exit_code: -1,
        })
    }
}

impl Host for DockerJob<'_> {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn prepare(&mut self, trace: &TraceWriter) -> Result<(), Error> {
        let (job, variables) = (&self.run.payload, &self.plan.variables);
        let settings = &self.inner.settings.docker;
        let image = of_job(job, settings, variables)?;
        let (services, warnings) = of_services(job, settings, variables)?;
        for warning in image.warnings.iter().chain(&warnings) {
            trace.warning(warning);
        }
        trace.info(&format!(
            "Using Docker executor with image {} ...",
            image.name
        ));
        self.tell_of_the_engine(trace);
        let own = self.inner.own_logins();
        let logins = Logins::of(job, variables, &own, |text| trace.warning(text));
        let (inner, slot) = (Arc::clone(&self.inner), self.run.slot);
        let made = async move { inner.take_helper(slot).await };
        let taking = self.inner.making.spawn(made);
        // Stored where the clean-up finds it if this future is dropped early.
        let taking = self.taking.insert(taking);
        let inner = Arc::clone(&self.inner);
        let asker = Asker {
            project: Some(job.job_info.project_id),
            logins: &logins,
        };
        let images = async {
            let mut found = Vec::new();
            for image in services.iter().chain([&image]) {
                let inspected = inner.ensure_image(image, &asker, trace).await?;
                found.push(reference(image, &inspected));
            }
            Ok::<_, Error>(found)
        };
        let (helper, images) = tokio::join!(taking, images);
        self.taking = None;
        self.helper = Some(joined(helper, "start the helper")?);
        let images = images?;
        self.memory = self.inner.default_memory().await;
        // Before anything of the job runs, including its services.
        self.claim(trace).await?;
        self.make_volumes().await?;
        if !services.is_empty() || self.plan.network().is_some() {
            self.make_network().await?;
        }
        for (service, image) in services.iter().zip(&images) {
            self.start_service(service, image, trace).await?;
        }
        self.wait_for_services(trace).await?;
        let body = self.job_container(&image, images.last())?;
        let docker = self.inner.docker.clone();
        self.creating = Some(self.making.spawn(async move {
            let created = container::create(&docker, &image.platform, body).await;
            created.map_err(Error::docker("create the job's container"))
        }));
        Ok(())
    }

    async fn call(&self, call: &HelperCall, trace: &TraceWriter) -> Result<HelperAnswer, Error> {
        let answer = self.ask(&self.helper()?.id, call, trace).await;
        if answer.is_err() && matches!(call.request, HelperRequest::GetSources(_)) {
            // The files that caused the failure must not affect the next job.
            self.inner.forget_owner(self.run.slot);
        }
        let answer = answer?;
        if matches!(call.request, HelperRequest::CleanUp) {
            self.secrets.store(false, Ordering::SeqCst);
        }
        Ok(answer)
    }

    async fn get_ready(&mut self, trace: &TraceWriter) -> Result<(), Error> {
        // Only taken out when it is complete: if this future is dropped earlier, the clean-up still
        // finds it.
        if let Some(creating) = &mut self.creating {
            let created = joined(creating.await, "create the job's container");
            self.creating = None;
            let container = self.container.insert(created?).clone();
            self.give_away(&container, trace).await?;
        }
        // Starts the next job's helper, so that a job right after this one need not wait. The
        // helper is idle until then, and this job cannot reach it.
        self.inner.warm_in_background(self.run.slot);
        Ok(())
    }

    async fn script(&self, script: &str, trace: &TraceWriter) -> Result<i32, Error> {
        let Some(id) = &self.container else {
            return Err(Error::Payload("the job has no container".into()));
        };
        // The second script (`after_script`) finds the container as the first one left it.
        let code = container::run(&self.inner.docker, id, script, &self.gate, trace).await?;
        self.tell_of_the_dead(trace).await;
        Ok(code)
    }

    async fn stop_script(&self) {
        if let Some(id) = &self.container {
            container::stop(&self.inner.docker, id).await;
        }
    }

    async fn end_scripts(&self) -> Result<(), Error> {
        let services = self.services.iter().map(|service| &service.id);
        let all = self.container.iter().chain(services);
        let ended = join_all(all.map(|id| container::end(&self.inner.docker, id))).await;
        self.end_service_logs().await;
        ended.into_iter().collect()
    }

    fn freezes(&self) -> u64 {
        self.gate.closings()
    }

    fn helper_file(&self, name: &str) -> PathBuf {
        Path::new("/tmp/onspot").join(name)
    }

    async fn put_file(&self, from: &Path, at: &Path) -> Result<(), Error> {
        archive::put(&self.inner.docker, &self.helper()?.id, from, at).await
    }

    async fn take_file(&self, from: &Path, to: &Path) -> Result<(), Error> {
        archive::take(&self.inner.docker, &self.helper()?.id, from, to).await
    }

    async fn clean_up(&mut self) {
        self.making.close();
        if timeout(MAKING, self.making.wait()).await.is_err() {
            tracing::warn!("the engine has not answered: something of the job may be left");
        }
        self.give_back_helper();
        self.remove_containers().await;
        if let Some(helper) = self.helper.take()
            && let Some(helper) = self.helper_at_the_end(helper).await
        {
            self.remove_secrets(&helper).await;
            container::remove(&self.inner.docker, &helper.id).await;
        }
        let labels = self.own_labels();
        if !self.volumes.is_empty() {
            remove_volumes(&self.inner.docker, &labels).await;
        }
        if self.network.take().is_some()
            && let Err(error) = remove_networks(&self.inner.docker, &labels).await
        {
            tracing::warn!(%error, "the job's network was not removed");
        }
    }
}

impl DockerJob<'_> {
    /// The labels of exactly this attempt.
    fn own_labels(&self) -> Vec<String> {
        let (runner, slot) = (&self.inner.settings.common.runner.name, self.run.slot);
        vec![
            format!("{RUNNER_LABEL}={runner}"),
            format!("{SLOT_LABEL}={slot}"),
            format!("{JOB_LABEL}={}", self.run.payload.id),
        ]
    }

    /// A helper that is ready too late for this job is removed; it has done nothing.
    fn give_back_helper(&mut self) {
        let Some(taking) = self.taking.take() else {
            return;
        };
        let inner = Arc::clone(&self.inner);
        self.inner.making.spawn(async move {
            if let Ok(Ok(helper)) = taking.await {
                container::remove(&inner.docker, &helper.id).await;
            }
        });
    }

    /// Removes the job's containers: the known ones, and those found by label.
    async fn remove_containers(&self) {
        if let Err(error) = self.end_scripts().await {
            tracing::warn!(%error, "a job's container was not ended");
        }
        let found = match container::labelled(&self.inner.docker, &self.own_labels()).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "the job's containers were not listed");
                return;
            }
        };
        let ids = found.iter().filter_map(|container| container.id.as_deref());
        join_all(ids.map(|id| container::remove(&self.inner.docker, id))).await;
    }

    pub(super) fn has_secrets(&self) -> bool {
        self.secrets.load(Ordering::SeqCst)
    }

    /// Removes the job's secrets if the job did not get that far.
    async fn remove_secrets(&self, helper: &Helper) {
        if !self.has_secrets() {
            return;
        }
        let call = HelperCall {
            place: self.plan.place.clone(),
            request: HelperRequest::CleanUp,
        };
        // Not to the trace, which may belong to another worker by now.
        let removed = self.inner.exec_helper(&helper.id, &call, &[], None, |_| {});
        match timeout(SECRETS, removed).await {
            Ok(Ok(executed)) if executed.exit_code == 0 => {}
            _ => tracing::warn!("a job's secrets stay in its slot's folder until the next job"),
        }
    }
}

/// Whether a label is one by which parts are found.
fn is_ours(label: &str) -> bool {
    [KIND_LABEL, RUNNER_LABEL, SLOT_LABEL, JOB_LABEL].contains(&label)
}

/// The result of a creation task.
fn joined<T>(made: Result<Result<T, Error>, JoinError>, action: &str) -> Result<T, Error> {
    made.unwrap_or_else(|error| Err(Error::io(action)(std::io::Error::other(error))))
}
