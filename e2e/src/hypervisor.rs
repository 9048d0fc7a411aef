//! The hypervisor: starts a guest for every instance that EC2 lists as running, and terminates the
//! instance of every guest that has powered off.
//!
//! Like an instance, a guest boots by cloud-init from its own metadata service ([`imds`]), which
//! provides user data, the role's credentials and tags. A test can end an instance as in reality:
//! [`Hypervisor::kill`] without notice, [`Hypervisor::interrupt`] with one.

pub mod ec2;
mod guest;
pub mod imds;

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::Docker;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use ec2::{Ec2, Instance};
use guest::GuestMaker;
use imds::{Documents, Imds, Notice};

use crate::cloud::Credentials;
use crate::{Error, Result, engine};

/// How often EC2 and the engine are polled.
const EVERY: Duration = Duration::from_millis(300);

/// An instance without a profile after this time is assumed to have none.
const PROFILE_PATIENCE: Duration = Duration::from_secs(3);

/// How long a guest may take to shut down when its instance is terminated.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// The hypervisor's settings.
#[derive(Debug)]
pub struct Options {
    /// The world's id.
    pub world: String,
    /// The Docker network of the guests.
    pub network: String,
    /// That network's gateway, where the metadata services listen.
    pub gateway: IpAddr,
    /// The world's AWS region.
    pub region: String,
    /// LocalStack itself, without the proxy.
    pub endpoint: String,
    /// Where the roles' credentials are registered.
    pub credentials: Credentials,
    /// Where the consoles of dead guests are kept, one file per instance.
    pub consoles: PathBuf,
}

/// A guest as seen from outside.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Its instance as launched.
    pub instance: Instance,
    /// Its container's id; empty while it is being created.
    pub container: String,
    /// When its container was started.
    pub started_at: Timestamp,
}

/// The running hypervisor.
#[derive(Debug, Clone)]
pub struct Hypervisor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    docker: Docker,
    options: Options,
    ec2: Ec2,
    maker: GuestMaker,
    guests: Mutex<HashMap<String, Slot>>,
    /// Instances whose guest has ended: it is never started again.
    over: Mutex<HashSet<String>>,
    /// Instances without a profile, and when they were first seen.
    incomplete: Mutex<HashMap<String, Instant>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Slot {
    guest: Guest,
    imds: Option<Imds>,
    ending: bool,
}

impl Hypervisor {
    /// Starts polling.
    pub async fn start(docker: Docker, options: Options) -> Result<Self> {
        std::fs::create_dir_all(&options.consoles).map_err(Error::io(format!(
            "make the folder {}",
            options.consoles.display()
        )))?;
        let maker = GuestMaker::new(docker.clone(), &options.world, &options.network).await?;
        let ec2 = Ec2::connect(&options.endpoint, &options.region);
        let inner = Arc::new(Inner {
            docker,
            options,
            ec2,
            maker,
            guests: Mutex::default(),
            over: Mutex::default(),
            incomplete: Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        inner.tasks.spawn(Arc::clone(&inner).watch());
        Ok(Self(inner))
    }

    /// The hypervisor's view of EC2.
    pub fn ec2(&self) -> &Ec2 {
        &self.0.ec2
    }

    /// The live guests, oldest first.
    pub fn guests(&self) -> Vec<Guest> {
        let guests = self.0.guests.lock();
        let mut live: Vec<Guest> = guests
            .values()
            .filter(|slot| !slot.ending)
            .map(|slot| slot.guest.clone())
            .collect();
        live.sort_by_key(|guest| guest.started_at);
        live
    }

    /// The guests whose instance has the tag `onspot:role` with this value.
    pub fn guests_with_role(&self, role: &str) -> Vec<Guest> {
        let mut guests = self.guests();
        guests.retain(|guest| guest.instance.tag("onspot:role") == role);
        guests
    }

    /// Kills a guest without notice, like a failing machine; EC2 lists it as terminated afterwards.
    pub async fn kill(&self, instance: &str) -> Result<()> {
        let container = self.container(instance)?;
        tracing::info!(instance, "killing a guest without notice");
        engine::kill(&self.0.docker, &container).await?;
        self.0.ec2.terminate(instance).await
    }

    /// Announces a spot interruption now and terminates the instance `after` a while.
    pub fn interrupt(&self, instance: &str, after: Duration) -> Result<()> {
        self.container(instance)?;
        let wait = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
        let notice = Notice {
            at: Timestamp::now() + wait,
        };
        if let Some(imds) = self
            .0
            .guests
            .lock()
            .get(instance)
            .and_then(|slot| slot.imds.as_ref())
        {
            imds.announce(notice);
        }
        tracing::info!(instance, ?after, "announced an interruption");
        let (hypervisor, instance) = (self.clone(), instance.to_owned());
        self.0.tasks.spawn(async move {
            tokio::select! {
                () = hypervisor.0.stop.cancelled() => return,
                () = tokio::time::sleep(after) => {}
            }
            if let Err(error) = hypervisor.0.ec2.terminate(&instance).await {
                tracing::warn!(instance, error = crate::chain(&error), "interruption");
            }
        });
        Ok(())
    }

    /// Runs a program in a guest; returns its exit code and output.
    pub async fn exec(&self, instance: &str, command: &[&str]) -> Result<(i64, String)> {
        engine::exec(&self.0.docker, &self.container(instance)?, command).await
    }

    /// The console of a guest, alive or not.
    pub async fn console(&self, instance: &str) -> String {
        match self.container(instance) {
            Ok(container) => engine::logs(&self.0.docker, &container).await,
            Err(_) => std::fs::read_to_string(self.0.console_file(instance)).unwrap_or_default(),
        }
    }

    /// Starts no more guests from now on.
    pub fn cancel(&self) {
        self.0.stop.cancel();
    }

    /// Stops polling and removes all guests.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        let left: Vec<(String, String)> = self
            .0
            .guests
            .lock()
            .drain()
            .map(|(instance, slot)| (instance, slot.guest.container))
            .collect();
        for (instance, container) in left {
            self.0.keep_console(&instance, &container).await;
            if let Err(error) = engine::remove(&self.0.docker, &container).await {
                tracing::warn!(instance, error = crate::chain(&error), "a guest stays");
            }
        }
    }

    fn container(&self, instance: &str) -> Result<String> {
        self.0
            .guests
            .lock()
            .get(instance)
            .map(|slot| slot.guest.container.clone())
            .filter(|container| !container.is_empty())
            .ok_or_else(|| Error::Other(format!("the instance {instance} has no guest")))
    }
}

impl Inner {
    async fn watch(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.round().await {
                tracing::warn!(
                    error = crate::chain(&error),
                    "the hypervisor's round failed"
                );
            }
        }
    }

    /// Compares EC2, the engine and our own list once; the resulting actions run in the background.
    async fn round(self: &Arc<Self>) -> Result<()> {
        let instances = self.ec2.instances().await?;
        let running = guest::running(&self.docker, &self.options.world).await?;
        for instance in instances.iter().filter(|instance| instance.is_up()) {
            if self.is_complete(instance) && self.reserve(instance) {
                let (inner, instance) = (Arc::clone(self), instance.clone());
                self.tasks.spawn(async move { inner.boot(instance).await });
            }
        }
        let up: HashSet<&str> = instances
            .iter()
            .filter(|instance| instance.is_up())
            .map(|instance| instance.id.as_str())
            .collect();
        for (instance, container) in self.made() {
            let wanted = up.contains(instance.as_str());
            let lives = running.get(&container).copied().unwrap_or(false);
            if (!wanted || !lives) && self.mark_ending(&instance) {
                let inner = Arc::clone(self);
                self.tasks
                    .spawn(async move { inner.end(&instance, &container, wanted).await });
            }
        }
        Ok(())
    }

    /// Whether EC2 lists all properties of a new instance. LocalStack lists an instance a moment
    /// before it has its profile; a guest started in that moment would never get credentials.
    fn is_complete(&self, instance: &Instance) -> bool {
        if instance.profile.is_some() {
            return true;
        }
        let mut incomplete = self.incomplete.lock();
        let since = incomplete
            .entry(instance.id.clone())
            .or_insert_with(Instant::now);
        since.elapsed() > PROFILE_PATIENCE
    }

    /// Reserves a place for a new instance's guest; false if the instance has or had one.
    fn reserve(&self, instance: &Instance) -> bool {
        let mut guests = self.guests.lock();
        if guests.contains_key(&instance.id) || self.over.lock().contains(&instance.id) {
            return false;
        }
        let guest = Guest {
            instance: instance.clone(),
            container: String::new(),
            started_at: Timestamp::now(),
        };
        guests.insert(
            instance.id.clone(),
            Slot {
                guest,
                imds: None,
                ending: false,
            },
        );
        true
    }

    /// The guests that have a container and are not being stopped.
    fn made(&self) -> Vec<(String, String)> {
        self.guests
            .lock()
            .iter()
            .filter(|(_, slot)| !slot.ending && !slot.guest.container.is_empty())
            .map(|(instance, slot)| (instance.clone(), slot.guest.container.clone()))
            .collect()
    }

    fn mark_ending(&self, instance: &str) -> bool {
        let mut guests = self.guests.lock();
        let Some(slot) = guests.get_mut(instance) else {
            return false;
        };
        !std::mem::replace(&mut slot.ending, true)
    }

    async fn boot(&self, instance: Instance) {
        let id = instance.id.clone();
        tracing::info!(
            instance = id,
            role = instance.tag("onspot:role"),
            "a guest boots"
        );
        if let Err(error) = self.try_boot(instance).await {
            tracing::error!(instance = id, error = crate::chain(&error), "no guest");
            self.guests.lock().remove(&id);
            self.over.lock().insert(id.clone());
            if let Err(error) = self.ec2.terminate(&id).await {
                tracing::warn!(instance = id, error = crate::chain(&error), "still running");
            }
        }
    }

    async fn try_boot(&self, instance: Instance) -> Result<()> {
        let id = instance.id.clone();
        let role = match &instance.profile {
            Some(profile) => Some(self.ec2.role(profile).await?),
            None => None,
        };
        let user_data = self.ec2.user_data(&id).await?;
        let imds = Imds::serve(
            self.options.gateway,
            Documents::new(instance, &self.options.region, user_data),
            role,
            self.ec2.clone(),
            self.options.credentials.clone(),
        )
        .await?;
        let container = self.maker.start(&id, imds.address()).await?;
        if let Some(slot) = self.guests.lock().get_mut(&id) {
            slot.guest.container = container;
            slot.guest.started_at = Timestamp::now();
            slot.imds = Some(imds);
        }
        Ok(())
    }

    /// Ends a guest: either EC2 no longer wants it, or it has powered off.
    async fn end(&self, instance: &str, container: &str, wanted: bool) {
        let outcome = async {
            if wanted {
                tracing::info!(instance, "a guest went off: its instance is terminated");
                self.ec2.terminate(instance).await?;
            } else {
                tracing::info!(instance, "an instance is terminated: its guest stops");
                engine::stop(&self.docker, container, SHUTDOWN).await?;
            }
            self.keep_console(instance, container).await;
            engine::remove(&self.docker, container).await
        };
        if let Err(error) = outcome.await {
            tracing::warn!(instance, error = crate::chain(&error), "the end of a guest");
        }
        self.over.lock().insert(instance.to_owned());
        self.guests.lock().remove(instance);
    }

    async fn keep_console(&self, instance: &str, container: &str) {
        if container.is_empty() {
            return;
        }
        let text = engine::logs(&self.docker, container).await;
        if let Err(error) = std::fs::write(self.console_file(instance), text) {
            tracing::warn!(instance, %error, "a guest's console is lost");
        }
    }

    fn console_file(&self, instance: &str) -> PathBuf {
        self.options.consoles.join(format!("{instance}.log"))
    }
}
