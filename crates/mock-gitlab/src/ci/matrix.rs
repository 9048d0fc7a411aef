//! `parallel`: one job of the configuration as several of the pipeline.

use serde_json::Value;

use super::error::CiError;
use super::read::Node;
use crate::variable::Variable;

/// GitLab makes at most this many of one.
const MAX_JOBS: usize = 200;

/// One of the jobs that `parallel` makes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Variant {
    pub(super) name: String,
    /// Its number, from 1.
    pub(super) index: u64,
    pub(super) total: u64,
    /// Its place in the matrix.
    pub(super) variables: Vec<(String, String)>,
}

impl Variant {
    /// The variables as a job gets them.
    pub(super) fn as_variables(&self) -> impl Iterator<Item = Variable> {
        let pairs = self.variables.iter();
        pairs.map(|(key, value)| Variable::public(key, value))
    }

    /// A text with its `$[[ matrix.NAME ]]` replaced; `Err`: a name that the matrix lacks.
    pub(super) fn interpolate(&self, text: &str) -> Result<String, String> {
        let mut result = String::new();
        let mut rest = text;
        while let Some((before, expression)) = rest.split_once("$[[") {
            let named = expression.split_once("]]").and_then(|(inner, after)| {
                let name = inner.trim().strip_prefix("matrix.")?;
                Some((name, after))
            });
            let Some((name, after)) = named else {
                result.push_str(&rest[..before.len() + 3]);
                rest = expression;
                continue;
            };
            let mut values = self.variables.iter();
            let (_, value) = values
                .find(|(key, _)| key == name)
                .ok_or_else(|| name.to_owned())?;
            result.push_str(before);
            result.push_str(value);
            rest = after;
        }
        result.push_str(rest);
        Ok(result)
    }
}

/// Read `parallel` of the job `name`: a number, or a matrix.
pub(super) fn read(name: &str, node: &Node<'_>) -> Result<Vec<Variant>, CiError> {
    match node.value {
        Value::Number(_) => numbered(name, node),
        Value::Object(_) => {
            node.only_keys(&["matrix"])?;
            matrix(name, &node.required("matrix")?)
        }
        _ => Err(node.error("should be an integer or a hash")),
    }
}

/// Read `parallel` of a need: a matrix only.
pub(super) fn of_need(name: &str, node: &Node<'_>) -> Result<Vec<Variant>, CiError> {
    if node.value.is_number() {
        return Err(node.error("cannot use \"parallel: <number>\"."));
    }
    read(name, node)
}

fn numbered(name: &str, node: &Node<'_>) -> Result<Vec<Variant>, CiError> {
    let count = node.value.as_i64();
    let count = count.ok_or_else(|| node.error("config must be an integer"))?;
    let total = u64::try_from(count).ok().filter(|count| *count > 0);
    let total = total.ok_or_else(|| node.error("config must be greater than or equal to 1"))?;
    if total > MAX_JOBS as u64 {
        let problem = format!("config must be less than or equal to {MAX_JOBS}");
        return Err(node.error(problem));
    }
    Ok((1..=total)
        .map(|index| Variant {
            name: format!("{name} {index}/{total}"),
            index,
            total,
            variables: Vec::new(),
        })
        .collect())
}

fn matrix(name: &str, node: &Node<'_>) -> Result<Vec<Variant>, CiError> {
    let wrong = || node.error("config should be an array of hashes");
    let rows = node.list().map_err(|_| wrong())?;
    let mut places = Vec::new();
    for row in rows {
        if !row.value.is_object() {
            return Err(wrong());
        }
        places.extend(product(&axes(&row)?, node)?);
        if places.len() > MAX_JOBS {
            return Err(too_many(node));
        }
    }
    let total = places.len() as u64;
    Ok((1..)
        .zip(places)
        .map(|(index, variables)| {
            let values: Vec<&str> = variables.iter().map(|(_, value)| value.as_str()).collect();
            Variant {
                name: format!("{name}: [{}]", values.join(", ")),
                index,
                total,
                variables,
            }
        })
        .collect())
}

/// The names of a row and the values of each.
fn axes(row: &Node<'_>) -> Result<Vec<(String, Vec<String>)>, CiError> {
    let wrong = || row.error("config should be a hash of key value pairs, value can be an array");
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(wrong()),
    };
    let mut axes = Vec::new();
    for (key, value) in row.mapping()? {
        let values = match value {
            Value::Array(members) if !members.is_empty() => {
                members.iter().map(text).collect::<Result<Vec<_>, _>>()?
            }
            single => vec![text(single)?],
        };
        axes.push((key.clone(), values));
    }
    if axes.is_empty() {
        return Err(row.error("config requires at least 1 items"));
    }
    Ok(axes)
}

/// Every choice of one value for each name; the last name's values change first.
fn product(
    axes: &[(String, Vec<String>)],
    node: &Node<'_>,
) -> Result<Vec<Vec<(String, String)>>, CiError> {
    let count = axes.iter().try_fold(1_usize, |count, (_, values)| {
        count.checked_mul(values.len())
    });
    if count.is_none_or(|count| count > MAX_JOBS) {
        return Err(too_many(node));
    }
    let none = vec![Vec::new()];
    Ok(axes.iter().fold(none, |places, (key, values)| {
        let longer = |place: &Vec<(String, String)>, value: &String| {
            let mut place = place.clone();
            place.push((key.clone(), value.clone()));
            place
        };
        let places = places.iter();
        places
            .flat_map(|place| values.iter().map(move |value| longer(place, value)))
            .collect()
    }))
}

fn too_many(node: &Node<'_>) -> CiError {
    let problem = format!("config generates too many jobs (maximum is {MAX_JOBS})");
    node.error(problem)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(parallel: &Value) -> Result<Vec<String>, String> {
        let variants = read("job", &Node::new(parallel, "jobs:job:parallel"));
        let variants = variants.map_err(|error| error.to_string())?;
        Ok(variants.into_iter().map(|variant| variant.name).collect())
    }

    #[test]
    fn a_number_makes_as_many() {
        assert_eq!(names(&json!(2)).unwrap(), ["job 1/2", "job 2/2"]);
    }

    #[test]
    fn a_matrix_makes_every_combination_of_each_row() {
        let matrix = json!({"matrix": [
            {"OS": ["linux", "mac"], "ARCH": ["x", "y"], "N": 1}, {"OS": "plan9"},
        ]});
        assert_eq!(
            names(&matrix).unwrap(),
            [
                "job: [linux, x, 1]",
                "job: [linux, y, 1]",
                "job: [mac, x, 1]",
                "job: [mac, y, 1]",
                "job: [plan9]"
            ]
        );
    }

    #[test]
    fn limits_and_forms_are_gitlabs() {
        let wrong = |parallel: Value| names(&parallel).unwrap_err();
        let place = "jobs:job:parallel";
        for (parallel, problem) in [
            (json!(0), "greater than or equal to 1"),
            (json!(-1), "greater than or equal to 1"),
            (json!(201), "less than or equal to 200"),
            (json!(1.5), "an integer"),
        ] {
            assert_eq!(wrong(parallel), format!("{place} config must be {problem}"));
        }
        assert_eq!(
            wrong(json!("2")),
            format!("{place} should be an integer or a hash")
        );
        assert_eq!(
            wrong(json!({"matrices": []})),
            format!("{place} config contains unknown keys: matrices")
        );
        assert_eq!(
            wrong(json!({"matrix": {"A": 1}})),
            format!("{place}:matrix config should be an array of hashes")
        );
        assert_eq!(
            wrong(json!({"matrix": [{"A": {"B": 1}}]})),
            format!(
                "{place}:matrix config should be a hash of key value pairs, value can be an array"
            )
        );
        let fifteen: Vec<u32> = (0..15).collect();
        assert_eq!(
            wrong(json!({"matrix": [{"A": fifteen, "B": fifteen}]})),
            format!("{place}:matrix config generates too many jobs (maximum is 200)")
        );
    }

    #[test]
    fn expressions_take_values_of_the_place_in_the_matrix() {
        let variant = Variant {
            name: String::new(),
            index: 1,
            total: 1,
            variables: vec![("OS".to_owned(), "linux".to_owned())],
        };
        let of = |text: &str| variant.interpolate(text);
        assert_eq!(
            of("a $[[ matrix.OS ]]-$[[matrix.OS]]").unwrap(),
            "a linux-linux"
        );
        assert_eq!(of("$[[ inputs.x ]] $[[").unwrap(), "$[[ inputs.x ]] $[[");
        assert_eq!(of("$[[ matrix.ARCH ]]").unwrap_err(), "ARCH");
    }
}
