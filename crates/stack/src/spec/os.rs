//! The operating systems that instances may have.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::program::GlibcVersion;

/// An operating system that the boot scripts know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Os {
    /// Amazon Linux 2023.
    #[default]
    #[serde(rename = "amazon-linux-2023")]
    AmazonLinux2023,
    /// Debian 12 (bookworm).
    #[serde(rename = "debian-12")]
    Debian12,
    /// Ubuntu 22.04 (jammy).
    #[serde(rename = "ubuntu-22.04")]
    Ubuntu2204,
}

impl Os {
    /// The public SSM parameter that names the newest image for x86_64.
    ///
    /// AWS documents the first ("Reference the latest AMIs using Systems Manager public
    /// parameters"), Debian (wiki.debian.org/Cloud/AmazonEC2Image) and Canonical theirs.
    pub fn image_parameter(self) -> &'static str {
        match self {
            Self::AmazonLinux2023 => {
                "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
            }
            Self::Debian12 => "/aws/service/debian/release/12/latest/amd64",
            Self::Ubuntu2204 => {
                "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"
            }
        }
    }

    /// The C library's version: a program that needs a newer one does not start.
    pub fn glibc(self) -> GlibcVersion {
        match self {
            Self::AmazonLinux2023 => GlibcVersion::new(2, 34),
            Self::Debian12 => GlibcVersion::new(2, 36),
            Self::Ubuntu2204 => GlibcVersion::new(2, 35),
        }
    }

    /// The device name of the root disk in its images.
    pub fn root_device(self) -> &'static str {
        match self {
            Self::AmazonLinux2023 | Self::Debian12 => "/dev/xvda",
            Self::Ubuntu2204 => "/dev/sda1",
        }
    }
}

impl fmt::Display for Os {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AmazonLinux2023 => "Amazon Linux 2023",
            Self::Debian12 => "Debian 12",
            Self::Ubuntu2204 => "Ubuntu 22.04",
        })
    }
}
