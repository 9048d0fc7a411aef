//! `artifacts:reports:dotenv`: variables that a job passes to later ones.
//!
//! Limits, parsing and messages are those of GitLab's `Ci::ParseDotenvArtifactService`: a line is
//! a name, `=` and a value; there are no quotes, no comments and no empty lines.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use crate::variable::Variable;

/// The file's size limit (exclusive), packed as uploaded.
const MAX_SIZE: u64 = 5 << 10;
/// How many variables there may be.
const MAX_VARIABLES: usize = 20;
/// The longest name.
const MAX_NAME: usize = 255;

/// Why a report is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DotenvError {
    #[error("Dotenv Artifact Too Big. Maximum Allowable Size: {MAX_SIZE}")]
    TooBig,
    #[error("Dotenv files cannot have more than {MAX_VARIABLES} variables")]
    TooMany,
    #[error("Invalid Format")]
    Format,
    #[error("Validation failed: Key {0}")]
    Key(&'static str),
    #[error("Invalid Format")]
    Packing(#[source] std::io::Error),
}

/// The variables in an uploaded report.
pub(crate) fn unpack(packed: &[u8], format: &str) -> Result<Vec<Variable>, DotenvError> {
    if packed.len() as u64 >= MAX_SIZE {
        return Err(DotenvError::TooBig);
    }
    let mut content = Vec::new();
    if format == "gzip" {
        MultiGzDecoder::new(packed)
            .read_to_end(&mut content)
            .map_err(DotenvError::Packing)?;
    } else {
        content.extend_from_slice(packed);
    }
    parse(&String::from_utf8_lossy(&content))
}

fn parse(text: &str) -> Result<Vec<Variable>, DotenvError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables: Vec<Variable> = Vec::new();
    for line in text.lines() {
        let (key, value) = line.split_once('=').ok_or(DotenvError::Format)?;
        let variable = Variable {
            public: false,
            ..Variable::public(key.trim(), value.trim())
        };
        match variables.iter_mut().find(|other| other.key == variable.key) {
            Some(earlier) => *earlier = variable,
            None => variables.push(variable),
        }
    }
    if variables.len() > MAX_VARIABLES {
        return Err(DotenvError::TooMany);
    }
    variables
        .iter()
        .try_for_each(|variable| name(&variable.key))?;
    Ok(variables)
}

fn name(key: &str) -> Result<(), DotenvError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if key.is_empty() {
        Err(DotenvError::Key("can't be blank"))
    } else if key.len() > MAX_NAME {
        Err(DotenvError::Key("is too long (maximum is 255 characters)"))
    } else if !key.chars().all(is_plain) {
        Err(DotenvError::Key(
            "can contain only letters, digits and '_'.",
        ))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
        let variables = parse(text).map_err(|error| error.to_string())?;
        let pairs = variables.into_iter();
        Ok(pairs.map(|one| (one.key, one.value)).collect())
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn a_line_is_a_name_and_a_value() {
        let text = "\u{feff}A=1\n B = two words \r\nC=\"x=y\"\nD=\nA=last\n";
        let expected = [
            pair("A", "last"),
            pair("B", "two words"),
            pair("C", "\"x=y\""),
            pair("D", ""),
        ];
        assert_eq!(pairs(text).unwrap(), expected);
        assert_eq!(pairs("").unwrap(), []);
        assert!(!parse("A=1").unwrap()[0].public);
    }

    #[test]
    fn nothing_else_is_taken() {
        for text in ["A=1\n\nB=2", "# a comment", "export"] {
            assert_eq!(pairs(text).unwrap_err(), "Invalid Format", "{text}");
        }
        for text in ["export A=1", "A-B=1", "# A=1"] {
            assert_eq!(
                pairs(text).unwrap_err(),
                "Validation failed: Key can contain only letters, digits and '_'.",
                "{text}"
            );
        }
        assert_eq!(
            pairs("=1").unwrap_err(),
            "Validation failed: Key can't be blank"
        );
    }

    #[test]
    fn there_are_limits() {
        let lines = |count: usize| {
            let lines = (0..count).map(|n| format!("V{n}={n}\n"));
            lines.collect::<String>()
        };
        assert_eq!(pairs(&lines(20)).unwrap().len(), 20);
        assert_eq!(
            pairs(&lines(21)).unwrap_err(),
            "Dotenv files cannot have more than 20 variables"
        );
        let big = vec![b'x'; 5 << 10];
        assert_eq!(
            unpack(&big, "raw").unwrap_err().to_string(),
            "Dotenv Artifact Too Big. Maximum Allowable Size: 5120"
        );
    }

    #[test]
    fn it_comes_packed() {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(b"A=1\n").unwrap();
        let packed = packed.finish().unwrap();
        let variables = unpack(&packed, "gzip").unwrap();
        assert_eq!(
            (variables[0].key.as_str(), variables[0].value.as_str()),
            ("A", "1")
        );
        assert!(unpack(b"A=1", "gzip").is_err());
    }
}
