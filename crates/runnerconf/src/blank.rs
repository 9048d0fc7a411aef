//! Blanks everything in a line of a file that may be secret.

/// Replaces every value in a line by the same number of `*` bytes, quoted or not, because a token
/// without its quotes is still secret. Only the first key, `true` and `false`, headers of tables,
/// and punctuation are kept.
pub(crate) fn blank_values(line: &str) -> String {
    let (key, mut rest) = line.split_at(end_of_key(line));
    let mut blanked = key.to_owned();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '"' | '\'' => blank_quoted(rest, first, &mut blanked),
            _ if is_punctuation(first) => {
                blanked.push(first);
                first.len_utf8()
            }
            _ => blank_word(rest, &mut blanked),
        };
        rest = &rest[end..];
    }
    blanked
}

/// The start of the value: after the first key's equals sign; at the end of a header line; at 0 for
/// any other line, which may be the middle of a longer value.
fn end_of_key(line: &str) -> usize {
    let text = line.trim();
    let bare = |c: char| c.is_ascii_alphanumeric() || "-_. \t".contains(c);
    let header = text.trim_start_matches('[').trim_end_matches(']');
    if text.starts_with('[') && text.ends_with(']') && header.chars().all(bare) {
        return line.len();
    }
    // An equals sign at the end of a word and of the line is base64 padding.
    let padding =
        |key: &str, value: &str| value.trim_matches(['=', ' ']).is_empty() && !key.ends_with(' ');
    match line.split_once('=') {
        Some((key, value)) if key.chars().all(bare) && !padding(key, value) => key.len() + 1,
        _ => 0,
    }
}

fn is_punctuation(c: char) -> bool {
    c.is_ascii_whitespace() || "[]{},=#".contains(c)
}

/// Blanks the text between the quotes at the start of `rest`; returns its end.
fn blank_quoted(rest: &str, quote: char, blanked: &mut String) -> usize {
    blanked.push(quote);
    let inner = &rest[1..];
    let Some(length) = inner.find(quote) else {
        hide(inner, blanked);
        return rest.len();
    };
    hide(&inner[..length], blanked);
    blanked.push(quote);
    length + 2
}

/// Blanks the word at the start of `rest`; returns its end.
fn blank_word(rest: &str, blanked: &mut String) -> usize {
    let ends = |c: char| is_punctuation(c) || matches!(c, '"' | '\'');
    let end = rest.find(ends).unwrap_or(rest.len());
    match &rest[..end] {
        word @ ("true" | "false") => blanked.push_str(word),
        word => hide(word, blanked),
    }
    end
}

fn hide(text: &str, blanked: &mut String) {
    blanked.extend(std::iter::repeat_n('*', text.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_blanked_byte_by_byte() {
        for (line, blanked) in [
            (
                r#"tokn = "glrt-é", b = 'x'"#,
                r#"tokn = "*******", * = '*'"#,
            ),
            (r#"token = "glrt-"#, r#"token = "*****"#),
            ("token = glrt-abc # mine", "token = ******** # ****"),
            ("token glrt-abc", "***** ********"),
            ("glrt-abc", "********"),
            ("  c2VjcmV0==", "  ********=="),
            ("privilaged = true", "privilaged = true"),
            (r#"a = ["x y", OOPS]"#, r#"a = ["***", ****]"#),
            ("[[runners]]", "[[runners]]"),
            (r#"["glrt"]"#, r#"["****"]"#),
            ("token =", "token ="),
        ] {
            assert_eq!(blank_values(line), blanked, "{line}");
            assert_eq!(blank_values(line).len(), line.len(), "{line}");
        }
    }
}
