//! The options of docker-machine's EC2 driver, as they stand in `MachineOptions`.

use crate::token::Secret;

/// What `MachineOptions` says about instances, typed.
///
/// An absent value means the driver's default; [`Ec2Options::to_machine_options`] writes only
/// what is there.
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
    /// `amazonec2-spot-price`: the most to pay in dollars an hour; absent means the on-demand
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
    /// Options that mean nothing here, as written.
    pub unused: Vec<String>,
}

/// Why an option can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} {reason}")]
pub struct OptionError {
    /// The option's name.
    pub option: String,
    /// What is wrong with its value, which is not repeated: it may be secret.
    pub reason: &'static str,
}

impl Ec2Options {
    /// Reads `name=value` options. A flag without a value is on, as on a command line.
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
        };
        let flag = || match value {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(_) => Err(wrong("must be true or false")),
        };
        let text = || value.filter(|value| !value.is_empty()).map(str::to_owned);
        match name.strip_prefix("amazonec2-").unwrap_or(name) {
            "access-key" => self.access_key = text(),
            "secret-key" => self.secret_key = text().map(Secret::new),
            "session-token" => self.session_token = text().map(Secret::new),
            "region" => self.region = text(),
            "zone" => self.zone = text(),
            "vpc-id" => self.vpc_id = text(),
            "subnet-id" => self.subnet_id = text(),
            "security-group" => self.security_groups.extend(text()),
            "instance-type" => self.instance_type = text(),
            "ami" => self.ami = text(),
            "iam-instance-profile" => self.iam_instance_profile = text(),
            "private-address-only" => self.private_address_only = flag()?,
            "use-private-address" => self.use_private_address = flag()?,
            "request-spot-instance" => self.request_spot = flag()?,
            "spot-price" => self.spot_price = price(text()).map_err(wrong)?,
            "root-size" => {
                let size = text().map(|text| text.parse()).transpose();
                self.root_size = size.map_err(|_| wrong("must be a number of GB"))?;
            }
            "volume-type" => self.volume_type = text(),
            "tags" => self
                .tags
                .extend(pairs(&text().unwrap_or_default()).map_err(wrong)?),
            "engine-registry-mirror" => self.registry_mirrors.extend(text()),
            _ => self.unused.push(option.to_owned()),
        }
        Ok(())
    }

    /// Writes the options in the order of 2017; reading them gives the same back. Secrets are
    /// written as they are.
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
        // docker-machine bids half a dollar unless an empty price says: the on-demand price.
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

/// A price in dollars, kept as written.
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
    fn what_is_not_used_is_kept() {
        let options = Ec2Options::from_machine_options(["amazonec2-ssh-user=core"]).unwrap();
        assert_eq!(options.unused, ["amazonec2-ssh-user=core"]);
        assert_eq!(options.to_machine_options(), ["amazonec2-ssh-user=core"]);
    }
}
