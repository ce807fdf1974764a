//! The middle of several figures, and how far they lie apart.

use std::fmt;

use serde::Serialize;

/// Median, least and greatest.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

// === impl Spread ===

impl Spread {
    /// The spread of these figures; `None` of none.
    pub(crate) fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = if figures.len().is_multiple_of(2) {
            (figures[middle - 1] + figures[middle]) / 2.0
        } else {
            figures[middle]
        };
        Some(Self { median, min, max })
    }

    /// One figure that was taken once.
    pub(crate) fn single(figure: f64) -> Self {
        Self { median: figure, min: figure, max: figure }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median >= 100.0 {
            0
        } else if self.median >= 10.0 {
            1
        } else {
            3
        };
        write!(f, "{:.digits$}", self.median)?;
        if self.min < self.max {
            write!(f, " [{:.digits$}-{:.digits$}]", self.min, self.max)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).unwrap().to_string(), "2.500 [1.000-4.000]");
        assert_eq!(Spread::of(vec![30.0, 10.0, 20.0]).unwrap().to_string(), "20.0 [10.0-30.0]");
        assert_eq!(Spread::single(0.0).to_string(), "0.000");
        assert!(Spread::of(Vec::new()).is_none());
    }
}
