//! Rows of a benchmark's table, as `xtask/README.md` describes them.

use serde_json::json;

/// Which way a number should go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// As times and sizes.
    Less,
    /// As rates.
    More,
}

/// One measured number, and what it is measured against. Fill in what there is with `..Row::new(..)`.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// What was measured: an input, a size, a setting.
    pub row: &'a str,
    /// What about it.
    pub metric: &'a str,
    /// Of all numbers of the row.
    pub unit: &'a str,
    /// Which way is better.
    pub better: Better,
    /// Our number.
    pub ours: f64,
    /// Who else, with its version, and its number in this run.
    pub peer: Option<(&'a str, f64)>,
    /// What `ours` is held to, if not to the peer.
    pub goal: Option<f64>,
}

impl<'a> Row<'a> {
    /// A row without peer or goal.
    pub fn new(row: &'a str, metric: &'a str, unit: &'a str, better: Better, ours: f64) -> Self {
        Self { row, metric, unit, better, ours, peer: None, goal: None }
    }

    /// Prints it: met if it reaches the goal, or the peer's number where there is no goal; null with neither.
    pub fn print(&self) {
        println!("{}", self.json());
    }

    fn json(&self) -> serde_json::Value {
        let is_met = |bar: f64| match self.better {
            Better::Less => self.ours <= bar,
            Better::More => self.ours >= bar,
        };
        let sign = if self.better == Better::Less { "<=" } else { ">=" };
        let peer_value = self.peer.map(|(_, value)| value);
        json!({
            "row": self.row,
            "metric": self.metric,
            "unit": self.unit,
            "ours": rounded(self.ours),
            "peer": self.peer.map(|(name, _)| name),
            "peer_value": peer_value.map(rounded),
            "limit": self.goal.map(rounded),
            "goal": self.goal.map(|goal| format!("{sign} {}", rounded(goal)))
                .or_else(|| peer_value.map(|_| format!("{sign} peer"))),
            "met": self.goal.or(peer_value).map(is_met),
        })
    }
}

/// To four significant digits, so that columns stay readable and no digit is noise.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_judges_before_the_peer_does() {
        let row = Row { peer: Some(("x 1", 5.0)), ..Row::new("a", "time", "s", Better::Less, 6.0) };
        assert_eq!(row.json()["met"], false);
        assert_eq!(Row { goal: Some(7.0), ..row.clone() }.json()["met"], true);
        assert_eq!(Row { better: Better::More, ..row }.json()["met"], true);
    }

    #[test]
    fn numbers_keep_four_digits() {
        assert_eq!(
            [rounded(123_456.0), rounded(0.001_234_56), rounded(-9.87654)],
            [123_500.0, 0.001_235, -9.877]
        );
    }
}
