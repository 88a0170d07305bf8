//! Numbers, times and names as people read them, and tables.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `0 B`, `999 B`, `1.2 kB`, `34 MB`: powers of 1000, at most three digits.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["kB", "MB", "GB", "TB", "PB", "EB"].into_iter();
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut unit = "B";
    // 999.5 would be shown as 1000.
    while value >= 999.5 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1000.0, next);
    }
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// `5 s`, `3 min`, `2 h`, `4 days`: the largest unit alone.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => count(seconds / 86_400, "day", "days"),
    }
}

/// `now`, `3 min ago`, `in 2 h`: a point of time, seen from `now`.
pub(crate) fn when(unix_ms: u64, now_ms: u64) -> String {
    let apart = Duration::from_millis(unix_ms.abs_diff(now_ms));
    match apart.as_secs() {
        // Two clocks are never quite equal.
        0..2 => "now".to_owned(),
        _ if unix_ms > now_ms => format!("in {}", span(apart)),
        _ => format!("{} ago", span(apart)),
    }
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The beginning of an ID, enough to tell apart and to type.
pub(crate) fn short(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}

/// A name that others chose, made safe for a terminal: nothing in it moves the cursor or turns the line around.
pub(crate) fn safe(name: &str) -> String {
    let dangerous = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut safe = String::with_capacity(name.len());
    for c in name.chars() {
        if dangerous(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    safe
}

/// Rows in columns two blanks apart. The first row is the head; columns whose head begins with `>` are set right.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let Some(head) = rows.first() else { return String::new() };
    let right: Vec<bool> = head.iter().map(|h| h.starts_with('>')).collect();
    let width = |cell: &str| cell.trim_start_matches('>').chars().count();
    let columns = head.len();
    let widths: Vec<usize> = (0..columns)
        .map(|c| rows.iter().filter_map(|r| r.get(c)).map(|cell| width(cell)).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let cell = if at == 0 { cell.trim_start_matches('>') } else { cell };
            let pad = " ".repeat(widths.get(column).map_or(0, |w| w.saturating_sub(cell.chars().count())));
            if right.get(column) == Some(&true) {
                line.extend([&pad, cell, "  "]);
            } else {
                line.extend([cell, &pad, "  "]);
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_at_most_three_digits() {
        let shown = [0, 999, 1000, 1234, 9_949, 9_951, 999_499, 999_500, 1_500_000_000, u64::MAX].map(size);
        let expected =
            ["0 B", "999 B", "1.0 kB", "1.2 kB", "9.9 kB", "10 kB", "999 kB", "1.0 MB", "1.5 GB", "18 EB"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn times_are_relative_and_in_one_unit() {
        let now = 1_000_000_000_000;
        assert_eq!(when(now - 500, now), "now");
        assert_eq!(when(now - 59_000, now), "59 s ago");
        assert_eq!(when(now - 3_599_000, now), "59 min ago");
        assert_eq!(when(now + 86_400_000, now), "in 24 h");
        assert_eq!(when(now - 3 * 86_400_000, now), "3 days ago");
    }

    #[test]
    fn a_name_cannot_write_over_the_terminal() {
        assert_eq!(safe("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(safe("exe\u{202e}txt"), "exe\\u{202e}txt");
        assert_eq!(safe("näme \u{1f600}"), "näme \u{1f600}");
    }

    #[test]
    fn columns_line_up_and_no_line_ends_in_blanks() {
        let rows = [["NAME", ">SIZE", "PATH"], ["a", "10 B", ""], ["long", "1 B", "x"]];
        let rows: Vec<Vec<String>> =
            rows.iter().map(|r| r.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(table(&rows), "NAME  SIZE  PATH\na     10 B\nlong   1 B  x\n");
    }
}
