//! The executors.

use std::fmt;

use crate::section::Complaint;

/// GitLab Runner's executors.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ExecutorKind {
    /// Containers on this host.
    Docker,
    /// A shell on this host.
    Shell,
    /// Containers on autoscaled instances, as in 2017.
    DockerMachine,
    /// Containers on autoscaled instances, GitLab's successor of `docker+machine`.
    DockerAutoscaler,
    /// An executor of GitLab Runner that onspot does not have.
    Other(String),
}

impl ExecutorKind {
    const OTHERS: [&str; 8] = [
        "kubernetes",
        "instance",
        "custom",
        "ssh",
        "virtualbox",
        "parallels",
        "docker-windows",
        "docker-ssh",
    ];

    /// The name in the file.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Docker => "docker",
            Self::Shell => "shell",
            Self::DockerMachine => "docker+machine",
            Self::DockerAutoscaler => "docker-autoscaler",
            Self::Other(name) => name,
        }
    }

    /// Whether onspot supports it.
    pub fn is_supported(&self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// Whether jobs run on autoscaled instances.
    pub fn autoscales(&self) -> bool {
        matches!(self, Self::DockerMachine | Self::DockerAutoscaler)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Complaint> {
        const OURS: [ExecutorKind; 4] = [
            ExecutorKind::Docker,
            ExecutorKind::Shell,
            ExecutorKind::DockerMachine,
            ExecutorKind::DockerAutoscaler,
        ];
        if let Some(ours) = OURS.into_iter().find(|ours| ours.as_str() == text) {
            return Ok(ours);
        }
        if Self::OTHERS.contains(&text) {
            return Ok(Self::Other(text.to_owned()));
        }
        let names = OURS
            .iter()
            .map(Self::as_str)
            .chain(Self::OTHERS)
            .collect::<Vec<_>>();
        Err(Complaint::none_of(text, &names))
    }
}

impl fmt::Display for ExecutorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
