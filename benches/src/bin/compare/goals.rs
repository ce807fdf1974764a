//! The goals of speed: what was measured, what was to be reached, and whether it was.

pub(crate) mod wire;

use std::fmt;

use serde::Serialize;

use crate::spread::Spread;

/// One figure beside its goal.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    /// The goal's number, `G1` for example.
    pub(crate) goal: &'static str,
    pub(crate) what: String,
    /// What came out; `None` if it could not be measured here.
    pub(crate) measured: Option<Spread>,
    pub(crate) unit: &'static str,
    pub(crate) bound: Bound,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing was promised; it is told all the same.
    Record,
}

/// All findings, as the table for people.
pub(crate) struct Table<'a>(pub(crate) &'a [Finding]);

// === impl Finding ===

impl Finding {
    pub(crate) fn new(
        goal: &'static str,
        what: impl Into<String>,
        measured: Option<Spread>,
        unit: &'static str,
        bound: Bound,
    ) -> Self {
        Self { goal, what: what.into(), measured, unit, bound }
    }

    /// `met`, `missed`, `told` or `not measured`.
    pub(crate) fn verdict(&self) -> &'static str {
        let Some(Spread { median, .. }) = self.measured else { return "not measured" };
        let met = match self.bound {
            Bound::AtMost(most) => median <= most,
            Bound::AtLeast(least) => median >= least,
            Bound::Record => return "told",
        };
        if met { "met" } else { "missed" }
    }
}

// === impl Bound ===

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::Record => f.write_str("–"),
        }
    }
}

// === impl Table ===

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| goal | what | measured | goal | |")?;
        writeln!(f, "|---|---|---|---|---|")?;
        for finding in self.0 {
            let Finding { goal, what, measured, unit, bound } = finding;
            let measured = measured.map_or("–".to_owned(), |spread| format!("{spread}{unit}"));
            let unit = if *bound == Bound::Record { "" } else { unit };
            let verdict = finding.verdict();
            let verdict = if verdict == "missed" { "**missed**" } else { verdict };
            writeln!(f, "| {goal} | {what} | {measured} | {bound}{unit} | {verdict} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_held_against_its_goal() {
        let finding =
            |median: f64, bound| Finding::new("G0", "it", Some(Spread::single(median)), " ns", bound);
        assert_eq!(finding(1.0, Bound::AtMost(1.0)).verdict(), "met");
        assert_eq!(finding(1.1, Bound::AtMost(1.0)).verdict(), "missed");
        assert_eq!(finding(0.9, Bound::AtLeast(0.95)).verdict(), "missed");
        assert_eq!(finding(9.0, Bound::Record).verdict(), "told");
        assert_eq!(Finding::new("G0", "it", None, "", Bound::AtMost(1.0)).verdict(), "not measured");
    }

    #[test]
    fn a_missed_goal_stands_out() {
        let table = [Finding::new("G8", "3 nodes", Some(Spread::single(71.0)), " ns", Bound::AtMost(70.0))];
        let text = Table(&table).to_string();
        assert_eq!(text.lines().nth(2), Some("| G8 | 3 nodes | 71.0 ns | ≤ 70 ns | **missed** |"));
    }
}
