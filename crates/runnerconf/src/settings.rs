//! Converts a `config.toml` to settings: for `onspot run`, and for a manager that gets one in
//! addition to its own file.

use onspot_settings::{
    JobsIn, Lifecycle, LocalRunner, LocalSettings, ManagedRunner, ManagerSettings, Policy,
};

use crate::ec2_options::Ec2Options;
use crate::model::{Cache, Config, ExecutorKind, Machine, Runner};

/// Why a `config.toml` can't be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// onspot does not have a runner's executor.
    #[error("runner {runner} has the executor {executor}, which onspot does not have")]
    Executor {
        /// The runner.
        runner: String,
        /// Its executor.
        executor: String,
    },
    /// There is no pool of workers for a runner.
    #[error("there is no pool of workers for runner {runner}")]
    Pool {
        /// The runner.
        runner: String,
    },
}

impl Unusable {
    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Executor { .. } => "use docker, shell, docker+machine or docker-autoscaler",
            Self::Pool { .. } => {
                "name it as `onspot.toml` does, or add it there and run `onspot up`"
            }
        }
    }
}

impl Config {
    /// The settings of `onspot run`.
    ///
    /// # Errors
    /// If onspot does not have a runner's executor.
    pub fn local(&self) -> Result<LocalSettings, Unusable> {
        Ok(LocalSettings {
            concurrent: self.concurrent,
            check_interval: ManagerSettings::check_interval(self.check_interval),
            listen_address: self.listen_address,
            runners: self
                .runners
                .iter()
                .map(Runner::local)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The settings of a manager with this file: the pools are from `settings`, everything else
    /// from here.
    ///
    /// # Errors
    /// If onspot does not have a runner's executor, or there is no pool for one.
    pub fn managed(&self, settings: ManagerSettings) -> Result<ManagerSettings, Unusable> {
        let runners = self.runners.iter().map(|runner| {
            runner.jobs()?;
            let managed = settings.runners.iter();
            let mut managed = managed.filter(|managed| managed.runner.name == runner.name());
            let managed = managed.next().ok_or_else(|| Unusable::Pool {
                runner: runner.name().to_owned(),
            })?;
            Ok(ManagedRunner {
                token: runner.token.clone(),
                runner: runner.settings.clone(),
                policy: runner.policy(&managed.policy, self.concurrent),
                pool: managed.pool.clone(),
            })
        });
        Ok(ManagerSettings {
            runners: runners.collect::<Result<_, _>>()?,
            concurrent: self.concurrent,
            check_interval: ManagerSettings::check_interval(self.check_interval),
            listen_address: self.listen_address.or(settings.listen_address),
            ..settings
        })
    }
}

impl Runner {
    fn local(&self) -> Result<LocalRunner, Unusable> {
        let docker = self.docker.as_ref().map(|docker| docker.settings.clone());
        Ok(LocalRunner {
            runner: self.settings.clone(),
            jobs: self.jobs()?,
            docker: docker.unwrap_or_default(),
            cache: self.cache.as_ref().and_then(Cache::place),
        })
    }

    /// How its jobs are run on their host.
    fn jobs(&self) -> Result<JobsIn, Unusable> {
        match &self.executor {
            ExecutorKind::Shell => Ok(JobsIn::Shell),
            ExecutorKind::Docker | ExecutorKind::DockerMachine | ExecutorKind::DockerAutoscaler => {
                Ok(JobsIn::Docker)
            }
            ExecutorKind::Other(executor) => Err(Unusable::Executor {
                runner: self.name().to_owned(),
                executor: executor.clone(),
            }),
        }
    }

    /// The scaling policy of this runner, on the instances described by `stack`.
    pub fn policy(&self, stack: &Policy, concurrent: u32) -> Policy {
        // Without `..`, so that each field comes from the stack or from this file.
        let Policy {
            capacity_per_instance,
            lifecycle,
            on_demand_after,
            boot_limit,
            limit: _,
            idle_count: _,
            idle_count_min: _,
            idle_scale_factor: _,
            idle_time: _,
            max_uses: _,
            max_growth: _,
            periods: _,
        } = *stack;
        let slots = capacity_per_instance.max(1);
        let jobs = match self.settings.limit {
            0 => concurrent,
            limit => limit,
        };
        let base = Policy {
            limit: jobs.div_ceil(slots),
            capacity_per_instance: slots,
            lifecycle,
            on_demand_after,
            boot_limit,
            ..Policy::default()
        };
        match (&self.machine, &self.autoscaler) {
            (Some(machine), _) => machine.policy(&base),
            (None, Some(autoscaler)) => autoscaler.policy(&base),
            (None, None) => base,
        }
    }
}

/// The `MachineOptions` that differ from the workers' pool, each with the value that applies
/// instead: the stack's launch template describes the workers.
pub fn strange_options(
    runner: &Runner,
    managed: &ManagedRunner,
    region: &str,
) -> Vec<(&'static str, String)> {
    let pool = &managed.pool;
    let spot = managed.policy.lifecycle == Lifecycle::Spot;
    let options = runner.machine.as_ref().map(Machine::ec2_options);
    let Some(Ok(options)) = options else {
        return Vec::new();
    };
    let Ec2Options {
        region: wanted_region,
        subnet_id,
        instance_type,
        request_spot,
        spot_price,
        // `lint` warns of these, or `onspot render` writes them for every stack.
        access_key: _,
        secret_key: _,
        session_token: _,
        zone: _,
        vpc_id: _,
        security_groups: _,
        ami: _,
        iam_instance_profile: _,
        private_address_only: _,
        use_private_address: _,
        root_size: _,
        volume_type: _,
        tags: _,
        registry_mirrors: _,
        unused: _,
    } = options;
    let mut strange = Vec::new();
    let mut compare = |name, differs: bool, holds: String| {
        if differs {
            strange.push((name, holds));
        }
    };
    let other_than = |wanted: &Option<String>, holds: &[String]| {
        wanted
            .as_ref()
            .is_some_and(|wanted| !holds.contains(wanted))
    };
    let regions = [region.to_owned()];
    compare(
        "amazonec2-region",
        other_than(&wanted_region, &regions),
        region.to_owned(),
    );
    compare(
        "amazonec2-subnet-id",
        other_than(&subnet_id, &pool.subnets),
        pool.subnets.join(", "),
    );
    compare(
        "amazonec2-instance-type",
        other_than(&instance_type, &pool.instance_types),
        pool.instance_types.join(", "),
    );
    compare(
        "amazonec2-request-spot-instance",
        request_spot != spot,
        spot.to_string(),
    );
    compare(
        "amazonec2-spot-price",
        spot_price != pool.spot_max_price,
        pool.spot_max_price
            .clone()
            .unwrap_or_else(|| "the price on demand".to_owned()),
    );
    strange
}
