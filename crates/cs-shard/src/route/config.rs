use core::time::Duration;

use thiserror::Error;

/// How a [`Router`](crate::Router) behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RouterConfig {
    /// After this, a request is given up; positive. Default 10 s.
    pub request_limit: Duration,
    /// A request that takes longer than this part of all is hedged, above 0 and at most 1. Default 0.95.
    pub hedge_quantile: f64,
    /// Never hedged before; positive. Default 1 ms.
    pub hedge_after_least: Duration,
    /// Hedges of 100 requests, at most 100; 0 for none. Default 5.
    pub hedges_percent: u32,
    /// Requests under way at once, at least 1: 200 bytes each. Default 65,536.
    pub requests_max: usize,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            request_limit: Duration::from_secs(10),
            hedge_quantile: 0.95,
            hedge_after_least: Duration::from_millis(1),
            hedges_percent: 5,
            requests_max: 65_536,
        }
    }
}

impl RouterConfig {
    pub(crate) fn check(&self) -> Result<(), RouterConfigError> {
        if self.request_limit.is_zero() || self.hedge_after_least.is_zero() {
            return Err(RouterConfigError::Spans);
        }
        if self.hedge_quantile.is_nan() || self.hedge_quantile <= 0.0 || self.hedge_quantile > 1.0 {
            return Err(RouterConfigError::Quantile);
        }
        if self.hedges_percent > 100 || self.requests_max == 0 {
            return Err(RouterConfigError::Limits);
        }
        Ok(())
    }
}

/// A configuration that cannot work.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RouterConfigError {
    /// A time is zero.
    #[error("request_limit and hedge_after_least must be positive")]
    Spans,
    /// Not above 0 and at most 1.
    #[error("hedge_quantile must be above 0 and at most 1")]
    Quantile,
    /// More hedges than requests, or no requests.
    #[error("hedges_percent must be at most 100, requests_max at least 1")]
    Limits,
}
