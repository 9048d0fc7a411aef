//! `rules:`, `only:` and `except:`: does a job belong to a pipeline?

use std::collections::BTreeMap;

use regex::Regex;

use super::read::Node;
use super::{AllowFailure, CiError, JobSpec, When, job, parts};
use crate::gitlab::model::Variable;

/// One rule. `changes` and `exists` are taken as true: this server looks at variables only.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::gitlab) struct Rule {
    condition: Option<String>,
    when: Option<When>,
    allow_failure: Option<AllowFailure>,
    variables: Vec<Variable>,
}

/// What the rules say about a job.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::gitlab) struct Verdict {
    /// `Never`: it does not belong to the pipeline.
    pub(in crate::gitlab) when: When,
    pub(in crate::gitlab) allow_failure: AllowFailure,
    pub(in crate::gitlab) variables: Vec<Variable>,
}

pub(super) fn read(node: &Node<'_>) -> Result<Vec<Rule>, CiError> {
    let mut rules = Vec::new();
    for member in node.list()? {
        member.only_keys(&[
            "if",
            "changes",
            "exists",
            "when",
            "allow_failure",
            "variables",
            "needs",
            "interruptible",
            "start_in",
            "auto_cancel",
        ])?;
        let condition = member.get("if").map(|value| value.string()).transpose()?;
        if let Some(text) = &condition {
            Expression::parse(text)
                .ok_or_else(|| member.error("if config should be a valid expression"))?;
        }
        rules.push(Rule {
            condition,
            when: member
                .get("when")
                .map(|value| job::word_when(&value))
                .transpose()?,
            allow_failure: member
                .get("allow_failure")
                .map(|value| parts::allow_failure(&value))
                .transpose()?,
            variables: member
                .get("variables")
                .map(|value| parts::variables(&value))
                .transpose()?
                .unwrap_or_default(),
        });
    }
    Ok(rules)
}

/// Apply a job's rules, or `only` and `except`, to a pipeline with these variables.
pub(in crate::gitlab) fn evaluate(
    spec: &JobSpec,
    variables: &BTreeMap<String, String>,
    git_ref: &str,
    tag: bool,
) -> Verdict {
    let as_is = || Verdict {
        when: spec.when,
        allow_failure: spec.allow_failure.clone(),
        variables: Vec::new(),
    };
    let never = || Verdict {
        when: When::Never,
        ..as_is()
    };
    if let Some(rules) = &spec.rules {
        return first(rules, variables).map_or_else(never, |rule| Verdict {
            when: rule.when.unwrap_or(spec.when),
            allow_failure: rule
                .allow_failure
                .clone()
                .unwrap_or_else(|| spec.allow_failure.clone()),
            variables: rule.variables.clone(),
        });
    }
    let names = |list: &Vec<String>| {
        list.iter()
            .any(|pattern| matches_ref(pattern, git_ref, tag))
    };
    if spec.only.as_ref().is_some_and(|only| !names(only))
        || spec.except.as_ref().is_some_and(names)
    {
        return never();
    }
    as_is()
}

/// Does `workflow:rules` want a pipeline?
pub(in crate::gitlab) fn wants_pipeline(
    rules: &[Rule],
    variables: &BTreeMap<String, String>,
) -> bool {
    first(rules, variables).is_some_and(|rule| rule.when != Some(When::Never))
}

fn first<'a>(rules: &'a [Rule], variables: &BTreeMap<String, String>) -> Option<&'a Rule> {
    rules.iter().find(|rule| {
        rule.condition.as_ref().is_none_or(|condition| {
            Expression::parse(condition).is_some_and(|expression| expression.holds(variables))
        })
    })
}

fn matches_ref(pattern: &str, git_ref: &str, tag: bool) -> bool {
    match pattern {
        "branches" => !tag,
        "tags" => tag,
        "pushes" => true,
        _ => match literal_regex(pattern) {
            Some(regex) => regex.is_match(git_ref),
            None => pattern == git_ref,
        },
    }
}

/// `/…/` or `/…/i`.
fn literal_regex(text: &str) -> Option<Regex> {
    let rest = text.strip_prefix('/')?;
    let end = rest.rfind('/')?;
    let flags = if rest[end + 1..].contains('i') {
        "(?i)"
    } else {
        ""
    };
    Regex::new(&format!("{flags}{}", rest[..end].replace("\\/", "/"))).ok()
}

/// A condition: comparisons joined by `&&` and `||`, with parentheses.
enum Expression {
    Or(Vec<Expression>),
    And(Vec<Expression>),
    Not(Box<Expression>),
    Compare(Term, String, Term),
    Present(Term),
}

#[derive(Clone)]
enum Term {
    Variable(String),
    Text(String),
    Pattern(String),
    Null,
}

impl Term {
    fn of(&self, variables: &BTreeMap<String, String>) -> Option<String> {
        match self {
            Self::Variable(name) => variables.get(name).cloned(),
            Self::Text(text) | Self::Pattern(text) => Some(text.clone()),
            Self::Null => None,
        }
    }
}

impl Expression {
    fn parse(text: &str) -> Option<Self> {
        let tokens = tokens(text)?;
        let mut at = 0;
        let expression = Self::or(&tokens, &mut at)?;
        (at == tokens.len()).then_some(expression)
    }

    fn or(tokens: &[String], at: &mut usize) -> Option<Self> {
        let mut members = vec![Self::and(tokens, at)?];
        while tokens.get(*at).is_some_and(|token| token == "||") {
            *at += 1;
            members.push(Self::and(tokens, at)?);
        }
        Some(Self::Or(members))
    }

    fn and(tokens: &[String], at: &mut usize) -> Option<Self> {
        let mut members = vec![Self::factor(tokens, at)?];
        while tokens.get(*at).is_some_and(|token| token == "&&") {
            *at += 1;
            members.push(Self::factor(tokens, at)?);
        }
        Some(Self::And(members))
    }

    fn factor(tokens: &[String], at: &mut usize) -> Option<Self> {
        let token = tokens.get(*at)?;
        *at += 1;
        if token == "!" {
            return Some(Self::Not(Box::new(Self::factor(tokens, at)?)));
        }
        if token == "(" {
            let inner = Self::or(tokens, at)?;
            let closes = tokens.get(*at).is_some_and(|token| token == ")");
            *at += 1;
            return closes.then_some(inner);
        }
        let left = term(token)?;
        match tokens.get(*at).map(String::as_str) {
            Some(operator @ ("==" | "!=" | "=~" | "!~")) => {
                *at += 1;
                let right = term(tokens.get(*at)?)?;
                *at += 1;
                Some(Self::Compare(left, operator.to_owned(), right))
            }
            _ => Some(Self::Present(left)),
        }
    }

    fn holds(&self, variables: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Or(members) => members.iter().any(|member| member.holds(variables)),
            Self::And(members) => members.iter().all(|member| member.holds(variables)),
            Self::Not(inner) => !inner.holds(variables),
            Self::Present(term) => term.of(variables).is_some_and(|text| !text.is_empty()),
            Self::Compare(left, operator, right) => {
                let (left, right) = (left.of(variables), right.of(variables));
                let matches = || match (&left, &right) {
                    (Some(text), Some(pattern)) => {
                        literal_regex(pattern).is_some_and(|regex| regex.is_match(text))
                    }
                    _ => false,
                };
                match operator.as_str() {
                    "==" => left == right,
                    "!=" => left != right,
                    "=~" => matches(),
                    _ => !matches(),
                }
            }
        }
    }
}

fn term(token: &str) -> Option<Term> {
    if let Some(name) = token.strip_prefix('$') {
        return Some(Term::Variable(name.trim_matches(['{', '}']).to_owned()));
    }
    if token == "null" {
        return Some(Term::Null);
    }
    if token.starts_with('/') {
        return Some(Term::Pattern(token.to_owned()));
    }
    let quote = token
        .chars()
        .next()
        .filter(|quote| matches!(quote, '"' | '\''))?;
    Some(Term::Text(
        token.strip_prefix(quote)?.strip_suffix(quote)?.to_owned(),
    ))
}

/// Split a condition into its words; `None` if a character fits nowhere.
fn tokens(text: &str) -> Option<Vec<String>> {
    let pattern = Regex::new(
        r#"^\s*(&&|\|\||==|!=|=~|!~|\(|\)|!|null|\$\{?\w+\}?|"[^"]*"|'[^']*'|/(?:\\/|[^/])+/[a-z]*)"#,
    )
    .ok()?;
    let mut tokens = Vec::new();
    let mut rest = text;
    while !rest.trim().is_empty() {
        let found = pattern.captures(rest)?;
        tokens.push(found.get(1)?.as_str().to_owned());
        rest = &rest[found.get(0)?.end()..];
    }
    Some(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(condition: &str) -> bool {
        let variables = BTreeMap::from([
            ("CI_COMMIT_BRANCH".to_owned(), "main".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]);
        Expression::parse(condition)
            .expect("a condition")
            .holds(&variables)
    }

    #[test]
    fn conditions_are_evaluated() {
        assert!(holds(r#"$CI_COMMIT_BRANCH == "main""#));
        assert!(!holds(r#"$CI_COMMIT_BRANCH != "main""#));
        assert!(holds("$CI_COMMIT_BRANCH"));
        assert!(!holds("$EMPTY"));
        assert!(holds("$CI_COMMIT_TAG == null"));
        assert!(holds("$CI_COMMIT_BRANCH =~ /^ma/ && !$CI_COMMIT_TAG"));
        assert!(holds(r#"$EMPTY || ($CI_COMMIT_BRANCH == "main")"#));
        assert!(holds("$CI_COMMIT_BRANCH !~ /^feature-/"));
    }

    #[test]
    fn nonsense_is_no_condition() {
        assert!(Expression::parse("CI_COMMIT_BRANCH is main").is_none());
        assert!(Expression::parse("$A ==").is_none());
        assert!(Expression::parse("($A").is_none());
    }
}
