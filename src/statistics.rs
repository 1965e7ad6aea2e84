//! Statistics of repeated measurements.
use serde::{Deserialize, Serialize};

/// Order statistics of times, in seconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
pub struct Statistics {
    /// Number of measurements.
    pub runs: usize,
    /// The least.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub median: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

impl Statistics {
    /// The statistics of at least one measurement.
    pub fn of(times: &[f64]) -> Statistics {
        assert!(!times.is_empty(), "bug: statistics of no measurement");
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        let percentile = |p: f64| sorted[((sorted.len() - 1) as f64 * p).round() as usize];
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Statistics {
            runs: sorted.len(),
            min: sorted[0],
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
            median,
            p90: percentile(0.9),
            p95: percentile(0.95),
            p99: percentile(0.99),
            max: sorted[sorted.len() - 1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Statistics;

    #[test]
    fn order_statistics() {
        let s = Statistics::of(&(1..=100).rev().map(f64::from).collect::<Vec<_>>());
        assert_eq!((s.min, s.median, s.max, s.runs), (1.0, 50.5, 100.0, 100));
        assert_eq!((s.p90, s.p99), (90.0, 99.0));
    }
}
