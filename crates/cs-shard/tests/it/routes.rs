//! Routing against random and least-loaded, and what a router does step by step.

use std::time::Duration;

use cs_identity::NodeId;
use cs_shard::{
    AttemptId, RouteRefused, Router, RouterConfig, RouterConfigError, RouterInput, RouterOutput,
    UnknownAttempt,
};

use crate::id;
use crate::sim::routing::{Policy, Scenario, run};

/// SHARD-27, SHARD-28: one of thirty servers is ten times slower, and a few keys are asked for most.
#[test]
fn the_router_leaves_a_slow_server_alone_and_its_tail_short() {
    let scenario = Scenario { requests: 20_000, ..Scenario::default() };
    let [router, single, random, least] =
        [Policy::Router, Policy::RouterWithoutHedges, Policy::Random, Policy::LeastLoaded]
            .map(|policy| run(policy, scenario));
    assert!(
        router.p99_ms < 0.7 * random.p99_ms && router.p99_ms < 0.9 * least.p99_ms,
        "{router:?} {random:?} {least:?}"
    );
    assert!(router.p99_ms < single.p99_ms, "{router:?} {single:?}");
    assert!(router.wasted < 0.08 && router.hedged <= 0.05 && router.failed == 0.0, "{router:?}");
}

/// SHARD-28, SHARD-29: where everything is full, hedges do not fill it more, and what is refused is answered elsewhere.
#[test]
fn an_overload_is_not_made_worse() {
    let scenario = Scenario { requests: 20_000, load: 0.95, slowness: 1.0, ..Scenario::default() };
    let (router, random) = (run(Policy::Router, scenario), run(Policy::Random, scenario));
    assert!(
        router.p99_ms < random.p99_ms && router.hedged <= 0.05 && router.wasted < 0.08,
        "{router:?} {random:?}"
    );
}

const MS: Duration = Duration::from_millis(1);

fn router() -> Router {
    Router::new(RouterConfig::default(), Duration::ZERO, [1; 32]).unwrap()
}

fn sent(router: &mut Router) -> (AttemptId, NodeId) {
    match router.poll_output() {
        Some(RouterOutput::Send { attempt, to, .. }) => (attempt, to),
        other => panic!("{other:?}"),
    }
}

/// SHARD-28: a second holder is asked only after what most requests take, within the budget; the slower is told to stop.
#[test]
fn what_takes_unusually_long_is_asked_once_more_and_the_loser_is_cancelled() {
    let mut router = router();
    let holders = [id(1), id(2), id(3)];
    for turn in 0..1000 {
        router.request(MS * turn * 10, &holders).unwrap();
        let (attempt, _) = sent(&mut router);
        router.handle_input(MS * (turn * 10 + 4), RouterInput::Answered { attempt }).unwrap();
        assert!(matches!(router.poll_output(), Some(RouterOutput::Done { took, .. }) if took == MS * 4));
    }
    let start = MS * 20_000;
    let request = router.request(start, &holders).unwrap();
    let (first, slow) = sent(&mut router);
    router.handle_timeout(start + MS * 3);
    assert_eq!(router.poll_output(), None, "too early");
    router.handle_timeout(start + MS * 5);
    let (second, fast) = sent(&mut router);
    assert_ne!(slow, fast);
    router.handle_input(start + MS * 9, RouterInput::Answered { attempt: second }).unwrap();
    assert_eq!(router.poll_output(), Some(RouterOutput::Cancel { attempt: first, to: slow }));
    assert_eq!(router.poll_output(), Some(RouterOutput::Done { request, by: fast, took: MS * 9 }));
    let late = router.handle_input(start + MS * 10, RouterInput::Answered { attempt: first });
    assert_eq!(late, Err(UnknownAttempt));
    assert_eq!((router.counters().hedges, router.counters().hedges_won), (1, 1));
    assert_eq!(router.poll_timeout(), None);
}

/// SHARD-27: who is refused or unreachable is not asked twice; when nobody is left, the caller is told.
#[test]
fn each_holder_is_tried_once_and_then_it_is_over() {
    let mut router = router();
    let request = router.request(Duration::ZERO, &[id(1), id(2), id(3)]).unwrap();
    let mut tried = Vec::new();
    for step in 0..3 {
        let (attempt, to) = sent(&mut router);
        tried.push(to);
        let input = if step == 0 { RouterInput::Busy { attempt } } else { RouterInput::Failed { attempt } };
        router.handle_input(MS * (step + 1), input).unwrap();
    }
    assert_eq!(router.poll_output(), Some(RouterOutput::GaveUp { request }));
    tried.sort_unstable();
    let mut all = [id(1), id(2), id(3)];
    all.sort_unstable();
    assert_eq!(tried, all);
    let request = router.request(MS * 10, &[id(1)]).unwrap();
    let (attempt, to) = sent(&mut router);
    router.handle_timeout(MS * 10 + Duration::from_secs(10));
    assert_eq!(router.poll_output(), Some(RouterOutput::Cancel { attempt, to }));
    assert_eq!(router.poll_output(), Some(RouterOutput::GaveUp { request }));
}

/// SHARD-27: a holder that answered slowly loses every draw, until it was left alone for long enough.
#[test]
fn a_slow_holder_is_tried_again_after_a_while() {
    let mut router = router();
    let holders = [id(1), id(2)];
    let mut slow_asked = 0;
    let mut now = Duration::ZERO;
    for turn in 0..2_000 {
        now += MS * 50;
        router.request(now, &holders).unwrap();
        let (attempt, to) = sent(&mut router);
        let took = if to == id(1) { MS * 40 } else { MS * 2 };
        slow_asked += u32::from(to == id(1) && turn > 10);
        router.handle_input(now + took, RouterInput::Answered { attempt }).unwrap();
        while router.poll_output().is_some() {}
    }
    assert!((1..20).contains(&slow_asked), "{slow_asked}");
}

/// SHARD-27: what cannot be routed, and routers that cannot work.
#[test]
fn requests_and_settings_that_cannot_work_are_refused() {
    let mut router =
        Router::new(RouterConfig { requests_max: 1, ..RouterConfig::default() }, MS, [0; 32]).unwrap();
    assert_eq!(router.request(MS, &[]), Err(RouteRefused::NoHolders));
    assert!(router.request(MS, &[id(1)]).is_ok());
    assert_eq!(router.request(MS, &[id(1)]), Err(RouteRefused::TooMany));
    let refused = |config| Router::new(config, MS, [0; 32]).err();
    let good = RouterConfig::default;
    assert_eq!(
        refused(RouterConfig { request_limit: Duration::ZERO, ..good() }),
        Some(RouterConfigError::Spans)
    );
    assert_eq!(
        refused(RouterConfig { hedge_quantile: f64::NAN, ..good() }),
        Some(RouterConfigError::Quantile)
    );
    assert_eq!(refused(RouterConfig { hedges_percent: 101, ..good() }), Some(RouterConfigError::Limits));
}
