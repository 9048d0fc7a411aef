//! The options of docker-machine's EC2 driver in `MachineOptions`.

use crate::error::typo_of;
use onspot_settings::Secret;

/// The instance settings in `MachineOptions`, typed.
///
/// An absent value means the driver's default; [`Ec2Options::to_machine_options`] writes only the
/// values that are set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ec2Options {
    /// `amazonec2-access-key`: an access key's id. Absent means the host's own role.
    pub access_key: Option<String>,
    /// `amazonec2-secret-key`: the access key.
    pub secret_key: Option<Secret>,
    /// `amazonec2-session-token`.
    pub session_token: Option<Secret>,
    /// `amazonec2-region`.
    pub region: Option<String>,
    /// `amazonec2-zone`: the availability zone's last letter.
    pub zone: Option<String>,
    /// `amazonec2-vpc-id`.
    pub vpc_id: Option<String>,
    /// `amazonec2-subnet-id`.
    pub subnet_id: Option<String>,
    /// `amazonec2-security-group`: names, not ids.
    pub security_groups: Vec<String>,
    /// `amazonec2-instance-type`.
    pub instance_type: Option<String>,
    /// `amazonec2-ami`.
    pub ami: Option<String>,
    /// `amazonec2-iam-instance-profile`: the profile's name.
    pub iam_instance_profile: Option<String>,
    /// `amazonec2-private-address-only`: instances get no public address.
    pub private_address_only: bool,
    /// `amazonec2-use-private-address`: instances are reached by their private address.
    pub use_private_address: bool,
    /// `amazonec2-request-spot-instance`.
    pub request_spot: bool,
    /// `amazonec2-spot-price`: the maximum price in dollars an hour; absent means the on-demand
    /// price.
    pub spot_price: Option<String>,
    /// `amazonec2-root-size` in GB.
    pub root_size: Option<u32>,
    /// `amazonec2-volume-type`.
    pub volume_type: Option<String>,
    /// `amazonec2-tags`, in order.
    pub tags: Vec<(String, String)>,
    /// `engine-registry-mirror`.
    pub registry_mirrors: Vec<String>,
    /// Options of docker-machine without effect here, and unknown ones, as written.
    pub unused: Vec<String>,
}

/// The options with a field.
const USED: [&str; 19] = [
    "amazonec2-access-key",
    "amazonec2-ami",
    "amazonec2-iam-instance-profile",
    "amazonec2-instance-type",
    "amazonec2-private-address-only",
    "amazonec2-region",
    "amazonec2-request-spot-instance",
    "amazonec2-root-size",
    "amazonec2-secret-key",
    "amazonec2-security-group",
    "amazonec2-session-token",
    "amazonec2-spot-price",
    "amazonec2-subnet-id",
    "amazonec2-tags",
    "amazonec2-use-private-address",
    "amazonec2-volume-type",
    "amazonec2-vpc-id",
    "amazonec2-zone",
    "engine-registry-mirror",
];

/// Options of docker-machine and its EC2 driver that have no effect here.
const UNUSED: [&str; 30] = [
    "amazonec2-block-duration-minutes",
    "amazonec2-device-name",
    "amazonec2-endpoint",
    "amazonec2-keypair-name",
    "amazonec2-metadata-token",
    "amazonec2-metadata-token-response-hop-limit",
    "amazonec2-open-port",
    "amazonec2-retries",
    "amazonec2-ssh-keypath",
    "amazonec2-ssh-port",
    "amazonec2-ssh-user",
    "engine-env",
    "engine-insecure-registry",
    "engine-install-url",
    "engine-label",
    "engine-opt",
    "engine-storage-driver",
    "swarm-addr",
    "swarm-discovery",
    "swarm-host",
    "swarm-image",
    "swarm-join-opt",
    "swarm-opt",
    "swarm-strategy",
    "tls-san",
    "amazonec2-encrypt-ebs-volume",
    "amazonec2-kms-key",
    "amazonec2-volume-iops",
    "amazonec2-volume-throughput",
    "engine-ipv6-cidr",
];

/// The flags among them, which need no value.
const UNUSED_FLAGS: [&str; 7] = [
    "amazonec2-insecure-transport",
    "amazonec2-monitoring",
    "amazonec2-security-group-readonly",
    "amazonec2-use-ebs-optimized-instance",
    "swarm",
    "swarm-experimental",
    "swarm-master",
];

/// A script for a machine's first boot: either the stack's own boot script would not run, or this
/// one would not.
const USERDATA: &str = "amazonec2-userdata";

/// Why an option is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} {reason}")]
pub struct OptionError {
    /// The option's name.
    pub option: String,
    /// What is wrong with its value, which is not shown because it may be secret.
    pub reason: &'static str,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Ec2Options {
    /// Parses `name=value` options. A flag without a value is on, as on a command line.
    ///
    /// # Errors
    /// The first option that is misspelt, has an invalid value, or can't be honoured.
    pub fn from_machine_options(
        options: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, OptionError> {
        let mut read = Self::default();
        for option in options {
            read.take(option.as_ref())?;
        }
        Ok(read)
    }

    fn take(&mut self, option: &str) -> Result<(), OptionError> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let wrong = |reason| OptionError {
            option: name.to_owned(),
            reason,
            hint: None,
        };
        let flag = || match value {
            None | Some("true" | "1") => Ok(true),
            Some("" | "false" | "0") => Ok(false),
            Some(_) => Err(wrong("must be true or false")),
        };
        // An empty value counts as unset, as everywhere; a missing equals sign means that the value
        // was forgotten.
        let text = || match value {
            None => Err(OptionError {
                hint: Some(format!("write \"{name}=…\"")),
                ..wrong("has no value")
            }),
            Some(value) => Ok(Some(value.to_owned()).filter(|value| !value.is_empty())),
        };
        match name {
            "amazonec2-access-key" => self.access_key = text()?,
            "amazonec2-secret-key" => self.secret_key = text()?.map(Secret::new),
            "amazonec2-session-token" => self.session_token = text()?.map(Secret::new),
            "amazonec2-region" => self.region = text()?,
            "amazonec2-zone" => self.zone = text()?,
            "amazonec2-vpc-id" => self.vpc_id = text()?,
            "amazonec2-subnet-id" => self.subnet_id = text()?,
            "amazonec2-security-group" => self.security_groups.extend(text()?),
            "amazonec2-instance-type" => self.instance_type = text()?,
            "amazonec2-ami" => self.ami = text()?,
            "amazonec2-iam-instance-profile" => self.iam_instance_profile = text()?,
            "amazonec2-private-address-only" => self.private_address_only = flag()?,
            "amazonec2-use-private-address" => self.use_private_address = flag()?,
            "amazonec2-request-spot-instance" => self.request_spot = flag()?,
            "amazonec2-spot-price" => self.spot_price = price(text()?).map_err(wrong)?,
            "amazonec2-root-size" => {
                let size = text()?.map(|text| text.parse()).transpose();
                self.root_size = size.map_err(|_| wrong("must be a number of GB"))?;
            }
            "amazonec2-volume-type" => self.volume_type = text()?,
            "amazonec2-tags" => self
                .tags
                .extend(pairs(&text()?.unwrap_or_default()).map_err(wrong)?),
            "engine-registry-mirror" => self.registry_mirrors.extend(text()?),
            USERDATA => {
                if text()?.is_some() {
                    return Err(OptionError {
                        hint: Some("put what it does into an image of your own".to_owned()),
                        ..wrong("can't be honoured: workers boot as the stack says")
                    });
                }
            }
            _ => self.keep(option, name, value)?,
        }
        Ok(())
    }

    /// Keeps an option without effect, unless it is probably misspelt.
    fn keep(&mut self, option: &str, name: &str, value: Option<&str>) -> Result<(), OptionError> {
        let wrong = |reason, hint| OptionError {
            option: name.to_owned(),
            reason,
            hint: Some(hint),
        };
        if UNUSED.contains(&name) && value.is_none() {
            return Err(wrong("has no value", format!("write \"{name}=…\"")));
        }
        if !UNUSED.contains(&name) && !UNUSED_FLAGS.contains(&name) {
            let known = || {
                USED.into_iter()
                    .chain(UNUSED)
                    .chain(UNUSED_FLAGS)
                    .chain([USERDATA])
            };
            let whole = format!("amazonec2-{name}");
            let meant = known()
                .find(|known| *known == whole)
                .or_else(|| typo_of(name, known()));
            if let Some(meant) = meant {
                return Err(wrong("is no option", format!("did you mean `{meant}`?")));
            }
        }
        self.unused.push(option.to_owned());
        Ok(())
    }

    /// Writes the options in the order of 2017; parsing them returns the same value. Secrets are
    /// included.
    pub fn to_machine_options(&self) -> Vec<String> {
        let mut options = Vec::new();
        let mut put = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                options.push(format!("{name}={value}"));
            }
        };
        let on = |flag: bool| flag.then_some("true");
        put("amazonec2-access-key", self.access_key.as_deref());
        put(
            "amazonec2-secret-key",
            self.secret_key.as_ref().map(Secret::expose),
        );
        put(
            "amazonec2-session-token",
            self.session_token.as_ref().map(Secret::expose),
        );
        put("amazonec2-instance-type", self.instance_type.as_deref());
        put("amazonec2-region", self.region.as_deref());
        put("amazonec2-zone", self.zone.as_deref());
        put("amazonec2-vpc-id", self.vpc_id.as_deref());
        put("amazonec2-subnet-id", self.subnet_id.as_deref());
        put(
            "amazonec2-private-address-only",
            on(self.private_address_only),
        );
        put(
            "amazonec2-use-private-address",
            on(self.use_private_address),
        );
        put("amazonec2-request-spot-instance", on(self.request_spot));
        // docker-machine bids half a dollar unless the price is empty, which means the on-demand
        // price.
        let price = self
            .spot_price
            .as_deref()
            .or(self.request_spot.then_some(""));
        put("amazonec2-spot-price", price);
        for group in &self.security_groups {
            put("amazonec2-security-group", Some(group));
        }
        put("amazonec2-ami", self.ami.as_deref());
        put(
            "amazonec2-iam-instance-profile",
            self.iam_instance_profile.as_deref(),
        );
        let size = self.root_size.map(|size| size.to_string());
        put("amazonec2-root-size", size.as_deref());
        put("amazonec2-volume-type", self.volume_type.as_deref());
        let tags = self
            .tags
            .iter()
            .map(|(key, value)| format!("{key},{value}"));
        let tags = tags.collect::<Vec<_>>().join(",");
        put(
            "amazonec2-tags",
            Some(tags.as_str()).filter(|tags| !tags.is_empty()),
        );
        for mirror in &self.registry_mirrors {
            put("engine-registry-mirror", Some(mirror));
        }
        options.extend(self.unused.iter().cloned());
        options
    }
}

/// A price in dollars, as written.
fn price(text: Option<String>) -> Result<Option<String>, &'static str> {
    match text {
        Some(text) => match text.parse::<f64>() {
            Ok(price) if price > 0.0 && price.is_finite() => Ok(Some(text)),
            _ => Err("must be a price in dollars an hour"),
        },
        None => Ok(None),
    }
}

/// `key,value,key,value`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let words: Vec<&str> = text.split(',').collect();
    if !words.len().is_multiple_of(2) {
        return Err("must be key,value,key,value and so on");
    }
    let pairs = words
        .chunks_exact(2)
        .map(|pair| (pair[0].to_owned(), pair[1].to_owned()));
    Ok(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_of_2017_are_understood() {
        let options = Ec2Options::from_machine_options([
            "amazonec2-access-key=AKIA",
            "amazonec2-secret-key=abc=def",
            "amazonec2-instance-type=m4.large",
            "amazonec2-region=eu-west-1",
            "amazonec2-vpc-id=vpc-1",
            "amazonec2-subnet-id=subnet-1",
            "amazonec2-private-address-only=true",
            "amazonec2-request-spot-instance=true",
            "amazonec2-spot-price=0.15",
            "amazonec2-security-group=runners",
        ])
        .unwrap();
        assert_eq!(options.region.as_deref(), Some("eu-west-1"));
        assert_eq!(options.secret_key.as_ref().unwrap().expose(), "abc=def");
        assert_eq!(options.spot_price.as_deref(), Some("0.15"));
        assert_eq!(options.security_groups, ["runners"]);
        assert!(options.private_address_only && options.request_spot);
        assert!(options.unused.is_empty());
        assert!(!format!("{options:?}").contains("abc=def"));
    }

    #[test]
    fn an_empty_price_means_the_on_demand_price_and_stays() {
        let options = Ec2Options::from_machine_options([
            "amazonec2-request-spot-instance",
            "amazonec2-spot-price=",
        ])
        .unwrap();
        assert_eq!(options.spot_price, None);
        assert_eq!(
            options.to_machine_options(),
            [
                "amazonec2-request-spot-instance=true",
                "amazonec2-spot-price="
            ]
        );
    }

    #[test]
    fn values_that_make_no_sense_are_refused_by_name() {
        for (option, name) in [
            ("amazonec2-root-size=big", "amazonec2-root-size"),
            ("amazonec2-spot-price=cheap", "amazonec2-spot-price"),
            (
                "amazonec2-private-address-only=yes",
                "amazonec2-private-address-only",
            ),
            ("amazonec2-tags=a,b,c", "amazonec2-tags"),
        ] {
            let error = Ec2Options::from_machine_options([option]).unwrap_err();
            assert_eq!(error.option, name);
        }
    }

    #[test]
    fn misspelt_options_and_those_without_their_value_are_refused() {
        for (option, error, hint) in [
            (
                "amazonec2-instance-tpye=m5.large",
                "amazonec2-instance-tpye is no option",
                "did you mean `amazonec2-instance-type`?",
            ),
            (
                "amazonec2-region",
                "amazonec2-region has no value",
                "write \"amazonec2-region=…\"",
            ),
            (
                "region=eu-west-1",
                "region is no option",
                "did you mean `amazonec2-region`?",
            ),
            (
                "amazonec2-ssh-user",
                "amazonec2-ssh-user has no value",
                "write \"amazonec2-ssh-user=…\"",
            ),
            (
                "amazonec2-userdata=/etc/boot.sh",
                "amazonec2-userdata can't be honoured: workers boot as the stack says",
                "put what it does into an image of your own",
            ),
        ] {
            let refused = Ec2Options::from_machine_options([option]).unwrap_err();
            assert_eq!(refused.to_string(), error);
            assert_eq!(refused.hint.as_deref(), Some(hint));
        }
    }

    #[test]
    fn an_empty_value_counts_as_unset() {
        let options = Ec2Options::from_machine_options([
            "amazonec2-zone=",
            "amazonec2-private-address-only=",
            "amazonec2-userdata=",
        ]);
        assert_eq!(options.unwrap(), Ec2Options::default());
    }

    #[test]
    fn unused_options_are_kept() {
        let options = Ec2Options::from_machine_options(["amazonec2-ssh-user=core"]).unwrap();
        assert_eq!(options.unused, ["amazonec2-ssh-user=core"]);
        assert_eq!(options.to_machine_options(), ["amazonec2-ssh-user=core"]);
    }
}
