//! The conditions of `rules:if`.

use std::collections::BTreeMap;

use regex::Regex;

/// `/…/` or `/…/i`.
pub(super) fn literal_regex(text: &str) -> Option<Regex> {
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
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Or(Vec<Expression>),
    And(Vec<Expression>),
    Not(Box<Expression>),
    Compare(Term, String, Term),
    Present(Term),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term {
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
    /// Parse a condition; `None` if it is not one.
    pub(super) fn parse(text: &str) -> Option<Self> {
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

    /// Does it hold with these variables?
    pub(super) fn holds(&self, variables: &BTreeMap<String, String>) -> bool {
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

/// Split a condition into tokens; `None` for an unexpected character.
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
