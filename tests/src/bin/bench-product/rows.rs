//! Rows of the table, and what ends the bench early.

use std::fmt;

use serde_json::json;

/// What ends the bench early, for a person.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<cs_node::api::Problem> for Failure {
    fn from(problem: cs_node::api::Problem) -> Self {
        Self(format!("{} {}", problem.message, problem.hint))
    }
}

/// One measured number: less is better.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) row: &'static str,
    pub(crate) metric: &'static str,
    pub(crate) unit: &'static str,
    /// What it shall not exceed.
    pub(crate) goal: Option<f64>,
}

impl Metric {
    /// Prints the row.
    pub(crate) fn print(self, ours: f64, peer: Option<(&str, f64)>) {
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        let row = json!({
            "bench": "product",
            "row": self.row,
            "metric": self.metric,
            "unit": self.unit,
            "ours": rounded(ours),
            "peer": peer.map(|(name, _)| name),
            "peer_value": peer.map(|(_, value)| rounded(value)),
            "limit": null,
            "goal": self.goal.map(|goal| format!("<= {goal}")),
            "met": self.goal.map(|goal| ours <= goal),
        });
        println!("{row}");
    }
}
