//! Traces as HTML: colours, sections that fold, lines overwritten by a carriage return.

use std::fmt::Write as _;

use crate::headers::without_headers;

/// The style of the following text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Style {
    foreground: Option<Colour>,
    background: Option<Colour>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    strike: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    /// One of the sixteen colours named in `page.css`.
    Named(u8),
    /// Red, green, blue.
    Exact(u8, u8, u8),
}

/// Turn a trace into HTML: lines of `<div>`, sections of `<details>`.
pub(crate) fn to_html(trace: &str) -> String {
    let mut writer = Writer::default();
    let trace = without_headers(trace);
    // A runner ends lines with \n or \r\n; the \r within a line overwrites it.
    for line in trace.split_inclusive('\n') {
        writer.line(line.trim_end_matches(['\n', '\r']));
    }
    writer.finish()
}

/// A place where a section begins or ends.
struct Marker<'a> {
    starts: bool,
    seconds: i64,
    name: &'a str,
    collapsed: bool,
}

struct Section {
    name: String,
    began: i64,
    /// Where to insert the duration once it is known.
    gap: usize,
}

#[derive(Default)]
struct Writer {
    html: String,
    style: Style,
    open: Vec<Section>,
    number: usize,
}

impl Writer {
    fn line(&mut self, line: &str) {
        let mut rest = line;
        let mut title = None;
        while let Some((before, marker, after)) = next_marker(rest) {
            if !visible(before).is_empty() {
                self.text_line(before, None);
            }
            if marker.starts {
                title = Some(marker);
            } else {
                self.end_section(&marker);
            }
            rest = after;
            if let Some(marker) = title.take() {
                // What follows on the same line is the section's title.
                let (here, later) = match next_marker(rest) {
                    Some((before, _, _)) => rest.split_at(before.len()),
                    None => (rest, ""),
                };
                self.start_section(&marker, here);
                rest = later;
                if rest.is_empty() {
                    return;
                }
            }
        }
        let had_marker = rest.len() != line.len();
        if !had_marker || !visible(rest).is_empty() {
            self.text_line(rest, None);
        }
    }

    fn text_line(&mut self, text: &str, tag: Option<&str>) {
        if tag.is_none() {
            self.number += 1;
            let number = self.number;
            // Writing to a string does not fail; the same below.
            let _ = write!(
                self.html,
                "<div class=l id=L{number}><a href=#L{number}>{number}</a><span>"
            );
        }
        let spans = self.spans(text);
        self.html.push_str(&spans);
        if tag.is_none() {
            self.html.push_str("</span></div>\n");
        }
    }

    /// The text of a line with its styles, without what was overwritten.
    fn spans(&mut self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        let mut start = String::new();
        while let Some(at) = rest.find(['\x1b', '\r']) {
            push_span(&mut start, &self.style, &rest[..at]);
            if rest[at..].starts_with('\r') {
                start.clear();
                rest = &rest[at + 1..];
                continue;
            }
            rest = self.escape(&rest[at..]);
        }
        push_span(&mut start, &self.style, rest);
        out.push_str(&start);
        out
    }

    /// Process an escape sequence and return what comes after it.
    fn escape<'a>(&mut self, text: &'a str) -> &'a str {
        let Some(parameters) = text.strip_prefix("\x1b[") else {
            return &text[1..];
        };
        let Some(end) = parameters.find(|c: char| ('\x40'..='\x7e').contains(&c)) else {
            return "";
        };
        if parameters[end..].starts_with('m') {
            self.style.apply(&parameters[..end]);
        }
        &parameters[end + 1..]
    }

    fn start_section(&mut self, marker: &Marker<'_>, title: &str) {
        let open = if marker.collapsed { "" } else { " open" };
        self.number += 1;
        let _ = write!(
            self.html,
            "<details id=\"s{}-{}\"{open}><summary>",
            self.number,
            escaped(marker.name)
        );
        let shown = visible(title);
        if shown.trim().is_empty() {
            self.html.push_str(&escaped(&marker.name.replace('_', " ")));
        } else {
            self.text_line(title, Some("summary"));
        }
        let gap = self.html.len();
        self.html.push_str("</summary>\n");
        self.open.push(Section {
            name: marker.name.to_owned(),
            began: marker.seconds,
            gap,
        });
    }

    fn end_section(&mut self, marker: &Marker<'_>) {
        let Some(at) = self
            .open
            .iter()
            .rposition(|section| section.name == marker.name)
        else {
            return;
        };
        // Inner sections that were never ended end with it.
        while self.open.len() > at {
            let Some(section) = self.open.pop() else {
                return;
            };
            self.html.push_str("</details>\n");
            if self.open.len() == at {
                let took = (marker.seconds - section.began).max(0);
                let time = format!("<time>{:02}:{:02}</time>", took / 60, took % 60);
                self.html.insert_str(section.gap, &time);
            }
        }
    }

    fn finish(mut self) -> String {
        for _ in &self.open {
            self.html.push_str("</details>\n");
        }
        self.html
    }
}

/// Find the next `section_start:` or `section_end:`; what is before it, and after its `\r\x1b[0K`.
fn next_marker(text: &str) -> Option<(&str, Marker<'_>, &str)> {
    let at = [text.find("section_start:"), text.find("section_end:")]
        .into_iter()
        .flatten()
        .min()?;
    let (before, from) = text.split_at(at);
    let starts = from.starts_with("section_start:");
    let (_, fields) = from.split_once(':')?;
    let (seconds, fields) = fields.split_once(':')?;
    let end = fields.find('\r').unwrap_or(fields.len());
    let (name, options) = match fields[..end].split_once('[') {
        Some((name, options)) => (name, options),
        None => (&fields[..end], ""),
    };
    let after = fields[end..].trim_start_matches('\r');
    let after = after
        .strip_prefix("\x1b[0K")
        .or_else(|| after.strip_prefix("\x1b[K"))
        .unwrap_or(after);
    let marker = Marker {
        starts,
        seconds: seconds.parse().ok()?,
        name: name.trim(),
        collapsed: options.contains("collapsed=true"),
    };
    Some((before, marker, after))
}

/// The text without escape sequences.
fn visible(text: &str) -> String {
    let mut writer = Writer::default();
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        out.push_str(&rest[..at]);
        rest = writer.escape(&rest[at..]);
    }
    out.push_str(rest);
    out.replace('\r', "")
}

fn push_span(out: &mut String, style: &Style, text: &str) {
    if text.is_empty() {
        return;
    }
    if *style == Style::default() {
        out.push_str(&escaped(text));
    } else {
        let _ = write!(out, "<span{}>{}</span>", style.attributes(), escaped(text));
    }
}

/// Escaped for the text and the attributes of HTML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

impl Style {
    /// Process the parameters of a "select graphic rendition" sequence.
    fn apply(&mut self, parameters: &str) {
        let mut codes = parameters
            .split(';')
            .map(|code| code.parse::<u8>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                3 => self.italic = true,
                4 => self.underline = true,
                9 => self.strike = true,
                22 => (self.bold, self.dim) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                29 => self.strike = false,
                30..=37 => self.foreground = Some(Colour::Named(code - 30)),
                38 => self.foreground = extended(&mut codes),
                39 => self.foreground = None,
                40..=47 => self.background = Some(Colour::Named(code - 40)),
                48 => self.background = extended(&mut codes),
                49 => self.background = None,
                90..=97 => self.foreground = Some(Colour::Named(code - 90 + 8)),
                100..=107 => self.background = Some(Colour::Named(code - 100 + 8)),
                _ => {}
            }
        }
    }

    fn attributes(&self) -> String {
        let mut classes = Vec::new();
        let mut css = String::new();
        for (colour, class, property) in [
            (self.foreground, 'f', "color"),
            (self.background, 'b', "background"),
        ] {
            match colour {
                Some(Colour::Named(number)) => classes.push(format!("{class}{number}")),
                Some(Colour::Exact(r, g, b)) => {
                    let _ = write!(css, "{property}:#{r:02x}{g:02x}{b:02x};");
                }
                None => {}
            }
        }
        for (on, class) in [
            (self.bold, "bold"),
            (self.dim, "dim"),
            (self.italic, "it"),
            (self.underline, "ul"),
            (self.strike, "st"),
        ] {
            if on {
                classes.push(class.to_owned());
            }
        }
        let class = if classes.is_empty() {
            String::new()
        } else {
            format!(" class=\"{}\"", classes.join(" "))
        };
        let style = if css.is_empty() {
            css
        } else {
            format!(" style=\"{css}\"")
        };
        class + &style
    }
}

/// The colour after 38 or 48: `5;n` or `2;r;g;b`.
fn extended(codes: &mut impl Iterator<Item = u8>) -> Option<Colour> {
    match codes.next()? {
        2 => Some(Colour::Exact(codes.next()?, codes.next()?, codes.next()?)),
        5 => Some(match codes.next()? {
            number @ 0..=15 => Colour::Named(number),
            number @ 16..=231 => {
                let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
                let cube = number - 16;
                Colour::Exact(level(cube / 36), level(cube / 6 % 6), level(cube % 6))
            }
            number => {
                let grey = 8 + 10 * (number - 232);
                Colour::Exact(grey, grey, grey)
            }
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_as_gitlab_runner_writes_it() {
        let trace = "\x1b[0KRunning with onspot\x1b[0;m\n\
            section_start:1700000000:prepare_executor\r\x1b[0K\x1b[0K\x1b[36;1mPreparing\x1b[0;m\x1b[0;m\n\
            Using image <alpine>\n\
            section_end:1700000065:prepare_executor\r\x1b[0Ksection_start:1700000065:step_script[collapsed=true]\r\x1b[0KScript\n\
            \x1b[32;1m$ make\x1b[0;m\n\
            10 %\r50 %\rdone\r\n\
            \x1b[38;5;196mred\x1b[48;2;1;2;3m on dark\x1b[0m plain\n\
            \n\
            section_end:1700000070:step_script\r\x1b[0K\x1b[31;1mERROR: Job failed\x1b[0;m\n";
        insta::assert_snapshot!(to_html(trace));
    }

    #[test]
    fn unfinished_lines_and_sections_are_shown() {
        let html = to_html("section_start:1:a\r\x1b[0KA\nsection_start:2:b\r\x1b[0K\nhalf a li");
        assert_eq!(html.matches("<details").count(), 2);
        assert_eq!(html.matches("</details>").count(), 2);
        assert!(html.contains("half a li"));
    }

    #[test]
    fn text_cannot_break_out_of_its_line() {
        let html = to_html("<script>alert(1)</script>\nsection_start:1:\"><b>\r\x1b[0Kx\n");
        assert!(!html.contains("<script>"));
        assert!(!html.contains("<b>"));
    }
}
