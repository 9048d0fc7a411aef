//! Tables for people, at most 80 columns wide.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

/// A table with these heads and rows, without rules. Columns that are empty in every row are left
/// out.
pub(crate) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let filled: Vec<usize> = (0..N)
        .filter(|column| rows.iter().any(|row| !row[*column].is_empty()))
        .collect();
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(80)
        .set_header(filled.iter().map(|column| heads[*column]));
    for row in rows {
        table.add_row(filled.iter().map(|column| row[*column].as_str()));
    }
    // The first column names the row and is never broken.
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        // Cells are padded by a blank on either side.
        let line = line.strip_prefix(' ').unwrap_or(line).trim_end();
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_ones_vanish() {
        let rows = [
            ["i-1", "", "busy"].map(str::to_owned),
            ["i-0123456789", "", "idle"].map(str::to_owned),
        ];
        insta::assert_snapshot!(table(["instance", "zone", "state"], &rows), @r"
        instance      state
        i-1           busy
        i-0123456789  idle
        ");
    }

    #[test]
    fn no_line_is_wider_than_80_columns() {
        let rows = [["x".repeat(20), "word ".repeat(40)]];
        let text = table(["a", "b"], &rows);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }
}
